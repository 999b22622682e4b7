using Retro.Database;

namespace Retro.Search;

/// <summary>
/// Where runs of tokens stand in a database: its places, sorted by the <see cref="LongestRun"/> tokens that begin there (a suffix array, cut off at that
/// length). Eight bytes a token of memory, and three times as much while they are sorted: seconds for millions of tokens. A run is found in some dozen
/// comparisons. Safe for concurrent use.
/// </summary>
/// <remarks>Infini-gram (arXiv 2401.17377) answers for trillions of tokens in this way.</remarks>
public sealed class TokenIndex
{
    /// <summary>Tokens by which places are told apart, and the longest run that is found.</summary>
    public const int LongestRun = 16;

    // What stands between documents; no token of a text equals it.
    private const int Between = -1;

    private readonly int[] _text;
    private readonly int[] _order;
    private readonly int[] _starts;

    private TokenIndex(ChunkDatabase database, int[] text, int[] order, int[] starts) => (Database, _text, _order, _starts) = (database, text, order, starts);

    /// <summary>The database.</summary>
    public ChunkDatabase Database { get; }

    /// <summary>Sorts the places of a database.</summary>
    /// <param name="database">The database; it stays the caller's.</param>
    /// <param name="progress">Told of the rounds done.</param>
    /// <param name="cancellationToken">Stops between two rounds.</param>
    /// <returns>The index.</returns>
    /// <exception cref="DatabaseException">The database holds more than 2^31 tokens.</exception>
    public static TokenIndex Build(ChunkDatabase database, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        const string Stage = "sort runs of tokens";
        long size = database.Documents.Sum(document => document.TokenCount + 1L);
        if (size > Array.MaxLength)
        {
            throw new DatabaseException(
                $"The database {database.Folder} has {size} tokens, and an index of runs takes at most {Array.MaxLength}; index a part of it.");
        }

        int[] text = new int[size], starts = new int[database.Documents.Count];
        int end = 0;
        for (int document = 0; document < starts.Length; document++)
        {
            starts[document] = end;
            foreach (long chunk in database.ChunkNumbersOf(document))
            {
                foreach (int token in database.OwnTokens(chunk))
                {
                    text[end++] = token;
                }
            }

            text[end++] = Between;
        }

        // Prefix doubling (Manber and Myers, 1993), as often as the length asks for: places are sorted by their class, which is that of their first tokens, and
        // the class of what follows.
        int[] classes = Array.ConvertAll(text, token => token + 1), order = new int[size], other = new int[size];
        int count = database.Manifest.VocabularySize + 1;
        for (int i = 0; i < order.Length; i++)
        {
            order[i] = i;
        }

        Sort(order, other, classes, 0, count);
        (order, other) = (other, order);
        for (int length = 1; length < LongestRun; length *= 2)
        {
            cancellationToken.ThrowIfCancellationRequested();
            progress?.Report(new StageProgress(Stage, length, LongestRun));
            Sort(order, other, classes, length, count);
            Sort(other, order, classes, 0, count);
            (classes, count) = Classes(order, classes, length);
        }

        progress?.Report(new StageProgress(Stage, LongestRun, LongestRun));
        return new TokenIndex(database, text, order, starts);
    }

    /// <summary>The longest run of a text's last tokens that is found, at most <see cref="LongestRun"/>.</summary>
    /// <param name="last">The text's last tokens.</param>
    /// <returns>Its length, and the places that begin with it in <see cref="Place"/>'s numbers: from the first to before the end. A length of 0: not even the
    /// last token occurs.</returns>
    public (int Length, int First, int End) Find(ReadOnlySpan<int> last)
    {
        (int Length, int First, int End) best = (0, 0, 0);
        int low = 1, high = Math.Min(LongestRun, last.Length);
        while (low <= high)
        {
            // Where a run occurs, so do the shorter ones that end with it.
            int length = (low + high) / 2;
            (int first, int end) = Range(last[^length..]);
            if (first < end)
            {
                best = (length, first, end);
                low = length + 1;
            }
            else
            {
                high = length - 1;
            }
        }

        return best;
    }

    /// <summary>The places that begin with a run.</summary>
    /// <param name="run">At most <see cref="LongestRun"/> tokens.</param>
    /// <returns>From the first to before the end.</returns>
    public (int First, int End) Range(ReadOnlySpan<int> run) => (Bound(run, 0), Bound(run, 1));

    /// <summary>A place of the sorted ones.</summary>
    /// <param name="number">Its number.</param>
    /// <returns>Its position among all tokens.</returns>
    public int Place(int number) => _order[number];

    /// <summary>One of some places of a run, spread evenly over those that begin with it.</summary>
    /// <param name="run">From the first place to before the end, as <see cref="Range"/> gives them.</param>
    /// <param name="number">Which of the spread ones.</param>
    /// <param name="count">How many there are of these, at most as many as places.</param>
    /// <returns>Its position among all tokens.</returns>
    internal int Spread((int First, int End) run, int number, int count) => Place(run.First + (int)((long)number * (run.End - run.First) / count));

    /// <summary>The token at a position; -1 behind a document's end.</summary>
    /// <param name="position">The position.</param>
    public int Token(int position) => (uint)position < (uint)_text.Length ? _text[position] : Between;

    /// <summary>The document that a position lies in.</summary>
    /// <param name="position">The position.</param>
    public int DocumentOf(int position) => Ascending.LastAtMost(_starts, position);

    /// <summary>The chunk that a position lies in; for what stands behind a document, its last one.</summary>
    /// <param name="position">The position.</param>
    public long ChunkOf(int position)
    {
        int document = DocumentOf(position);
        (long first, long count) = Database.ChunksOf(document);
        return first + Math.Min((position - _starts[document]) / Database.ChunkLength, count - 1);
    }

    /// <summary>The first place whose tokens come after a run, or are not before it.</summary>
    private int Bound(ReadOnlySpan<int> run, int after)
    {
        int low = 0, high = _order.Length;
        while (low < high)
        {
            int middle = (int)(((uint)low + (uint)high) / 2);
            if (Compare(_order[middle], run) < after)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }

    private int Compare(int position, ReadOnlySpan<int> run)
    {
        for (int i = 0; i < run.Length; i++)
        {
            int token = Token(position + i);
            if (token != run[i])
            {
                return token < run[i] ? -1 : 1;
            }
        }

        return 0;
    }

    /// <summary>Sorts places by the class of what stands some tokens behind them, keeping the order of equal ones.</summary>
    private static void Sort(int[] places, int[] sorted, int[] classes, int behind, int count)
    {
        int[] starts = new int[count + 1];
        foreach (int place in places)
        {
            starts[Class(classes, place + behind) + 1]++;
        }

        for (int i = 0; i < count; i++)
        {
            starts[i + 1] += starts[i];
        }

        foreach (int place in places)
        {
            sorted[starts[Class(classes, place + behind)]++] = place;
        }
    }

    /// <summary>Classes of twice the length, in their order.</summary>
    private static (int[] Classes, int Count) Classes(int[] order, int[] classes, int length)
    {
        int[] finer = new int[classes.Length];
        int number = 0;
        for (int i = 0; i < order.Length; i++)
        {
            if (i > 0 && (classes[order[i]] != classes[order[i - 1]] || Class(classes, order[i] + length) != Class(classes, order[i - 1] + length)))
            {
                number++;
            }

            finer[order[i]] = number;
        }

        return (finer, number + 1);
    }

    // Behind the end stands what stands between documents, whose class is the first.
    private static int Class(int[] classes, int place) => place < classes.Length ? classes[place] : 0;
}

using System.Buffers;
using System.Globalization;
using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using Retro.Database;

namespace Retro.Search;

/// <summary>
/// Where runs of tokens stand in a database: its places, sorted by the <see cref="LongestRun"/> tokens that begin there (a suffix array, cut off at that
/// length). Eight bytes a token of memory, and up to twice as much while they are sorted, on all processors: seconds for tens of millions of tokens. The order
/// is kept in the database's folder (<c>runs.bin</c>: "RETRORUN" and an int32 place for each token, little-endian), so that it is sorted once. A run is found
/// in some dozen comparisons. Safe for concurrent use.
/// </summary>
/// <remarks>Infini-gram (arXiv 2401.17377) answers for trillions of tokens in this way.</remarks>
public sealed class TokenIndex
{
    /// <summary>Tokens by which places are told apart, and the longest run that is found.</summary>
    public const int LongestRun = 16;

    // What stands between documents; no token of a text equals it.
    private const int Between = -1;

    private const string Stage = "sort runs of tokens";

    // How places are sorted.
    private static readonly Dictionary<string, string> s_details = new() { ["sortedBy"] = LongestRun.ToString(CultureInfo.InvariantCulture) };

    private readonly int[] _text;
    private readonly int[] _order;
    private readonly int[] _starts;

    private TokenIndex(ChunkDatabase database, int[] text, int[] order, int[] starts) => (Database, _text, _order, _starts) = (database, text, order, starts);

    /// <summary>The database.</summary>
    public ChunkDatabase Database { get; }

    private static ReadOnlySpan<byte> Magic => "RETRORUN"u8;

    /// <summary>
    /// Sorts the places of a database, or reads their order where it was kept, which its checksum says. Where it cannot be kept, as several databases are
    /// opened as one, others change the folder, or it may not be written, nothing is lacking but that.
    /// </summary>
    /// <param name="database">The database; it stays the caller's.</param>
    /// <param name="progress">Told of the places sorted, and in a message why their order is not kept.</param>
    /// <param name="cancellationToken">Stops between two tokens' places.</param>
    /// <returns>The index.</returns>
    /// <exception cref="DatabaseException">The database holds more than 2^31 tokens.</exception>
    public static TokenIndex Build(ChunkDatabase database, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
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

        int[] order = new int[size];
        if (!TryRead(database, order, progress, cancellationToken))
        {
            Sort(text, order, database.Manifest.VocabularySize, done => progress?.Report(new StageProgress(Stage, done, size)), cancellationToken);
            Keep(database, order, progress, cancellationToken);
        }

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
    /// <exception cref="ArgumentOutOfRangeException">The run is longer: beyond that places have no order by which it could be found.</exception>
    public (int First, int End) Range(ReadOnlySpan<int> run)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(run.Length, LongestRun, nameof(run));
        return (Bound(run, 0), Bound(run, 1));
    }

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

    /// <summary>Reads the order that was kept of a database's tokens.</summary>
    /// <returns>Whether it is there and whole.</returns>
    private static bool TryRead(ChunkDatabase database, int[] order, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        try
        {
            string path = database.PathOf(StageNames.Runs);
            if (!database.HasFolder || StageFile.FindMade(database, StageNames.Runs, s_details) is not { } entry
                || FileHash.Sha256(path, progress, cancellationToken) != entry.Sha256)
            {
                return false;
            }

            using MappedFile file = MappedFile.Open(path);
            if (file.Length != Magic.Length + ((long)order.Length * sizeof(int)) || !file.Values<byte>(0, Magic.Length).SequenceEqual(Magic))
            {
                return false;
            }

            file.Values<int>(Magic.Length, order.Length).CopyTo(order);
            return TensorPrimitives.Min<int>(order) >= 0 && TensorPrimitives.Max<int>(order) < order.Length;
        }
        catch (DatabaseException)
        {
            return false; // it is sorted anew
        }
    }

    /// <summary>Keeps the order with the database, where that can be done: it is a saving alone.</summary>
    private static void Keep(ChunkDatabase database, int[] order, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        if (!database.HasFolder)
        {
            return;
        }

        try
        {
            using WriterLock writing = database.Write("keep the order of runs");
            database.Forget(writing, StageNames.Runs);
            AtomicFile.Write(
                database.PathOf(StageNames.Runs),
                stream =>
                {
                    stream.Write(Magic);
                    for (int first = 0; first < order.Length; first += 1 << 20)
                    {
                        stream.Write(MemoryMarshal.AsBytes(order.AsSpan(first, Math.Min(1 << 20, order.Length - first))));
                    }
                },
                DatabaseException.Of);
            database.Enter(writing, StageNames.Runs, s_details, progress, cancellationToken);
        }
        catch (DatabaseException fault)
        {
            progress?.Report(new(Stage, order.Length, order.Length, $"The order is not kept, and is sorted again the next time. {fault.Message}"));
        }
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

    /// <summary>Sorts places by the <see cref="LongestRun"/> tokens from there, equal ones by their position.</summary>
    private static void Sort(int[] text, int[] order, int vocabulary, Action<long> progress, CancellationToken cancellationToken)
    {
        // By the first token, counted, and in each token's places by as many of the next as a number of 64 bits holds, the equal ones by those that follow.
        int[] ends = new int[vocabulary + 1];
        foreach (int token in text)
        {
            ends[token - Between]++;
        }

        for (int token = 0, before = 0; token < ends.Length; token++)
        {
            (ends[token], before) = (before, before + ends[token]);
        }

        for (int place = 0; place < text.Length; place++)
        {
            order[ends[text[place] - Between]++] = place;
        }

        int bits = BitOperations.Log2((uint)vocabulary) + 1;
        long done = 0;
        Lock telling = new();

        // The frequent tokens first, so that no thread is left with a long one.
        int[] tokens = [.. Enumerable.Range(0, ends.Length).Where(token => Count(token) > 0).OrderByDescending(Count)];
        ParallelLoop.For(tokens.Length, i =>
        {
            Span<int> places = order.AsSpan(ends[tokens[i]] - Count(tokens[i]), Count(tokens[i]));
            ulong[] keys = ArrayPool<ulong>.Shared.Rent(places.Length);
            Sort(text, places, keys.AsSpan(0, places.Length), 1, bits);
            ArrayPool<ulong>.Shared.Return(keys);
            lock (telling)
            {
                done += places.Length;
                progress(done);
            }
        }, cancellationToken: cancellationToken);

        int Count(int token) => ends[token] - (token == 0 ? 0 : ends[token - 1]);
    }

    /// <summary>Sorts places whose tokens are equal up to a depth.</summary>
    private static void Sort(int[] text, Span<int> places, Span<ulong> keys, int depth, int bits)
    {
        if (depth == LongestRun)
        {
            places.Sort();
            return;
        }

        int next = Math.Min(LongestRun, depth + (64 / bits));
        for (int i = 0; i < places.Length; i++)
        {
            ulong key = 0;
            for (int at = depth; at < next; at++)
            {
                // Behind the end stands what stands between documents.
                key = key << bits | (uint)((long)places[i] + at < text.Length ? text[places[i] + at] - Between : 0);
            }

            keys[i] = key;
        }

        keys.Sort(places);
        for (int first = 0, end; first < places.Length; first = end)
        {
            for (end = first + 1; end < places.Length && keys[end] == keys[first]; end++)
            {
            }

            if (end > first + 1)
            {
                Sort(text, places[first..end], keys[first..end], next, bits);
            }
        }
    }
}

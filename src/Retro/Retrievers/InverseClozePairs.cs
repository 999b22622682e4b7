using Retro.Corpora;
using Retro.Embedders;
using Retro.Tokenizers;

namespace Retro.Retrievers;

/// <summary>Draws batches of text pairs from documents, repeatably.</summary>
internal sealed class InverseClozePairs
{
    /// <summary>Shorter texts make no pair.</summary>
    private const int MinimumTokens = 8;

    private const int CountedWindows = 2000;

    /// <summary>No document takes more than this part of the characters that are kept, so that one cannot push out the others.</summary>
    private const int DocumentShare = 16;

    /// <summary>Batches that are drawn for one with a negative in it, at most.</summary>
    private const int MostDraws = 100;

    /// <summary>Windows that a text is long enough for to be trained on alone: about a tenth of its pairs are negatives of each other then.</summary>
    private const int WindowsAlone = 4;

    private readonly List<string> _texts = [];
    private readonly List<long> _ends = []; // of the texts laid end to end, in characters: what the documents are drawn by
    private readonly Dictionary<int, int[]> _tokens = [];
    private readonly TextFrame _frame;
    private readonly int _maximumLength;
    private readonly InverseClozeOptions _options;
    private readonly Random _random;

    public InverseClozePairs(
        IEnumerable<Document> documents, RetroTokenizer tokenizer, int maximumLength, InverseClozeOptions options, CancellationToken cancellationToken)
    {
        _frame = new TextFrame(tokenizer);
        _maximumLength = maximumLength;
        _options = options;
        _random = new Random(SeededRandom.Fold(options.Seed));
        foreach (string text in Chosen(documents, options, cancellationToken))
        {
            _texts.Add(text);
            _ends.Add((_ends.Count == 0 ? 0 : _ends[^1]) + text.Length);
        }

        // The drawn ones are tokenized when drawn; that there are enough at all is found out here.
        int usable = 0;
        bool isEnough = false;
        for (int document = 0; document < _texts.Count && !isEnough; document++)
        {
            int length = Tokens(document).Length;
            usable += length >= MinimumTokens ? 1 : 0;
            isEnough = usable == 2 || length >= (long)WindowsAlone * options.WindowLength;
        }

        if (!isEnough)
        {
            throw TooLittle($"the corpus holds {usable}");
        }
    }

    /// <summary>
    /// The texts in their order, those with the highest of random numbers where they are more than may be kept: two at least. A text that stands there again
    /// is left out: its copy would be a negative that nothing tells from it. Of a long one a stretch is kept.
    /// </summary>
    internal static IEnumerable<string> Chosen(IEnumerable<Document> documents, InverseClozeOptions options, CancellationToken cancellationToken)
    {
        PriorityQueue<(long Number, string Text), double> chosen = new();
        HashSet<UInt128> known = [];
        int longest = (int)Math.Clamp(options.MostCharacters / DocumentShare, Math.Min(8L * options.WindowLength, int.MaxValue), int.MaxValue);
        long characters = 0, number = 0;
        foreach (Document document in documents)
        {
            cancellationToken.ThrowIfCancellationRequested();

            // A token is at least a byte, and a character at most three of them.
            string text = document.Text;
            if (text.Length * 3L >= MinimumTokens && known.Add(TextHash.Of(text)))
            {
                SeededRandom random = new(options.Seed, Purpose.EmbedderDocuments, number);
                double rank = random.NextDouble();
                text = text.Length <= longest ? text : text.Substring(random.Below(text.Length - longest + 1), longest);
                chosen.Enqueue((number, text), rank);
                characters += text.Length;
                number++;
                while (characters > options.MostCharacters && chosen.Count > 2)
                {
                    characters -= chosen.Dequeue().Text.Length;
                }
            }
        }

        return chosen.UnorderedItems.Select(item => item.Element).OrderBy(element => element.Number).Select(element => element.Text);
    }

    /// <summary>Both sides, which rows are no negatives of each other, never on the diagonal (null when all are), and the rows' documents.</summary>
    internal sealed record Batch(TextBatch Left, TextBatch Right, bool[]? Barred, int[] Documents);

    /// <summary>Windows of documents, framed.</summary>
    internal sealed record Windows(int[] Documents, int[][] Framed);

    /// <summary>Draws the next batch, in which some row has a negative.</summary>
    /// <exception cref="CorpusException">None is found: nearly all of the text stands in one place.</exception>
    public Batch Next()
    {
        for (int draw = 0; draw < MostDraws; draw++)
        {
            Batch batch = Drawn();
            if (batch.Barred is null || batch.Barred.Count(barred => barred) < batch.Barred.Length - _options.BatchSize)
            {
                return batch;
            }
        }

        throw TooLittle($"of {MostDraws} batches of {_options.BatchSize} pairs each came from nearly one place of one text");
    }

    /// <summary>Draws windows for themselves, of as many tokens as the second side of a pair has in the mean.</summary>
    /// <param name="count">How many.</param>
    public Windows Draw(int count)
    {
        (int[] documents, int[][] framed) = (new int[count], new int[count][]);
        for (int i = 0; i < count; i++)
        {
            (documents[i], _, int[] window) = DrawWindow();
            framed[i] = Frame(window[..((window.Length + 1) / 2)]);
        }

        return new Windows(documents, framed);
    }

    /// <summary>Texts side by side.</summary>
    public TextBatch Batched(IReadOnlyList<int[]> framed) => TextBatch.Of(framed, _frame.End);

    /// <summary>Counts the tokens of some windows.</summary>
    /// <returns>A count for each id.</returns>
    public long[] CountTokens(int vocabularySize)
    {
        long[] counts = new long[vocabularySize];
        for (int window = 0; window < CountedWindows; window++)
        {
            foreach (int token in DrawWindow().Window)
            {
                counts[token]++;
            }
        }

        counts[_frame.Begin] += CountedWindows;
        counts[_frame.End] += CountedWindows;
        return counts;
    }

    private Batch Drawn()
    {
        // One kind and one proportion per batch: rows of equal length, hardly any padding.
        bool cloze = _random.NextDouble() < _options.ClozeShare;
        double proportion = cloze ? 0.125 + 0.375 * _random.NextDouble() : 0.25 + 0.5 * _random.NextDouble();
        int rows = _options.BatchSize;
        int[] documents = new int[rows], starts = new int[rows];
        int[][] left = new int[rows][];
        int[][] right = new int[rows][];
        for (int row = 0; row < rows; row++)
        {
            (documents[row], starts[row], int[] window) = DrawWindow();
            int cut = Math.Clamp((int)Math.Round(window.Length * proportion), 1, window.Length - 1);
            if (cloze)
            {
                int start = _random.Next(window.Length - cut + 1);
                left[row] = window[start..(start + cut)];
                right[row] = _random.NextDouble() < _options.KeepSpan ? window : [.. window.AsSpan(0, start), .. window.AsSpan(start + cut)];
            }
            else
            {
                (left[row], right[row]) = (window[..cut], window[cut..]);
            }
        }

        return new Batch(Pad(left), Pad(right), Barred(documents, starts), documents);
    }

    private (int Document, int Start, int[] Window) DrawWindow()
    {
        while (true)
        {
            int found = _ends.BinarySearch(_random.NextInt64(_ends[^1]) + 1);
            int document = found >= 0 ? found : ~found;
            int[] tokens = Tokens(document);
            if (tokens.Length >= MinimumTokens)
            {
                int length = Math.Min(tokens.Length, _options.WindowLength);
                int start = _random.Next(tokens.Length - length + 1);
                return (document, start, tokens[start..(start + length)]);
            }
        }
    }

    private int[] Tokens(int document)
    {
        if (!_tokens.TryGetValue(document, out int[]? tokens))
        {
            _tokens[document] = tokens = _frame.Encode(_texts[document]);
        }

        return tokens;
    }

    private TextBatch Pad(int[][] texts) => Batched([.. texts.Select(Frame)]);

    private int[] Frame(int[] text) => [_frame.Begin, .. text.AsSpan(0, Math.Min(text.Length, _maximumLength - 2)), _frame.End];

    /// <summary>
    /// Windows that overlap, or between which less than a window lies, are no negatives of each other: what follows a text closely is what it is paired with.
    /// Others of one document are, which neither Lee et al. nor Izacard et al. (arXiv 2112.09118, whose pairs are two crops of a document) bar, so that text
    /// which stands in few documents teaches something, too.
    /// </summary>
    private bool[]? Barred(int[] documents, int[] starts)
    {
        int rows = documents.Length;
        bool[] barred = new bool[rows * rows];
        for (int i = 0; i < rows; i++)
        {
            for (int j = 0; j < rows; j++)
            {
                barred[(i * rows) + j] = i != j && documents[i] == documents[j] && Math.Abs(starts[i] - starts[j]) < 2L * _options.WindowLength;
            }
        }

        return barred.Contains(true) ? barred : null;
    }

    private CorpusException TooLittle(string found) => new(
        $"To train an embedder takes at least two different texts of {MinimumTokens} tokens, or one of {WindowsAlone} windows ({_options.WindowLength} tokens "
            + $"each); {found}. Add text, or use the HashingEmbedder, which needs no training.");
}

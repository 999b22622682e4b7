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

        // The drawn ones are tokenized when drawn; that there are two at all is found out here.
        int usable = 0;
        for (int document = 0; document < _texts.Count && usable < 2; document++)
        {
            usable += Tokens(document).Length >= MinimumTokens ? 1 : 0;
        }

        if (usable < 2)
        {
            throw new CorpusException(
                $"To train an embedder takes at least two texts of {MinimumTokens} tokens; the corpus holds {usable}. Add text, or use the "
                    + "HashingEmbedder, which needs no training.");
        }
    }

    /// <summary>The texts in their order, those with the highest of random numbers where they are more than may be kept: two at least.</summary>
    internal static IEnumerable<string> Chosen(IEnumerable<Document> documents, InverseClozeOptions options, CancellationToken cancellationToken)
    {
        PriorityQueue<(long Number, string Text), double> chosen = new();
        long characters = 0, number = 0;
        foreach (Document document in documents)
        {
            cancellationToken.ThrowIfCancellationRequested();

            // A token is at least a byte, and a character at most three of them.
            if (document.Text.Length * 3 >= MinimumTokens)
            {
                chosen.Enqueue((number, document.Text), new SeededRandom(options.Seed, Purpose.EmbedderDocuments, number).NextDouble());
                characters += document.Text.Length;
                number++;
                while (characters > options.MostCharacters && chosen.Count > 2)
                {
                    characters -= chosen.Dequeue().Text.Length;
                }
            }
        }

        return chosen.UnorderedItems.Select(item => item.Element).OrderBy(element => element.Number).Select(element => element.Text);
    }

    /// <summary>Both sides, which rows come from one document, off the diagonal (null when none do), and the rows' documents.</summary>
    internal sealed record Batch(TextBatch Left, TextBatch Right, bool[]? SameDocument, int[] Documents);

    /// <summary>Windows of documents, framed.</summary>
    internal sealed record Windows(int[] Documents, int[][] Framed);

    /// <summary>Draws the next batch.</summary>
    public Batch Next()
    {
        // One kind and one proportion per batch: rows of equal length, hardly any padding.
        bool cloze = _random.NextDouble() < _options.ClozeShare;
        double proportion = cloze ? 0.125 + 0.375 * _random.NextDouble() : 0.25 + 0.5 * _random.NextDouble();
        int rows = _options.BatchSize;
        int[] documents = new int[rows];
        int[][] left = new int[rows][];
        int[][] right = new int[rows][];
        for (int row = 0; row < rows; row++)
        {
            (documents[row], int[] window) = DrawWindow();
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

        return new Batch(Pad(left), Pad(right), SameDocument(documents), documents);
    }

    /// <summary>Draws windows for themselves, of as many tokens as the second side of a pair has in the mean.</summary>
    /// <param name="count">How many.</param>
    public Windows Draw(int count)
    {
        (int[] documents, int[][] framed) = (new int[count], new int[count][]);
        for (int i = 0; i < count; i++)
        {
            (documents[i], int[] window) = DrawWindow();
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

    private (int Document, int[] Window) DrawWindow()
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
                return (document, tokens[start..(start + length)]);
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

    private static bool[]? SameDocument(int[] documents)
    {
        if (documents.Distinct().Count() == documents.Length)
        {
            return null;
        }

        int rows = documents.Length;
        bool[] same = new bool[rows * rows];
        for (int i = 0; i < rows; i++)
        {
            for (int j = 0; j < rows; j++)
            {
                same[i * rows + j] = i != j && documents[i] == documents[j];
            }
        }

        return same;
    }
}

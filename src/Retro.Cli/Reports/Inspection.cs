using System.Globalization;
using System.Text;
using Retro.Database;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Cli.Reports;

/// <summary>
/// Shows a text with what its reader read: each token colored by what reading gained for it, and beside each stretch of text the neighbors that were read while
/// it was predicted, with what they have in common with it, their documents, and how each source ranks them.
/// </summary>
/// <param name="database">What is read from.</param>
/// <param name="tokenizer">Its tokenizer.</param>
/// <param name="reader">Reads neighbors.</param>
/// <param name="source">Finds them.</param>
/// <param name="beside">Sources whose ranks are shown too.</param>
/// <param name="labels">The labels that may be seen; null: all.</param>
/// <param name="neighbors">Neighbors that are read at once; null: as many as the reader reads.</param>
internal sealed class Inspection(
    ChunkDatabase database,
    RetroTokenizer tokenizer,
    IReader reader,
    INeighborSource source,
    IReadOnlyList<INeighborSource> beside,
    IReadOnlyList<string>? labels = null,
    int? neighbors = null)
{
    /// <summary>Neighbors shown of each stretch.</summary>
    private const int MostShown = 4;

    /// <summary>Neighbors that are looked through for a rank.</summary>
    private const int Ranked = 100;

    /// <summary>Tokens of the shortest run that is marked as common: shorter ones are common to any two texts.</summary>
    private const int LeastRun = 3;

    /// <summary>Bits of the strongest color.</summary>
    private const double StrongestGain = 5;

    /// <summary>What the colors and marks mean, as a paragraph of HTML.</summary>
    public const string Legend = "<p><span style=\"background:rgba(37,99,235,.4)\">Blue</span>: reading made the token more probable; "
        + "<span style=\"background:rgba(234,88,12,.4)\">orange</span>: less; the number of bits stands in its hint. Beside each stretch of the text stands "
        + "what was read while it was predicted: <mark>marked</mark> is what both have in common, <span class=\"found\">underlined</span> what the "
        + "neighbor has in common with the text before, which it was found with.</p>";

    private readonly int _neighbors = neighbors ?? reader.Neighbors, _stride = reader.ChunkLength ?? database.ChunkLength;

    /// <summary>The tokens of a document.</summary>
    /// <param name="of">The database of the document.</param>
    /// <param name="document">The document.</param>
    /// <param name="most">Tokens at most.</param>
    public static int[] Tokens(ChunkDatabase of, DocumentEntry document, int most) => [.. of.TokensOf(document).Take(most)];

    /// <summary>Shows a text whose tokens' bits are known.</summary>
    /// <param name="tokens">The text from its document's first token on.</param>
    /// <param name="off">Bits of each without neighbors; not a number where nothing was predicted.</param>
    /// <param name="on">Bits with neighbors.</param>
    /// <param name="excluded">Documents that nothing is read of.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>HTML.</returns>
    public string Show(int[] tokens, IReadOnlyList<double> off, IReadOnlyList<double> on, IReadOnlyList<int> excluded, CancellationToken cancellationToken)
    {
        List<Found>[] found = Find(tokens, excluded, cancellationToken);
        StringBuilder html = new();
        for (int first = 0; first < tokens.Length; first += _stride)
        {
            int stretch = first / _stride;
            int[] own = tokens[first..Math.Min(tokens.Length, first + _stride)];
            double gained = Enumerable.Range(first, own.Length).Select(i => off[i] - on[i]).Where(double.IsFinite).Sum();
            html.Append(CultureInfo.InvariantCulture, $"<section class=\"chunk\" aria-label=\"part {stretch + 1}\"><div><div class=\"text own\">");
            Append(html, own, first, off, on);
            html.Append(CultureInfo.InvariantCulture, $"</div><p class=\"soft\">part {stretch + 1}: {gained:+0.0;-0.0;0.0} bits gained by reading</p></div>");
            html.Append("<div class=\"read\">");
            if (stretch == 0 || found[stretch - 1].Count == 0)
            {
                html.Append(stretch == 0 ? "<p class=\"soft\">Nothing is read yet.</p>" : "<p class=\"soft\">Nothing was found.</p>");
            }
            else
            {
                int[] query = TextReading.Query(reader, source, tokens, stretch);
                found[stretch - 1].ForEach(neighbor => Append(html, neighbor, own, query));
            }

            html.Append("</div></section>\n");
        }

        return html.ToString();
    }

    /// <summary>The best neighbors of each complete stretch, of which the last token is predicted and read by nothing.</summary>
    private List<Found>[] Find(int[] tokens, IReadOnlyList<int> excluded, CancellationToken cancellationToken)
    {
        int stretches = (tokens.Length - 1) / _stride;
        if (stretches == 0)
        {
            return [];
        }

        NeighborQuery[] queries =
        [
            .. Enumerable.Range(1, stretches)
                .Select(end => new NeighborQuery(TextReading.Query(reader, source, tokens, end), excluded) { Labels = labels }),
        ];
        int shown = Math.Min(MostShown, _neighbors);
        (long[] best, float[] bestScores) = Search(source, _neighbors);
        (INeighborSource Source, long[] Chunks, float[] Scores)[] ranked = [.. beside.Prepend(source).DistinctBy(one => one.Name).Select(one =>
        {
            (long[] chunks, float[] scores) = one == source ? (best, bestScores) : Search(one, Ranked);
            return (one, chunks, scores);
        })];
        return [.. Enumerable.Range(0, stretches).Select(stretch => Enumerable.Range(stretch * _neighbors, shown)
            .Where(i => best[i] >= 0)
            .Select(i => new Found(best[i], [.. ranked.Select(one =>
            {
                int count = one.Chunks.Length / stretches, start = stretch * count;
                int rank = Array.IndexOf(one.Chunks, best[i], start, count) - start;
                return (one.Source.Name, rank < 0 ? null : (int?)(rank + 1), rank < 0 ? float.NaN : one.Scores[start + rank], count);
            })]))
            .ToList())];

        (long[] Chunks, float[] Scores) Search(INeighborSource with, int count)
        {
            long[] chunks = new long[stretches * count];
            float[] scores = new float[chunks.Length];
            with.Find(queries, count, chunks, scores, cancellationToken);
            return (chunks, scores);
        }
    }

    private void Append(StringBuilder html, int[] tokens, int first, IReadOnlyList<double> off, IReadOnlyList<double> on)
    {
        string[] texts = Texts(tokens, first == 0);
        double gain = 0;
        for (int i = 0; i < tokens.Length; i++)
        {
            double one = off[first + i] - on[first + i];
            gain += double.IsFinite(one) ? one : 0;
            if (texts[i].Length == 0)
            {
                continue; // a part of a character; what it gained goes to the token that completes it
            }

            string color = gain >= 0 ? "37,99,235" : "234,88,12", strength = Page.Number(0.45 * Math.Min(1, Math.Abs(gain) / StrongestGain), "0.00");
            string hint = string.Create(CultureInfo.InvariantCulture, $"{gain:+0.00;-0.00;0.00} bits: off {off[first + i]:0.00}, on {on[first + i]:0.00}");
            string text = Page.Escape(texts[i]);
            html.Append(double.IsFinite(one) ? $"<span style=\"background:rgba({color},{strength})\" title=\"{hint}\">{text}</span>" : text);
            gain = 0;
        }
    }

    private void Append(StringBuilder html, Found found, int[] own, int[] query)
    {
        DocumentEntry document = database.Documents[database.DocumentOf(found.Chunk)];
        long[] read = new long[database.RetrievedLength(reader.RetrievedLength)];
        bool[] valid = new bool[read.Length];
        database.CopyRetrieved(found.Chunk, read, valid);
        int[] tokens = [.. read.Where((_, i) => valid[i]).Select(token => (int)token)];
        bool[] common = Common(tokens, own), before = Common(tokens, query);
        long number = found.Chunk - document.FirstChunk;
        string[] texts = Texts(tokens, number == 0);
        html.Append(
            CultureInfo.InvariantCulture,
            $"<article><header>{Page.Escape(Passages.Name(document.Title, document.Id))}, chunk {number + 1} of {document.ChunkCount}</header>");
        string ranks = string.Join("; ", found.Ranks.Select(one => one.Rank is { } rank
            ? string.Create(CultureInfo.InvariantCulture, $"{one.Source}: rank {rank}, score {one.Score:0.00}")
            : $"{one.Source}: not among its {one.Of}"));
        html.Append(CultureInfo.InvariantCulture, $"<div class=\"soft\">{Page.Escape(document.Location)}<br>{Page.Escape(ranks)}; ");
        html.Append(CultureInfo.InvariantCulture, $"overlap {Passages.Overlap(own, database, found.Chunk):0 %}</div><div class=\"text\">");
        for (int i = 0, end; i < tokens.Length; i = end)
        {
            for (end = i + 1; end < tokens.Length && common[end] == common[i] && before[end] == before[i]; end++)
            {
            }

            string text = Page.Escape(string.Concat(texts[i..end]));
            text = before[i] ? $"<span class=\"found\">{text}</span>" : text;
            html.Append(common[i] ? $"<mark>{text}</mark>" : text);
        }

        html.Append("</div></article>");
    }

    /// <summary>The text of each token; nothing for one that does not complete a character.</summary>
    private string[] Texts(int[] tokens, bool begins)
    {
        string[] texts = new string[tokens.Length];
        int length = 0;
        for (int i = 0; i < tokens.Length; i++)
        {
            ReadOnlySpan<int> part = tokens.AsSpan(0, i + 1);
            string text = begins ? tokenizer.Decode(part) : tokenizer.DecodeWithin(part), whole = i + 1 < tokens.Length ? text.TrimEnd('\ufffd') : text;
            texts[i] = whole.Length > length ? whole[length..] : "";
            length = Math.Max(length, whole.Length);
        }

        return texts;
    }

    /// <summary>Which tokens stand in a run, long enough, that another text has too.</summary>
    private static bool[] Common(int[] tokens, int[] other)
    {
        bool[] common = new bool[tokens.Length];
        int[] runs = Passages.CommonRuns(tokens, other);
        for (int i = 0; i < runs.Length; i++)
        {
            if (runs[i] >= LeastRun)
            {
                Array.Fill(common, true, i + 1 - runs[i], runs[i]);
            }
        }

        return common;
    }

    /// <summary>A neighbor, and how each source ranks it among how many.</summary>
    private sealed record Found(long Chunk, IReadOnlyList<(string Source, int? Rank, float Score, int Of)> Ranks);
}

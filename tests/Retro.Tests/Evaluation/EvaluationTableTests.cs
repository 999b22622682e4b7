using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using Markdig;
using Markdig.Extensions.EmphasisExtras;
using Retro.Database;
using Retro.Evaluation;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tests.Readers;

namespace Retro.Tests.Evaluation;

public sealed class EvaluationTableTests : IDisposable
{
    private const int M = 8;

    private readonly TestDatabases _databases = new();
    private readonly TemporaryFolder _folder = new();

    public void Dispose()
    {
        _databases.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void Every_reader_stands_beside_those_it_is_compared_with()
    {
        EvaluationEntry closed = Entry("closed book", 1, 1),
            on = Entry("RETRO", 0.9, 0.92) with { TrainedWith = "bm25", Steps = 600, Time = TimeSpan.FromSeconds(90) };
        EvaluationTable table = EvaluationTable.Of([closed, on], ["closed book", "RETRO"]);
        Assert.Equal(-0.09, table.Rows[1].Differences[0]!.Value, 12);
        Assert.Equal(0.09 / 0.91, table.Rows[0].Differences[1]!.Value, 12);
        Assert.Null(table.Rows[0].Differences[0]);
        string[] lines = table.ToMarkdown().Split('\n');
        Assert.Equal(
            "| reader | neighbors from | trained with | steps | minutes | bits per byte | against closed book | " +
            "against RETRO | bits per token of the first chunk | and of the rest |",
            lines[0].TrimEnd());
        Assert.StartsWith("| closed book | - | - | - | - | 2.", lines[2], StringComparison.Ordinal);
        Assert.StartsWith("| RETRO | bm25, k = 2 | bm25 | 600 | 1.5 |", lines[3], StringComparison.Ordinal);
        Assert.Contains("| none (-9.0 % [-21.7, +3.7]) | - | 3.000 |", lines[3], StringComparison.Ordinal);
        Assert.All(lines[..4], line => Assert.Equal(11, line.Count(c => c == '|')));
        Assert.Contains("of 80 held-out documents", lines[5], StringComparison.Ordinal);
        Assert.Contains("10.0 % of the tokens stand in a window's first chunk", lines[5], StringComparison.Ordinal);
        Assert.Contains(
            "Means over 2 seeds. In brackets the 95 % interval of a paired bootstrap over documents, with Student's t for how the seeds differ",
            lines[5],
            StringComparison.Ordinal);
        Assert.Equal(table.Notes, lines[5].TrimEnd());
        Assert.Equal("", (table with { Rows = [] }).Notes);
        EvaluationTable lossy = table with { TextLoss = new(20, 3, 1000, 800) };
        Assert.EndsWith(lossy.TextLoss.Note, lossy.Notes, StringComparison.Ordinal);
        Assert.Contains("of 3 of 20 documents the tokens spell another text, 800 bytes in all where there are 1,000", lossy.Notes, StringComparison.Ordinal);
        Assert.Equal(table.Notes, (table with { TextLoss = new(20, 0, 1000, 1000) }).Notes);
    }

    /// <summary>Of the seeds' own ratios, each over the tokens that it is of.</summary>
    [Fact]
    public void Every_number_of_a_row_is_the_mean_over_the_seeds()
    {
        EvaluationEntry entry = new("one", [Result(600, 400, 240), Result(500, 260, 160)]);
        string[] lines = EvaluationTable.Of([entry]).ToMarkdown().Split('\n');
        Assert.Equal("| one | bm25, k = 2 | - | - | - | 1.1000 | - | 5.000 | 4.250 |", lines[2].TrimEnd());

        static BitsPerByteResult Result(double first, double second, double firstChunks)
            => new("one", "bm25", 2, 200, new([first, second], [500, 300]), [1], 40, firstChunks, "hash") { WindowLength = 64, Stride = 32 };
    }

    /// <summary>As in <see cref="PairedDifferenceTests.Each_training_is_held_against_the_baseline_of_its_own_seed"/>.</summary>
    [Fact]
    public void Measurements_are_paired_in_the_order_of_their_seeds()
    {
        EvaluationEntry closed = Entry("closed book", 1, 2, 3), on = Entry("RETRO", 0.9, 2.2, 2.6);
        PairedDifference difference = EvaluationTable.Of([closed, on]).Rows[1].Differences[0]!;
        double scatter = 4.302652729749461 * Math.Sqrt(((0.025 * 0.025) + (0.15 * 0.15) + (0.125 * 0.125)) / 2 / 3);
        Assert.Equal(-0.05, difference.Value, 1e-12);
        Assert.Equal(-0.05 - scatter, difference.Low, 1e-12);
        Assert.Equal(-0.05 + scatter, difference.High, 1e-12);
    }

    [Fact]
    public void A_cell_is_text_whatever_characters_it_has()
    {
        string[] lines = EvaluationTable.Of([Entry("a | b\n# c", 1)]).ToMarkdown().Split('\n');
        Assert.StartsWith("| a \\| b # c | bm25, k = 2 |", lines[2], StringComparison.Ordinal);
        Assert.Contains("| against a \\| b # c |", lines[0], StringComparison.Ordinal);
        Assert.Equal("| x | y |\n|---|---|\n| 1 | 2 |\n", MarkdownTable.Of(["x", "y"], [["1", "2"]]).ReplaceLineEndings("\n"));
    }

    /// <summary>Whatever stands in a cell, a reader of Markdown shows it as it is; names and numbers of reports stand as they are in the file, too.</summary>
    [Theory]
    [InlineData("a|b", "")]
    [InlineData("a\\|b", "")]
    [InlineData("a\\", "")]
    [InlineData("C:\\*new*\\_x_", "")]
    [InlineData("x*y*z and **a** * b", "")]
    [InlineData("_x_ and __init__.py (_y_)", "")]
    [InlineData("<b>k</b>, <http://a.b>, <!-- c -->", "")]
    [InlineData("`a|b`", "")]
    [InlineData("~~old~~", "")]
    [InlineData("[a](http://b) ![1](c) [1](d)", "")]
    [InlineData("&lt; &#38; R&D; R&D", "")]
    [InlineData("EMDR²'s, k = 2 * 3", "EMDR²'s, k = 2 * 3")]
    [InlineData("0.41 [0.35, 0.48] <0.5> snake_case_name ~5 %", "0.41 [0.35, 0.48] <0.5> snake_case_name ~5 %")]
    [InlineData("-4.7 % [-5.3, +4.0] & none (+0.1 %)", "-4.7 % [-5.3, +4.0] & none (+0.1 %)")]
    public void Any_text_is_shown_by_a_reader_of_markdown(string cell, string written)
    {
        string table = MarkdownTable.Of([cell, "second"], [[cell, cell]]);
        MarkdownPipeline pipeline = new MarkdownPipelineBuilder().UsePipeTables().UseEmphasisExtras(EmphasisExtraOptions.Strikethrough).Build();
        string html = Markdown.ToHtml(table, pipeline);
        string[] shown = [.. Regex.Matches(html, "<t[hd]>(.*?)</t[hd]>").Select(match => match.Groups[1].Value)];
        Assert.Equal(string.Join('\n', cell, "second", cell, cell), WebUtility.HtmlDecode(string.Join('\n', shown)));
        Assert.All(shown, one => Assert.DoesNotContain('<', one));
        Assert.True(written.Length == 0 || table.Contains($"| {written} |", StringComparison.Ordinal), table);
    }

    [Fact]
    public void Measurements_of_other_windows_are_refused()
    {
        EvaluationEntry Windows(string name, int length, int stride)
            => Entry(name, 1) is var entry ? entry with { Results = [entry.Results[0] with { WindowLength = length, Stride = stride }] } : entry;

        EvaluationEntry one = Windows("closed book", 64, 32), same = Windows("same", 64, 32);
        Assert.Equal(2, EvaluationTable.Of([one, same]).Rows.Count);
        foreach (EvaluationEntry other in new[] { Windows("other", 4, 4), Windows("other", 64, 64) })
        {
            string message = Assert.Throws<ArgumentException>(() => EvaluationTable.Of([one, same, other])).Message;
            Assert.Contains($"\"other\" was measured with windows of {other.Results[0].WindowLength} tokens", message, StringComparison.Ordinal);
            Assert.Contains("windows of 64, one every 32", message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_corpus_too_small_for_an_interval_is_said_to_be()
    {
        static BitsPerByteResult Cut(BitsPerByteResult result) =>
            result with { DocumentSums = new DocumentSums([.. result.DocumentSums.Bits.Take(9)], [.. result.DocumentSums.Bytes.Take(9)]) };
        string text = EvaluationTable.Of(
            [.. new[] { Entry("closed book", 1), Entry("RETRO", 0.9) }.Select(entry => entry with { Results = [.. entry.Results.Select(Cut)] })]).ToMarkdown();
        Assert.Contains("-10.0 % (no interval: 9 documents)", text, StringComparison.Ordinal);
        Assert.Contains("of 9 held-out documents; 10.0 %", text, StringComparison.Ordinal);
        Assert.Contains("One seed: how trainings differ by chance is in no interval. The documents are too few", text, StringComparison.Ordinal);
    }

    [Fact]
    public void What_cannot_be_compared_is_refused()
    {
        EvaluationEntry closed = Entry("closed book", 1), two = Entry("two", 1, 1);
        EvaluationEntry other = closed with { Reader = "other", Results = [closed.Results[0] with { HeldOutHash = "another" }] };
        Assert.Throws<ArgumentException>(() => EvaluationTable.Of([]));
        Assert.Throws<ArgumentException>(() => EvaluationTable.Of([closed, two]));
        Assert.Contains("other documents", Assert.Throws<ArgumentException>(() => EvaluationTable.Of([closed, other])).Message, StringComparison.Ordinal);
        EvaluationEntry fewer = closed with { Reader = "fewer", Results = [closed.Results[0] with { Tokens = 999 }] };
        Assert.Contains("other documents", Assert.Throws<ArgumentException>(() => EvaluationTable.Of([closed, fewer])).Message, StringComparison.Ordinal);
        Assert.Contains("\"closed book\"", Assert.Throws<ArgumentException>(() => EvaluationTable.Of([closed, closed])).Message, StringComparison.Ordinal);
        Assert.Contains("no \"RETRO\"", Assert.Throws<ArgumentException>(() => EvaluationTable.Of([closed], ["RETRO"])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_curve_of_several_readers_is_each_ones_own_beside_the_share_of_tokens()
    {
        (ChunkDatabase heldOut, ChunkDatabase retrieval, NeighborTable table, BitsPerByteResult off, BitsPerByteResult on) = Measured();
        using (heldOut)
        using (retrieval)
        using (table)
        {
            double[] bytes = [
                .. heldOut.Documents.SelectMany(document => Enumerable.Repeat((double)document.ByteCount / document.ChunkCount, document.ChunkCount))];
            LeakageCurve curve = LeakageCurve.Compute(heldOut, table, bytes);
            LeakageTable leakage = LeakageTable.Of(curve, [new("off", [off]), new("on", [on])]);
            Assert.Equal(LeakageCurve.Bounds, leakage.Rows.Select(row => row.Bound));
            Assert.All(leakage.Rows, row => Assert.Equal(curve.TokenShare(row.Bound), row.TokenShare));
            Assert.All(leakage.Rows, row => Assert.Equal([curve.At(off, row.Bound).Value, curve.At(on, row.Bound).Value], row.Values));
            Assert.Equal(PairedDifference.Of([on.DocumentSums], [off.DocumentSums]).Value, leakage.Rows[^1].Differences[1]!.Value, 1e-9);
            string[] lines = leakage.ToMarkdown().Split('\n');
            Assert.Equal("| overlap at most | share of the tokens | off | on |", lines[0].TrimEnd());
            Assert.StartsWith("| 12.5 % | ", lines[2], StringComparison.Ordinal);
            Assert.StartsWith("| 100 % | 100.0 % | ", lines[6], StringComparison.Ordinal);

            // The rule reads two of the three neighbors that the overlap is with; other ones can hold what these do not.
            Assert.Equal("", leakage.Note);
            EvaluationEntry[] others =
            [
                new("by another source", [on with { SourceName = "bm25" }]), new("more", [on with { Neighbors = 4 }]),
                new("longer", [on with { RetrievedLength = (2 * M) + 1 }]), new("shorter", [on with { RetrievedLength = M }]),
                new("anywhere", [off with { ReadsOtherText = true }]),
            ];
            LeakageTable noted = LeakageTable.Of(curve, [new("off", [off]), new("on", [on]), .. others]);
            Assert.Contains(
                "3 by given. Other text is read by by another source; more; longer; anywhere: what is gained", noted.Note, StringComparison.Ordinal);
            Assert.EndsWith(noted.Note, noted.ToMarkdown().TrimEnd(), StringComparison.Ordinal);

            // Of several seeds the mean.
            LeakageTable seeds = LeakageTable.Of(curve, [new("both", [off, on])]);
            Assert.All(
                seeds.Rows, row => Assert.Equal((curve.At(off, row.Bound).Value + curve.At(on, row.Bound).Value) / 2, row.Values[0], 1e-12));
            Assert.NotEqual(off.Value, seeds.Rows[^1].Values[0], 1e-6);
        }
    }

    [Fact]
    public void Token_records_hold_every_token_what_it_cost_and_whether_the_neighbors_held_it()
    {
        (ChunkDatabase heldOut, ChunkDatabase retrieval, NeighborTable table, BitsPerByteResult off, BitsPerByteResult on) = Measured();
        using (heldOut)
        using (retrieval)
        using (table)
        {
            string path = Path.Combine(_folder.Path, "tokens.jsonl");
            TokenRecords.Write(path, heldOut, new Dictionary<string, BitsPerByteResult> { ["off"] = off, ["on"] = on }, table, 2);
            JsonElement[] lines = [.. File.ReadLines(path).Select(line => JsonDocument.Parse(line).RootElement)];
            Assert.Equal(on.Tokens, lines.Length);
            Assert.Equal(on.Bits, lines.Sum(line => line.GetProperty("bits").GetProperty("on").GetDouble()), 1e-2);
            Assert.Equal(off.Bits, lines.Sum(line => line.GetProperty("bits").GetProperty("off").GetDouble()), 1e-2);
            long[] tokens = new long[2 * M];
            bool[] valid = new bool[2 * M];
            int hits = 0;
            foreach (JsonElement line in lines)
            {
                DocumentEntry document = heldOut.Documents.Single(document => document.Id == line.GetProperty("document").GetString());
                int place = line.GetProperty("place").GetInt32();
                int[] text = [.. Enumerable.Range(0, place + 1).Select(i => heldOut.Tokens(document.FirstChunk + i / M)[i % M])];
                Assert.Equal(text[^1], line.GetProperty("token").GetInt32());
                if (place < M)
                {
                    Assert.Equal(JsonValueKind.Null, line.GetProperty("hit").ValueKind);
                    continue;
                }

                int longest = 0;
                foreach (long neighbor in table.Row(document.FirstChunk + place / M - 1)[..2])
                {
                    retrieval.CopyRetrieved(neighbor, tokens, valid);
                    for (int end = 0; end < tokens.Length; end++)
                    {
                        int run = 0;
                        while (run <= Math.Min(end, place) && run < 12 && valid[end - run] && tokens[end - run] == text[place - run])
                        {
                            run++;
                        }

                        longest = Math.Max(longest, run);
                    }
                }

                Assert.Equal(longest, line.GetProperty("hit").GetInt32());
                hits += longest > 1 ? 1 : 0;
            }

            Assert.NotEqual(0, hits);
            string before = File.ReadAllText(path);
            using CancellationTokenSource cancel = new();
            Assert.Throws<OperationCanceledException>(() => TokenRecords.Write(
                path, heldOut, new Dictionary<string, BitsPerByteResult> { ["on"] = on }, table,
                    progress: new Reports<StageProgress>(_ => cancel.Cancel()), cancellationToken: cancel.Token));
            Assert.Equal(before, File.ReadAllText(path));
            Assert.Throws<ArgumentException>(
                () => TokenRecords.Write(path, heldOut, new Dictionary<string, BitsPerByteResult> { ["on"] = on with { TokenBits = null } }, table));
            Assert.Throws<ArgumentException>(() => TokenRecords.Write(path, heldOut, new Dictionary<string, BitsPerByteResult>(), table, 9));

            // What a reader takes for impossible costs more than any number.
            float[] bits = [.. off.TokenBits!];
            int first = Enumerable.Range(0, bits.Length).First(i => bits[i] > 0);
            bits[first] = float.PositiveInfinity;
            TokenRecords.Write(path, heldOut, new Dictionary<string, BitsPerByteResult> { ["off"] = off with { TokenBits = bits } }, table);
            JsonElement[] written = [.. File.ReadLines(path).Select(line => JsonDocument.Parse(line).RootElement.GetProperty("bits").GetProperty("off"))];
            Assert.Equal(on.Tokens, written.Length);
            Assert.Single(written, one => one.ValueKind == JsonValueKind.Null);
        }
    }

    private static EvaluationEntry Entry(string name, params double[] shares)
    {
        DocumentSums sums = PairedDifferenceTests.Sums(1, 3, 0);
        bool off = name == "closed book";
        return new EvaluationEntry(name, [.. shares.Select(share => new BitsPerByteResult(
            name, off ? "off" : "bm25", off ? 0 : 2, 1000, sums with { Bits = [.. sums.Bits.Select(bits => share * bits)] }, [1], 100, 300, "hash")
        {
            WindowLength = 64, Stride = 32,
        })]);
    }

    /// <summary>A toy, and the pointer rule on top of it, measured on documents of few letters.</summary>
    private (ChunkDatabase HeldOut, ChunkDatabase Retrieval, NeighborTable Table, BitsPerByteResult Off, BitsPerByteResult On) Measured()
    {
        ChunkDatabase heldOut = _databases.Build(Few(TestDatabases.Documents(30, seed: 1), "held-out "), M, "held-out"),
            retrieval = _databases.Build(Few(TestDatabases.Documents(20, seed: 2), ""), M, "retrieval");
        Random random = new(1);
        GivenNeighborSource source = new(retrieval, _ => [.. Enumerable.Range(0, 3).Select(_ => random.NextInt64(retrieval.ChunkCount)).Distinct()]);
        NeighborTable table = NeighborTable.Build(Path.Combine(_folder.Path, "table"), heldOut, source, 3, excludeOwnDocument: false);
        ToyReader toy = new(257);
        BitsPerByteOptions options = new() { WindowLength = 32, KeepTokens = true };
        PointerReader pointer = new(toy, new PointerRule(2, M, 2 * M, [.. Enumerable.Range(1, PointerRule.LongestRun).Select(run => run / 13.0)]));
        return (
            heldOut, retrieval, table, BitsPerByte.Measure(toy, heldOut, options: options), BitsPerByte.Measure(pointer, heldOut, table, options));

        static IEnumerable<Retro.Corpora.Document> Few(List<Retro.Corpora.Document> documents, string prefix)
            => documents.Select(
                document => document with { Id = prefix + document.Id, Text = prefix + string.Concat(document.Text.Select(c => (char)('a' + c % 3))) });
    }
}

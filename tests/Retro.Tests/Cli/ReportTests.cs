using System.Text.RegularExpressions;
using System.Xml.Linq;
using Retro.Cli;
using Retro.Cli.Reports;
using Retro.Cli.Workflow;
using Retro.Corpora;
using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Embedders;
using Retro.Tokenizers;
using static TorchSharp.torch;

namespace Retro.Tests.Cli;

/// <summary>Plots, and texts shown token by token.</summary>
public sealed partial class ReportTests : IDisposable
{
    private static readonly XNamespace s_svg = "";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_plot_is_well_formed_falls_where_its_values_fall_and_takes_the_pages_colors()
    {
        XElement figure = XElement.Parse(Plot.Lines(
            "Loss <a & b>", "step", "nats", new PlotSeries("train", [(0, 5), (10, double.NaN), (10, 3), (20, 1)]), new PlotSeries("off", [(0, 2), (20, 2)])));

        Assert.Equal("Loss <a & b> (nats)", figure.Element("figcaption")!.Value);
        Assert.Equal(["train", "off"], figure.Descendants("li").Select(item => item.Value));
        double[][] points = [.. Points(figure, "--series1")];
        Assert.Equal(3, points.Length);
        Assert.True(points[0][1] < points[1][1] && points[1][1] < points[2][1], "a falling loss is drawn downwards");
        Assert.Equal((points[0][0] + points[2][0]) / 2, points[1][0], 1e-2);
        Assert.DoesNotMatch("rgb\\(|#[0-9a-f]{3}|black|clip-path|http", figure.ToString());
    }

    [Fact]
    public void A_long_line_is_drawn_by_means_and_a_plot_of_nothing_is_none()
    {
        XElement figure = XElement.Parse(Plot.Lines("t", "x", "y", new PlotSeries("a", [.. Enumerable.Range(0, 1000).Select(i => ((double)i, i % 2.0))])));
        Assert.InRange(Points(figure, "--series1").Count(), 100, 200);
        Assert.Equal("", Plot.Lines("t", "x", "y", new PlotSeries("a", [(0, double.NaN)])));
        Assert.Equal("", Plot.Intervals("t", "x", []));
    }

    /// <summary>A folder that stands where the text is made whole, before it takes the report's place.</summary>
    [Fact]
    public void A_report_that_cannot_be_written_leaves_the_one_before_and_is_told_as_a_fault()
    {
        string path = _folder.File("report.md", "before");
        Directory.CreateDirectory(path + ".tmp");
        Assert.Contains("report.md cannot be written", Assert.Throws<RetroException>(() => Stages.Report(path, "after")).Message, StringComparison.Ordinal);
        Assert.Equal("before", File.ReadAllText(path));
    }

    [Fact]
    public void Intervals_reach_from_their_low_to_their_high_ends()
    {
        XElement figure = XElement.Parse(Plot.Intervals("t", "%", [new("one", -5, -8, -2), new("a name that is far too long to stand beside", 1, 1, 1)]));
        double[][] line = [.. Points(figure, "--series1").Take(2)];
        Assert.True(line[0][0] < line[1][0] && line[0][1] == line[1][1]);
        Assert.Contains(figure.Descendants("text"), text => text.Value == "a name t…stand beside");

        // The points at both ends, here without intervals, are drawn whole, not across the border into the names.
        XElement points = XElement.Parse(Plot.Intervals("t", "%", [new("one", -30, -30, -30), new("two", 40, 40, 40)]));
        XElement[] dots = [.. points.Descendants("ellipse")];
        Assert.Equal(2, dots.Length);
        Assert.All(dots, dot => Assert.InRange((double)dot.Attribute("cx")!, 148 + (double)dot.Attribute("rx")!, 388 - (double)dot.Attribute("rx")!));
    }

    [Fact]
    public void A_text_is_shown_with_what_reading_gained_and_with_what_it_read()
    {
        RetroTokenizer tokenizer = EmbeddingInputs.Tokenizer;
        string told = "The lighthouse stands on the northern cape, the lighthouse on the rock, the <old> & native one above the harbor.";
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(
            _folder["db"],
            [new Document("d0", "Light & house", told, "light.txt"), new Document("d1", "", "Green tea is brewed below boiling heat.", "tea.txt")],
            tokenizer,
            new ChunkDatabaseOptions { ChunkLength = 8 });
        using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        RetroConfig config = RetroConfig.Tiny with { VocabularySize = tokenizer.VocabularySize, InitialOutputScale = 1 };
        manual_seed(1);
        using RetroModel model = new(config with { Retrieval = config.Retrieval! with { ChunkLength = 8, RetrievedLength = 16, Neighbors = 2 } });
        RetroReader reader = new(model);
        int[] tokens = [tokenizer.BeginOfText, .. tokenizer.Encode(told)];
        CancellationToken cancel = TestContext.Current.CancellationToken;
        double[] offBits = TextReading.Bits(new DecoderReader(model), tokens, 1, null, 8);
        double[] onBits = TextReading.Bits(reader, tokens, 1, TextReading.Retrieve(reader, source, tokens, cancel), 8);

        string html = new Inspection(database, tokenizer, reader, source, [new RandomNeighborSource(database, 1)])
            .Show(tokens, offBits, onBits, [], cancel);

        XElement page = XElement.Parse($"<div>{html.Replace("<br>", "<br/>", StringComparison.Ordinal)}</div>", LoadOptions.PreserveWhitespace);
        Assert.Equal(told, string.Concat(page.Descendants("div").Where(div => (string?)div.Attribute("class") == "text own").Select(div => div.Value)));
        XElement[] hints = [.. page.Descendants("span").Where(span => span.Attribute("title") is not null)];
        double off = -new DecoderReader(model).LogLikelihoods(Batch(tokens)).Sum() / Math.Log(2);
        double shown = hints.Sum(span => double.Parse(Hint().Match((string)span.Attribute("title")!).Groups[1].Value, null));
        Assert.InRange(shown, off - 0.3, off + 0.3); // each of some dozen numbers is rounded, and parts of characters are told with the last one
        Assert.Contains(hints, span => !((string)span.Attribute("title")!).StartsWith("0.00 bits", StringComparison.Ordinal));
        XElement[] read = [.. page.Descendants("article")];
        Assert.Contains("Light & house, chunk", read[0].Element("header")!.Value, StringComparison.Ordinal);
        Assert.Contains("light.txt", read[0].Value, StringComparison.Ordinal);
        Assert.Matches(@"bm25: rank 1, score \d+\.\d\d; random: (rank|not among)", read[0].Value);
        Assert.Contains(page.Descendants("mark"), mark => mark.Value.Length > 4);
        Assert.Contains(page.Descendants("span"), span => (string?)span.Attribute("class") == "found");
    }

    private static ReadingBatch Batch(int[] tokens)
    {
        ReadingBatch batch = new(1, tokens.Length - 1, 8);
        for (int i = 1; i < tokens.Length; i++)
        {
            (batch.Tokens[i - 1], batch.Targets[i - 1]) = (tokens[i - 1], tokens[i]);
        }

        return batch;
    }

    private static IEnumerable<double[]> Points(XElement figure, string color)
        => figure.Descendants(s_svg + "polyline")
            .Where(line => ((string)line.Attribute("style")!).Contains($"stroke:var({color})", StringComparison.Ordinal))
            .SelectMany(line => ((string)line.Attribute("points")!).Split(' '))
            .Select(point => point.Split(',').Select(number => double.Parse(number, System.Globalization.CultureInfo.InvariantCulture)).ToArray());

    [GeneratedRegex(@"off (\d+\.\d\d)")]
    private static partial Regex Hint();
}

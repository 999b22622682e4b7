using System.Text.RegularExpressions;
using Retro.Checkpoints;
using Retro.Database;
using Retro.Modeling;
using Retro.Tests.Build;

namespace Retro.Tests.Samples;

/// <summary>samples/TrainFromScratch, samples/Evaluate and samples/Generate as their users run them, the others with what the first has written.</summary>
public sealed partial class TrainFromScratchTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_model_is_trained_and_measured_and_continues_a_text_with_sources()
    {
        string[] topics = ["river", "bridge", "harbor", "mountain"];
        for (int i = 0; i < 24; i++)
        {
            _folder.File(
                Path.Combine("docs", $"{i}.md"),
                $"# The {topics[i % 4]} {i}\n\n"
                    + string.Concat(Enumerable.Range(0, 30).Select(j => $"The {topics[i % 4]} number {i} has {j} stones and {j * i} steps.\n")));
        }

        string corpus = Path.Combine(_folder.Path, "docs"), made = Path.Combine(_folder.Path, "made");
        (int code, string output) = Tool.Run("dotnet", _folder.Path, Fixtures.Sample("TrainFromScratch"), corpus, made, "4");
        Assert.True(code == 0, output);
        Assert.Equal(["off", "random neighbors", "on"], Row().Matches(output).Select(row => row.Groups[1].Value));
        Assert.Contains("step 4 of 4", output, StringComparison.Ordinal);
        Assert.Contains("of 2 held-out documents", output, StringComparison.Ordinal);
        using (ChunkDatabase database = ChunkDatabase.Open(Path.Combine(made, "database")), heldOut = ChunkDatabase.Open(Path.Combine(made, "held-out")))
        {
            Assert.Equal(2, heldOut.Documents.Count);
            Assert.InRange(database.Documents.Count, 1, 22);
            Assert.Empty(database.Documents.Select(document => document.Id).Intersect(heldOut.Documents.Select(document => document.Id)));
        }

        // What is measured again is what was measured, and beside it how it goes with what stands in the neighbors.
        string[] trained = Rows(output);
        (code, output) = Tool.Run("dotnet", _folder.Path, Fixtures.Sample("Evaluate"), made);
        Assert.True(code == 0, output);
        Assert.Equal(trained, Rows(output[..output.IndexOf("| overlap at most", StringComparison.Ordinal)]));
        Assert.Contains("| overlap at most | share of the tokens | off | random neighbors | on |", output, StringComparison.Ordinal);
        Assert.Contains("| 100 % | 100.0 % |", output, StringComparison.Ordinal);

        // The beginning alone fills chunks, whatever so fresh a model then writes.
        string beginning = string.Concat(Enumerable.Range(0, 20).Select(i => $"The river number {i} has many stones.\n"));
        (code, output) = Tool.Run("dotnet", _folder.Path, Fixtures.Sample("Generate"), made, beginning, "20");
        Assert.True(code == 0, output);
        Assert.Matches(@"(?s)^.+\n\nsources:\n(  The (river|bridge|harbor|mountain) \d+, chunk \d+: .+\n)+$", output);

        // A text that ends within its first chunk has read nothing, and says so.
        (code, output) = Tool.Run("dotnet", _folder.Path, Fixtures.Sample("Generate"), made, "The river", "3");
        Assert.True(code == 0, output);
        Assert.Contains("no sources: no chunk of 64 tokens was complete.", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("TrainFromScratch", "usage: TrainFromScratch", 2)]
    [InlineData("TrainFromScratch", "There is no folder or file", 1, "nowhere", "made")]
    [InlineData("TrainFromScratch", "usage: TrainFromScratch", 2, "docs", "made", "many")]
    [InlineData("Generate", "usage: Generate", 2)]
    [InlineData("Generate", "nowhere", 1, "nowhere", "The")]
    [InlineData("Evaluate", "usage: Evaluate", 2)]
    [InlineData("Evaluate", "nowhere", 1, "nowhere")]
    public void A_wrong_command_line_gets_one_sentence_and_an_exit_code(string sample, string said, int expected, params string[] arguments)
    {
        (int code, string output) = Tool.Run("dotnet", _folder.Path, [Fixtures.Sample(sample), .. arguments]);
        Assert.Equal(expected, code);
        Assert.Contains(said, output, StringComparison.Ordinal);
        Assert.Single(output.TrimEnd().Split('\n'));
    }

    /// <summary>The rows of the table of readers, with what was measured.</summary>
    private static string[] Rows(string output) => [.. Row().Matches(output).Select(row => row.Value)];

    /// <summary>What reads nothing has nothing to be measured on and off.</summary>
    [Fact]
    public void A_decoder_alone_is_not_evaluated()
    {
        using RetroModel model = new(RetroConfig.Tiny with { Retrieval = null });
        Checkpoint.Save(_folder["made/model"], model);
        (int code, string output) = Tool.Run("dotnet", _folder.Path, Fixtures.Sample("Evaluate"), "made");
        Assert.Equal(1, code);
        Assert.Contains("The model in made/model reads no neighbors; train one that does,", output, StringComparison.Ordinal);
    }

    [GeneratedRegex(@"^\| ((?!reader)[a-z][^|]*) \|(?:[^|\n]*\|)*? \d+\.\d{4} \|", RegexOptions.Multiline)]
    private static partial Regex Row();
}

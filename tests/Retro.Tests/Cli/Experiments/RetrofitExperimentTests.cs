using System.Text.RegularExpressions;
using Retro.Checkpoints;
using Retro.Database;
using Retro.Modeling;
using Retro.Pretrained;
using Retro.Tests.Samples;
using Retro.Tokenizers;

namespace Retro.Tests.Cli.Experiments;

/// <summary>`retro experiment retrofit`, from its command line to its report.</summary>
public sealed partial class RetrofitExperimentTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>In what the second run computes; bfloat16 takes minutes where the processor has no products of it.</summary>
    public static IEnumerable<TheoryDataRow<string>> Types =>
    [
        new("float64"),
        new TheoryDataRow<string>("bfloat16").WithTrait("Category", "Long"),
    ];

    [Theory]
    [MemberData(nameof(Types))]
    public void A_decoder_is_trained_on_one_half_and_reads_the_other_beside_what_more_training_gives(string type)
    {
        string corpus = MadeUpCorpus.Write(_folder, documents: 80, lines: 10, words: 300);
        string[] command = ["experiment", "retrofit", "--corpus", corpus, "--steps", "2", "--out"];
        (int code, string output) = CliRun.In(_folder.Path, [.. command, "out", "--decoder-steps", "3"]);
        Assert.True(code == 0, output);
        string made = _folder["out/corpus"], report = File.ReadAllText(Path.Combine(made, "retrofit.md"));
        Assert.Equal(
            [
                "decoder", "decoder + pointer rule, k = 8", "fitted off", "fitted random", "fitted", "decoder, trained on",
                "decoder, trained on + pointer rule, k = 8",
            ],
            Row().Matches(report).Select(row => row.Groups[1].Value));
        Assert.Contains("| decoder, trained on | - | - | 5 |", report, StringComparison.Ordinal);
        Assert.Contains(
            "\nThe documents are neither trained on nor retrieved from.\nOff, the fitted model is the decoder to the bit.", report, StringComparison.Ordinal);
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Path.Combine(made, "decoder"));
        using Retrofit retrofit = Retrofit.Load(Path.Combine(made, "model"), decoder);
        Assert.True(retrofit.Model.Config.Retrieval!.MatchBias);

        // The decoder that it trained is one to fit onto as any other, in another type, too. What another seed holds out it may have seen.
        (code, output) = CliRun.In(
            _folder.Path,
            [
                .. command, "again", "--model", Path.Combine(made, "decoder"), "--tokenizer", Path.Combine(made, "tokenizer"), "--dtype", type,
                "--seed", "9", "--quiet",
            ]);
        Assert.True(code == 0, output);
        report = File.ReadAllText(_folder["again/corpus/retrofit.md"]);
        Assert.Contains($"the decoder to the bit.\nAll models are in {type}.", report, StringComparison.Ordinal);
        Assert.Equal(report + "\n", output); // and no progress
        Assert.DoesNotContain("neither trained on", report, StringComparison.Ordinal);
        using (ChunkDatabase learned = ChunkDatabase.Open(Path.Combine(made, "decoder-database")),
            heldOut = ChunkDatabase.Open(_folder["again/corpus/held-out"]))
        {
            int seen = heldOut.Documents.Select(document => document.Id).Intersect(learned.Documents.Select(document => document.Id)).Count();
            Assert.InRange(seen, 1, heldOut.Documents.Count - 1);
            Assert.Contains(
                $"\nThe documents are not retrieved from, and nothing was trained or fitted on them here. {seen} of {heldOut.Documents.Count} held-out "
                    + "documents were in what the decoder was trained on: what it remembers is measured, too.\n",
                report,
                StringComparison.Ordinal);
        }

        // What was fitted is not replaced unasked.
        (code, output) = CliRun.In(_folder.Path, [.. command, "out"]);
        Assert.True(code == 1 && output.Contains("holds the models of an earlier run; replace them (--start-over)", StringComparison.Ordinal), output);
    }

    [Fact]
    public void What_cannot_be_fitted_replaces_nothing()
    {
        string corpus = MadeUpCorpus.Write(_folder, documents: 2, lines: 4, words: 50);
        string old = _folder.File(Path.Combine("out", "corpus", "model", "old"), "of another run");
        string report = _folder.File(Path.Combine("out", "corpus", "retrofit.md"), "of another run");
        _folder.File(Path.Combine("out", "corpus", ".retro"), corpus); // whose run it was
        RetroTokenizer tokenizer = BpeTrainer.Train(["words of letters alone"], 260, _folder["tokenizer"]);
        using (RetroModel decoder = new(RetroConfig.Tiny with { VocabularySize = tokenizer.VocabularySize, Retrieval = null, MaximumLength = 64 }))
        {
            Checkpoint.Save(_folder["short"], decoder);
        }

        Refused("reads 64 tokens, fewer than two chunks of 64", "--model", _folder["short"], "--tokenizer", _folder["tokenizer"]);
        Refused("One document is left to train on");

        void Refused(string why, params string[] more)
        {
            (int code, string output) = CliRun.In(
                _folder.Path, ["experiment", "retrofit", "--corpus", corpus, "--out", _folder["out"], "--start-over", .. more]);
            Assert.True(code == 1 && output.Contains(why, StringComparison.Ordinal), output);
            Assert.All([old, report], file => Assert.True(File.Exists(file)));
        }
    }

    [GeneratedRegex(@"^\| ((?!reader)[a-zA-Z][^|]*) \|", RegexOptions.Multiline)]
    private static partial Regex Row();
}

using System.Globalization;
using System.Text.RegularExpressions;
using Retro.Checkpoints;
using Retro.Cli.Experiments;
using Retro.Cli.Workflow;
using Retro.Corpora;
using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using Retro.Tests.Samples;
using Retro.Tokenizers;
using Retro.Training;
using static TorchSharp.torch;

namespace Retro.Tests.Cli.Experiments;

/// <summary>`retro experiment evaluate`, from its command line to its report.</summary>
public sealed partial class EvaluateExperimentTests : IDisposable
{
    private static readonly Recipe s_small = new(1, ScalarType.Float32) { WindowTokens = 64 };

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    [Trait("Category", "Long")]
    public void Every_reader_is_measured_beside_closed_book_and_what_was_trained_is_taken_again()
    {
        MadeUpCorpus.Write(_folder, documents: 48, lines: 8, words: 300);
        string[] command = ["experiment", "evaluate", "--corpus", _folder["corpus"], "--out", _folder["out"], "--seeds", "2", "--steps", "3",
            "--records", "--ladder", "2", "4", "5"];
        string old = _folder.File(Path.Combine("out", "corpus", "models", "2", "copying.safetensors"), "of another run");
        _folder.File(Path.Combine("out", "corpus", ".retro"), Path.Combine(_folder.Path, "corpus")); // whose run it was
        string report0 = _folder.File(Path.Combine("out", "corpus", "evaluation.md"), "of another run");

        // Not unasked, and not for a corpus that cannot be read, is what an earlier run has trained taken away.
        (int code, string output) = CliRun.In(_folder.Path, command);
        const string Refused = "holds the models of an earlier run; go on with them (--resume), replace them (--start-over)";
        Assert.True(code == 1 && output.Contains(Refused, StringComparison.Ordinal), output);
        string broken = Path.Combine(_folder.Path, "corpus", "broken.md");
        File.WriteAllBytes(broken, [0x41, 0xFD]);
        (code, output) = CliRun.In(_folder.Path, [.. command, "--start-over"]);
        Assert.True(code == 1 && output.Contains("is not UTF-8", StringComparison.Ordinal), output);
        Assert.Equal(["of another run", "of another run"], new[] { old, report0 }.Select(File.ReadAllText));
        File.Delete(broken);
        (code, output) = CliRun.In(_folder.Path, [.. command, "--start-over"]);
        Assert.True(code == 0, output);
        Assert.NotEqual("of another run", File.ReadAllText(old));
        string made = Path.Combine(_folder.Path, "out", "corpus"), report = File.ReadAllText(Path.Combine(made, "evaluation.md"));
        string[] readers =
        [
            .. ClosedBook("closed book"),
            "copying, random", "copying", "copying from anywhere, random", "copying from anywhere",
            "RETRO off", "RETRO random", "RETRO",
            .. ClosedBook("closed book, equal time"),
            "closed book, 1.8 times as large", "closed book, 4.7 times as large",
        ];
        static string[] ClosedBook(string name) => [name, $"{name} + pointer rule, k = 8", $"{name} + longest run in the database"];
        Assert.Equal(readers, Row().Matches(report[..report.IndexOf("## By overlap", StringComparison.Ordinal)]).Select(row => row.Groups[1].Value));
        Assert.Contains("of 12 held-out documents", report, StringComparison.Ordinal);
        Assert.Contains("Means over 2 seeds", report, StringComparison.Ordinal);
        Assert.Contains("| RETRO | bm25, k = 8 | bm25 | 4 |", report, StringComparison.Ordinal); // three of the closed book, and one of fitting
        Assert.Contains("| 100 % | 100.0 % |", report, StringComparison.Ordinal);
        using (ChunkDatabase heldOut = ChunkDatabase.Open(Path.Combine(made, "held-out"), verify: true))
        {
            Assert.Equal(heldOut.Documents.Sum(document => document.TokenCount - 1), File.ReadLines(Path.Combine(made, "tokens.jsonl")).Count());
        }

        (code, output) = CliRun.In(_folder.Path, [.. command, "--resume", "--k", "4"]);
        const string Trained = "was trained in 1 steps with 16 neighbors, not in ";
        Assert.True(code == 1 && output.Contains($"{Trained}1 steps with 4 neighbors; go on with", StringComparison.Ordinal), output);
        (code, output) = CliRun.In(_folder.Path, [.. command.Select(word => word == "3" ? "4" : word), "--resume"]);
        Assert.True(code == 1 && output.Contains($"{Trained}2 steps with 16 neighbors; go on with", StringComparison.Ordinal), output);

        // What copying took is remembered, here as nine seconds, and not the time that it takes to load it.
        foreach (int seed in new[] { 1, 2 })
        {
            string time = Path.Combine(made, "models", $"{seed}", "copying-from-anywhere.time");
            Assert.True(TimeSpan.Parse(File.ReadLines(time).First(), CultureInfo.InvariantCulture) > TimeSpan.Zero);
            File.WriteAllText(time, "00:00:09");
        }

        (code, output) = CliRun.In(_folder.Path, [.. command, "--resume"]);
        Assert.True(code == 0, output);
        string resumed = File.ReadAllText(Path.Combine(made, "evaluation.md"));
        Assert.Contains("| copying from anywhere | bm25, k = 16 | bm25 | 4 | 0.2 |", resumed, StringComparison.Ordinal);

        // The closed book is given more time now; what else was trained is as it was.
        Assert.Equal(Bits(report), Bits(resumed));

        // Another type goes on with nothing of that, and leaves it as it is.
        string closedBook = Path.Combine(made, "models", "1", "closed-book");
        byte[] weights = File.ReadAllBytes(Path.Combine(closedBook, "model.safetensors"));
        string[] other = [.. command[..6], "--seeds", "1", "--steps", "3", "--without-retro", "--dtype", "bfloat16", "--resume"];
        (code, output) = CliRun.In(_folder.Path, other);
        Assert.True(code == 0, output);
        Assert.Contains("in bfloat16.", File.ReadAllText(Path.Combine(made, "evaluation.md")), StringComparison.Ordinal);
        Assert.Contains("train copying, seed 1", output, StringComparison.Ordinal);
        Assert.Equal(ScalarType.BFloat16, Checkpoint.StoredType(Path.Combine(made, "models", "1-bfloat16", "closed-book")));
        Assert.Equal(weights, File.ReadAllBytes(Path.Combine(closedBook, "model.safetensors")));

        static string[] Bits(string text) => [.. Value().Matches(text)
            .Select(row => row.Groups["row"].Value + row.Groups["bits"].Value)
            .Where(row => !row.Contains("equal time", StringComparison.Ordinal))];
    }

    [Fact]
    [Trait("Category", "Long")]
    public void By_time_larger_decoders_take_the_steps_that_the_closed_book_made_and_what_is_fitted_half_of_them()
    {
        string corpus = MadeUpCorpus.Write(_folder, documents: 48, lines: 8, words: 300);
        (int code, string output) = CliRun.In(
            _folder.Path, "experiment", "evaluate", "--corpus", corpus, "--out", _folder["out"], "--seeds", "1", "--minutes", "0.02",
            "--ladder", "2", "--train-only");
        Assert.True(code == 0, output);
        string models = Path.Combine(_folder.Path, "out", "corpus", "models", "1");
        long made = Steps("closed-book");
        Assert.Equal((made, Math.Max(1, made / 2)), (Steps(Assert.Single(Directory.GetDirectories(models, "closed-book-1*"))), Steps("retro")));

        long Steps(string name) => Trainer.Stored(Path.Combine(models, name)).Steps;
    }

    [Fact]
    public void By_time_what_copies_takes_half_of_the_steps_that_the_closed_book_made()
    {
        using EvaluationData data = Data();
        using RetroModel model = new(Decoder(data));
        using (Trainer trainer = new(model, s_small.Training(5, _folder["closed-book"])))
        {
            trainer.Run(s_small.Windows(data.Database));
        }

        (CopyReader reader, TrainedModel trained) = Models(data, 40, TimeSpan.FromMinutes(1))
            .Copying(EvaluateRun.Copying, new(model, 5, TimeSpan.Zero, []), null);
        using CopyReader owned = reader;
        Assert.Equal((2, 7L), (reader.Options.Steps, trained.Steps));
    }

    /// <summary>What copies was learned on top of the closed book as it was; half of its steps may be as many as before.</summary>
    [Theory]
    [InlineData(5, null)]
    [InlineData(4, 20)]
    public void A_closed_book_that_others_were_trained_on_is_not_trained_on(int steps, int? seconds)
    {
        using EvaluationData data = Data();
        SeedModels first = Models(data, 4, null);
        TrainedModel closedBook = first.ClosedBook();
        using (RetroModel model = closedBook.Model)
        {
            first.Copying(EvaluateRun.Copying, closedBook, null).Reader.Dispose();
        }

        string state = Path.Combine(_folder["closed-book"], Trainer.StateFile);
        byte[] before = File.ReadAllBytes(state);
        SeedModels longer = Models(data, steps, seconds is { } time ? TimeSpan.FromSeconds(time) : null);
        Assert.Contains("and --steps or --minutes, as they were", Assert.Throws<RetroException>(longer.Train).Message, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(state));
    }

    /// <summary>A model that was trained to its end would have its rates rise and fall a second time, which is no training of that time.</summary>
    [Fact]
    public void The_closed_book_of_equal_time_is_trained_anew_where_the_time_is_another()
    {
        using EvaluationData data = Data();
        TrainedModel Trained(double seconds)
        {
            SeedModels models = Models(data, 4, null);
            using RetroModel closedBook = models.ClosedBook().Model;
            models.Copying(EvaluateRun.Copying, new(closedBook, 4, TimeSpan.FromSeconds(seconds), []), null).Reader.Dispose();
            TrainedModel trained = models.EqualTime();
            trained.Model.Dispose();
            return trained;
        }

        TrainedModel first = Trained(1), again = Trained(1), longer = Trained(2);
        Assert.Equal(1, first.Reports[0].Step);
        Assert.Empty(again.Reports);
        Assert.Equal((first.Steps, first.Time), (again.Steps, again.Time));
        Assert.Equal(1, longer.Reports[0].Step);
        Assert.True(longer.Time >= TimeSpan.FromSeconds(2));
    }

    [Fact]
    public void Records_of_what_is_not_measured_are_refused_before_anything_is_trained()
    {
        (int code, string output) = CliRun.In(_folder.Path, "experiment", "evaluate", "--train-only", "--records", "--steps", "1");
        Assert.Equal(2, code);
        Assert.Contains("--records does nothing here: nothing is measured", output, StringComparison.Ordinal);
    }

    private EvaluationData Data()
    {
        Document[] texts = [.. Enumerable.Range(0, 6).Select(i => new Document(
            $"{i}", "", string.Concat(Enumerable.Range(0, 20).Select(j => $"The river {i} has {i * j} steps.\n")), ""))];
        RetroTokenizer tokenizer = BpeTrainer.Train(texts.Select(text => text.Text), vocabularySize: 300, _folder["tokenizer"]);
        Document heldOut = new("held out", "", string.Concat(Enumerable.Range(0, 20).Select(i => $"A mountain of {i * i} stones.\n")), "");
        SampleCorpus corpus = new("text", texts, [heldOut], 0);
        return EvaluationData.Make(corpus, _folder["data"], neighbors: 1, default, tokenizer: tokenizer);
    }

    private static RetroConfig Decoder(EvaluationData data) => RetroConfig.Tiny with { VocabularySize = data.Tokenizer.VocabularySize, Retrieval = null };

    private SeedModels Models(EvaluationData data, int steps, TimeSpan? time)
    {
        EvaluateRun run = new(new ExperimentOptions(null, _folder["out"], 1, 1, null, ScalarType.Float32, new(), false))
        {
            Seeds = 1,
            Steps = steps,
            Time = time,
            Neighbors = 2,
            Times = 1,
            Retro = false,
            Sizes = [],
            TrainOnly = true,
            Records = false,
        };
        RetroConfig decoder = Decoder(data);
        return new(run, s_small, _folder.Path, decoder, RetrievalConfig.Matching(decoder), [], data, default);
    }

    [Fact]
    public void The_decoder_of_every_row_can_be_larger_and_has_a_folder_of_its_own()
    {
        RetroConfig usual = RetroConfig.Mini with { Retrieval = null };
        Assert.Equal(usual, EvaluateRun.Larger(usual, 1));
        string corpus = MadeUpCorpus.Write(_folder, documents: 48, lines: 8, words: 300);
        (int code, string output) = CliRun.In(
            _folder.Path, "experiment", "evaluate", "--corpus", corpus, "--out", _folder["out"], "--seeds", "1", "--steps", "1", "--times", "2",
            "--train-only");
        Assert.True(code == 0, output);
        string models = Assert.Single(Directory.GetDirectories(Path.Combine(_folder.Path, "out", "corpus", "models")));
        Assert.Equal("1-times-2", Path.GetFileName(models));
        RetroConfig closedBook = Checkpoint.LoadConfig(Path.Combine(models, "closed-book")), retro = Checkpoint.LoadConfig(Path.Combine(models, "retro"));
        Assert.Equal((160, 5), (closedBook.Width, closedBook.Layers));
        Assert.Equal(closedBook with { Retrieval = RetrievalConfig.Matching(closedBook) }, retro);
    }

    /// <summary>Heads are whole, so that several numbers of times have one decoder, which can have one row of a table.</summary>
    [Fact]
    public void Of_larger_decoders_that_are_the_same_one_is_trained()
        => Assert.Equal([160, 192, 224], EvaluateRun.Ladder(RetroConfig.Mini with { Retrieval = null }, [2, 3, 4, 5, 2]).Select(decoder => decoder.Width));

    [Fact]
    public void A_corpus_that_is_not_there_gets_one_sentence_and_an_exit_code()
    {
        (int code, string output) = CliRun.In(_folder.Path, "experiment", "evaluate", "--corpus", "nowhere");
        Assert.Equal(1, code);
        Assert.Contains("There is no folder or file", output, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.Combine(_folder.Path, "artifacts")));
    }

    // Names begin with a letter, which the head of a table's lines of dashes does not.
    [GeneratedRegex(@"^\| ((?!reader)[a-zA-Z][^|]*) \|", RegexOptions.Multiline)]
    private static partial Regex Row();

    // Up to the sixth column, without the fifth, the minutes.
    [GeneratedRegex(@"^(?<row>(?:\|[^|\n]*){4})\| \d+\.\d (?<bits>\| \d+\.\d+) ", RegexOptions.Multiline)]
    private static partial Regex Value();
}

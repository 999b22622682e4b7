namespace Retro.Tests.Cli.Commands;

/// <summary>`retro eval`: what a model is measured with, beside, and on.</summary>
public sealed class EvalCommandTests : IDisposable
{
    private readonly CliRun _retro = new();

    public void Dispose() => _retro.Dispose();

    /// <summary>A model knows the ids of one tokenizer, and what it has seen of a text that is measured.</summary>
    [Fact]
    public void A_model_is_not_used_with_what_it_was_not_trained_for()
    {
        _retro.Build();
        _retro.Done(["train", "--database", "work", "--out", "decoder", "--source", "none", "--steps", "2", .. CliRun.Tiny]);
        _retro.WriteFile("other/a.md", string.Concat(Enumerable.Range(0, 60).Select(i => $"Quiet yellow foxes jump over {i * 31} lazy dogs.\n")));
        _retro.WriteFile("other/b.md", string.Concat(Enumerable.Range(0, 60).Select(i => $"Zebras graze where {i * 17} kiwis nest in vain.\n")));
        _retro.Done("build", "--corpus", "other", "--out", "w2", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0.5");
        foreach (string[] line in new string[][]
        {
            ["ask", "--model", "decoder", "--database", "w2", "Who?"],
            ["eval", "--model", "decoder", "--database", "w2"],
            ["fit", "--base", "decoder", "--database", "w2", "--out", "fitted"],
            ["generate", "--model", "decoder", "--source", "none", "--tokenizer", Path.Combine("w2", "tokenizer"), "The"],
        })
        {
            ChildProcess.Outcome run = _retro.Run(line);
            Assert.True(run.ExitCode == 1, $"{line[0]}: {run.Output}{run.Errors}");
            Assert.Contains("was trained with another tokenizer", run.Errors, StringComparison.Ordinal);
            Assert.EndsWith($"build --tokenizer {Path.Combine("decoder", "model")}.\n", run.Errors, StringComparison.Ordinal);
        }

        // The same text and tokenizer, with other documents held out.
        _retro.Done(
            "build", "--corpus", "docs", "--tokenizer", "decoder", "--out", "w3", "--chunk", "16", "--held-out-share", "0.2", "--seed",
            "5");
        ChildProcess.Outcome seen = _retro.Run("eval", "--model", "decoder", "--database", "w3");
        Assert.Equal(1, seen.ExitCode);
        Assert.Contains($"work{Path.DirectorySeparatorChar}database", seen.Errors, StringComparison.Ordinal);
        Assert.Contains("none of them trained on or retrieved from", _retro.Done("eval", "--model", "decoder", "--window", "64"), StringComparison.Ordinal);

        // What a build holds out is what its folder stands for here, and not what is retrieved from.
        for (int i = 0; i < 8; i++)
        {
            _retro.WriteFile($"far/{i}.md", string.Concat(Enumerable.Range(0, 30).Select(j => $"Foxes of den {i} jump over {(j * 31) + (i * 977)} dogs.\n")));
        }

        _retro.Done("build", "--corpus", "far", "--tokenizer", "decoder", "--out", "w4", "--chunk", "16", "--held-out-share", "0.5");
        string elsewhere = _retro.Done("eval", "--model", "decoder", "--held-out", "w4", "--window", "64");
        Assert.Contains($"{Path.Combine("w4", "held-out")}\n", elsewhere, StringComparison.Ordinal);

        // Where it is not known what a model was trained on, nothing is said of it.
        File.Delete(Path.Combine(_retro["decoder"], "model", "trained-on.safetensors"));
        string measured = _retro.Done("eval", "--model", "decoder", "--database", "work", "--window", "64");
        Assert.Contains("none of them retrieved from", measured, StringComparison.Ordinal);
        Assert.Contains("It is not known what decoder was trained on; it may have seen these documents.", measured, StringComparison.Ordinal);
    }

    /// <summary>Which database they are measured on is the first one's to say, of those that know one, and that another has another is told.</summary>
    [Fact]
    public void Models_of_several_databases_are_measured_on_the_first_which_is_told()
    {
        _retro.Build();
        _retro.Done(
            "build", "--corpus", "docs", "--tokenizer", Path.Combine("work", "tokenizer"), "--out", "again", "--chunk", "16", "--held-out-share", "0.2");
        string[] train = ["train", "--source", "none", "--steps", "1", .. CliRun.Tiny];
        _retro.Done([.. train, "--database", "work", "--out", "one"]);
        _retro.Done([.. train, "--database", "again", "--out", "other"]);
        string told = $"{Path.DirectorySeparatorChar}{Path.Combine("work", "database")}, which all are measured on";
        string[] eval = ["eval", "--window", "64", "--model"];
        string both = _retro.Done([.. eval, "one", "other"]);
        Assert.Contains("other was trained on another database than ", both, StringComparison.Ordinal);
        Assert.Contains(told, both, StringComparison.Ordinal);
        Assert.DoesNotContain("another database", _retro.Done([.. eval, "one", "one"]), StringComparison.Ordinal);
        Assert.DoesNotContain("another database", _retro.Done([.. eval, "one", "other", "--database", "work"]), StringComparison.Ordinal);
    }

    /// <summary>The database that a model was trained on may be another by the time that the model is measured.</summary>
    [Fact]
    public void Documents_that_a_model_was_trained_on_are_not_called_unseen_though_they_are_held_out_now()
    {
        _retro.Build();
        string[] sizes = ["--database", "work", "--steps", "1", "--batch", "2", "--window", "64"];
        _retro.Done(["train", "--out", "decoder", "--source", "none", "--preset", "tiny", .. sizes]);
        _retro.Done(["fit", "--base", "decoder", "--out", "copied", "--reader", "copying", "--k", "2", .. sizes]);
        string before = _retro.Done("eval", "--model", "copied", "--window", "64", "--json", "before.json");
        Assert.Contains("none of them trained on or retrieved from", before, StringComparison.Ordinal);
        Assert.False(_retro.Json("before.json").ContainsKey("warnings"));

        _retro.Done("build", "--out", "work", "--tokenizer", Path.Combine("decoder", "model"), "--held-out-share", "0.5", "--start-over");
        string again = _retro.Done(["fit", "--base", "copied", "--out", "again", "--reader", "copying", "--k", "2", .. sizes]);
        Assert.Contains("copied holds a decoder and what copies on top of it; the decoder alone is taken", again, StringComparison.Ordinal);
        foreach (string model in new[] { "decoder", "copied", "again" })
        {
            string said = $"7 of 12 held-out documents were in what {model} was trained on: what it remembers is measured, too.";
            string shown = _retro.Done("eval", "--model", model, "--window", "64", "--json", "after.json");
            Assert.Contains("none of them retrieved from.", shown, StringComparison.Ordinal);
            Assert.Contains(said, shown, StringComparison.Ordinal);
            Assert.Contains(said, File.ReadAllText(_retro[$"{model}/evaluation.html"]), StringComparison.Ordinal);
            Assert.Equal(said, (string)_retro.Json("after.json")["warnings"]![0]!);
        }

        // How it was trained stands in the report of that alone.
        Assert.Contains("Training: copying", File.ReadAllText(_retro["copied/report.html"]), StringComparison.Ordinal);

        Assert.Contains(
            "12 held-out documents were in what decoder was trained on",
            _retro.Done("eval", "--task", "qa", "--model", "decoder", "--questions", "1"),
            StringComparison.Ordinal);
    }

    /// <summary>An embedder stays where a database is built anew, and what finds by its keys finds by what it was trained on.</summary>
    [Fact]
    public void Documents_that_the_embedder_was_trained_on_are_not_called_unseen_where_it_makes_the_keys()
    {
        _retro.Build();
        _retro.Done("embed-train", "--database", "work", "--out", "work", "--steps", "1");
        _retro.Done("build", "--out", "work", "--tokenizer", Path.Combine("work", "tokenizer"), "--held-out-share", "0.5", "--start-over");
        string[] sizes = ["--database", "work", "--steps", "1", "--batch", "2", "--window", "64"];
        _retro.Done(["train", "--out", "decoder", "--source", "none", "--preset", "tiny", .. sizes]);
        _retro.Done(["fit", "--base", "decoder", "--out", "copied", "--reader", "copying", "--k", "2", "--source", "dense", .. sizes]);
        string said = $"{Path.DirectorySeparatorChar}{Path.Combine("work", "embedder")} was trained on: what it remembers is measured, too.";
        foreach (string[] line in new string[][] { ["copied"], ["decoder", "--source", "hybrid"] })
        {
            string shown = _retro.Done(["eval", "--window", "64", "--json", "eval.json", "--model", .. line]);
            Assert.Contains("none of them retrieved from.", shown, StringComparison.Ordinal);
            string warning = (string)_retro.Json("eval.json")["warnings"]!.AsArray().Single()!;
            Assert.StartsWith("7 of 12 held-out documents were in what ", warning, StringComparison.Ordinal);
            Assert.EndsWith(said, warning, StringComparison.Ordinal);
            Assert.Contains(warning, File.ReadAllText(_retro[$"{line[0]}/evaluation.html"]), StringComparison.Ordinal);
        }

        string byWords = _retro.Done("eval", "--window", "64", "--model", "copied", "--source", "bm25");
        Assert.Contains("none of them trained on or retrieved from.", byWords, StringComparison.Ordinal);
    }

    /// <summary>What has left the database since is known by a hash, which finds the same again and nothing that is nearly the same.</summary>
    [Fact]
    public void Documents_are_not_called_unseen_where_a_model_has_learned_more_than_they_were_compared_with()
    {
        string[] lines = [.. Enumerable.Range(0, 60).Select(i => $"Quiet yellow foxes jump over {i * 31} lazy dogs.\n")];
        _retro.WriteCorpus();
        _retro.WriteFile("docs/foxes.md", string.Concat(lines));
        _retro.Done("build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0");
        _retro.Done(["train", "--database", "work", "--out", "decoder", "--source", "none", "--steps", "1", .. CliRun.Tiny]);
        lines[^1] = lines[^1].Replace("lazy", "tired", StringComparison.Ordinal);
        _retro.WriteFile("other/nearly.md", string.Concat(lines));
        _retro.WriteFile("other/zebras.md", string.Concat(Enumerable.Range(0, 60).Select(i => $"Zebras graze where {i * 17} kiwis nest in vain.\n")));
        _retro.Done("build", "--corpus", "other", "--tokenizer", "decoder", "--out", "w2", "--chunk", "16", "--held-out-share", "0");
        string[] eval = ["eval", "--model", "decoder", "--held-out", "w2", "--window", "64", "--json", "eval.json"];
        Assert.Contains("nearly word for word", _retro.Run(eval).Errors, StringComparison.Ordinal);

        _retro.Done("update", "--database", "work", "--remove", "foxes.md");
        Assert.Contains("none of them retrieved from.", _retro.Done(eval), StringComparison.Ordinal);
        Assert.Equal(
            "Some of what decoder was trained on is in no database that was looked through: by name or text none of these documents is in it, but something "
                + "may be that nearly repeats one.",
            (string)_retro.Json("eval.json")["warnings"]!.AsArray().Single()!);
    }

    [Fact]
    public void Each_model_is_measured_by_the_source_and_beside_the_decoder_that_it_was_trained_with()
    {
        _retro.Build();
        string[] train = ["train", "--database", "work", "--source", "none", .. CliRun.Tiny];
        _retro.Done([.. train, "--out", "decoder", "--steps", "2"]);
        _retro.Done([.. train, "--out", "big", "--steps", "3"]);
        string[] fit = ["fit", "--base", "decoder", "--database", "work", "--steps", "2", "--window", "64"];
        _retro.Done([.. fit, "--out", "copied", "--reader", "copying", "--source", "random"]);
        _retro.Done([.. fit, "--out", "fitted"]);
        string[] names = ["closed book", "closed book of copied", "copying", "RETRO"];
        Assert.Equal(["off", "off", "random", "bm25"], Sources("big", "copied", "fitted"));
        Assert.Equal(["off", "-", "random", "bm25"], Sources("fitted", "decoder", "copied"));
        Assert.Equal(["off", "-", "bm25", "bm25"], Sources("fitted", "decoder", "copied", "--source", "bm25"));
        double first = Random();
        Sources("copied", "--seed", "99");
        Assert.NotEqual(first, Random());

        // What reads nothing is not told in silence what to read; what a fault of the library calls by its own names, is named as it is typed.
        foreach ((string option, string said) in new[]
        {
            ("--labels", "--labels does nothing here: the model reads nothing"), ("--passage", "--passage does nothing here: the model reads nothing"),
        })
        {
            ChildProcess.Outcome idle = _retro.Run("generate", "--model", "decoder", option, "river", "The");
            Assert.Equal(2, idle.ExitCode);
            Assert.StartsWith(said, idle.Errors, StringComparison.Ordinal);
        }

        foreach (string option in new[] { "--stop", "--ban" })
        {
            ChildProcess.Outcome empty = _retro.Run("generate", "--model", "decoder", option, "", "The");
            Assert.Equal(2, empty.ExitCode);
            Assert.StartsWith($"{option} is ", empty.Errors, StringComparison.Ordinal);
        }

        Assert.Contains(
            "It reads nothing, whatever --source says: the model is a decoder alone.",
            _retro.Done("generate", "--model", "decoder", "--source", "bm25", "--tokens", "2", "The"),
            StringComparison.Ordinal);
        Assert.DoesNotContain("reads nothing", _retro.Done("generate", "--model", "decoder", "--tokens", "2", "The"), StringComparison.Ordinal);

        ChildProcess.Outcome drawn = _retro.Run("generate", "--model", "decoder", "--beams", "3", "--temperature", "0.7", "The");
        Assert.Equal(2, drawn.ExitCode);
        Assert.StartsWith("--", drawn.Errors, StringComparison.Ordinal);
        Assert.Contains("--temperature 0, --repetition-penalty 1 and nothing else", drawn.Errors, StringComparison.Ordinal);
        Assert.EndsWith("See retro generate --help.\n", drawn.Errors, StringComparison.Ordinal);

        double Random() => (double)_retro.Json("eval.json")["readers"]!.AsArray().Single(row => (string)row!["reader"]! == "copying, random")!["bitsPerByte"]!;

        string[] Sources(params string[] models)
        {
            _retro.Done(["eval", "--window", "64", "--json", "eval.json", "--model", .. models]);
            Dictionary<string, string> rows = _retro.Json("eval.json")["readers"]!.AsArray()
                .ToDictionary(row => (string)row!["reader"]!, row => (string)row!["source"]!);
            return [.. names.Select(name => rows.GetValueOrDefault(name, "-"))];
        }
    }
}

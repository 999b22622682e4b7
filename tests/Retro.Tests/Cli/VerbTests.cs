using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Retro.Checkpoints;
using Retro.Database;
using Retro.Embedders;
using Retro.Modeling;
using Retro.Tests.Database;
using Retro.Tokenizers;
using static TorchSharp.torch;

namespace Retro.Tests.Cli;

/// <summary>Each verb of the tool, from its command line to what it leaves.</summary>
public sealed class VerbTests : IDisposable
{
    private readonly CliRun _retro = new();

    public void Dispose() => _retro.Dispose();

    [Fact]
    public void What_labels_hide_is_not_found()
    {
        _retro.WriteFile("docs/river.jsonl", """
            {"id": "open", "text": "The river runs to the harbor, past the old bridge."}
            {"id": "secret", "text": "The river runs to the harbor, past the new bridge.", "labels": ["secret"]}
            """);
        _retro.Done("build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "8", "--held-out-share", "0", "--labels", "staff");
        Assert.Contains("secret, staff", _retro.Done("inspect", "--database", "work"), StringComparison.Ordinal);
        Assert.Equal(["open", "secret"], Found());
        Assert.Equal(["open"], Found("--labels", "staff"));
        Assert.Equal(["open", "secret"], Found("--labels", "staff", "--labels", "secret"));
        Assert.Empty(Found("--labels", "secret"));
        Assert.Empty(Found("--labels", ""));

        // Neither are its name and its text shown.
        Assert.Equal(["open"], Listed("--labels", "staff"));
        Assert.Empty(Listed("--labels", ""));
        foreach (string[] asked in new[] { new[] { "--document", "secret" }, ["--document", "secret", "--chunk", "1"] })
        {
            ChildProcess.Outcome hidden = _retro.Run(["inspect", "--database", "work", "--labels", "staff", .. asked]);
            Assert.Equal(1, hidden.ExitCode);
            Assert.Contains("no document with the id 'secret'", hidden.Errors, StringComparison.Ordinal);
        }

        int last;
        using (ChunkDatabase database = Open())
        {
            last = (int)database.ChunkCount;
        }

        string refused = _retro.Run("inspect", "--database", "work", "--labels", "staff", "--chunk", $"{last}").Errors;
        Assert.Contains("of a document that has other labels than may be seen", refused, StringComparison.Ordinal);
        _retro.Done("inspect", "--database", "work", "--labels", "staff", "--labels", "secret", "--chunk", $"{last}");

        IEnumerable<string> Listed(params string[] labels)
        {
            _retro.Done(["inspect", "--database", "work", "--json", "listed.json", .. labels]);
            return _retro.Json("listed.json")["documents"]!.AsArray().Select(document => (string)document!["id"]!);
        }

        IEnumerable<string> Found(params string[] labels)
        {
            _retro.Done(["inspect", "--database", "work", "--text", "the river runs", "--k", "9", "--json", "found.json", .. labels]);
            return _retro.Json("found.json")["neighbors"]!.AsArray().Select(neighbor => (string)neighbor!["document"]!).Distinct().Order();
        }
    }

    /// <summary>What is added to a database is labelled and cleaned as it was built, and no document loses a label that nobody spoke of.</summary>
    [Fact]
    public void What_is_added_has_the_labels_and_the_cleaning_of_the_build()
    {
        _retro.WriteFile("docs/d1.md", "The river runs to the harbor, past the old bridge.");
        _retro.WriteFile("docs/d2.md", "The mountain stands over the valley, and nobody climbs it.");
        _retro.WriteFile("own/o.jsonl", """{"id": "o", "text": "The keeper sleeps at noon, and the gate is shut.", "labels": ["board"]}""");
        string[] sizes = ["--vocabulary", "300", "--chunk", "8", "--held-out-share", "0"];
        _retro.Done(["build", "--corpus", "docs", "--out", "work", "--labels", "hr", "--labels", "staff", "--clean", "unicode", "--clean", "near", .. sizes]);
        Assert.Equal(["hr", "staff"], Labels("d1.md"));
        _retro.WriteFile("docs/d1.md", "The river runs to the harbor, past the new bridge.");
        _retro.Done("update", "--database", "work", "--add", "docs");
        Assert.Equal(["hr", "staff"], Labels("d1.md"));
        _retro.Done("update", "--database", Path.Combine("work", "database"), "--add", "own");
        Assert.Equal(["board", "hr", "staff"], Labels("o"));

        // What a document names by itself cannot be lost in silence either.
        _retro.WriteFile("own/o.jsonl", """{"id": "o", "text": "The keeper sleeps at noon, and the gate is open."}""");
        ChildProcess.Outcome lost = _retro.Run("update", "--database", "work", "--add", "own");
        Assert.Equal(2, lost.ExitCode);
        Assert.StartsWith("The document 'o' is labelled board, and what would take its place is not", lost.Errors, StringComparison.Ordinal);
        Assert.Equal(["board", "hr", "staff"], Labels("o"));
        _retro.Done("update", "--database", "work", "--add", "own", "--labels", "");
        Assert.Empty(Labels("o"));

        string cleaned = _retro.Run("update", "--database", "work", "--add", "own", "--clean", "unicode").Errors;
        Assert.Contains("Say the same (--clean unicode --clean near).", cleaned, StringComparison.Ordinal);
        string both = _retro.Run("update", "--database", "work", "--add", "own", "--clean", "none", "--clean", "exact").Errors;
        Assert.StartsWith("--clean none is no cleaning at all", both, StringComparison.Ordinal);

        string[] Labels(string id)
        {
            using ChunkDatabase database = Open();
            return [.. database.Documents.Single(document => document.Id == id).Labels.Order(StringComparer.Ordinal)];
        }
    }

    [Fact]
    public void What_is_typed_of_a_training_and_of_the_text_is_what_is_trained_with()
    {
        _retro.WriteCorpus();
        string[] build = ["build", "--corpus", "docs", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0"];
        _retro.Done([.. build, "--out", "work"]);
        _retro.Done([.. build, "--out", "part", "--megabytes", "0.01"]);
        (long all, long part) = (Bytes("work"), Bytes("part"));
        Assert.InRange(all, 20_000, 30_000);
        Assert.InRange(part, 7_000, 10_000);

        _retro.Done(
        [
            "train", "--database", "part", "--out", "model", "--source", "none", "--steps", "4", "--batch", "3", "--rate", "0.00125", "--checkpoint-every", "3",
            "--seed", "5", .. CliRun.Tiny,
        ]);
        JsonNode options = _retro.Json(Path.Combine("model", "model", "training.json"))["Options"]!;
        Assert.Equal([4, 3, 3, 5], new[] { "Steps", "Accumulation", "CheckpointEvery", "Seed" }.Select(name => (long)options[name]!));
        Assert.Equal(0.00125, (double)options["LearningRate"]!);

        long Bytes(string folder)
        {
            using ChunkDatabase database = ChunkDatabase.Open(Path.Combine(_retro[folder], "database"));
            return database.Manifest.ByteCount;
        }
    }

    /// <summary>An accelerator computes all windows of a step together, which the data's identity knows; a training goes on elsewhere all the same.</summary>
    [Fact]
    public void A_training_that_was_begun_on_a_GPU_goes_on_without_one()
    {
        _retro.Build();
        _retro.Done(["train", "--database", "work", "--out", "model", "--source", "none", "--steps", "2", "--batch", "4", .. CliRun.Tiny]);
        string path = Path.Combine(_retro["model"], "model", "training.safetensors");
        byte[] state = File.ReadAllBytes(path);
        int at = state.AsSpan().IndexOf("BatchSize = 1"u8);
        state[at + "BatchSize = 1".Length - 1] = (byte)'2';
        File.WriteAllBytes(path, state);

        ChildProcess.Outcome odd = _retro.Run("train", "--out", "model", "--resume", "--steps", "3", "--batch", "3");
        Assert.Equal(2, odd.ExitCode);
        Assert.Contains("--batch takes a multiple of 2 where this training goes on, not 3", odd.Errors, StringComparison.Ordinal);
        _retro.Done("train", "--out", "model", "--resume", "--steps", "3", "--json", "train.json");
        Assert.Equal(3, (int)_retro.Json("train.json")["steps"]!);
    }

    [Fact]
    public void A_database_of_chunks_that_do_not_divide_the_usual_window_is_trained_on()
    {
        _retro.WriteCorpus();
        _retro.Done("build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "48", "--held-out-share", "0");
        _retro.Done("train", "--database", "work", "--out", "model", "--preset", "tiny", "--steps", "1", "--batch", "1");
        Assert.Contains("WindowLength = 480,", File.ReadAllText(Path.Combine(_retro["model"], "model", "training.json")), StringComparison.Ordinal);
    }

    /// <summary>Neighbors come from other documents.</summary>
    [Fact]
    public void A_database_whose_chunks_have_no_neighbors_is_refused_where_they_are_to_be_read()
    {
        string text = string.Concat(Enumerable.Range(0, 200).Select(i => $"The river has {7 * i} stones and {i} steps.\n"));
        _retro.WriteFile(Path.Combine("docs", "one.txt"), text);
        _retro.Done("build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0");
        _retro.Done(["train", "--database", "work", "--out", "decoder", "--source", "none", "--steps", "2", .. CliRun.Tiny]);
        foreach (string[] command in new string[][]
        {
            ["train", "--database", "work", "--out", "model", "--steps", "2", .. CliRun.Tiny],
            ["fit", "--base", "decoder", "--database", "work", "--out", "fitted", "--steps", "2", "--window", "64"],
        })
        {
            ChildProcess.Outcome refused = _retro.Run(command);
            Assert.Equal(1, refused.ExitCode);
            Assert.Contains("has a neighbor by bm25", refused.Errors, StringComparison.Ordinal);
            Assert.Contains("retro train --source none", refused.Errors, StringComparison.Ordinal);
        }
    }

    /// <summary>What is refused, by the trainer too, changes nothing of what a folder remembers, and the same without it goes on.</summary>
    [Fact]
    public void What_is_refused_is_not_remembered()
    {
        _retro.Build();
        _retro.Done(["train", "--database", "work", "--out", "decoder", "--source", "none", "--steps", "2", .. CliRun.Tiny]);
        _retro.Done(["train", "--database", "work", "--out", "other", "--source", "none", "--steps", "2", "--seed", "2", .. CliRun.Tiny]);
        _retro.Done("fit", "--base", "decoder", "--database", "work", "--out", "fitted", "--steps", "2", "--window", "64");
        _retro.Done(
            "build", "--corpus", "docs", "--tokenizer", Path.Combine("work", "tokenizer"), "--out", "w2", "--chunk", "16", "--held-out-share", "0.2", "--seed",
            "5");
        Refused(2, "decoder", "A run that goes on keeps to --source none; leave --source out", "train", "--out", "decoder", "--resume", "--source", "bm25");
        Refused(2, "decoder", "A run that goes on keeps to --database", "train", "--out", "decoder", "--resume", "--steps", "3", "--database", "w2");
        Refused(2, "fitted", "what it was begun with, without --k; leave --k out", "fit", "--out", "fitted", "--resume", "--steps", "3", "--k", "3");
        _retro.Done("build", "--corpus", "docs", "--out", "w3", "--vocabulary", "290", "--chunk", "16", "--held-out-share", "0");
        Refused(1, "decoder", "was trained with another tokenizer", "train", "--out", "decoder", "--resume", "--steps", "3", "--database", "w3");
        string[] onto = ["fit", "--base", "fitted", "--database", "work", "--out", "again"];
        Refused(2, "fitted", "fitted is a RETRO, which reads already; --base takes a decoder alone (retro train --source none).", onto);
        Refused(2, "fitted", "keeps to --base", "fit", "--out", "fitted", "--resume", "--steps", "3", "--base", "other");
        Refused(1, "work", "There is no embedder", "neighbors", "--database", "work", "--source", "dense");
        _retro.Done("fit", "--out", "fitted", "--resume", "--steps", "3", "--base", "decoder" + Path.DirectorySeparatorChar);
        _retro.Done("train", "--out", "decoder", "--resume", "--steps", "3", "--json", "train.json");
        Refused(1, "fitted", "begun on other weights", "fit", "--out", "fitted", "--resume", "--steps", "4");
        Assert.Equal(3, (int)_retro.Json("train.json")["steps"]!);
        Assert.Equal("3", (string)_retro.Json(Path.Combine("decoder", "retro.json"))["train"]!["steps"]!);
        _retro.Done("neighbors", "--database", "work", "--json", "neighbors.json");
        Assert.Equal("bm25", (string)_retro.Json("neighbors.json")["source"]!);

        void Refused(int code, string folder, string message, params string[] line)
        {
            string settings = Path.Combine(_retro[folder], "retro.json"), before = File.ReadAllText(settings);
            ChildProcess.Outcome run = _retro.Run(line);
            Assert.True(run.ExitCode == code, $"{run.ExitCode}: {run.Output}{run.Errors}");
            Assert.Contains(message, run.Errors, StringComparison.Ordinal);
            Assert.Equal(before, File.ReadAllText(settings));
        }
    }

    /// <summary>What a fault tells to be done can be typed.</summary>
    [Fact]
    public void A_corpus_in_another_encoding_or_with_ids_that_begin_anew_is_built_as_the_fault_says()
    {
        string[] sizes = ["--out", "work", "--vocabulary", "300", "--chunk", "8", "--held-out-share", "0"];
        _retro.WriteFile("latin/b.txt", "The river runs to the harbor.");
        File.WriteAllBytes(Path.Combine(_retro["latin"], "a.txt"), [.. "The caf"u8, 0xE9, .. " stands at the old bridge."u8]);
        ChildProcess.Outcome refused = _retro.Run(["build", "--corpus", "latin", .. sizes]);
        Assert.Contains(
            "Name its encoding (--encoding), convert it to UTF-8, or skip what is broken (--skip-broken).", refused.Errors, StringComparison.Ordinal);
        _retro.Done(["build", "--corpus", "latin", "--encoding", "latin1", .. sizes]);
        _retro.Done("inspect", "--database", "work", "--text", "café", "--json", "found.json");
        Assert.Equal("a.txt", (string)_retro.Json("found.json")["neighbors"]![0]!["document"]!);

        _retro.WriteFile("parts/1.jsonl", """{"id": "1", "text": "The river runs to the harbor."}""");
        _retro.WriteFile("parts/2.jsonl", """{"id": "1", "text": "The mountain stands over the valley."}""");
        string[] build = ["build", "--corpus", "parts", .. sizes, "--start-over"];
        Assert.Contains("--ids-by-file tells them apart", _retro.Run([.. build, "--encoding", "utf-8"]).Errors, StringComparison.Ordinal);
        _retro.Done([.. build, "--ids-by-file"]);

        // Of two alone, one would be held out, and both be taken for it.
        ChildProcess.Outcome both = _retro.Run("build", "--corpus", "parts", "--out", "both");
        Assert.StartsWith("Two documents have the id '1', one from", both.Errors, StringComparison.Ordinal);
        Assert.Contains("--ids-by-file tells them apart", both.Errors, StringComparison.Ordinal);

        // Documents of one text file.
        _retro.WriteFile("stories.txt", "One fox ran.\n<|endoftext|>\nTwo rivers meet.\n<|endoftext|>\nThree bells ring.\n");
        Assert.Contains(
            "parts them by naming it (--separator)", _retro.Run(["build", "--corpus", "stories.txt", "--out", "told"]).Errors, StringComparison.Ordinal);
        string[] stories = [.. sizes.Select(word => word == "work" ? "told" : word)];
        Assert.Contains(
            "3 documents", _retro.Done(["build", "--corpus", "stories.txt", "--separator", "<|endoftext|>", .. stories]), StringComparison.Ordinal);
        _retro.WriteFile("stories.txt", "One fox ran.\n<|endoftext|>\nTwo rivers part.\n<|endoftext|>\nThree bells ring.\n");
        string told = _retro.Done("update", "--database", "told", "--add", "stories.txt");
        Assert.Contains("4 documents (3 before)", told, StringComparison.Ordinal);
        Assert.Contains("still there, though no more where it came from: 1 document, such as stories.txt#", told, StringComparison.Ordinal);
        Assert.Contains(
            "3 documents (4 before)", _retro.Done("update", "--database", "told", "--add", "stories.txt", "--remove-gone"), StringComparison.Ordinal);

        // What is added is read as what is there was.
        _retro.WriteFile("parts/2.jsonl", """{"id": "1", "text": "The mountain has fallen into the valley."}""");
        Assert.Contains("2 documents (2 before)", _retro.Done("update", "--database", "work", "--add", "parts"), StringComparison.Ordinal);
    }

    /// <summary>The same characters, composed or not, are the same text.</summary>
    [Fact]
    public void A_question_finds_the_same_in_whatever_form_it_is_typed()
    {
        _retro.WriteFile("docs/a.txt", "Un café près du pont, où le garçon dort.");
        _retro.WriteFile("docs/b.txt", "Une forêt au-delà du fleuve, où personne ne va.");
        _retro.WriteFile("docs/c.txt", "La montagne et la vallée, sous la neige.");
        _retro.Done("build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "8", "--held-out-share", "0");
        Assert.Equal(Found("un caf\u00E9 pr\u00E8s du pont"), Found("un cafe\u0301 pre\u0300s du pont"));

        string Found(string text)
        {
            _retro.Done("inspect", "--database", "work", "--text", text, "--json", "found.json");
            return _retro.Json("found.json")["neighbors"]!.ToJsonString();
        }
    }

    /// <summary>A folder holds one model: what belonged to the one before it goes with it, and what is typed takes the place of what excludes it.</summary>
    [Fact]
    public void A_model_that_is_replaced_leaves_nothing_of_its_own()
    {
        string[] copying = ["copying.safetensors"], training = ["training.safetensors", "training.json", "steps.jsonl", "retrofit.safetensors"];
        _retro.Build();
        string[] train = ["train", "--database", "work", "--out", "decoder", "--source", "none", .. CliRun.Tiny];
        _retro.Done([.. train, "--minutes", "0.02"]);
        _retro.Done([.. train, "--steps", "3", "--start-over", "--json", "train.json"]);
        Assert.Equal(3, (int)_retro.Json("train.json")["steps"]!);

        string[] fit = ["fit", "--base", "decoder", "--database", "work", "--out", "fitted", "--window", "64"];
        _retro.Done([.. fit, "--minutes", "0.02", "--csv", "steps.csv"]);
        Assert.Equal(training.Order(), Files([.. copying, .. training]));
        _retro.Done([.. fit, "--reader", "copying", "--steps", "2", "--start-over"]);
        Assert.Equal(copying, Files([.. copying, .. training]));
        Assert.Contains("a reader that copies", _retro.Done("info", "fitted"), StringComparison.Ordinal);
        Assert.Contains("so is what copies on top", _retro.Done("verify", "fitted"), StringComparison.Ordinal);
        string file = Path.Combine(_retro["fitted"], "model", copying[0]);
        byte[] whole = File.ReadAllBytes(file);
        File.WriteAllBytes(file, new byte[100]);
        Assert.Equal(1, _retro.Run("verify", "fitted").ExitCode);
        File.WriteAllBytes(file, whole);
        _retro.Done([.. fit, "--reader", "retro", "--steps", "2", "--start-over"]);
        Assert.Equal(training.Order(), Files([.. copying, .. training]));

        string[] Files(string[] names) => [.. names.Where(name => File.Exists(Path.Combine(_retro["fitted"], "model", name))).Order()];
    }

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
            "build", "--corpus", "docs", "--tokenizer", Path.Combine("work", "tokenizer"), "--out", "w3", "--chunk", "16", "--held-out-share", "0.2", "--seed",
            "5");
        ChildProcess.Outcome seen = _retro.Run("eval", "--model", "decoder", "--database", "w3");
        Assert.Equal(1, seen.ExitCode);
        Assert.Contains($"work{Path.DirectorySeparatorChar}database", seen.Errors, StringComparison.Ordinal);
        Assert.Contains("none of them trained on or retrieved from", _retro.Done("eval", "--model", "decoder", "--window", "64"), StringComparison.Ordinal);

        // Where it is not known what a model was trained on, nothing is said of it.
        File.Delete(Path.Combine(_retro["decoder"], "model", "trained-on.safetensors"));
        string measured = _retro.Done("eval", "--model", "decoder", "--database", "work", "--window", "64");
        Assert.Contains("none of them retrieved from", measured, StringComparison.Ordinal);
        Assert.Contains("it is not known what it was trained on", measured, StringComparison.Ordinal);
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
            Assert.Contains(said, File.ReadAllText(Path.Combine(_retro[model], "report.html")), StringComparison.Ordinal);
            Assert.Equal(said, (string)_retro.Json("after.json")["warnings"]![0]!);
        }

        Assert.Contains(
            "12 held-out documents were in what decoder was trained on",
            _retro.Done("eval", "--task", "qa", "--model", "decoder", "--questions", "1"),
            StringComparison.Ordinal);
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

        Assert.Contains(
            "It reads nothing, whatever --source says: the model is a decoder alone.",
            _retro.Done("generate", "--model", "decoder", "--source", "bm25", "--tokens", "2", "The"),
            StringComparison.Ordinal);
        Assert.DoesNotContain("reads nothing", _retro.Done("generate", "--model", "decoder", "--tokens", "2", "The"), StringComparison.Ordinal);

        ChildProcess.Outcome drawn = _retro.Run("generate", "--model", "decoder", "--beams", "3", "--temperature", "0.7", "The");
        Assert.Equal(2, drawn.ExitCode);
        Assert.StartsWith("--", drawn.Errors, StringComparison.Ordinal);
        Assert.Contains("--temperature 0 and --repetition-penalty 1", drawn.Errors, StringComparison.Ordinal);
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

    /// <summary>A model is trained in what the processor multiplies fast, goes on in what it was begun in, and is used in either.</summary>
    [Fact]
    public void A_type_that_the_processor_has_no_products_of_is_not_chosen_and_what_it_costs_is_said()
    {
        const string Cpu = "/proc/cpuinfo";
        bool fast = File.Exists(Cpu) && File.ReadLines(Cpu).Any(line => line.StartsWith("flags", StringComparison.Ordinal)
            && line.Contains("avx512_bf16", StringComparison.Ordinal));
        string[] train = ["train", "--source", "none", .. CliRun.Tiny];
        _retro.Build();
        Train("--database", "work", "--out", "here", "--steps", "3");
        Assert.Equal(fast ? ScalarType.BFloat16 : ScalarType.Float32, Type("here"));
        Train("--database", "work", "--out", "exact", "--steps", "3", "--dtype", "float32");
        Assert.Equal(ScalarType.Float32, Type("exact"));

        // The same on a processor without: .NET can be told to see none.
        (_retro.Variables["DOTNET_EnableAVX512"], _retro.Variables["DOTNET_EnableAVX512F"]) = ("0", "0");
        Train("--database", "work", "--out", "there", "--steps", "3");
        Assert.Equal(ScalarType.Float32, Type("there"));
        Assert.Matches("takes [0-9.]+ times as long as in float32", Train("--database", "work", "--out", "slow", "--steps", "2", "--dtype", "bfloat16"));
        Assert.Equal(ScalarType.BFloat16, Type("slow"));
        Train("--out", "here", "--resume", "--steps", "5");
        Assert.Equal(fast ? ScalarType.BFloat16 : ScalarType.Float32, Type("here"));
        _retro.Done("eval", "--model", "here", "--model", "slow", "--json", "eval.json");
        _retro.Done("fit", "--base", "slow", "--database", "work", "--out", "fitted", "--steps", "2", "--window", "64");
        Assert.Equal(ScalarType.Float32, Type("fitted"));
        _retro.Done("quickstart", "--corpus", "docs", "--out", "quick", "--minutes", "0.1", "--dtype", "bfloat16");
        Assert.All(
            ["closed-book", "checkpoint"], model => Assert.Equal(ScalarType.BFloat16, Checkpoint.StoredType(Path.Combine(_retro["quick"], "docs", model))));

        string Train(params string[] arguments) => _retro.Done([.. train, .. arguments]);

        ScalarType Type(string folder) => Checkpoint.StoredType(Path.Combine(_retro[folder], "model"));
    }

    [Fact]
    public void Held_out_documents_stay_out_of_what_is_added()
    {
        _retro.WriteCorpus();
        _retro.Done("build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0.2", "--json", "built.json");
        int documents = (int)_retro.Json("built.json")["documents"]!, held = (int)_retro.Json("built.json")["heldOutDocuments"]!;
        string[] ids;
        using (ChunkDatabase heldOut = ChunkDatabase.Open(_retro["work/held-out"]))
        {
            ids = [.. heldOut.Documents.Select(document => document.Id)];
        }

        // The folder that the database was built of, with one more document, and a held-out text by another name.
        _retro.WriteFile("docs/new.md", "What is new here was never seen before.");
        string held0 = File.ReadAllText(Path.Combine(_retro["docs"], ids[0]));
        _retro.WriteFile("docs/copy.md", held0);
        _retro.WriteFile("docs/near.md", $"{held0}\nOne more sentence does not make it another document.\n");
        string done = _retro.Done("update", "--database", "work", "--add", "docs", "--json", "update.json");
        Assert.Contains("held out", done, StringComparison.Ordinal);
        Assert.InRange((int)_retro.Json("update.json")["heldOut"]!, held, held + 1);
        using ChunkDatabase changed = ChunkDatabase.Open(_retro["work/database"]);
        string[] there = [.. changed.Documents.Select(document => document.Id)];
        Assert.Contains("new.md", there);
        Assert.DoesNotContain("copy.md", there);
        Assert.DoesNotContain("near.md", there);
        Assert.Empty(there.Intersect(ids));
        Assert.True(there.Length > documents);
    }

    /// <summary>Rows have no names of their own: what stands before them changes nothing of which is which.</summary>
    [Fact]
    public void A_line_on_top_of_others_takes_nothing_away()
    {
        string[] rows =
        [
            .. Enumerable.Range(0, 24).Select(i => $$"""{"text": "The keeper number {{i}} has {{7 * i}} stones and {{i * i}} steps, and sleeps."}"""),
        ];
        _retro.WriteFile("rows.jsonl", string.Join('\n', rows));
        _retro.Done("build", "--corpus", "rows.jsonl", "--out", "work", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0.2");
        string[] known = Texts();
        _retro.WriteFile("rows.jsonl", string.Join('\n', rows.Prepend("""{"text": "The ferry crosses where the old bridge was, every morning."}""")));
        Assert.Contains("  1 new, ", _retro.Done("update", "--database", "work", "--add", "rows.jsonl"), StringComparison.Ordinal);
        Assert.Empty(known.Except(Texts()));
        Assert.Equal(known.Length + 1, Texts().Length);

        string[] Texts()
        {
            using ChunkDatabase database = Open();
            return [.. database.Documents.Select(document => document.ContentHash)];
        }
    }

    [Fact]
    public void What_is_gone_or_held_out_is_removed_where_that_is_asked_for()
    {
        _retro.Build();
        string held, gone;
        using (ChunkDatabase database = Open(), heldOut = ChunkDatabase.Open(_retro["work/held-out"]))
        {
            (held, gone) = (heldOut.Documents[0].Id, database.Documents[0].Id);
        }

        string removed = _retro.Done("update", "--database", "work", "--remove", held, "--compact");
        Assert.Contains("19 documents (19 before)", removed, StringComparison.Ordinal);
        Assert.Contains($"{Path.Combine("work", "held-out")}: 1 document removed", removed, StringComparison.Ordinal);
        using (ChunkDatabase heldOut = ChunkDatabase.Open(_retro["work/held-out"]))
        {
            Assert.Equal((4, 1), (heldOut.Documents.Count, heldOut.SegmentCount));
        }

        File.Delete(_retro[$"docs/{gone}"]);
        File.Delete(_retro[$"docs/{held}"]);
        _retro.WriteFile("news/ferry.md", "The ferry crosses where the old bridge was, every morning.\n");
        _retro.Done("update", "--database", "work", "--add", "news");
        string[] update = ["update", "--database", "work", "--add", "docs"];
        Assert.Contains($"no more where it came from: 1 document, such as {gone} (--remove-gone)", _retro.Done(update), StringComparison.Ordinal);
        Assert.Contains("19 documents (20 before)", _retro.Done([.. update, "--remove-gone"]), StringComparison.Ordinal);
        using (ChunkDatabase database = Open())
        {
            Assert.DoesNotContain(gone, database.Documents.Select(document => document.Id));
            Assert.Contains("../news/ferry.md", database.Documents.Select(document => document.Id));
        }

        Assert.Contains("--add needs the path", _retro.Run("update", "--database", "work", "--add", "").Errors, StringComparison.Ordinal);

        // A disk that is away.
        _retro.WriteFile("disk/mill.md", "The mill stands where the river leaves the valley.\n");
        Directory.CreateSymbolicLink(_retro["docs/disk"], _retro["disk"]);
        _retro.Done("update", "--database", "work", "--add", "docs");
        Directory.Move(_retro["disk"], _retro["away"]);
        ChildProcess.Outcome refused = _retro.Run("update", "--database", "work", "--add", "docs", "--remove-gone");
        Assert.Equal(1, refused.ExitCode);
        Assert.Contains("disk/mill.md is gone cannot be told, and nothing was removed", refused.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("still there", _retro.Done("update", "--database", "work", "--add", "docs"), StringComparison.Ordinal);
        File.Delete(_retro["docs/disk"]);

        // A folder, named as completion names it.
        _retro.WriteFile("docs/sub/ox.md", "An ox pulls the barge.\n");
        _retro.WriteFile("docs/sub/mule.md", "A mule pulls the cart.\n");
        _retro.Done("update", "--database", "work", "--add", "docs/sub/");
        File.Delete(_retro["docs/sub/ox.md"]);
        Assert.Contains(
            "still there, though no more where it came from: 1 document, such as sub/ox.md",
            _retro.Done("update", "--database", "work", "--add", "docs/sub/"),
            StringComparison.Ordinal);
        Assert.Contains(", 1 removed", _retro.Done("update", "--database", "work", "--add", "docs/sub/", "--remove-gone"), StringComparison.Ordinal);
    }

    /// <summary>Which of several files describes a type is known where all are read.</summary>
    [Fact]
    public void A_part_of_documentation_that_is_added_alone_changes_nothing_of_other_files()
    {
        const string Head = "<doc><assembly><name>Acme</name></assembly><members><member name=\"T:Acme.Foo\"><summary>A file of stones.</summary></member>";
        const string Opens = "<member name=\"M:Acme.Foo.Open\"><summary>Opens the gate to the harbor.</summary></member>";
        const string Async = "<member name=\"M:Acme.Foo.OpenAsync\"><summary>Opens the gate to the river, and goes on.</summary></member>";
        _retro.WriteFile("pkg/lib/net8.0/Acme.xml", $"{Head}{Opens}{Async}</members></doc>");
        _retro.WriteFile("pkg/lib/netstandard2.0/Acme.xml", $"{Head}{Opens}</members></doc>");
        _retro.Done("build", "--corpus", "pkg", "--out", "work", "--vocabulary", "300", "--chunk", "8", "--held-out-share", "0");
        (string, string, string)[] before = All();
        Assert.Contains(
            "0 new, 0 replaced, 1 unchanged, 0 removed",
            _retro.Done("update", "--database", "work", "--add", "pkg/lib/netstandard2.0", "--remove-gone"),
            StringComparison.Ordinal);
        Assert.Equal(before, All());

        (string, string, string)[] All()
        {
            using ChunkDatabase database = Open();
            return [.. database.Documents.Select(document => (document.Id, document.Location, document.ContentHash))];
        }
    }

    [Fact]
    public void Of_two_commands_that_write_into_a_folder_the_second_is_told()
    {
        _retro.Build();
        string[] train = ["train", "--out", "work", "--steps", "1", "--source", "none", .. CliRun.Tiny];
        using (WriterLock.Take(_retro["work"], "hold it"))
        {
            foreach (string[] second in new[] { ["build", "--out", "work", "--start-over"], train, ["embed-train", "--out", "work", "--steps", "1"] })
            {
                ChildProcess.Outcome run = _retro.Run(second);
                Assert.Equal(1, run.ExitCode);
                Assert.Contains("is being changed by", run.Errors, StringComparison.Ordinal);
            }

            Assert.False(Directory.Exists(_retro["work/model"]));
        }
    }

    [Fact]
    public async Task Who_needs_an_index_that_another_makes_waits_says_for_whom_and_takes_it()
    {
        _retro.Build();
        int waiting = 0;
        using WriterLock making = WriterLock.Take(_retro["work/database"], "index words");
        ChildProcess.Outcome[] all = await Task.WhenAll(Enumerable.Range(0, 2).Select(_ => Task.Run(() => _retro.Run(
            (_, line) =>
            {
                if (line.StartsWith($"  waits for process {Environment.ProcessId} ", StringComparison.Ordinal) && Interlocked.Increment(ref waiting) == 2)
                {
                    making.Dispose();
                }
            },
            "inspect",
            "--database",
            "work",
            "--text",
            "the river",
            "--k",
            "1"))));
        Assert.All(all, one => Assert.Equal((0, ""), (one.ExitCode, one.Errors)));
        Assert.All(all, one => Assert.Contains("which is to index words, since", one.Output, StringComparison.Ordinal));
    }

    [Fact]
    public void A_project_that_was_copied_reads_its_own_database_and_never_the_original()
    {
        _retro.WriteCorpus();
        _retro.Done("build", "--corpus", "docs", "--out", "one/work", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0.2");
        _retro.Done(["train", "--database", "one/work", "--out", "one/decoder", "--steps", "1", "--source", "none", .. CliRun.Tiny]);
        _retro.Done("fit", "--base", "one/decoder", "--database", "one/work", "--out", "one/fitted", "--steps", "1", "--window", "64");
        TestDatabases.Copy(_retro["one"], _retro["two"]);
        _retro.WriteFile("news/ferry.md", "A ferry crosses the canal at noon, and nobody knows its captain.\n");
        _retro.Done("update", "--database", "two/work", "--add", "news");
        Assert.Equal(["../news/ferry.md"], Asked("two/decoder"));
        Assert.DoesNotContain("../news/ferry.md", Asked("one/decoder"));

        Directory.Delete(_retro["one"], recursive: true);
        Assert.Equal(["../news/ferry.md"], Asked("two/decoder"));
        _retro.Done("eval", "--model", "two/fitted", "--json", "measured.json");

        IEnumerable<string> Asked(string model)
        {
            _retro.Done("ask", "--model", model, "--tokens", "1", "--json", "asked.json", "Who is the captain of the ferry on the canal?");
            return _retro.Json("asked.json")["passages"]!.AsArray().Select(passage => (string)passage!["document"]!);
        }
    }

    /// <summary>Of forms that are filled in, each is nearly a copy of any other.</summary>
    [Fact]
    public void A_corpus_of_forms_is_told_of_with_the_options_that_let_it_in()
    {
        string[] build = ["build", "--vocabulary", "300", "--chunk", "16"];
        for (int i = 0; i < 30; i++)
        {
            string form = string.Join(' ', Enumerable.Range(0, 150).Select(word => $"line{word}"));
            _retro.WriteFile($"forms/{i}.txt", $"{form} name{i} place{i} day{i}");
            _retro.WriteFile($"mixed/{i}.txt", $"{form} name{i} place{i} day{i}");
            _retro.WriteFile($"mixed/letter{i}.txt", string.Join(' ', Enumerable.Range(0, 60).Select(word => $"word{(i * 60) + word}")));
        }

        ChildProcess.Outcome none = _retro.Run([.. build, "--corpus", "forms", "--out", "work"]);
        Assert.Equal(1, none.ExitCode);
        Assert.Contains("(--held-out-similarity)", none.Errors, StringComparison.Ordinal);
        _retro.Done([.. build, "--corpus", "forms", "--out", "work", "--held-out-similarity", "1", "--json", "built.json"]);
        Assert.Equal((23, 7), ((int)_retro.Json("built.json")["documents"]!, (int)_retro.Json("built.json")["heldOutDocuments"]!));

        // What was built so is changed and measured so.
        _retro.WriteFile("forms/30.txt", File.ReadAllText(_retro["forms/3.txt"]).Replace("name3", "name30", StringComparison.Ordinal));
        Assert.Contains("24 documents (23 before)", _retro.Done("update", "--database", "work", "--add", "forms"), StringComparison.Ordinal);
        _retro.Done(["train", "--database", "work", "--out", "decoder", "--steps", "1", "--source", "none", .. CliRun.Tiny]);
        _retro.Done("eval", "--model", "decoder", "--window", "32");

        ChildProcess.Outcome most = _retro.Run([.. build, "--corpus", "mixed", "--out", "other", "--quiet", "--json", "built.json"]);
        Assert.Equal(0, most.ExitCode);
        int removed = (int)_retro.Json("built.json")["nearlyRepeated"]!;
        Assert.Matches($"^{removed} documents of 60 will be neither .* held out: .* --held-out-similarity 0.95, or 1, leaves out fewer", most.Errors);
        Assert.InRange(removed, 20, 29);
    }

    [Fact]
    public void Files_are_chosen_by_patterns_that_an_update_keeps_to()
    {
        _retro.WriteCorpus();
        string[] build = ["build", "--corpus", "docs", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0"];
        ChildProcess.Outcome mistyped = _retro.Run([.. build, "--out", "work", "--exclude", "rivers-*.md"]);
        Assert.Equal(1, mistyped.ExitCode);
        Assert.Contains("No file of docs matches \"rivers-*.md\"; it holds 24 .md, such as bridge-1.md, bridge-13.md, bridge-17.md.", mistyped.Errors,
            StringComparison.Ordinal);
        Assert.Contains("(--include, --exclude)", mistyped.Errors, StringComparison.Ordinal);
        Assert.False(Directory.Exists(_retro["work/database"]));

        _retro.Done([.. build, "--out", "work", "--include", "river-*.md", "--include", "bridge-*.md", "--exclude", "*-1.md"]);
        Assert.Equal(11, Documents());
        _retro.WriteFile("docs/harbor-99.md", "The harbor number 99 is closed.\n");
        _retro.WriteFile("docs/river-99.md", "The river number 99 is frozen.\n");
        Assert.Contains("1 new, 0 replaced, 11 unchanged", _retro.Done("update", "--database", "work", "--add", "docs"), StringComparison.Ordinal);
        Assert.Contains(
            "No file of docs matches \"rivr*\"",
            _retro.Run("update", "--database", "work", "--add", "docs", "--include", "rivr*").Errors,
            StringComparison.Ordinal);
        _retro.Done("update", "--database", "work", "--add", "docs", "--include", "", "--exclude", "");
        Assert.Equal(26, Documents());

        // What patterns leave out is there.
        Assert.DoesNotContain("still there", _retro.Done("update", "--database", "work", "--add", "docs"), StringComparison.Ordinal);
        _retro.Done("update", "--database", "work", "--add", "docs", "--remove-gone");
        Assert.Equal(26, Documents());
        Assert.DoesNotContain("no file that was looked at", _retro.Done("update", "--database", "work", "--add", "docs"), StringComparison.Ordinal);

        // What leaves out what may come is noted, as nothing that was looked at shows that it is spelt right.
        _retro.WriteFile("docs/.git/config", "");
        string[] exclude = ["--exclude", "**/LICENSE*"];
        const string Note = "left out by pattern: no file that was looked at matches \"**/LICENSE*\"";
        Assert.Contains(Note, _retro.Done([.. build, "--out", "noted", .. exclude]), StringComparison.Ordinal);
        Assert.Contains(Note, _retro.Done(["update", "--database", "work", "--add", "docs", .. exclude]), StringComparison.Ordinal);
        Assert.DoesNotContain(
            "no file that was looked at", _retro.Done([.. build, "--out", "noted", "--exclude", "**/harbor*", "--start-over"]), StringComparison.Ordinal);

        int Documents()
        {
            using ChunkDatabase database = Open();
            return database.Documents.Count;
        }
    }

    [Fact]
    public void What_is_left_out_as_broken_is_named_with_why()
    {
        _retro.WriteCorpus();
        File.WriteAllBytes(_retro["docs/broken.md"], [0x41, 0xFD]);
        _retro.WriteFile("docs/rows.jsonl", string.Concat(Enumerable.Range(0, 7).Select(row => $"{{\"text\": {row}}}\n")));
        string told = _retro.Done(
            "build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--held-out-share", "0", "--skip-broken", "--json", "built.json");
        Assert.Contains("unreadable, and left out: 8 (files, folders, lines or types), the first of them\n", told, StringComparison.Ordinal);
        Assert.Contains("docs/broken.md is not UTF-8: invalid byte 0xFD at byte 1.\n  Line 1 of ", told, StringComparison.Ordinal);
        Assert.DoesNotContain("skip what is broken", told, StringComparison.Ordinal);
        Assert.Equal(8, (int)_retro.Json("built.json")["unreadable"]!);
        Assert.Equal(5, _retro.Json("built.json")["unreadableExamples"]!.AsArray().Count);
    }

    /// <summary>By itself it would be an option, or the end of all.</summary>
    [Fact]
    public void A_value_that_begins_with_a_dash_is_remembered_as_a_value()
    {
        _retro.WriteFile("stories.txt", "One fox ran.\n--\nTwo rivers meet.\n--\nThree bells ring.\n");
        string[] sizes = ["--vocabulary", "300", "--chunk", "8", "--held-out-share", "0"];
        _retro.Done(["build", "--corpus", "stories.txt", "--separator=--", "--out", "work", .. sizes]);
        Assert.Contains("3 documents", _retro.Done("build", "--out", "work"), StringComparison.Ordinal);
        Assert.Contains("--separator=--", _retro.Done("info", "work"), StringComparison.Ordinal);
        _retro.WriteFile("stories.txt", "One fox ran.\n--\nTwo rivers part.\n--\nThree bells ring.\n");
        string updated = _retro.Done("update", "--database", "work", "--add", "stories.txt");
        Assert.Contains("4 documents (3 before)", updated, StringComparison.Ordinal);
    }

    /// <summary>Where the writing of a tokenizer or an embedder was stopped, its folder is there already.</summary>
    [Fact]
    public void A_folder_that_nothing_was_written_into_is_not_taken_for_what_it_was_to_hold()
    {
        _retro.Build();
        Directory.Delete(_retro["work/database"], recursive: true);
        foreach (string file in Directory.GetFiles(_retro["work/tokenizer"]))
        {
            File.Delete(file);
        }

        Directory.CreateDirectory(_retro["work/embedder"]);
        _retro.Done("info", "work");
        _retro.Done("build", "--out", "work");
        _retro.Done("verify", "work");
        string[] embed = ["embed-train", "--database", "work", "--out", "work", "--steps", "1"];
        _retro.Done(embed);
        Assert.Contains("is there already; replace it (--start-over)", _retro.Run(embed).Errors, StringComparison.Ordinal);
    }

    /// <summary>A folder of several models, such as a quickstart's, has names of its own for them.</summary>
    [Fact]
    public void What_lies_beside_the_usual_parts_of_a_folder_is_looked_at_too()
    {
        _retro.Build();
        foreach (string name in new[] { "model", "closed-book", "checkpoint" })
        {
            using RetroModel model = new(RetroConfig.Tiny with { Retrieval = null });
            Checkpoint.Save(_retro[$"work/{name}"], model);
        }

        string[] parts = ["database", "held-out", "model", "checkpoint", "closed-book"];
        _retro.Done("verify", "work", "--json", "verify.json");
        Assert.Equal([.. parts, "tokenizer"], _retro.Json("verify.json").Select(part => Path.GetFileName(part.Key)));
        _retro.Done("info", "work", "--json", "info.json");
        Assert.Equal(["tokenizer", .. parts], _retro.Json("info.json").Take(parts.Length + 1).Select(part => Path.GetFileName(part.Key)));

        // What copies on top of the closed book lies beside it.
        string copying = _retro["work/copying.safetensors"], weights = _retro["work/closed-book/model.safetensors"];
        File.WriteAllBytes(copying, new byte[100]);
        RequireFound();
        File.Delete(copying);
        File.WriteAllBytes(weights, File.ReadAllBytes(weights)[..^1]);
        RequireFound();

        void RequireFound()
        {
            Assert.Equal(1, _retro.Run("verify", "work", "--quiet", "--json", "damaged.json").ExitCode);
            Assert.Equal(
                ["closed-book"],
                _retro.Json("damaged.json").Where(part => !(bool)part.Value!["whole"]!).Select(part => Path.GetFileName(part.Key)));
        }
    }

    /// <summary>Each is whole, and nothing can be read with both.</summary>
    [Fact]
    public void A_tokenizer_that_is_not_that_of_the_database_beside_it_is_told()
    {
        _retro.Build();
        _retro.Done("build", "--corpus", "docs", "--out", "other", "--vocabulary", "290", "--chunk", "16", "--held-out-share", "0");
        _retro.Done("verify", "work");
        Directory.Delete(_retro["work/tokenizer"], recursive: true);
        Directory.Move(_retro["other/tokenizer"], _retro["work/tokenizer"]);
        ChildProcess.Outcome verified = _retro.Run("verify", "work");
        Assert.Equal(1, verified.ExitCode);
        Assert.Contains("was made with the tokenizer", verified.Errors, StringComparison.Ordinal);
        string told = $"{Path.Combine("work", "tokenizer")} is not the tokenizer of {Path.Combine("work", "database")}";
        Assert.Contains(told, _retro.Done("info", "work"), StringComparison.Ordinal);
    }

    /// <summary>What is added alone is named and cleaned as with what it is added to, and held-out text that alone is named changes nothing.</summary>
    [Fact]
    public void A_page_that_is_added_alone_takes_its_place()
    {
        const string Footer = "Copyright of the harbor, all rights reserved.";
        for (int i = 0; i < 12; i++)
        {
            _retro.WriteFile($"docs/guide/{i}.txt", $"The river number {i} has {7 * i} stones and {i * i} steps.\n{Footer}");
        }

        string[] clean = ["--clean", "unicode", "--clean", "exact", "--clean", "lines", "--clean", "near"];
        _retro.Done(["build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "8", "--held-out-share", "0.1", .. clean]);
        string held, known;
        using (ChunkDatabase heldOut = ChunkDatabase.Open(_retro["work/held-out"]))
        {
            held = heldOut.Documents[0].Id;
            known = held == "guide/0.txt" ? "guide/1.txt" : "guide/0.txt";
        }

        string only = _retro.Done("update", "--database", "work", "--add", Path.Combine("docs", held), "--json", "update.json");
        Assert.Contains("nearly repeating what is: 1 document", only, StringComparison.Ordinal);
        Assert.Equal((0, 0, 1), Counts("new", "removed", "heldOut"));
        _retro.Done("update", "--database", "work", "--add", Path.Combine("docs", known), "--json", "update.json");
        Assert.Equal((0, 0, 1), Counts("new", "replaced", "unchanged"));

        string text = File.ReadAllText(_retro[Path.Combine("docs", known)]);
        _retro.WriteFile("news/copy.txt", text);
        _retro.WriteFile($"docs/{known}", text.Replace("stones", "boats", StringComparison.Ordinal));
        string part = _retro.Done("update", "--database", "work", "--add", Path.Combine("docs", "guide"), "--json", "update.json");
        Assert.Contains("0 new, 1 replaced, 10 unchanged, 0 removed", part, StringComparison.Ordinal);
        Assert.Contains("near duplicates were looked for among what was added alone", part, StringComparison.Ordinal);
        Assert.DoesNotContain("Copyright", _retro.Done("inspect", "--database", "work", "--document", known), StringComparison.Ordinal);
        _retro.Done("update", "--database", "work", "--add", "news", "--json", "update.json");
        Assert.Equal((1, 0, 0), Counts("new", "replaced", "repeated"));
        _retro.WriteFile("news/again.txt", text);
        string again = _retro.Done("update", "--database", "work", "--add", Path.Combine("news", "again.txt"), "--json", "update.json");
        Assert.Equal((0, 0, 1), Counts("new", "replaced", "repeated"));
        Assert.Contains("such as that of ../news/copy.txt", again, StringComparison.Ordinal);

        // What holds the corpus would bring all of it a second time, called otherwise.
        ChildProcess.Outcome above = _retro.Run("update", "--database", "work", "--add", ".");
        Assert.Equal(2, above.ExitCode);
        Assert.Contains("the corpus that the database was built of", above.Errors, StringComparison.Ordinal);

        (int, int, int) Counts(string one, string two, string three)
        {
            JsonObject update = _retro.Json("update.json");
            return ((int)update[one]!, (int)update[two]!, (int)update[three]!);
        }
    }

    /// <summary>What a build would leave out does not stay from before: an emptied document, one that became a copy of another.</summary>
    [Fact]
    public void What_was_emptied_or_became_a_copy_is_removed()
    {
        _retro.WriteFile("docs/a.txt", "The river runs to the harbor, past the old bridge.");
        _retro.WriteFile("docs/b.txt", "The mountain stands over the valley, and nobody climbs it.");
        _retro.WriteFile("docs/c.jsonl", """{"id": "c", "text": "The keeper sleeps at noon.", "labels": ["board"]}""");
        _retro.Done("build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "8", "--held-out-share", "0");
        _retro.WriteFile("docs/b.txt", "The river runs to the harbor, past the old bridge.");
        _retro.WriteFile("docs/c.jsonl", """{"id": "c", "text": ""}""");
        string done = _retro.Done("update", "--database", "work", "--add", "docs", "--json", "update.json");
        Assert.Contains("taken out by the cleaning, or held out: 2 documents", done, StringComparison.Ordinal);
        Assert.Equal((1, 2), ((int)_retro.Json("update.json")["documents"]!, (int)_retro.Json("update.json")["withdrawn"]!));
        using ChunkDatabase database = ChunkDatabase.Open(Path.Combine(_retro["work"], "database"));
        Assert.Equal(["a.txt"], database.Documents.Select(document => document.Id));
    }

    [Fact]
    public void Documents_are_added_replaced_and_removed()
    {
        _retro.Build();
        _retro.WriteFile("news/ferry.md", "The ferry crosses the river where the old bridge was, every morning.\n");
        _retro.WriteFile("news/river-0.md", "The river number 0 has dried up, and nobody counts its stones.\n");
        Assert.Equal("bm25", Best("the ferry crosses").Source);
        Assert.NotEqual("../news/ferry.md", Best("the ferry crosses").Document);
        (int documents, string gone) = (Count(), Ids().First(id => id.StartsWith("bridge", StringComparison.Ordinal)));
        string done = _retro.Done("update", "--database", "work", "--add", "news", "--remove", gone, "--json", "update.json");
        Assert.Contains(", 2 segments", done, StringComparison.Ordinal);
        Assert.Equal(("../news/ferry.md", "../news/river-0.md"), (Best("the ferry crosses").Document, Best("has dried up and nobody counts").Document));
        Assert.DoesNotContain(gone, Ids());
        Assert.Contains("are as they were written", _retro.Done("verify", "work"), StringComparison.Ordinal);
        Assert.Equal((int)_retro.Json("update.json")["documents"]!, Count());
        Assert.Equal(1, Count() - documents); // of another folder, it takes no place of the corpus

        Assert.Contains(", 1 segment\n", _retro.Done("update", "--database", "work", "--compact"), StringComparison.Ordinal);
        Assert.Equal("../news/ferry.md", Best("the ferry crosses").Document);
        Assert.Contains("nothing to do", _retro.Run("update", "--database", "work").Errors, StringComparison.Ordinal);
        string errors = _retro.Run("update", "--database", "work", "--remove", "nowhere").Errors;
        Assert.Contains("no document with the id 'nowhere'", errors, StringComparison.Ordinal);

        int Count() => Ids().Length;

        string[] Ids()
        {
            using ChunkDatabase database = ChunkDatabase.Open(Path.Combine(_retro["work"], "database"));
            return [.. database.Documents.Select(document => document.Id)];
        }

        (string Source, string Document) Best(string text)
        {
            _retro.Done("inspect", "--database", "work", "--text", text, "--k", "1", "--json", "best.json");
            JsonObject found = _retro.Json("best.json");
            return ((string)found["source"]!, (string)found["neighbors"]![0]!["document"]!);
        }
    }

    /// <summary>A database says nothing without the tokenizer it was made with.</summary>
    [Fact]
    public void A_build_of_another_text_leaves_database_and_tokenizer_until_it_may_replace_them()
    {
        _retro.Build();
        string[] before = Files();
        _retro.WriteFile("other/ferry.md", "The ferry crosses where the old bridge was, every morning.\n");
        _retro.WriteFile("other/tower.md", "A tower guards the mouth of the canal, and nobody lives there.\n");
        string[] build = ["build", "--corpus", "other", "--out", "work", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0"];
        ChildProcess.Outcome refused = _retro.Run(build);
        Assert.Equal(1, refused.ExitCode);
        Assert.StartsWith("The text is another than when work was built, or another part of it is taken", refused.Errors, StringComparison.Ordinal);
        Assert.EndsWith("another --out leaves this one as it is.\n", refused.Errors, StringComparison.Ordinal);
        Assert.Equal(before, Files());
        Assert.Contains("chunk length 16 there, 8 asked", _retro.Run("build", "--out", "work", "--chunk", "8").Errors, StringComparison.Ordinal);

        _retro.Done([.. build, "--plan"]);
        Assert.Equal(before, Files());
        _retro.Done("inspect", "--database", "work", "--text", "the river", "--k", "1");

        _retro.Done([.. build, "--start-over"]);
        _retro.Done("inspect", "--database", "work", "--document", "ferry.md");
        Assert.Contains("other", File.ReadAllText(Path.Combine(_retro["work"], "retro.json")), StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.Combine(_retro["work"], "tokenizer.new")));
        _retro.Done("build", "--out", "work");

        // Of a database within its own text, the tokenizer would be text as well.
        ChildProcess.Outcome within = _retro.Run("build", "--corpus", "other", "--out", "other/");
        Assert.Equal(2, within.ExitCode);
        Assert.StartsWith("--out other/ is the corpus itself, and what is written there would be read as text", within.Errors, StringComparison.Ordinal);
        Assert.Equal(2, Directory.GetFileSystemEntries(_retro["other"]).Length);

        // So would be the reports of what is trained on the database.
        foreach (string[] verb in new[] { new[] { "train" }, ["fit", "--base", "other"], ["embed-train"] })
        {
            ChildProcess.Outcome beside = _retro.Run([.. verb, "--database", "work", "--out", "other"]);
            Assert.Equal(2, beside.ExitCode);
            Assert.StartsWith("--out other is the corpus itself", beside.Errors, StringComparison.Ordinal);
            Assert.Equal(2, Directory.GetFileSystemEntries(_retro["other"]).Length);
        }

        string[] Files() =>
        [
            .. Directory.EnumerateFiles(_retro["work"], "*", SearchOption.AllDirectories)
                .Order(StringComparer.Ordinal)
                .Select(file => $"{file}: {Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(file)))}"),
        ];
    }

    /// <summary>The way on that is named first keeps what was trained; the one that replaces the database says what that costs.</summary>
    [Fact]
    public void A_build_of_a_text_that_has_grown_tells_how_to_take_it_in()
    {
        string[] build = ["build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0"];
        const string Ways = "`retro update --database work --add docs` takes in what is new and changed in docs and keeps the models; --start-over builds anew";
        _retro.WriteCorpus();
        _retro.Done(build);
        _retro.WriteFile("docs/ferry.md", "The ferry crosses where the old bridge was, every morning.\n");
        string grown = Refused(build);
        Assert.StartsWith($"The text is another than when work was built. {Ways} with a new tokenizer, which models", grown, StringComparison.Ordinal);
        Assert.Contains($"(--tokenizer {Path.Combine("work", "tokenizer")} keeps it)", grown, StringComparison.Ordinal);
        Assert.DoesNotMatch("[0-9a-f]{16}", grown);

        Assert.Contains("1 new", _retro.Done("update", "--database", "work", "--add", "docs"), StringComparison.Ordinal);
        Assert.StartsWith($"Documents were added to work, or removed, since it was built. {Ways}", Refused(build), StringComparison.Ordinal);
        string[] kept = [.. build.Where(word => word is not ("--vocabulary" or "300")), "--tokenizer", Path.Combine("work", "tokenizer")];
        Assert.Contains($"{Ways}; another --out", Refused(kept), StringComparison.Ordinal);
        Assert.Contains("25 documents", _retro.Done([.. kept, "--start-over"]), StringComparison.Ordinal);

        string Refused(string[] line)
        {
            ChildProcess.Outcome run = _retro.Run(line);
            Assert.Equal(1, run.ExitCode);
            return run.Errors;
        }
    }

    /// <summary>What was held out of a database before stands in the next, and may have the tokens of another tokenizer.</summary>
    [Fact]
    public void A_build_that_starts_over_and_holds_nothing_out_leaves_no_held_out_documents_of_before()
    {
        _retro.Build();
        Directory.Delete(Path.Combine(_retro["work"], "database"), recursive: true);
        string[] build = ["build", "--corpus", "docs", "--out", "work", "--vocabulary", "290", "--chunk", "16", "--held-out-share", "0"];
        string[] train = ["train", "--database", "work", "--out", "model", "--source", "none", "--steps", "1", "--batch", "2", .. CliRun.Tiny];
        Assert.Contains("held-out holds documents that this build did not hold out", _retro.Done(build), StringComparison.Ordinal);
        string refused = _retro.Run(train).Errors;
        Assert.Contains("held-out' was made with the tokenizer", refused, StringComparison.Ordinal);
        Assert.Contains("build it again", refused, StringComparison.Ordinal);

        _retro.Done([.. build, "--start-over"]);
        Assert.False(Directory.Exists(Path.Combine(_retro["work"], "held-out")));
        _retro.Done(train);
        _retro.WriteFile("docs/ferry.md", "The ferry crosses where the old bridge was, every morning.\n");
        Assert.Contains("1 new", _retro.Done("update", "--database", "work", "--add", "docs/ferry.md"), StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_built_is_found_done_on_a_disk_without_room_for_another()
    {
        using MountedDisk disk = new("2m");
        _retro.WriteCorpus();
        string[] build = ["build", "--corpus", "docs", "--out", disk["work"], "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0"];
        _retro.Done(build);
        using (FileStream rest = File.Create(disk["rest"]))
        {
            rest.Write(new byte[new DriveInfo(disk.Path).AvailableFreeSpace - (32 << 10)]);
        }

        _retro.Done(build);
        Assert.Contains("are free for", _retro.Run([.. build, "--start-over", "--seed", "2"]).Errors, StringComparison.Ordinal);
    }

    [Fact]
    public void What_cleaning_does_is_told_and_kept_to()
    {
        _retro.WriteFile("docs/a.jsonl", """
            {"id": "a", "text": "The keeper of the bridge answers at keeper@bridge.example, and sleeps at night."}
            {"id": "b", "text": "The keeper of the bridge answers at keeper@bridge.example, and sleeps at night."}
            {"id": "c", "text": "Nobody answers at the harbor, whoever calls there by day or by night."}
            """);
        string[] build =
        [
            "build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "48", "--held-out-share", "0", "--json", "build.json",
        ];
        string built = _retro.Done([.. build, "--clean", "unicode", "--clean", "exact", "--clean", "personal"]);
        Assert.Contains("exact duplicates: 1 document taken out", built, StringComparison.Ordinal);
        Assert.Equal((2, 3), ((int)_retro.Json("build.json")["documents"]!, _retro.Json("build.json")["cleaning"]!.AsArray().Count));
        Assert.Contains("<email>", _retro.Done("inspect", "--database", "work", "--document", "a"), StringComparison.Ordinal);

        _retro.WriteFile("new/d.txt", "The ferryman answers at ferry@bridge.example.");
        string other = _retro.Run("update", "--database", "work", "--add", "new", "--clean", "unicode").Errors;
        Assert.Contains("Say the same (--clean unicode --clean personal --clean exact).", other, StringComparison.Ordinal);
        _retro.Done("update", "--database", "work", "--add", "new"); // retro.json has the cleaning
        Assert.DoesNotContain("ferry@", _retro.Done("inspect", "--database", "work", "--document", "../new/d.txt"), StringComparison.Ordinal);
        Assert.Contains("not 'bleach'", _retro.Run([.. build, "--clean", "bleach"]).Errors, StringComparison.Ordinal);
    }

    /// <summary>As many as an interval takes, as far as a quarter of the documents goes; below, it is told before anything is trained.</summary>
    [Fact]
    public void Where_nothing_is_said_enough_documents_for_an_interval_are_held_out()
    {
        string[] build = ["build", "--corpus", "docs", "--vocabulary", "300", "--chunk", "16", "--json", "built.json"];
        _retro.WriteCorpus();
        _retro.WriteFile("docs/again.md", File.ReadAllText(Directory.GetFiles(_retro["docs"])[0])); // the cleaning leaves 24 documents
        string few = _retro.Done([.. build, "--out", "few"]);
        Assert.Equal(6, (int)_retro.Json("built.json")["heldOutDocuments"]!);
        Assert.Contains("eval gives intervals from 20 held-out documents on (--held-out-share)", few, StringComparison.Ordinal);
        for (int i = 0; i < 70; i++)
        {
            _retro.WriteFile($"docs/own-{i}.md", string.Join(' ', Enumerable.Range(0, 60).Select(j => $"{(i * 61) + (j * j)}")));
        }

        string enough = _retro.Done([.. build, "--out", "enough"]);
        Assert.Equal(20, (int)_retro.Json("built.json")["heldOutDocuments"]!);
        Assert.DoesNotContain("gives intervals", enough, StringComparison.Ordinal);
    }

    /// <summary>What fails behind the training, such as a report that cannot be written, costs nothing of the model, and nothing is said to be next.</summary>
    [Fact]
    public void What_was_fitted_is_saved_before_the_report()
    {
        _retro.Build();
        _retro.Done(["train", "--database", "work", "--out", "decoder", "--source", "none", "--steps", "2", .. CliRun.Tiny]);
        Directory.CreateDirectory(_retro["fitted/report.html"]);
        ChildProcess.Outcome fit = _retro.Run("fit", "--base", "decoder", "--database", "work", "--out", "fitted", "--steps", "2", "--window", "64");
        Assert.Equal(1, fit.ExitCode);
        Assert.DoesNotContain("Next:", fit.Output, StringComparison.Ordinal);
        Assert.True(File.Exists(_retro["fitted/model/retrofit.safetensors"]));
    }

    [Fact]
    public void From_text_to_answers_with_what_they_were_made_of()
    {
        _retro.WriteCorpus();
        string[] build = ["build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0.2"];
        string planned = _retro.Done([.. build, "--plan", "--json", "plan.json"]);
        Assert.Contains("19 documents", planned, StringComparison.Ordinal);
        Assert.Equal(19, (int)_retro.Json("plan.json")["documents"]!);
        Assert.False(Directory.Exists(Path.Combine(_retro["work"], "database")));
        string built = _retro.Done([.. build, "--json", "build.json"]);
        Assert.Contains("5 documents held out", built, StringComparison.Ordinal);
        Assert.Contains("Next: retro train --database work --out decoder --source none", built, StringComparison.Ordinal);
        Assert.Contains("work is a database without a model; train a decoder on it", _retro.Run("eval", "--model", "work").Errors, StringComparison.Ordinal);
        JsonObject counts = _retro.Json("build.json");
        using (ChunkDatabase database = Open())
        {
            Assert.Equal((19, 5, 16), ((int)counts["documents"]!, (int)counts["heldOutDocuments"]!, database.ChunkLength));
        }

        // What is left out is taken from retro.json, and what is done is not done again.
        byte[] manifest = File.ReadAllBytes(Path.Combine(_retro["work"], "database", "manifest.json"));
        Assert.DoesNotContain("train the tokenizer", _retro.Done("build", "--out", "work"), StringComparison.Ordinal);
        Assert.Equal(manifest, File.ReadAllBytes(Path.Combine(_retro["work"], "database", "manifest.json")));

        _retro.Done("neighbors", "--database", "work", "--k", "3", "--source", "random", "--json", "neighbors.json");
        Assert.Equal(["random", "3"], new[] { "source", "k" }.Select(name => _retro.Json("neighbors.json")[name]!.ToString()));
        Assert.Equal(2, _retro.Json("neighbors.json")["tables"]!.AsArray().Count);

        string[] train = ["train", "--out", "work", "--steps", "3", "--json", "train.json", "--csv", "steps.csv", "--tensorboard", "events", .. CliRun.Tiny];
        Assert.Contains("RETRO of", _retro.Done(train), StringComparison.Ordinal);
        Assert.Equal(3, (int)_retro.Json("train.json")["steps"]!);
        Assert.Equal(4, File.ReadAllLines(_retro["steps.csv"]).Length);
        Assert.Single(Directory.GetFiles(_retro["events"]));
        RequireReport("work", "Training loss", "Loss on a sample of held-out text", "retrieval off", "held out", "config.json");
        _retro.Done(["train", "--database", "work", "--out", "decoder", "--source", "none", "--steps", "3", "--quiet", .. CliRun.Tiny]);
        _retro.Done("fit", "--base", "decoder", "--reader", "copying", "--database", "work", "--out", "copied", "--steps", "2", "--window", "64");
        RequireReport("copied", "Training: copying", "2 steps in", "Training loss", "per token with retrieval off, ", " with retrieval on", "config.json");
        string everywhere = _retro.Done(
            "fit", "--base", "decoder", "--reader", "copying", "--anywhere", "--database", "work", "--out", "everywhere", "--steps", "2", "--window", "64");
        Assert.Contains("every 16 tokens, and from anywhere in the database", everywhere, StringComparison.Ordinal);
        Assert.Contains("and from anywhere in the database", _retro.Done("info", "everywhere"), StringComparison.Ordinal);
        Assert.Contains("so is what copies on top", _retro.Done("verify", "everywhere"), StringComparison.Ordinal);
        string fitted = _retro.Done("fit", "--base", "decoder", "--database", "work", "--out", "fitted", "--steps", "2", "--window", "64");
        Assert.Matches("neighbors by bm25: [0-9,]+ chunks, with none [0-9]", fitted);

        _retro.Done("eval", "--model", "fitted", "copied", "everywhere", "--window", "64", "--json", "eval.json", "--token-records", "tokens.jsonl");
        Assert.Contains("\"copying\":", File.ReadLines(_retro["tokens.jsonl"]).First(), StringComparison.Ordinal);
        RequireReport(
            "fitted", "Held-out bits per byte", "Against closed book", "By overlap with the neighbors", "What copying read", "bm25: rank 1", "Training: RETRO");
        string[] readers =
        [
            "closed book", "closed book + pointer rule, k = 2", "closed book + pointer rule, k = 8",
            "closed book + longest run in the database", "closed book + pointer rule, k = 16, every 16 tokens",
            "copying, random", "copying", "copying from anywhere, random", "copying from anywhere", "RETRO off", "RETRO random", "RETRO",
        ];
        JsonArray rows = _retro.Json("eval.json")["readers"]!.AsArray();
        Assert.Equal(readers, rows.Select(row => (string)row!["reader"]!));
        Assert.All(rows, row => Assert.InRange((double)row!["bitsPerByte"]!, 0.1, 20));
        string[] compared = [readers[0], readers[2], readers[4], readers[3]];
        Assert.Equal(compared, rows[^1]!["against"]!.AsArray().Select(against => (string)against!["to"]!));

        // What was fitted is the decoder to the bit where it reads nothing.
        Assert.Equal((double)rows[0]!["bitsPerByte"]!, (double)rows[9]!["bitsPerByte"]!);

        string text = _retro.Done("generate", "--model", "work", "--tokens", "20", "--json", "text.json", "The river number 2 has 7 stones and 0 steps.");
        JsonObject written = _retro.Json("text.json");
        Assert.NotEmpty(written["read"]!.AsArray());
        Assert.StartsWith(((string)written["text"]!).Split('\n')[0], text, StringComparison.Ordinal);
        Assert.Contains("read, each with its score, and after how many tokens of the text:", text, StringComparison.Ordinal);
        string least = _retro.Done("generate", "--model", "work", "--tokens", "20", "--most", "1", "The river number 2 has 7 stones and 0 steps.");
        Assert.Equal(1, Regex.Count(least, "chunk [0-9]+ \\(after [0-9]+\\):"));
        Assert.Matches("and [0-9]+ of lower score", least);
        Assert.DoesNotContain("read, each", _retro.Done("generate", "--model", "work", "--source", "none", "--tokens", "20", "The"), StringComparison.Ordinal);

        const string Begun = "The river number 2 has 7 stones";
        string copied = _retro.Done("generate", "--model", "everywhere", "--temperature", "0", "--tokens", "20", "--json", "text.json", Begun);
        JsonArray from = _retro.Json("text.json")["copied"]!.AsArray();
        Assert.Equal(from.Count > 0, copied.Contains("of 20 tokens; from each passage so many:", StringComparison.Ordinal));
        Assert.InRange(from.Sum(passage => (int)passage!["tokens"]!), 0, 20);
        string[] asked = ["ask", "--model", "everywhere", "--temperature", "1", "--seed", "1", "--json", "ask.json", "How many stones has bridge 5?"];
        _retro.Done(asked);
        double together = (double)_retro.Json("ask.json")["onMinusOffBits"]!;
        double[] alone =
        [
            .. _retro.Json("ask.json")["passages"]!.AsArray().Where(passage => (string)passage!["read"]! == "while writing")
                .Select(passage => Math.Abs((double)passage!["onMinusOffBits"]!)),
        ];
        Assert.True(together > 1);
        Assert.InRange(alone.Min(), 0, 0.1 * together); // one that has nothing to do with the answer

        // Where nothing may be read, nothing has made the answer more probable.
        using (ChunkDatabase database = Open())
        {
            _retro.Done([.. asked, .. database.Documents.SelectMany(document => new[] { "--exclude", document.Id })]);
        }

        Assert.Empty(_retro.Json("ask.json")["passages"]!.AsArray());
        Assert.Equal(0, (double)_retro.Json("ask.json")["onMinusOffBits"]!, 1e-3);
        _retro.Done("generate", "--model", "work", "--tokens", "20", "--passage", "The river has 9 stones.", "--json", "text.json", Begun);
        Assert.Equal("The river has 9 stones.", (string)_retro.Json("text.json")["read"]![0]!["neighbors"]![0]!["text"]!);
        _retro.Done("generate", "--model", "work", "--tokens", "9", "--best-in-prompt", "--ban", "e", "--json", "text.json", Begun);
        Assert.DoesNotContain("e", (string)_retro.Json("text.json")["text"]!, StringComparison.Ordinal);
        _retro.Done("generate", "--model", "work", "--tokens", "9", "--retrieve-every", "4", "--json", "text.json", Begun);
        Assert.True(_retro.Json("text.json")["read"]!.AsArray().Count > 3);

        // A prompt that is piped is read as a document is.
        Assert.Equal("The\nriver", Piped(0, [0xEF, 0xBB, 0xBF, .. "The\r\nriver"u8]));
        Assert.Equal("The", Piped(0, [0xFF, 0xFE, .. Encoding.Unicode.GetBytes("The")]));
        Assert.Contains("is no text in UTF-8", Piped(1, [.. "caf"u8, 0xE9]), StringComparison.Ordinal);
        Assert.Contains("is no text in UTF-8", Piped(1, Encoding.Unicode.GetBytes("The")), StringComparison.Ordinal);

        string Piped(int code, byte[] input)
        {
            File.WriteAllBytes(_retro["input"], input);
            string line = $"dotnet '{Fixtures.Cli}' generate --model work --source none --tokens 1 --json text.json - < input";
            ChildProcess.Outcome run = ChildProcess.Run(new("sh", ["-c", line]) { WorkingDirectory = _retro.Folder });
            Assert.True(run.ExitCode == code, $"{run.ExitCode}: {run.Errors}");
            return code == 0 ? (string)_retro.Json("text.json")["prompt"]! : run.Errors;
        }

        string answered = _retro.Done("ask", "--model", "work", "--tokens", "24", "--json", "ask.json", "How many stones has bridge 5?");
        Assert.Contains("with it - without it", answered, StringComparison.Ordinal);
        JsonObject answer = _retro.Json("ask.json");
        JsonArray passages = answer["passages"]!.AsArray();
        Assert.Equal(["in the prompt", "while writing"], passages.Select(passage => (string)passage!["read"]!).Distinct());
        Assert.All(passages, passage => Assert.True(double.IsFinite((double)passage!["onMinusOffBits"]!)));
        Assert.Contains(passages, passage => Math.Abs((double)passage!["onMinusOffBits"]!) > 0);
        Assert.Contains(passages, passage => ((string)passage!["location"]!).EndsWith(".md", StringComparison.Ordinal));

        _retro.Done("inspect", "--database", "work", "--chunk", "3", "--k", "2", "--json", "chunk.json");
        JsonArray neighbors = _retro.Json("chunk.json")["neighbors"]!.AsArray();
        Assert.Equal([1, 2], neighbors.Select(neighbor => (int)neighbor!["rank"]!));
        Assert.DoesNotContain(neighbors, neighbor => (string)neighbor!["document"]! == (string)_retro.Json("chunk.json")["document"]!["id"]!);
        Assert.All(neighbors, neighbor => Assert.InRange((double)neighbor!["overlap"]!, 0.1, 1));
        Assert.Contains("more", _retro.Done("inspect", "--database", "work", "--most", "2"), StringComparison.Ordinal);

        _retro.Done("embed-train", "--out", "work", "--steps", "2");
        foreach ((string source, string name) in new[] { ("dense", "dense"), ("hybrid", "hybrid"), ("rerank", "reranked") })
        {
            _retro.Done("inspect", "--database", "work", "--text", "the river", "--source", source, "--json", "text.json");
            Assert.Equal(name, (string)_retro.Json("text.json")["source"]!);
        }

        _retro.Done("inspect", "--database", "work", "--text", "the river", "--beside", "dense", "--beside", "bm25", "--json", "text.json");
        JsonNode best = _retro.Json("text.json")["neighbors"]![0]!;
        Assert.Equal(1, (int)best["ranks"]!["bm25"]!);
        Assert.True(best["ranks"]!.AsObject().ContainsKey("dense"));

        string verified = _retro.Done("verify", "work", "--recompute", "0.5", "--source", "hybrid");
        Assert.All(new[] { "bm25.bin", "keys.bin", "recall@8" }, stage => Assert.Contains(stage, verified, StringComparison.Ordinal));

        // Through a pipe go the results alone.
        ChildProcess.Outcome streams = _retro.Streams(null, "verify", "work", "--recompute", "0.5", "--source", "hybrid");
        Assert.Equal(streams.Output + string.Concat(streams.Errors.Split('\n').SkipLast(1).Select(line => line + "\n")), streams.OfTool().Output);
        Assert.DoesNotContain(": done in ", streams.Output, StringComparison.Ordinal);
        Assert.Contains(": done in ", streams.Errors, StringComparison.Ordinal);
        _retro.Done("export", "--database", "work", "--out", "all.jsonl");
        Assert.Equal(19, File.ReadLines(_retro["all.jsonl"]).Count());
        string info = _retro.Done("info", "work");
        Assert.Contains("remembered for retro train: --database . --steps 3", info, StringComparison.Ordinal);
        Assert.Contains("embedder work/embedder: keys of ", info, StringComparison.Ordinal);
        verified = _retro.Done("verify", "work");
        Assert.Contains("are there and finite", verified, StringComparison.Ordinal);
        Assert.Contains("work/tokenizer: 300 tokens", verified, StringComparison.Ordinal);
        Assert.Contains("work/embedder: keys of ", verified, StringComparison.Ordinal);
    }

    [Fact]
    public void Shares_of_documents_are_joined_to_the_database_of_one_command()
    {
        _retro.Build();
        string[] build = ["build", "--corpus", "docs", "--out", "shared", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0.2"];
        Assert.Contains("There is no tokenizer in shared", _retro.Run([.. build, "--share", "1/2"]).Errors, StringComparison.Ordinal);
        _retro.Done([.. build, "--plan"]);
        Assert.Contains("share 2/2 is done", _retro.Done("build", "--out", "shared", "--share", "2/2"), StringComparison.Ordinal);
        Assert.Contains("1/2 is not finished", _retro.Run([.. build]).Errors, StringComparison.Ordinal);
        _retro.Done([.. build, "--share", "1/2"]);
        _retro.Done("build", "--out", "shared");
        foreach (string part in new[] { "tokenizer", "database", "held-out" })
        {
            Assert.Equal(TestDatabases.Contents(Path.Combine(_retro["work"], part)), TestDatabases.Contents(Path.Combine(_retro["shared"], part)));
        }
    }

    /// <summary>Until what takes its place is whole, a database can be read.</summary>
    [Fact]
    public void A_plan_and_shares_of_another_database_leave_the_one_that_is_there()
    {
        _retro.Build();
        Dictionary<string, string> before = TestDatabases.Contents(Path.Combine(_retro["work"], "tokenizer"));
        string settings = File.ReadAllText(_retro["work/retro.json"]);
        _retro.Done("build", "--out", "work", "--vocabulary", "290", "--plan", "--start-over");
        Requires();
        using (WriterLock.Take(_retro["work"], "hold it"))
        {
            _retro.Done("build", "--out", "work", "--share", "1/2", "--start-over");
        }

        _retro.Done("build", "--out", "work", "--share", "2/2", "--start-over");
        Requires();
        string joined = _retro.Done("build", "--out", "work", "--start-over");
        Assert.DoesNotContain("train the tokenizer", joined, StringComparison.Ordinal);
        Assert.Contains("290 tokens", joined, StringComparison.Ordinal);
        Assert.False(Directory.Exists(_retro["work/tokenizer.new"]));
        Assert.Contains("290", File.ReadAllText(_retro["work/retro.json"]), StringComparison.Ordinal);
        _retro.Done("inspect", "--database", "work", "--text", "the river", "--k", "1");

        void Requires()
        {
            Assert.Equal(before, TestDatabases.Contents(Path.Combine(_retro["work"], "tokenizer")));
            Assert.Equal(settings, File.ReadAllText(_retro["work/retro.json"]));
            _retro.Done("inspect", "--database", "work", "--text", "the river", "--k", "1");
        }
    }

    /// <summary>What many machines have found together is not found again by one.</summary>
    [Fact]
    public void What_neighbors_has_found_train_and_eval_read()
    {
        _retro.Build();
        _retro.Done("neighbors", "--database", "work");
        string[] found = Tables();
        Assert.Equal(2, found.Length);
        _retro.Done(["train", "--database", "work", "--out", "model", "--steps", "1", .. CliRun.Tiny]);
        Assert.Equal(found, Tables());
        _retro.Done("eval", "--model", "model", "--window", "64");
        Assert.Equal(found, Tables());

        // By hand they may be deleted, and are then found again.
        Array.ForEach(found, table => File.Delete(table[..table.LastIndexOf(' ')]));
        _retro.Done("verify", "work");
        _retro.Done("neighbors", "--database", "work");
        Assert.Equal(2, Tables().Except(found).Count());

        string[] Tables() =>
        [
            .. new[] { "database", "held-out" }
                .SelectMany(part => Directory.GetFiles(Path.Combine(_retro["work"], part), "neighbors-bm25-*.bin"))
                .Select(file => $"{file} {File.GetLastWriteTimeUtc(file):O}"),
        ];
    }

    [Fact]
    public void Shares_of_neighbors_and_of_their_keys_are_joined()
    {
        _retro.Build();
        string[] neighbors = ["neighbors", "--database", "work", "--k", "3"];
        Assert.Contains(
            "random needs nothing to be prepared.",
            _retro.Run([.. neighbors, "--source", "random", "--prepare", "--share", "1/2"]).Errors,
            StringComparison.Ordinal);
        _retro.Done([.. neighbors, "--prepare", "--share", "2/2"]);
        Assert.Equal(["bm25.2-of-2.bin"], Stages());
        Assert.Contains("1/2 is not finished", _retro.Run([.. neighbors, "--prepare"]).Errors, StringComparison.Ordinal);
        _retro.Done([.. neighbors, "--prepare", "--share", "1/2"]);
        _retro.Done([.. neighbors, "--prepare"]);
        Assert.Equal(["bm25.bin"], Stages());
        foreach (string share in new[] { "2/2", "1/2" })
        {
            Assert.Contains($"share {share} is done", _retro.Done([.. neighbors, "--share", share, "--json", "share.json"]), StringComparison.Ordinal);
            Assert.Equal(share, (string)_retro.Json("share.json")["share"]!);
        }

        // What is there is one block, which is in the last share.
        Assert.Matches("^neighbors-bm25-[0-9a-f]{12}.2-of-2.bin$", Stages()[1]);
        _retro.Done(neighbors);
        Assert.Matches("^bm25.bin neighbors-bm25-[0-9a-f]{12}.bin$", string.Join(' ', Stages()));

        _retro.Done("embed-train", "--out", "work", "--steps", "2");
        _retro.Done([.. neighbors, "--source", "dense", "--prepare", "--share", "2/2"]);
        Assert.Contains("keys.2-of-2.bin", Stages());
        _retro.Done([.. neighbors, "--source", "dense", "--prepare"]);
        Assert.Equal(["bm25.bin", "index.faiss", "keys.bin"], Stages().Where(name => !name.StartsWith("neighbors", StringComparison.Ordinal)));

        string[] Stages() =>
        [
            .. Directory.GetFiles(Path.Combine(_retro["work"], "database"), "*.*")
                .Select(file => Path.GetFileName(file))
                .Where(name => name is not ("manifest.json" or "tokens.bin" or "documents.bin" or "unkeyed.bin" or "writer.lock"))
                .Order(StringComparer.Ordinal),
        ];
    }

    [Fact]
    public void Retrieval_is_fitted_onto_a_pretrained_decoder_which_stays_as_it_is()
    {
        _retro.WriteCorpus();
        string decoder = Fixtures.Pretrained("llama-rope-linear");
        _retro.Done("build", "--corpus", "docs", "--tokenizer", decoder, "--out", "work", "--chunk", "16", "--quiet");
        _retro.Done("fit", "--base", decoder, "--attention", "paper", "--out", "work", "--steps", "2", "--window", "32", "--json", "fit.json");
        Assert.True((long)_retro.Json("fit.json")["added"]! > 0);
        Assert.True(File.Exists(Path.Combine(_retro["work"], "model", "retrofit.safetensors")));
        _retro.Done("eval", "--model", "work", "--window", "32", "--json", "eval.json", "--quiet");
        Assert.Equal("RETRO off", (string)_retro.Json("eval.json")["readers"]![0]!["reader"]!);
    }

    /// <summary>The database has the same ids, and was built before the model's own files said where its texts end.</summary>
    [Fact]
    public void A_model_ends_its_texts_where_its_own_files_say_and_what_is_fitted_onto_it_does_too()
    {
        _retro.WriteCorpus();
        string decoder = Fixtures.Pretrained("llama-rope-linear");
        _retro.Done("build", "--corpus", "docs", "--tokenizer", decoder, "--out", "work", "--chunk", "16", "--quiet");
        Directory.CreateDirectory(_retro["base"]);
        foreach (string file in new[] { "config.json", "model.safetensors", "tokenizer.json" })
        {
            File.Copy(Path.Combine(decoder, file), Path.Combine(_retro["base"], file));
        }

        RetroTokenizer tokenizer = RetroTokenizer.Load(decoder);
        string ends = $"{{\"eos_token_id\": [{string.Join(", ", Enumerable.Range(0, tokenizer.VocabularySize).Prepend(tokenizer.EndOfText))}]}}";
        _retro.WriteFile("base/generation_config.json", ends);
        _retro.WriteFile("base/chat_template.jinja", "{{ messages[0].content }}");
        Assert.Equal("EndOfText", End("base"));

        _retro.Done("fit", "--base", "base", "--database", "work", "--out", "fitted", "--steps", "2", "--window", "32", "--quiet");
        Assert.Equal("EndOfText", End("fitted"));
        Assert.Equal(ends, File.ReadAllText(_retro["fitted/model/generation_config.json"]));
        Assert.Equal("{{ messages[0].content }}", File.ReadAllText(_retro["fitted/model/chat_template.jinja"]));
        _retro.Done("fit", "--resume", "--out", "fitted", "--steps", "3", "--quiet");
        Assert.Equal(ends, File.ReadAllText(_retro["fitted/model/generation_config.json"]));

        string End(string model)
        {
            _retro.Done("generate", "--model", model, "--database", "work", "--tokens", "4", "--json", "text.json", "The river");
            return (string)_retro.Json("text.json")["end"]!;
        }
    }

    [Fact]
    public void A_pretrained_decoder_is_described_measured_and_asked_as_it_is()
    {
        _retro.WriteCorpus();
        string decoder = Fixtures.Pretrained("llama-rope-linear"), embedder = Fixtures.Pretrained("bert");
        _retro.Done("build", "--corpus", "docs", "--tokenizer", decoder, "--out", "work", "--chunk", "16", "--held-out-share", "0.2", "--quiet");
        Assert.Contains($"decoder {decoder}: llama of ", _retro.Done("info", decoder, "--json", "info.json"), StringComparison.Ordinal);
        Assert.Equal("llama", (string)_retro.Json("info.json")[$"decoder {decoder}"]!["family"]!);
        Assert.NotNull(_retro.Json("info.json")[$"tokenizer {decoder}"]);
        Assert.Contains($"embedder {embedder}: keys of ", _retro.Done("info", embedder), StringComparison.Ordinal);
        string asymmetric = _retro["asymmetric"];
        using (TextEmbedder plain = TextEmbedder.Load(embedder))
        {
            plain.Save(asymmetric);
        }

        File.WriteAllText(Path.Combine(asymmetric, "config_sentence_transformers.json"), "{\"prompts\": {\"query\": \"query: \"}}");
        Assert.Contains("embedded alike, and without \"query: \"", _retro.Done("info", asymmetric), StringComparison.Ordinal);

        _retro.Done(
            "eval", "--model", decoder, "--database", "work", "--window", "32", "--report", "report.html", "--json", "eval.json", "--quiet");
        Assert.Equal("closed book", (string)_retro.Json("eval.json")["readers"]![0]!["reader"]!);
        _retro.Done("generate", "--model", decoder, "--tokens", "4", "The river");
        _retro.Done("ask", "--model", decoder, "--database", "work", "--source", "bm25", "--tokens", "4", "--json", "answer.json", "Which river has stones?");

        Assert.NotEmpty(_retro.Json("answer.json")["passages"]!.AsArray());

        Directory.CreateDirectory(_retro["other"]);
        File.WriteAllText(Path.Combine(_retro["other"], "config.json"), "{\"model_type\": \"bloom\"}");
        Assert.Contains("\"bloom\"; supported is \"llama\"", _retro.Done("info", "other"), StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_damaged_is_found()
    {
        _retro.Build();
        string tokens = Path.Combine(_retro["work"], "database", "tokens.bin");
        byte[] bytes = File.ReadAllBytes(tokens);
        bytes[^1] ^= 1;
        File.WriteAllBytes(tokens, bytes);
        foreach (string file in Directory.EnumerateFiles(Path.Combine(_retro["work"], "tokenizer")))
        {
            File.Delete(file);
        }

        ChildProcess.Outcome run = _retro.Run("verify", "work", "--quiet", "--json", "verify.json");
        Assert.Equal(1, run.ExitCode);
        Assert.Contains("tokens.bin' has checksum", run.Errors, StringComparison.Ordinal);
        Assert.Contains("holds no tokenizer", run.Errors, StringComparison.Ordinal);
        Assert.False((bool)_retro.Json("verify.json").Single(part => part.Key.EndsWith("database", StringComparison.Ordinal)).Value!["whole"]!);
        Assert.True((bool)_retro.Json("verify.json").Single(part => part.Key.EndsWith("held-out", StringComparison.Ordinal)).Value!["whole"]!);
    }

    /// <summary>The page of a folder's last run shows something, and asks for nothing from elsewhere.</summary>
    private void RequireReport(string folder, params string[] shown)
    {
        string page = File.ReadAllText(Path.Combine(_retro[folder], "report.html"));
        Assert.All([.. shown, "<svg"], text => Assert.Contains(text, page, StringComparison.Ordinal));
        Assert.DoesNotMatch("(src|href)=|url\\(|@import|<script", page);
    }

    private ChunkDatabase Open() => ChunkDatabase.Open(Path.Combine(_retro["work"], "database"));
}

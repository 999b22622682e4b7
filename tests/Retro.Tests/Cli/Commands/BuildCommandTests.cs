using Retro.Database;
using Retro.Tests.Database;

namespace Retro.Tests.Cli.Commands;

/// <summary>`retro build`: what it takes in, what it leaves out, and what it replaces.</summary>
public sealed class BuildCommandTests : IDisposable
{
    private readonly CliRun _retro = new();

    public void Dispose() => _retro.Dispose();

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

    /// <summary>Of the texts that stay, where the tokenizer does.</summary>
    [Fact]
    public void Who_starts_over_keeps_keys_and_is_told_how_many()
    {
        _retro.Build();
        _retro.Done("embed-train", "--database", "work", "--out", "work", "--steps", "2");
        _retro.Done("neighbors", "--database", "work", "--source", "dense", "--prepare");
        _retro.WriteFile("docs/bell.md", "The bell rings over the harbor, and nobody hears it.");
        string[] again = ["build", "--out", "work", "--tokenizer", "work/tokenizer", "--start-over", "--json", "built.json"];
        string planned = _retro.Done([.. again, "--plan"]);
        long reused = (long)_retro.Json("built.json")["keysReused"]!;
        Assert.InRange(reused, 1, long.MaxValue);
        Assert.Contains($"{reused:#,0} keys of the database that is there to be taken over, about", planned, StringComparison.Ordinal);
        Assert.Contains($"{reused:#,0} keys of the database before taken over, ", _retro.Done(again), StringComparison.Ordinal);
        Assert.Equal(reused, (long)_retro.Json("built.json")["keysReused"]!);
        using (ChunkDatabase built = _retro.Database())
        {
            Assert.Equal($"{built.ChunkCount - reused}", built.Manifest.Find(StageNames.Keys)!.Details.GetValueOrDefault("missing", "0"));
        }

        _retro.Done("neighbors", "--database", "work", "--source", "dense", "--prepare");
        _retro.Done("verify", "work", "--recompute", "1", "--source", "dense");
    }

    /// <summary>Before anything is cut: a database that was written could not be trained on and measured, nor written again otherwise.</summary>
    [Fact]
    public void A_part_that_is_too_short_for_a_chunk_is_named_with_what_makes_it_longer()
    {
        string[] texts =
        [
            "Quiet foxes jump at noon.", "Zebras graze in wet mud.", "Kiwis nest by old walls.", "Bells ring over harbors.", "Mules pull heavy carts.",
        ];
        foreach ((int i, string text) in texts.Index())
        {
            _retro.WriteFile($"docs/{i}.md", text);
        }

        string[] build = ["build", "--corpus", "docs", "--out", "work", "--vocabulary", "260", "--chunk", "32"];
        ChildProcess.Outcome held = _retro.Run(build);
        Assert.Equal(1, held.ExitCode);
        Assert.Matches("^What is held out is too short for one chunk: 1 document of [0-9]+ tokens, and a chunk takes 32; hold out more,", held.Errors);
        Assert.Contains("(--held-out-share)", held.Errors, StringComparison.Ordinal);
        Assert.False(Directory.Exists(_retro["work/database"]));
        _retro.Done([.. build, "--held-out-share", "0.5"]);

        ChildProcess.Outcome left = _retro.Run(
            "build", "--corpus", "docs", "--out", "other", "--vocabulary", "260", "--chunk", "64", "--held-out-share", "0.5");
        Assert.Equal(1, left.ExitCode);
        Assert.StartsWith("What is held out is too short for one chunk: 2 documents of ", left.Errors, StringComparison.Ordinal);
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
            using ChunkDatabase database = _retro.Database();
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

        // They are counted where the corpus is read, or in a stage of its own.
        Assert.DoesNotContain("count documents", enough, StringComparison.Ordinal);
        string chosen = _retro.Done([.. build, "--out", "chosen", "--megabytes", "1"]);
        Assert.Equal(20, (int)_retro.Json("built.json")["heldOutDocuments"]!);
        Assert.Contains("count documents: done in ", chosen, StringComparison.Ordinal);
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
}

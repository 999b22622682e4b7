using System.Diagnostics;
using Retro.Checkpoints;
using Retro.Database;
using Retro.Generation;
using Retro.Modeling;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tokenizers;
using Retro.Training;
using Retro.Vectors;

namespace Retro.Tests;

/// <summary>Files that are none, that lead elsewhere, or that are longer than they can be.</summary>
public sealed class HostileFileTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Opening a pipe waits for a writer without end: what opens a file by name has to look first.</summary>
    [Fact]
    public void A_pipe_in_the_place_of_any_file_is_refused_at_once()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux tells what is no file.");
        string pipe = _folder["pipe"];
        using (Process process = Process.Start("mkfifo", [pipe]))
        {
            process.WaitForExit();
        }

        foreach (string path in new[] { pipe, "/dev/zero" })
        {
            Assert.Contains("is a pipe", Assert.Throws<DatabaseException>(() => MappedFile.Open(path)).Message, StringComparison.Ordinal);
            Assert.Contains("is a pipe", Assert.Throws<DatabaseException>(() => FileHash.Sha256(path)).Message, StringComparison.Ordinal);
            Assert.Contains("is a pipe", Assert.Throws<IOException>(() => SmallFile.Read(path)).Message, StringComparison.Ordinal);
            Assert.Contains("is a pipe", Assert.Throws<DatabaseException>(() => FaissFile.FaultOf(path)).Message, StringComparison.Ordinal);
            Assert.Contains("is a pipe", Assert.Throws<DatabaseException>(() => ExactIndex.IsOne(path)).Message, StringComparison.Ordinal);
        }

        File.CreateSymbolicLink(_folder["config.json"], pipe);
        File.CreateSymbolicLink(_folder["manifest.json"], pipe);
        File.CreateSymbolicLink(_folder["tokenizer.json"], pipe);
        Assert.Throws<CheckpointException>(() => Checkpoint.LoadConfig(_folder.Path));
        Assert.Throws<CheckpointException>(() => StrictJson.Open(_folder["config.json"]));
        Assert.Throws<DatabaseException>(() => ChunkDatabase.Open(_folder.Path));
        Assert.Throws<CorpusException>(() => TokenizerFiles.Read(_folder["tokenizer.json"]));
        foreach (string name in new[] { "tokenizer_config.json", "chat_template.jinja" })
        {
            File.CreateSymbolicLink(_folder[name], pipe);
            Assert.Contains("is a pipe", Assert.Throws<RetroException>(() => ChatTemplate.Load(_folder.Path)).Message, StringComparison.Ordinal);
            File.Delete(_folder[name]);
        }
    }

    /// <summary>A parser finds some faults only when a value is read, and a path with a character 0 is none.</summary>
    [Fact]
    public void What_a_model_s_files_say_in_no_text_twice_or_as_no_path_is_a_fault_of_theirs()
    {
        foreach (string type in new[] { "\"\\ud800\"", "\"retro\", \"model_type\": \"retro\"" })
        {
            _folder.File("config.json", $"{{\"model_type\": {type}}}");
            Assert.Null(WeightFolder.ConfigText(_folder["config.json"], "model_type"));
            Assert.Throws<CheckpointException>(() => Checkpoint.LoadConfig(_folder.Path));
        }

        string index = _folder.File("model.safetensors.index.json", "{\"weight_map\": {\"a\": \"b\\u0000c\"}}");
        Assert.Contains("names the file", Assert.Throws<CheckpointException>(() => WeightFolder.ReadIndex(index)).Message, StringComparison.Ordinal);

        const string Counts = "\"FormatVersion\": 2, \"Steps\": 1, \"Batches\": 1, \"Tokens\": 1, \"SkippedInARow\": 0, \"Elapsed\": \"00:00:01\"";
        foreach (string config in new[] { "{\"width\": \"\\ud800\"}", "{\"width\": 8, \"width\": 8}" })
        {
            string state = $"{{{Counts}, \"Options\": {{}}, \"OptimizerSteps\": {{}}, \"Config\": {config}}}";
            Assert.Throws<CheckpointException>(() => TrainingState.Parse(state, "state").RequireConfig(RetroConfig.Tiny, "state"));
        }
    }

    [Fact]
    public void A_configuration_of_any_length_costs_no_more_than_it_may_have()
    {
        using (FileStream sparse = File.Create(_folder["config.json"]))
        {
            sparse.SetLength(1L << 40);
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Contains(
            $"longer than the {SmallFile.Configuration} bytes",
            Assert.Throws<CheckpointException>(() => Checkpoint.LoadConfig(_folder.Path)).Message,
            StringComparison.Ordinal);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 4L * SmallFile.Configuration);
    }

    [Fact]
    public void Nothing_is_written_through_a_link()
    {
        string kept = _folder.File("kept", "somebody else's"), path = _folder["file"];
        File.CreateSymbolicLink(path + AtomicFile.TemporarySuffix, kept);
        AtomicFile.WriteText(path, "ours", (message, fault) => new DatabaseException(message, fault));
        Assert.Equal(("ours", "somebody else's", null), (File.ReadAllText(path), File.ReadAllText(kept), new FileInfo(path).LinkTarget));

        string rows = _folder["rows"];
        File.WriteAllText(rows + ".part.txt", "note");
        File.CreateSymbolicLink(rows + ".part", kept);
        using (ResumableFile file = ResumableFile.Open(rows, "note", [1], 1, 1, 1))
        {
            file.Append([2], 1);
            file.Complete();
        }

        Assert.Equal([1, 2], File.ReadAllBytes(rows));
        Assert.Equal("somebody else's", File.ReadAllText(kept));

        using VectorIndex index = VectorIndex.Create(1, engine: VectorEngine.Exact);
        File.CreateSymbolicLink(_folder["index.tmp"], kept);
        index.Save(_folder["index"]);
        Assert.Equal("somebody else's", File.ReadAllText(kept));
    }

    /// <summary>A record of renames that comes with a stranger's folder must not reach through a link in it.</summary>
    [Fact]
    public void A_record_of_a_saving_that_leads_through_a_link_is_refused()
    {
        string kept = _folder.File("elsewhere/kept", "somebody else's"), model = _folder["model"];
        Directory.CreateDirectory(model);
        Directory.CreateSymbolicLink(Path.Combine(model, "x"), Path.GetDirectoryName(kept)!);
        foreach (string record in new[] { """{"Written":[],"Removed":["x/kept"]}""", """{"Written":["x/kept"],"Removed":[]}""" })
        {
            File.WriteAllText(Path.Combine(model, StagedFiles.RecordName), record);
            File.WriteAllText(kept + AtomicFile.TemporarySuffix, "ours");
            Assert.Throws<CheckpointException>(() => StagedFiles.Finish(model, (message, fault) => new CheckpointException(message, fault)));
            Assert.Equal("somebody else's", File.ReadAllText(kept));
        }
    }

    /// <summary>What a database removes when it is built or changed is its own.</summary>
    [Fact]
    public void Building_and_changing_a_database_removes_nothing_of_somebody_else_s()
    {
        string folder = _folder["database"], elsewhere = Path.GetDirectoryName(_folder.File("elsewhere/3/kept", "somebody else's"))!;
        string[] others = [.. new[] { "segments/train", "segments/7", "building" }.Select(name => Path.Combine(folder, name, "kept"))];
        foreach (string path in others)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, "somebody else's");
        }

        ChunkDatabaseBuilder.Build(folder, [TestDatabases.Document("a", "some text")], TestDatabases.Bytes, new() { ChunkLength = 4 }).Dispose();
        Assert.All(others, path => Assert.True(File.Exists(path), path));
        Assert.Equal([others[^1]], Directory.GetFileSystemEntries(Path.Combine(folder, "building")));

        Directory.Delete(Path.Combine(folder, "segments"), recursive: true);
        File.WriteAllText(Path.Combine(elsewhere, WriterLock.FileName), "");
        Directory.CreateSymbolicLink(Path.Combine(folder, "segments"), Path.GetDirectoryName(elsewhere)!);
        File.CreateSymbolicLink(Path.Combine(folder, WriterLock.HolderName), Path.Combine(elsewhere, "kept"));
        ChunkDatabaseOptions again = new() { ChunkLength = 4, StartOver = true };
        ChunkDatabaseBuilder.Build(folder, [TestDatabases.Document("b", "other text")], TestDatabases.Bytes, again).Dispose();
        Assert.Equal("somebody else's", File.ReadAllText(Path.Combine(elsewhere, "kept")));
    }

    [Theory]
    [InlineData("")]
    [InlineData("journal.jsonl")]
    [InlineData("tokens.bin")]
    [InlineData("records.bin")]
    public void An_unfinished_database_with_a_link_in_it_is_refused(string name)
    {
        string kept = _folder.File("elsewhere/kept", "somebody else's"), database = _folder["database"], building = Path.Combine(database, "building");
        Directory.CreateDirectory(name.Length == 0 ? database : building);
        File.CreateSymbolicLink(Path.TrimEndingDirectorySeparator(Path.Combine(building, name)), name.Length == 0 ? Path.GetDirectoryName(kept)! : kept);

        DatabaseException fault = Assert.Throws<DatabaseException>(
            () => ChunkDatabaseBuilder.Build(database, [TestDatabases.Document("a", "some text")], TestDatabases.Bytes, new() { ChunkLength = 4 }));

        Assert.Contains("is a link", fault.Message, StringComparison.Ordinal);
        Assert.Equal("somebody else's", File.ReadAllText(kept));
        Assert.Single(Directory.GetFileSystemEntries(_folder["elsewhere"]));
    }

    /// <summary>Sorting or composing marks one by one against all before them would take hours.</summary>
    [Fact]
    public void A_million_combining_marks_are_normalized_in_a_time_that_grows_with_them()
    {
        string marks = "e" + string.Concat(Enumerable.Repeat("\u0301\u0323", 500_000));

        string decomposed = UnicodeForms.ToFormD(marks);
        Assert.Equal("e" + new string('\u0323', 500_000) + new string('\u0301', 500_000), decomposed);
        string composed = UnicodeForms.ToFormC(marks);
        Assert.Equal('\u1EB9', composed[0]);
        Assert.Equal(decomposed, UnicodeForms.ToFormD(composed));
    }
}

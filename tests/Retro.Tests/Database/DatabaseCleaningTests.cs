using Retro.Corpora;
using Retro.Database;
using Retro.Search;

namespace Retro.Tests.Database;

public sealed class DatabaseCleaningTests : IDisposable
{
    private const string Footer = "Copyright of the harbor", Menu = "Home, ferries, lanterns", Banner = "The market is closed";

    private readonly TestDatabases _databases = new();

    public void Dispose() => _databases.Dispose();

    [Fact]
    public void Lines_that_a_build_or_a_change_took_out_stay_out_of_what_is_added()
    {
        string folder = Built();
        Dictionary<string, string> before = TestDatabases.Contents(folder);
        Assert.Equal("a0 says something", Added(new Document("a0", "", $"a0 says something\n{Footer}", "")));
        Assert.Equal(before, TestDatabases.Contents(folder)); // as it was built
        Assert.Equal($"b says something\n{Menu}", Added(new Document("b", "", $"{Footer}\nb says something\n{Menu}", "")));

        // What many of those have that are added goes from later ones as well, and from these again.
        Assert.Equal("c2 says something", Added(Pages("c", 3, Menu)));
        Assert.Equal($"b says something\n{Banner}", Added(new Document("b", "", $"{Footer}\nb says something\n{Menu}\n{Banner}", "")));
        Assert.Equal(2, Directory.GetFiles(folder, "lines.bin", SearchOption.AllDirectories).Length);
        DatabaseCompaction.Compact(folder).Dispose();
        ChunkDatabase.Open(folder, verify: true).Dispose();
        string kept = Assert.Single(Directory.GetFiles(folder, "lines.bin", SearchOption.AllDirectories));
        Assert.Equal("d says something", Added(new Document("d", "", $"{Footer}\nd says something\n{Menu}", "")));

        byte[] content = File.ReadAllBytes(kept);
        content[8] = 9;
        File.WriteAllBytes(kept, content);
        Assert.Contains(kept, Assert.Throws<DatabaseException>(() => Added(new Document("d", "", "another", ""))).Message, StringComparison.Ordinal);
        content[8] = 1;
        File.WriteAllBytes(kept, content[..^16]); // cut short, and then lost: nothing makes it again
        Assert.Contains(kept, Assert.Throws<DatabaseException>(() => Added(new Document("d", "", "another", ""))).Message, StringComparison.Ordinal);
        File.Delete(kept);
        Assert.Contains("is missing", Assert.Throws<DatabaseException>(() => Added(new Document("d", "", "another", ""))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Lines_that_a_change_took_out_stay_known_when_the_last_of_its_documents_goes()
    {
        string folder = Built();
        Added(Pages("c", 3, Menu));
        ChunkDatabaseUpdate.Apply(folder, [], ["c0", "c1", "c2"], TestDatabases.Bytes).Database.Dispose();
        Assert.False(Directory.Exists(Path.Combine(folder, "segments", "1")));
        using (ChunkDatabase changed = ChunkDatabase.Open(folder, verify: true))
        {
            Assert.Empty(changed.Faults);
        }

        Assert.Equal("e says something", Added(new Document("e", "", $"{Footer}\ne says something\n{Menu}", "")));
    }

    [Fact]
    public void Lines_are_kept_with_what_is_new_before_the_documents_that_lost_them_go()
    {
        string folder = Built();
        Added(Pages("c", 3, Menu));
        Document[] others = [.. Enumerable.Range(0, 3).Select(i => new Document($"c{i}", "", $"c{i} says something else", ""))];
        CorpusCleaning cleaning = Cleaning();
        string[] kept = [];
        ChunkDatabaseUpdate.Apply(
            folder,
            cleaning.Clean(others, keepRemoved: true),
            [],
            TestDatabases.Bytes,
            cleaning,
            made => kept = [.. made.Manifest.Files.Select(file => file.Name)]).Database.Dispose();
        Assert.Contains("lines.bin", kept);
        Assert.False(Directory.Exists(Path.Combine(folder, "segments", "1")));
        Assert.Equal("e says something", Added(new Document("e", "", $"{Footer}\ne says something\n{Menu}", "")));
    }

    private string Built()
    {
        CorpusCleaning cleaning = Cleaning();
        using ChunkDatabase built = ChunkDatabaseBuilder.Build(
            _databases.Folder(), cleaning.Clean(Pages("a", 3, Footer)), TestDatabases.Bytes, new() { ChunkLength = 8, Cleaning = cleaning.Name });
        DatabaseCleaning.Save(built, cleaning);
        return built.Folder;
    }

    /// <summary>Adds documents, cleaned, and says what is left of the last one's text.</summary>
    private string Added(params Document[] documents)
    {
        CorpusCleaning anew = Cleaning();
        using ChunkDatabase changed =
            ChunkDatabaseUpdate.Apply(_databases.Folder(), anew.Clean(documents, keepRemoved: true), [], TestDatabases.Bytes, anew).Database;
        DocumentEntry last = changed.Documents.Single(entry => entry.Id == documents[^1].Id);
        return System.Text.Encoding.UTF8.GetString([.. changed.TextOf(last).Select(id => (byte)id)]);
    }

    private static CorpusCleaning Cleaning() => new(CleaningStep.Unicode(), CleaningStep.RepeatedLines(3));

    private static Document[] Pages(string name, int count, string line)
        => [.. Enumerable.Range(0, count).Select(i => new Document($"{name}{i}", "", $"{name}{i} says something\n{line}", ""))];
}

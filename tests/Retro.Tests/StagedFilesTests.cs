namespace Retro.Tests;

public sealed class StagedFilesTests
{
    private static DatabaseException Fault(string message, Exception inner) => new(message, inner);

    [Fact]
    public void Files_take_their_names_together_or_not_at_all()
    {
        using TemporaryFolder folder = new();
        string first = Path.Combine(folder.Path, "first"), second = Path.Combine(folder.Path, "deep", "second");
        using (StagedFiles files = new(Fault))
        {
            files.WriteText(first, "one");
            files.WriteText(second, "two");
            Assert.False(File.Exists(first));
            files.Commit();
        }

        Assert.Equal(("one", "two"), (File.ReadAllText(first), File.ReadAllText(second)));
        Assert.Throws<OperationCanceledException>(() =>
        {
            using StagedFiles files = new(Fault);
            files.WriteText(first, "three");
            files.Write(second, _ => throw new OperationCanceledException());
        });
        Assert.Equal(("one", "two"), (File.ReadAllText(first), File.ReadAllText(second)));
        Assert.Equal([second, first], Directory.EnumerateFiles(folder.Path, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal));
    }
}

namespace Retro.Tests;

public sealed class AtomicFileTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private static DatabaseException Fault(string message, Exception inner) => new(message, inner);

    [Fact]
    public void Writes_and_replaces_and_leaves_nothing_beside()
    {
        string path = _folder["deep/file.txt"];
        AtomicFile.WriteText(path, "one", Fault);
        AtomicFile.WriteText(path, "two", Fault);
        Assert.Equal("two", File.ReadAllText(path));
        Assert.Equal([path], Directory.GetFiles(Path.GetDirectoryName(path)!));
    }

    [Fact]
    public void A_failing_writer_keeps_the_old_file_and_its_own_exception()
    {
        string path = _folder["file.txt"];
        AtomicFile.WriteText(path, "old", Fault);
        Assert.Throws<OperationCanceledException>(() => AtomicFile.Write(path, stream =>
        {
            stream.Write("half of the new"u8);
            throw new OperationCanceledException();
        }, Fault));
        Assert.Equal("old", File.ReadAllText(path));
        Assert.Single(Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public void A_full_disk_names_the_path_and_what_to_do()
    {
        Assert.SkipUnless(File.Exists("/dev/full"), "This system has no /dev/full.");
        string path = _folder["file.bin"];
        AtomicFile.WriteText(path, "old", Fault);
        File.CreateSymbolicLink(path + AtomicFile.TemporarySuffix, "/dev/full");
        DatabaseException fault = Assert.Throws<DatabaseException>(() => AtomicFile.Write(path, stream => stream.Write(new byte[1 << 20]), Fault));
        Assert.Contains(path, fault.Message, StringComparison.Ordinal);
        Assert.Contains("no space left", fault.Message, StringComparison.Ordinal);
        Assert.Contains("free some space", fault.Message, StringComparison.Ordinal);
        Assert.Equal("old", File.ReadAllText(path));
        Assert.Single(Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public void A_folder_that_is_a_file_is_named()
    {
        string file = _folder["file"];
        File.WriteAllText(file, "");
        DatabaseException fault = Assert.Throws<DatabaseException>(() => AtomicFile.WriteText(Path.Combine(file, "below"), "x", Fault));
        Assert.Contains(Path.Combine(file, "below"), fault.Message, StringComparison.Ordinal);
        Assert.NotNull(fault.InnerException);
    }
}

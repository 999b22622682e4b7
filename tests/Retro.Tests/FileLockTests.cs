namespace Retro.Tests;

/// <summary>The file that one has at a time.</summary>
public sealed class FileLockTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    /// <inheritdoc/>
    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_long_wait_is_told_once_with_the_files_name_and_ends_when_the_file_is_given_back()
    {
        string path = _folder["retro.json.lock"];
        List<string> told = [];
        FileStream held = FileLock.Wait(path, told.Add, TestContext.Current.CancellationToken);
        Assert.Empty(told);
        using FileStream own = FileLock.Wait(path, Tell, TimeSpan.Zero, TimeProvider.System, TestContext.Current.CancellationToken);
        Assert.Contains(path, Assert.Single(told), StringComparison.Ordinal);

        void Tell(string sentence)
        {
            told.Add(sentence);
            held.Dispose();
        }
    }

    [Fact]
    public void A_wait_can_be_ended_and_what_cannot_be_opened_is_not_waited_for()
    {
        string path = _folder["lock"];
        using FileStream held = FileLock.Wait(path, cancellationToken: TestContext.Current.CancellationToken);
        using CancellationTokenSource stop = new();
        Assert.ThrowsAny<OperationCanceledException>(() => FileLock.Wait(path, _ => stop.Cancel(), TimeSpan.Zero, TimeProvider.System, stop.Token));
        Assert.Throws<DirectoryNotFoundException>(
            () => FileLock.Wait(Path.Combine(_folder["missing"], "lock"), cancellationToken: TestContext.Current.CancellationToken));
    }
}

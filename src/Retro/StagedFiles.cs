namespace Retro;

/// <summary>
/// Files that belong together: each is written beside its place and flushed to the disk, and all take their names at the end. What stops before then, a fault or a cancellation, leaves what was there
/// before. While they are written the disk holds both.
/// </summary>
/// <param name="fault">Makes the caller's exception of a sentence and the fault behind it.</param>
internal sealed class StagedFiles(Func<string, Exception, RetroException> fault) : IDisposable
{
    private readonly List<string> _written = [];
    private readonly List<string> _removed = [];

    /// <summary>Writes a file beside its place.</summary>
    /// <param name="path">The file's place; its folder is created where it is missing.</param>
    /// <param name="write">Writes the content; the stream can seek. What it throws goes through.</param>
    public void Write(string path, Action<Stream> write)
    {
        AtomicFile.Guard(path, fault, () =>
        {
            if (Path.GetDirectoryName(Path.GetFullPath(path)) is { } folder)
            {
                Directory.CreateDirectory(folder);
            }
        });
        _written.Add(path);
        AtomicFile.Guard(path, fault, () =>
        {
            using FileStream stream = new(path + AtomicFile.TemporarySuffix, FileMode.Create, FileAccess.ReadWrite, FileShare.Read, 1 << 16);
            write(stream);
            stream.Flush(flushToDisk: true);
        });
    }

    /// <summary>Writes a UTF-8 text file beside its place.</summary>
    /// <inheritdoc cref="Write"/>
    public void WriteText(string path, string text) => Write(path, stream => stream.Write(System.Text.Encoding.UTF8.GetBytes(text)));

    /// <summary>Has a file taken away when all have taken their names: one that would be read in their place, or that nobody reads any more.</summary>
    /// <param name="path">The file; where it is one of those written, it stays.</param>
    public void Remove(string path) => _removed.Add(path);

    /// <summary>Gives all files their names, in the order in which they were written: what makes a folder whole is written last.</summary>
    public void Commit()
    {
        string[] removed = [.. _removed.Except(_written, StringComparer.Ordinal)];
        while (_written.Count > 0)
        {
            AtomicFile.Guard(_written[0], fault, () => File.Move(_written[0] + AtomicFile.TemporarySuffix, _written[0], overwrite: true));
            _written.RemoveAt(0);
        }

        foreach (string path in removed)
        {
            AtomicFile.Guard(path, fault, () => File.Delete(path));
        }
    }

    /// <summary>Takes away what has not taken its name.</summary>
    public void Dispose()
    {
        foreach (string path in _written)
        {
            try
            {
                File.Delete(path + AtomicFile.TemporarySuffix);
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                // The fault that brought us here is the one to report; a left-over is replaced by the next writing.
            }
        }

        _written.Clear();
    }
}

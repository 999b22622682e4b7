using System.Text;
using System.Text.Json;

namespace Retro;

/// <summary>
/// Files of a folder that belong together: each is written beside its place and flushed to the disk, and at the end all take their names as one. What stops
/// before then, a fault, a cancellation or a kill, leaves what was there before. While they are written the disk holds both.
/// </summary>
/// <remarks>
/// Several files cannot be renamed at once, so a record of what is to be renamed and removed is put into the folder first: from the moment it stands there the
/// new files are what the folder holds. A process that ends in the middle leaves the record, and whoever reads or writes the folder next does the rest
/// (<see cref="Finish"/>).
/// </remarks>
internal sealed class StagedFiles : IDisposable
{
    /// <summary>The name of the record.</summary>
    public const string RecordName = "unfinished-save.json";

    private const int MaximumRecordBytes = 1 << 24;

    // One alone opens the record, and renames and deletes it while it is open; for that Windows wants to be asked, and Unix never does.
    private static readonly FileShare s_alone = OperatingSystem.IsWindows() ? FileShare.Delete : FileShare.None;

    private readonly string _folder;
    private readonly Func<string, Exception, RetroException> _fault;
    private readonly List<string> _written = [];
    private readonly List<string> _removed = [];

    /// <summary>Begins, after what another process has left half done.</summary>
    /// <param name="folder">The folder that the files lie in, or below; whoever reads them calls <see cref="Finish"/> for it.</param>
    /// <param name="fault">Makes the caller's exception of a sentence and the fault behind it.</param>
    public StagedFiles(string folder, Func<string, Exception, RetroException> fault)
    {
        _folder = Path.GetFullPath(folder);
        _fault = fault;
        Finish(folder, fault);
    }

    /// <summary>Does the rest of a saving that a killed process left in the middle of renaming; waits for one that is at it.</summary>
    /// <param name="folder">The folder; it need not be there.</param>
    /// <param name="fault">Makes the caller's exception.</param>
    public static void Finish(string folder, Func<string, Exception, RetroException> fault)
    {
        string record = Path.Combine(folder, RecordName);
        for (int tries = 0; File.Exists(record); tries++)
        {
            try
            {
                // Whoever renames holds the record; it is gone when they are done.
                using FileStream stream = new(record, FileMode.Open, FileAccess.Read, s_alone);
                if (File.Exists(record))
                {
                    Carry(Path.GetFullPath(folder), Record.Read(stream, folder));
                }
            }
            catch (FileNotFoundException)
            {
            }
            catch (JsonException exception)
            {
                throw fault(
                    $"'{record}' should say what a saving was about to rename, and cannot be read ({exception.Message}); delete it, and check the "
                        + "files beside it.",
                    exception);
            }
            catch (IOException exception) when (tries < 600 && AtomicFile.IsHeld(exception))
            {
                Thread.Sleep(50);
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                throw fault(
                    $"A saving into '{folder}' was stopped in the middle and cannot be finished ({exception.Message}); open the folder once where it "
                        + "may be written.",
                    exception);
            }
        }
    }

    /// <summary>Writes a file beside its place.</summary>
    /// <param name="path">The file's place; its folder is created where it is missing.</param>
    /// <param name="write">Writes the content; the stream can seek. What it throws goes through.</param>
    public void Write(string path, Action<Stream> write)
    {
        AtomicFile.Guard(path, _fault, () => AtomicFile.CreateFolder(FolderOf(path)));
        _written.Add(path);
        AtomicFile.Guard(path, _fault, () =>
        {
            using FileStream stream = AtomicFile.CreateBeside(path, FileShare.Read);
            write(stream);
            stream.Flush(flushToDisk: true);
        });
    }

    /// <summary>Writes a UTF-8 text file beside its place.</summary>
    /// <inheritdoc cref="Write"/>
    public void WriteText(string path, string text) => Write(path, stream => stream.Write(Encoding.UTF8.GetBytes(text)));

    /// <summary>Has a file be one that another folder holds, by a hard link: no byte of it is written again, and either may be deleted.</summary>
    /// <param name="path">The file's place; its folder is created where it is missing.</param>
    /// <param name="from">The file with the content, whole and on the disk, which nobody writes into.</param>
    /// <returns>Whether it is; where the file system has no such links, <see cref="Write"/> it.</returns>
    public bool Link(string path, string from)
    {
        AtomicFile.Guard(path, _fault, () => AtomicFile.CreateFolder(FolderOf(path)));
        if (!AtomicFile.TryLinkBeside(from, path))
        {
            return false;
        }

        _written.Add(path);
        return true;
    }

    /// <summary>Has a file taken away when all have taken their names: one that would be read in their place, or that nobody reads any more.</summary>
    /// <param name="path">The file; where it is one of those written, it stays.</param>
    public void Remove(string path) => _removed.Add(path);

    /// <summary>Gives all files their names.</summary>
    public void Commit()
    {
        string[] removed = [.. _removed.Except(_written, StringComparer.Ordinal).Where(File.Exists)];
        if (_written.Count == 1 && removed.Length == 0)
        {
            AtomicFile.Guard(_written[0], _fault, () => AtomicFile.Move(_written[0] + AtomicFile.TemporarySuffix, _written[0]));
            _written.Clear();
        }
        else if (_written.Count + removed.Length > 0)
        {
            string path = Path.Combine(_folder, RecordName);
            AtomicFile.Guard(path, _fault, () =>
            {
                Record record = new([.. _written.Select(Name)], [.. removed.Select(Name)]);
                foreach (string folder in _written.Select(FolderOf).Distinct(StringComparer.Ordinal))
                {
                    AtomicFile.FlushFolder(folder);
                }

                using FileStream stream = AtomicFile.CreateBeside(path, s_alone);
                JsonSerializer.Serialize(stream, record);
                stream.Flush(flushToDisk: true);
                AtomicFile.Move(path + AtomicFile.TemporarySuffix, path);
                _written.Clear(); // they are the record's now
                Carry(_folder, record);
            });
        }
    }

    /// <summary>Takes away what has not taken its name.</summary>
    public void Dispose()
    {
        foreach (string path in _written)
        {
            // The fault that brought us here is the one to report; a left-over is replaced by the next writing.
            AtomicFile.TryDelete(path + AtomicFile.TemporarySuffix);
        }

        _written.Clear();
    }

    // As many times as it takes: what is done already is passed over.
    private static void Carry(string folder, Record record)
    {
        foreach (string path in record.Written.Select(name => Path.Combine(folder, name)).Where(path => File.Exists(path + AtomicFile.TemporarySuffix)))
        {
            AtomicFile.Move(path + AtomicFile.TemporarySuffix, path);
        }

        foreach (string name in record.Removed.Append(RecordName))
        {
            File.Delete(Path.Combine(folder, name));
        }

        AtomicFile.FlushFolder(folder);
    }

    private static string FolderOf(string path) => Path.GetDirectoryName(Path.GetFullPath(path))!;

    private string Name(string path)
    {
        string name = Path.GetRelativePath(_folder, Path.GetFullPath(path)).Replace('\\', '/');
        return Record.IsWithin(name) ? name : throw new ArgumentException($"'{path}' does not lie in '{_folder}'.", nameof(path));
    }

    private sealed record Record(string[] Written, string[] Removed)
    {
        // A record may come from a stranger with the folder: it moves and removes files of that folder alone.
        public static Record Read(FileStream stream, string folder)
        {
            Record? record = stream.Length <= MaximumRecordBytes
                ? JsonSerializer.Deserialize<Record>(stream)
                : throw new JsonException($"it has {stream.Length} bytes");
            return record is { Written: not null, Removed: not null }
                && record.Written.Concat(record.Removed).All(name => IsWithin(name) && FileIdentity.LinkTo(folder, name) is null)
                    ? record
                    : throw new JsonException($"it names what is no file in '{folder}'");
        }

        public static bool IsWithin(string? name)
            => !string.IsNullOrEmpty(name) && name.IndexOfAny(['\\', ':', '\0']) < 0 && name.Split('/').All(part => part is not ("" or "." or ".."));
    }
}

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

    private readonly string _folder;
    private readonly Func<string, Exception, RetroException> _fault;
    private readonly List<(string Path, FileStream File)> _written = []; // open until they have their names, so that nobody else writes them
    private readonly List<string> _removed = [];
    private bool _isRecorded;

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
                using FileStream stream = new(record, FileMode.Open, FileAccess.Read, AtomicFile.Alone);
                if (File.Exists(record) && Path.GetFullPath(folder) is var of)
                {
                    Record left = Record.Read(stream, folder);
                    foreach (string path in left.Written.Select(name => Path.Combine(of, name)).Where(path => File.Exists(path + AtomicFile.TemporarySuffix)))
                    {
                        AtomicFile.Move(path + AtomicFile.TemporarySuffix, path); // what has its name already is passed over
                    }

                    Remove(of, left);
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
    /// <exception cref="RetroException">It cannot be written, or another is writing it.</exception>
    public void Write(string path, Action<Stream> write)
    {
        Finish(_folder, _fault); // what a record names is not to be written over
        AtomicFile.Guard(path, _fault, () =>
        {
            AtomicFile.CreateFolder(FolderOf(path));
            FileStream file = AtomicFile.CreateBeside(path);
            _written.Add((path, file));
            BufferedStream content = new(file, 1 << 16);
            write(content);
            content.Flush();
            file.Flush(flushToDisk: true);
            AtomicFile.AdmitReaders(file);
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
        FileStream? file = null;
        AtomicFile.Guard(path, _fault, () =>
        {
            AtomicFile.CreateFolder(FolderOf(path));
            file = AtomicFile.LinkBeside(from, path);
        });
        if (file is null)
        {
            return false;
        }

        _written.Add((path, file));
        return true;
    }

    /// <summary>Has a file taken away when all have taken their names: one that would be read in their place, or that nobody reads any more.</summary>
    /// <param name="path">The file; where it is one of those written, it stays.</param>
    public void Remove(string path) => _removed.Add(path);

    /// <summary>Gives all files their names.</summary>
    /// <exception cref="RetroException">That cannot be, or one of them is not there any more; where it cannot begin, what was there before stays.</exception>
    public void Commit()
    {
        string[] removed = [.. _removed.Except(_written.Select(one => one.Path), StringComparer.Ordinal).Where(File.Exists)];
        if (_written.Count == 1 && removed.Length == 0)
        {
            (string path, FileStream file) = _written[0];
            AtomicFile.Guard(path, _fault, () => AtomicFile.TakeName(file, path));
        }
        else if (_written.Count + removed.Length > 0)
        {
            string path = Path.Combine(_folder, RecordName);
            AtomicFile.Guard(path, _fault, () =>
            {
                Record record = new([.. _written.Select(one => Name(one.Path))], [.. removed.Select(Name)]);
                foreach (string folder in _written.Select(one => FolderOf(one.Path)).Distinct(StringComparer.Ordinal))
                {
                    AtomicFile.FlushFolder(folder);
                }

                FileStream stream = AtomicFile.CreateBeside(path);
                try
                {
                    Finish(_folder, _fault); // that of a saving of other files, in whose record's place this one comes
                    _written.ForEach(one => AtomicFile.RequireAt(one.File, one.Path));
                    JsonSerializer.Serialize(stream, record);
                    stream.Flush(flushToDisk: true);
                    AtomicFile.Move(path + AtomicFile.TemporarySuffix, path);
                    _isRecorded = true;
                    _written.ForEach(one => AtomicFile.TakeName(one.File, one.Path));
                    Remove(_folder, record);
                }
                finally
                {
                    if (!_isRecorded)
                    {
                        AtomicFile.Discard(stream, path);
                    }

                    stream.Dispose();
                }
            });
        }

        Dispose();
    }

    /// <summary>Takes away what has not taken its name.</summary>
    public void Dispose()
    {
        foreach ((string path, FileStream file) in _written)
        {
            if (_isRecorded)
            {
                file.Dispose(); // it is the record's, where it has not its name
            }
            else
            {
                AtomicFile.Discard(file, path);
            }
        }

        _written.Clear();
    }

    // The end of a saving: what is to go, and the record.
    private static void Remove(string folder, Record record)
    {
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

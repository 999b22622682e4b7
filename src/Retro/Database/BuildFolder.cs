using System.Text;
using System.Text.Json;

namespace Retro.Database;

/// <summary>
/// An unfinished database: the folder "building" with the tokens and records so far, and a journal with a line for the settings and
/// one for each block that is safely on the disk. What lies behind the last such block is cut off when the building is resumed.
/// Whoever opens it has the right to change the database's folder.
/// </summary>
internal sealed partial class BuildFolder : IDisposable
{
    public const string Name = "building";

    private const string JournalName = "journal.jsonl", TokensName = "tokens.bin", RecordsName = "records.bin";

    private static readonly string[] s_files = [JournalName, TokensName, RecordsName];

    private readonly string _target;
    private readonly int _version;
    private readonly BuildSettings _settings;
    private readonly string _finishedTokens;
    private readonly string _path;
    private readonly FileStream _journal;

    // At their ends.
    private readonly FileStream _tokens, _records;
    private readonly List<BuildBlock> _blocks = [];
    private readonly List<long> _journalEnds = [];

    private BuildFolder(string target, int version, BuildSettings settings)
    {
        (_target, _version, _settings) = (target, version, settings);
        _finishedTokens = Path.Combine(target, DatabaseManifest.TokensFileOf(version));
        _path = Path.Combine(target, Name);
        if (Array.Find([_path, .. FilesIn(_path)], FileIdentity.IsLink) is { } link)
        {
            throw new DatabaseException(
                $"'{link}' is a link, and an unfinished database holds none: building would write over what it leads to. Delete the link, and build again.");
        }

        DatabaseFolder.RequireFree(target, DatabaseManifest.TokensFileOf(version));
        DatabaseFolder.RequireFree(target, DatabaseManifest.DocumentsFileOf(version));
        AtomicFile.CreateFolder(_path);
        _journal = Open(JournalName);
        try
        {
            string tokens = Path.Combine(_path, TokensName);
            if (!File.Exists(tokens) && File.Exists(_finishedTokens) && _journal.Length > 0)
            {
                // Killed between taking its final place and the manifest.
                AtomicFile.Move(_finishedTokens, tokens);
            }

            _tokens = Open(TokensName);
            _records = Open(RecordsName);
            AtomicFile.FlushFolder(_path);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The blocks that are complete and undamaged.</summary>
    public IReadOnlyList<BuildBlock> Blocks => _blocks;

    /// <summary>Opens the unfinished database of a folder, or begins one, which will be of a version.</summary>
    public static BuildFolder Open(
        string target, int version, BuildSettings settings, bool startOver, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        BuildFolder? folder = null;
        try
        {
            AtomicFile.Guard(Path.Combine(target, Name), DatabaseException.Of, () =>
            {
                folder = new BuildFolder(target, version, settings);
                folder.Resume(startOver, progress, cancellationToken);
            });
            return folder!;
        }
        catch
        {
            folder?.Dispose();
            throw;
        }
    }

    /// <summary>Whether an unfinished database lies in a folder, or something of one.</summary>
    public static bool IsThere(string target)
    {
        string path = Path.Combine(target, Name);
        return Directory.Exists(path) && !FileIdentity.IsLink(path) && (FilesIn(path).Any(File.Exists) || IsEmpty(path));
    }

    /// <summary>Bytes that an unfinished database takes in a folder.</summary>
    public static long BytesIn(string target) => FilesIn(Path.Combine(target, Name)).Where(File.Exists).Sum(path => new FileInfo(path).Length);

    /// <summary>Removes what an unfinished database left in a folder, where that can be done; what somebody else has put there stays.</summary>
    public static void TryDelete(string target)
    {
        if (!IsThere(target))
        {
            return;
        }

        string path = Path.Combine(target, Name);
        try
        {
            Array.ForEach(FilesIn(path), AtomicFile.TryDelete);
            if (IsEmpty(path))
            {
                Directory.Delete(path);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // Nothing depends on it, and the next build or change tries again.
        }
    }

    /// <summary>Drops every block from a number on, and whatever lies behind the last that stays.</summary>
    /// <exception cref="DatabaseException">The files cannot be written.</exception>
    public void Rewind(int blocks) => AtomicFile.Guard(_path, DatabaseException.Of, () =>
    {
        _blocks.RemoveRange(blocks, _blocks.Count - blocks);
        _journalEnds.RemoveRange(blocks + 1, _journalEnds.Count - blocks - 1);
        Cut(_journal, _journalEnds[^1]);
        _journal.Flush(flushToDisk: true);
        Cut(_tokens, blocks == 0 ? TokenFile.HeaderBytes : _blocks[^1].TokensEnd);
        Cut(_records, blocks == 0 ? 0 : _blocks[^1].RecordsEnd);
    });

    public void Dispose()
    {
        // After a fault of the disk the streams cannot write what they still hold; it was not counted as written either.
        foreach (FileStream? stream in (FileStream?[])[_tokens, _records, _journal])
        {
            try
            {
                stream?.Dispose();
            }
            catch (IOException)
            {
            }
        }
    }

    private static string[] FilesIn(string path) => Array.ConvertAll(s_files, name => Path.Combine(path, name));

    private static bool IsEmpty(string path) => !Directory.EnumerateFileSystemEntries(path).Any();

    private static void Cut(FileStream stream, long length)
    {
        if (stream.Length != length)
        {
            stream.SetLength(length);
        }

        stream.Position = length;
    }

    private FileStream Open(string name) => new(Path.Combine(_path, name), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1 << 20);

    private void Resume(bool startOver, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        BuildSettings? there = ReadJournal();
        if (there is not null && there.DifferencesTo(_settings) is { Count: > 0 } differences)
        {
            if (!startOver)
            {
                throw new DatabaseException(
                    $"'{_target}' holds an unfinished database of other settings ({string.Join("; ", differences)}); build with those, choose another "
                        + "folder, or start over.");
            }

            there = null;
        }

        if (there is null)
        {
            _blocks.Clear();
            _journalEnds.Clear();
            Cut(_journal, 0);
            Cut(_records, 0);
            Cut(_tokens, 0);
            _tokens.Write(new byte[TokenFile.HeaderBytes]);
            _tokens.Flush(flushToDisk: true);
            WriteLine(_settings);
            return;
        }

        Rewind(UndamagedBlocks(progress, cancellationToken));
    }

    // A line cut short by a kill, or anything that is no line of ours, ends the journal.
    private BuildSettings? ReadJournal()
    {
        byte[] content = new byte[_journal.Length];
        _journal.ReadExactly(content);
        BuildSettings? settings = null;
        int start = 0;
        try
        {
            for (int end; (end = Array.IndexOf(content, (byte)'\n', start)) >= 0; start = end + 1)
            {
                ReadOnlySpan<byte> line = content.AsSpan(start, end - start);
                if (settings is null)
                {
                    settings = JsonSerializer.Deserialize<BuildSettings>(line);
                    if (settings is null)
                    {
                        break;
                    }
                }
                else if (JsonSerializer.Deserialize<BuildBlock>(line) is { Read: > 0 } block)
                {
                    _blocks.Add(block);
                }
                else
                {
                    break;
                }

                _journalEnds.Add(end + 1);
            }
        }
        catch (JsonException)
        {
        }

        return settings;
    }

    private int UndamagedBlocks(IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        long tokens = TokenFile.HeaderBytes;
        long records = 0;
        if (_tokens.Length < tokens)
        {
            // The header's place must be there; it is written last.
            Cut(_tokens, tokens);
        }

        for (int number = 0; number < _blocks.Count; number++)
        {
            BuildBlock block = _blocks[number];
            if (block.TokensEnd < tokens || block.TokensEnd > _tokens.Length || block.RecordsEnd < records || block.RecordsEnd > _records.Length
                || Hash(_tokens, tokens, block.TokensEnd) != block.TokensHash || Hash(_records, records, block.RecordsEnd) != block.RecordsHash)
            {
                return number;
            }

            tokens = block.TokensEnd;
            records = block.RecordsEnd;
            progress?.Report(new StageProgress("check what is there", number + 1, _blocks.Count));
        }

        return _blocks.Count;

        string Hash(FileStream stream, long start, long end)
        {
            stream.Position = start;
            return FileHash.Sha256(stream, end - start, "", null, cancellationToken);
        }
    }

    private void WriteLine<T>(T line)
    {
        _journal.Write(Encoding.UTF8.GetBytes(JsonSerializer.Serialize(line) + "\n"));
        _journal.Flush(flushToDisk: true);
        _journalEnds.Add(_journal.Position);
    }
}

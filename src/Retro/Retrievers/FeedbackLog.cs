using System.Text;
using System.Text.Json;
using Retro.Database;

namespace Retro.Retrievers;

/// <summary>
/// A log of feedback that is only ever added to: a line of JSON for each entry, on the disk when <see cref="Append"/> returns. It outlives the database:
/// entries name passages by document, and are replayed as training pairs of whatever database holds these documents then. Prompts stand in it as they were
/// asked.
/// </summary>
public sealed class FeedbackLog : IDisposable
{
    /// <summary>Longer lines are damage.</summary>
    private const int LongestLine = 1 << 20;

    /// <summary>What each line begins with.</summary>
    private static readonly byte[] s_lineBegin = [.. "{\"Time\":"u8];

    private readonly FileStream _file, _writing;
    private readonly TimeProvider _time;
    private readonly Lock _lock = new();

    private FeedbackLog(FileStream file, FileStream writing, TimeProvider time) => (_file, _writing, _time) = (file, writing, time);

    /// <summary>
    /// Opens a log to add to it, or begins one. What a kill left of a last line is cut off; an entry that lacks nothing but the end of its line gets it. An
    /// empty file beside it, of its name and ".lock", keeps others from writing meanwhile; it may stay there.
    /// </summary>
    /// <param name="path">The file, in a folder that is there.</param>
    /// <param name="time">Tells the time of entries; null: the system's clock.</param>
    /// <returns>The log; dispose it.</returns>
    /// <exception cref="RetroException">The file cannot be written, or another writes to it, or it ends in what is no entry.</exception>
    public static FeedbackLog Open(string path, TimeProvider? time = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        FileStream? file = null, writing = null;
        try
        {
            writing = new($"{path}.lock", FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);

            // Without a buffer, so that nothing is left in it of an entry that the disk had no room for.
            file = new(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
            (long length, bool open) = WholeEntries(file);
            file.SetLength(length);
            file.Seek(0, SeekOrigin.End);
            if (open)
            {
                file.WriteByte((byte)'\n');
            }

            return new(file, writing, time ?? TimeProvider.System);
        }
        catch (Exception exception)
        {
            file?.Dispose();
            writing?.Dispose();
            if (exception is IOException or UnauthorizedAccessException)
            {
                throw new RetroException(
                    $"The feedback log {path} cannot be written ({exception.Message}); name a file that no other process writes to.", exception);
            }

            throw;
        }
    }

    /// <summary>Adds an entry.</summary>
    /// <param name="prompt">What was asked.</param>
    /// <param name="database">The database that the passages were read from.</param>
    /// <param name="chunks">The passages by their chunks, such as <see cref="Search.RetrievedNeighbor.Chunk"/>.</param>
    /// <param name="accepted">Whether they helped.</param>
    /// <exception cref="RetroException">The disk is full or gone; the log stays whole.</exception>
    public void Append(string prompt, ChunkDatabase database, IEnumerable<long> chunks, bool accepted)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(chunks);
        FeedbackPassage[] passages =
        [
            .. chunks.Select(chunk =>
            {
                DocumentEntry document = database.Documents[database.DocumentOf(chunk)];
                return new FeedbackPassage(document.Id, document.ContentHash, chunk - document.FirstChunk);
            }),
        ];
        byte[] line = [.. JsonSerializer.SerializeToUtf8Bytes(new FeedbackEntry(_time.GetUtcNow(), prompt, passages, accepted)), (byte)'\n'];
        if (line.Length > LongestLine)
        {
            throw new ArgumentException(
                $"An entry takes {line.Length} bytes, and a line of the log at most {LongestLine}; shorten the prompt.", nameof(prompt));
        }

        lock (_lock)
        {
            long end = _file.Length;
            try
            {
                _file.Write(line);
                _file.Flush(flushToDisk: true);
            }
            catch (IOException exception)
            {
                _file.SetLength(end);
                throw new RetroException($"The feedback log {_file.Name} cannot be added to ({exception.Message}); free space.", exception);
            }
        }
    }

    /// <summary>Reads a log, whether another process adds to it or not.</summary>
    /// <param name="path">The file.</param>
    /// <returns>The entries, in the order in which they were added.</returns>
    /// <exception cref="RetroException">The file cannot be read, or a line of it is no entry; what is not yet whole of a last one does not count.</exception>
    public static IReadOnlyList<FeedbackEntry> Read(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        try
        {
            using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            long length = WholeEntries(file).Length;
            file.Seek(0, SeekOrigin.Begin);
            return [.. Lines(path, file, length).Select((line, number) => Entry(path, number + 1, line))];
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new RetroException($"The feedback log {path} cannot be read ({exception.Message}); name one that is there.", exception);
        }
    }

    /// <summary>Entries as training pairs over a database, those alone whose documents it holds unchanged.</summary>
    /// <param name="entries">Entries of a log.</param>
    /// <param name="database">The database as it is now.</param>
    /// <returns>The pairs, in the order of the log; of a prompt and chunk that were judged more than once the last judgment.</returns>
    public static IReadOnlyList<FeedbackPair> Replay(IEnumerable<FeedbackEntry> entries, ChunkDatabase database)
    {
        ArgumentNullException.ThrowIfNull(entries);
        ArgumentNullException.ThrowIfNull(database);
        OrderedDictionary<(string Prompt, FeedbackPassage Passage), bool> judged = [];
        foreach (FeedbackEntry entry in entries)
        {
            foreach (FeedbackPassage passage in entry.Passages)
            {
                judged[(entry.Prompt, passage)] = entry.Accepted;
            }
        }

        // Databases that were opened as one may have an id twice; the content tells which document it was. Kept are those that the log names.
        HashSet<(string, string)> named = [.. judged.Keys.Select(key => (key.Passage.DocumentId, key.Passage.ContentHash))];
        Dictionary<(string, string), DocumentEntry> documents = [];
        foreach (DocumentEntry document in database.Documents.Where(document => named.Contains((document.Id, document.ContentHash))))
        {
            documents.TryAdd((document.Id, document.ContentHash), document);
        }

        return
        [
            .. from pair in judged
               let passage = pair.Key.Passage
               let document = documents.GetValueOrDefault((passage.DocumentId, passage.ContentHash))
               where document is not null && passage.ChunkInDocument >= 0 && passage.ChunkInDocument < document.ChunkCount
               select new FeedbackPair(pair.Key.Prompt, document.FirstChunk + passage.ChunkInDocument, pair.Value),
        ];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _file.Dispose();
        _writing.Dispose();
    }

    /// <summary>The lines of a file's first bytes, one by one; the last one need not end.</summary>
    private static IEnumerable<string> Lines(string path, FileStream file, long length)
    {
        byte[] bytes = new byte[LongestLine + 4]; // and a mark and a return, which editors write
        int begin = 0, end = 0;
        for (long number = 1; length > 0 || begin < end; number++)
        {
            int line;
            while ((line = bytes.AsSpan(begin..end).IndexOf((byte)'\n')) < 0 && length > 0)
            {
                bytes.AsSpan(begin..end).CopyTo(bytes);
                (begin, end) = (0, end - begin);
                int some = end < bytes.Length ? file.Read(bytes, end, (int)Math.Min(bytes.Length - end, length))
                    : throw new RetroException(
                        $"Line {number} of the feedback log {path} is longer than the {LongestLine} bytes of an entry; take it out, or go back to a copy.");
                (end, length) = some > 0 ? (end + some, length - some) : throw new EndOfStreamException("it became shorter meanwhile");
            }

            int last = line < 0 ? end : begin + line;
            yield return Encoding.UTF8.GetString(bytes.AsSpan(begin..last)).TrimStart('\uFEFF');
            begin = Math.Min(last + 1, end);
        }
    }

    private static FeedbackEntry Entry(string path, int number, string line)
    {
        try
        {
            return JsonSerializer.Deserialize<FeedbackEntry>(line) is { Prompt: not null, Passages: { } passages } entry
                && passages.All(passage => passage is { DocumentId: not null, ContentHash: not null })
                ? entry
                : throw new JsonException("a part is missing");
        }
        catch (JsonException exception)
        {
            throw new RetroException(
                $"Line {number} of the feedback log {path} is no entry ({exception.Message}); take it out, or go back to a copy.", exception);
        }
    }

    private static bool IsEntry(ReadOnlySpan<byte> line)
    {
        try
        {
            return Entry("", 0, Encoding.UTF8.GetString(line)) is not null;
        }
        catch (RetroException)
        {
            return false;
        }
    }

    /// <summary>Bytes up to the end of the last whole entry, and whether it lacks the end of its line, as some editors leave it.</summary>
    /// <exception cref="RetroException">What stands behind it is not the beginning of an entry.</exception>
    private static (long Length, bool Open) WholeEntries(FileStream file)
    {
        byte[] tail = new byte[Math.Min(file.Length, 2L * LongestLine)];
        file.Seek(-tail.Length, SeekOrigin.End);
        file.ReadExactly(tail);
        ReadOnlySpan<byte> rest = tail.AsSpan(tail.AsSpan().LastIndexOf((byte)'\n') + 1);
        int begin = Math.Min(rest.Length, s_lineBegin.Length);
        return rest.Length <= LongestLine && rest[..begin].SequenceEqual(s_lineBegin.AsSpan(0, begin))
            ? IsEntry(rest) ? (file.Length, true) : (file.Length - rest.Length, false)
            : throw new RetroException(
                $"{file.Name} ends in a line that is no entry of a feedback log; name a log, or take the line out, or end it where it is an entry.");
    }
}

using System.Security.Cryptography;
using Retro.Database;

namespace Retro.Search;

/// <summary>
/// A file of equal rows that is written block by block beside its name and can be taken up again after a kill. A note beside it says what it is made of; with
/// another note everything starts over. Every block, or piece of one, is on the disk before the next one begins, except possibly the last, which is therefore
/// made again.
/// </summary>
internal sealed class ResumableFile : IDisposable
{
    private readonly string _path;

    // Without a buffer: a block is larger than one, and what a full disk has refused must not be written, and fail, once more when the file is closed.
    private readonly FileStream _stream;
    private readonly int _headerBytes;
    private readonly int _blockBytes;

    private ResumableFile(string path, FileStream stream, long rows, int headerBytes, int blockBytes)
    {
        _path = path;
        _stream = stream;
        _headerBytes = headerBytes;
        _blockBytes = blockBytes;
        Rows = rows;
    }

    /// <summary>Rows that are written.</summary>
    public long Rows { get; private set; }

    /// <summary>Begins the file or takes it up again.</summary>
    /// <param name="path">The name that the whole file will have.</param>
    /// <param name="note">Everything that its content depends on.</param>
    /// <param name="header">What stands in front of the rows; <see cref="Complete"/> may write over it.</param>
    /// <param name="rowBytes">Bytes of a row.</param>
    /// <param name="blockRows">Rows of a block.</param>
    /// <param name="rows">How many rows there will be; <see cref="Complete"/> may have written more bytes behind them.</param>
    /// <param name="pieceRows">Rows that are added at once, of each block from its first on; null: whole blocks.</param>
    /// <exception cref="DatabaseException">It cannot be written.</exception>
    public static ResumableFile Open(
        string path, string note, ReadOnlySpan<byte> header, long rowBytes, long blockRows, long rows, long? pieceRows = null)
    {
        ResumableFile? file = null;
        byte[] start = header.ToArray();
        AtomicFile.Guard(path, DatabaseException.Of, () =>
        {
            if (Path.GetDirectoryName(Path.GetFullPath(path)) is { } folder)
            {
                AtomicFile.CreateFolder(folder);
            }

            if (!IsBegun(path, note))
            {
                File.Delete(path + ShareName.PartSuffix);
                AtomicFile.WriteText(path + ShareName.NoteSuffix, note, DatabaseException.Of);
            }

            FileStream stream = new(path + ShareName.PartSuffix, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 0);
            try
            {
                long written = Math.Clamp(Whole(Whole((stream.Length - start.Length) / rowBytes) - 1), 0, Whole(rows));
                file = new(path, stream, written, start.Length, checked((int)(rowBytes * blockRows)));
                stream.Write(start);
                stream.SetLength(start.Length + written * rowBytes);
                stream.Position = stream.Length;
            }
            catch
            {
                stream.Dispose();
                throw;
            }
        });
        return file!;

        // The rows, of so many, of whole blocks and of whole pieces behind them.
        long Whole(long some) => some / blockRows * blockRows + some % blockRows / (pieceRows ?? blockRows) * (pieceRows ?? blockRows);
    }

    /// <summary>Removes what was begun of a file with a note.</summary>
    public static void Discard(string path, string note)
    {
        if (IsBegun(path, note))
        {
            File.Delete(path + ShareName.PartSuffix);
            File.Delete(path + ShareName.NoteSuffix);
        }
    }

    /// <summary>Gives the blocks that an earlier run has written, one after another, and what it has written of the next.</summary>
    public void ReadBlocks(Action<ReadOnlySpan<byte>> read) => AtomicFile.Guard(_path, DatabaseException.Of, () =>
    {
        byte[] block = new byte[_blockBytes];
        for (_stream.Position = _headerBytes; _stream.Position < _stream.Length;)
        {
            Span<byte> next = block.AsSpan(0, (int)Math.Min(block.Length, _stream.Length - _stream.Position));
            _stream.ReadExactly(next);
            read(next);
        }
    });

    /// <summary>Adds a block, or a piece of one, and brings it to the disk.</summary>
    public void Append(ReadOnlySpan<byte> block, long rows)
    {
        try
        {
            _stream.Write(block);
            _stream.Flush(flushToDisk: true);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new DatabaseException(AtomicFile.Describe(_path, fault), fault); // a span cannot go into an action that is guarded
        }

        Rows += rows;
    }

    /// <summary>Finishes the content, from the end of the rows on, and gives the file its name.</summary>
    public void Complete(Action<Stream>? finish = null) => AtomicFile.Guard(_path, DatabaseException.Of, () =>
    {
        finish?.Invoke(_stream);
        _stream.Flush(flushToDisk: true);
        _stream.Dispose();
        AtomicFile.Move(_path + ShareName.PartSuffix, _path);
        File.Delete(_path + ShareName.NoteSuffix);
    });

    /// <summary>Finishes a file whose header ends with the SHA-256 of all the rest, header and rows, and gives it its name.</summary>
    /// <param name="header">The header, with any bytes for the checksum.</param>
    public void CompleteSealed(ReadOnlySpan<byte> header)
    {
        byte[] whole = header.ToArray();
        int hashAt = whole.Length - SHA256.HashSizeInBytes;
        Complete(stream =>
        {
            using IncrementalHash sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            sha.AppendData(whole, 0, hashAt);
            byte[] buffer = new byte[1 << 20];
            stream.Position = whole.Length;
            for (int read; (read = stream.Read(buffer)) > 0;)
            {
                sha.AppendData(buffer, 0, read);
            }

            sha.GetHashAndReset(whole.AsSpan(hashAt));
            stream.Position = 0;
            stream.Write(whole);
        });
    }

    public void Dispose() => _stream.Dispose();

    private static bool IsBegun(string path, string note)
        => File.Exists(path + ShareName.NoteSuffix) && File.Exists(path + ShareName.PartSuffix) && !FileIdentity.IsLink(path + ShareName.PartSuffix)
            && File.ReadAllText(path + ShareName.NoteSuffix) == note;
}

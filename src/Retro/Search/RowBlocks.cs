using System.Security.Cryptography;

namespace Retro.Search;

/// <summary>Makes rows of a file.</summary>
/// <param name="first">The number of the first row.</param>
/// <param name="rows">The bytes of rows, one after the other, to fill.</param>
internal delegate void MakeRows(long first, Span<byte> rows);

/// <summary>
/// Rows of one size behind a header, made and written in blocks. A file of them that has to say by itself whether it is whole ends with the SHA-256 of the rows
/// of each block, and that of header and block checksums.
/// </summary>
/// <param name="header">What the file begins with: everything that the rows depend on.</param>
/// <param name="rows">How many rows there are.</param>
/// <param name="rowBytes">Bytes of a row.</param>
/// <param name="blockRows">Rows of a block.</param>
internal sealed class RowBlocks(byte[] header, long rows, long rowBytes, int blockRows)
{
    /// <summary>What the file begins with.</summary>
    public ReadOnlySpan<byte> Header => header;

    /// <summary>How many rows there are.</summary>
    public long Rows => rows;

    /// <summary>Bytes of a row.</summary>
    public long RowBytes => rowBytes;

    /// <summary>Rows of a block.</summary>
    public int BlockRows => blockRows;

    /// <summary>How many blocks there are.</summary>
    public long Count => (rows + blockRows - 1) / blockRows;

    /// <summary>The size of a file with checksums.</summary>
    public long Length => ChecksumsAt + (Count + 1) * SHA256.HashSizeInBytes;

    private long ChecksumsAt => header.Length + rows * rowBytes;

    /// <summary>Whether a mapped file has this length and header, and the checksum of header and block checksums.</summary>
    public bool Fits(MappedFile file)
    {
        if (file.Length != Length || !file.Values<byte>(0, header.Length).SequenceEqual(header))
        {
            return false;
        }

        long last = Length - SHA256.HashSizeInBytes;
        return file.Values<byte>(last, SHA256.HashSizeInBytes).SequenceEqual(file.Sha256((0, header.Length), (ChecksumsAt, last)));
    }

    /// <summary>Whether the rows of a block of a mapped file that <see cref="Fits"/> have their checksum.</summary>
    public bool HoldsBlock(MappedFile file, long block)
    {
        return file.Values<byte>(ChecksumsAt + block * SHA256.HashSizeInBytes, SHA256.HashSizeInBytes).SequenceEqual(file.Sha256(PlaceOf(block)));
    }

    /// <summary>The rows of a block of a mapped file that <see cref="Fits"/>.</summary>
    public ReadOnlySpan<byte> Block(MappedFile file, long block)
    {
        (long start, long end) = PlaceOf(block);
        return file.Values<byte>(start, checked((int)(end - start)));
    }

    /// <summary>Writes a file with checksums, resumable.</summary>
    /// <param name="path">The file.</param>
    /// <param name="note">Names everything that its content depends on.</param>
    /// <param name="stage">What the rows are made for, in reports.</param>
    /// <param name="make">Makes the rows of a block, or of a piece of one.</param>
    /// <param name="progress">Receives the number of rows done.</param>
    /// <param name="cancellationToken">Stops between blocks, or pieces.</param>
    /// <param name="pieceRows">Rows of a block that are made at once, and kept whatever becomes of the next; null: all of them.</param>
    /// <returns>SHA-256 of the whole file.</returns>
    /// <exception cref="DatabaseException">It cannot be written.</exception>
    public string Write(
        string path,
        string note,
        string stage,
        MakeRows make,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken,
        int? pieceRows = null)
    {
        int most = pieceRows ?? blockRows;
        long done = 0;
        using IncrementalHash whole = IncrementalHash.CreateHash(HashAlgorithmName.SHA256), block = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using MemoryStream checksums = new();
        whole.AppendData(header);
        using ResumableFile file = ResumableFile.Open(path, note, header, rowBytes, blockRows, rows, most);
        file.ReadBlocks(Add);
        while (done < rows)
        {
            cancellationToken.ThrowIfCancellationRequested();
            progress?.Report(new(stage, done, rows));
            int count = (int)Math.Min(Math.Min(most, blockRows - done % blockRows), rows - done);
            byte[] piece = new byte[checked((int)(count * rowBytes))];
            make(done, piece);
            file.Append(piece, count);
            Add(piece);
        }

        checksums.Write(SHA256.HashData([.. header, .. checksums.ToArray()]));
        byte[] trailer = checksums.ToArray();
        whole.AppendData(trailer);
        file.Complete(stream => stream.Write(trailer));
        progress?.Report(new(stage, rows, rows));
        return Convert.ToHexStringLower(whole.GetHashAndReset());

        void Add(ReadOnlySpan<byte> piece)
        {
            whole.AppendData(piece);
            block.AppendData(piece);
            done += piece.Length / rowBytes;
            if (done % blockRows == 0 || done == rows)
            {
                checksums.Write(block.GetHashAndReset());
            }
        }
    }

    private (long Start, long End) PlaceOf(long block)
        => (header.Length + block * blockRows * rowBytes, header.Length + Math.Min((block + 1) * blockRows, rows) * rowBytes);
}

using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Retro.Database;

namespace Retro.Search;

/// <summary>
/// How a key file is laid out (little-endian), so that it says by itself what it is and whether it is whole:
/// <code>
/// header (256 bytes): magic, version int64, rows int64, dimensions int64, rows of a block int64, zeros
/// at 64: SHA-256 of the tokens of the database; of the identity of the function that made the keys; zeros
/// rows      float32 [rows, dimensions]
/// blocks    SHA-256 of the rows of each block
/// at the end: SHA-256 of header and block checksums
/// </code>
/// </summary>
/// <param name="TokensHash">SHA-256 of the tokens of the chunks.</param>
/// <param name="KeyerIdentity">The identity of the function that made the keys.</param>
/// <param name="Rows">Keys.</param>
/// <param name="Dimensions">Numbers in a key.</param>
internal sealed record KeyFileLayout(string TokensHash, string KeyerIdentity, long Rows, int Dimensions)
{
    /// <summary>The header's size.</summary>
    public const int HeaderSize = 256;

    /// <summary>Rows of a block.</summary>
    public const int BlockRows = 2048;

    private const int Version = 1;

    private static ReadOnlySpan<byte> Magic => "RETROKEY"u8;

    /// <summary>Bytes of a row.</summary>
    public long RowBytes => (long)Dimensions * sizeof(float);

    /// <summary>How many blocks there are.</summary>
    public long Blocks => (Rows + BlockRows - 1) / BlockRows;

    /// <summary>Where the checksums of the blocks begin.</summary>
    public long ChecksumsAt => HeaderSize + Rows * RowBytes;

    /// <summary>The size of the whole file.</summary>
    public long Length => ChecksumsAt + (Blocks + 1) * SHA256.HashSizeInBytes;

    /// <summary>The header.</summary>
    public byte[] Header()
    {
        byte[] header = new byte[HeaderSize];
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(8), Version);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(16), Rows);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(24), Dimensions);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(32), BlockRows);
        Convert.FromHexString(TokensHash).CopyTo(header, 64);
        SHA256.HashData(Encoding.UTF8.GetBytes(KeyerIdentity), header.AsSpan(96));
        return header;
    }

    /// <summary>Whether the header and the checksums of a mapped file of <see cref="Length"/> bytes are those of this layout, whole.</summary>
    public bool Fits(MappedFile file)
    {
        if (!file.Values<byte>(0, HeaderSize).SequenceEqual(Header()))
        {
            return false;
        }

        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        file.AppendTo(hash, 0, HeaderSize);
        file.AppendTo(hash, ChecksumsAt, Length - SHA256.HashSizeInBytes);
        return file.Values<byte>(Length - SHA256.HashSizeInBytes, SHA256.HashSizeInBytes).SequenceEqual(hash.GetHashAndReset());
    }

    /// <summary>Whether the rows of a block of a mapped file have their checksum.</summary>
    public bool HoldsBlock(MappedFile file, long block)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        file.AppendTo(hash, HeaderSize + block * BlockRows * RowBytes, HeaderSize + Math.Min((block + 1) * BlockRows, Rows) * RowBytes);
        return file.Values<byte>(ChecksumsAt + block * SHA256.HashSizeInBytes, SHA256.HashSizeInBytes).SequenceEqual(hash.GetHashAndReset());
    }
}

/// <summary>The checksums of a key file, taken while it is written.</summary>
internal sealed class KeyFileChecksums : IDisposable
{
    private readonly byte[] _header;
    private readonly MemoryStream _blocks = new();
    private readonly IncrementalHash _whole = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    public KeyFileChecksums(byte[] header)
    {
        _header = header;
        _whole.AppendData(header);
    }

    /// <summary>Takes in a block of rows.</summary>
    public void Add(ReadOnlySpan<byte> block)
    {
        _blocks.Write(SHA256.HashData(block));
        _whole.AppendData(block);
    }

    /// <summary>What stands behind the rows, and the checksum of the whole file.</summary>
    public (byte[] Trailer, string Sha256) Finish()
    {
        _blocks.Write(SHA256.HashData([.. _header, .. _blocks.ToArray()]));
        byte[] trailer = _blocks.ToArray();
        _whole.AppendData(trailer);
        return (trailer, Convert.ToHexStringLower(_whole.GetHashAndReset()));
    }

    public void Dispose()
    {
        _blocks.Dispose();
        _whole.Dispose();
    }
}

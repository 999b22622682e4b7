using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

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

    /// <summary>The file: <see cref="Rows"/> rows of <see cref="Dimensions"/> numbers behind their header, with checksums.</summary>
    public RowBlocks File { get; } = new(HeaderOf(TokensHash, KeyerIdentity, Rows, Dimensions), Rows, (long)Dimensions * sizeof(float), BlockRows);

    private static byte[] HeaderOf(string tokensHash, string keyerIdentity, long rows, int dimensions)
    {
        byte[] header = new byte[HeaderSize];
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(8), Version);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(16), rows);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(24), dimensions);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(32), BlockRows);
        Convert.FromHexString(tokensHash).CopyTo(header, 64);
        SHA256.HashData(Encoding.UTF8.GetBytes(keyerIdentity), header.AsSpan(96));
        return header;
    }
}

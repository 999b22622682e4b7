using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Retro.Database;

/// <summary>
/// The layout of tokens.bin, or tokens-n.bin of version n: a header of 64 bytes (8 bytes "RETROTOK", int32 version, int32 chunk length, int64 chunks,
/// int64 tokens without padding, int32 vocabulary, int32 end-of-text, 24 bytes zero), then rows of M int32, all little-endian.
/// </summary>
internal static class TokenFile
{
    public const int HeaderBytes = 64;

    public static ReadOnlySpan<byte> Magic => "RETROTOK"u8;

    /// <summary>The header of a token file.</summary>
    public static byte[] Header(BuildSettings settings, long chunks, long tokens)
    {
        byte[] header = new byte[HeaderBytes];
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(8), DatabaseManifest.CurrentFormatVersion);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(12), settings.ChunkLength);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(16), chunks);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(24), tokens);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(32), settings.VocabularySize);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(36), settings.EndOfText);
        return header;
    }

    /// <summary>Writes ids as they lie in a file, in pieces, because the bytes of a very long document do not fit one span.</summary>
    public static void WriteIds(ReadOnlySpan<int> ids, Action<ReadOnlySpan<byte>> write)
    {
        for (; !ids.IsEmpty; ids = ids[Math.Min(ids.Length, 1 << 20)..])
        {
            write(MemoryMarshal.AsBytes(ids[..Math.Min(ids.Length, 1 << 20)]));
        }
    }

    /// <summary>Maps the token file of a database whose manifest was checked.</summary>
    /// <exception cref="DatabaseException">Size or header do not fit the manifest.</exception>
    public static MappedFile Open(string folder, DatabaseManifest manifest)
    {
        string path = Path.Combine(manifest.HomeIn(folder), manifest.TokensFile);
        long expected = HeaderBytes + manifest.ChunkCount * manifest.ChunkLength * sizeof(int);
        MappedFile file = MappedFile.Open(path, HeaderBytes);
        try
        {
            if (file.Length != expected)
            {
                throw new DatabaseException(
                    $"'{path}' has {file.Length} bytes, but {manifest.ChunkCount} chunks of {manifest.ChunkLength} tokens take {expected}: it is damaged; "
                        + "build the database again.");
            }

            if (!file.Values<byte>(0, HeaderBytes).SequenceEqual(Header(manifest.Settings, manifest.ChunkCount, manifest.TokenCount)))
            {
                throw new DatabaseException(
                    $"'{path}' belongs to another database or is damaged: its header does not say {manifest.ChunkCount} chunks of {manifest.ChunkLength} "
                        + "tokens as the manifest does; build the database again.");
            }

            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }
}

using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Retro.Database;

/// <summary>
/// The encoded documents of a share of a corpus, read from front to end: the file <c>tokens.3-of-8.bin</c> in the folder of the database that is to be.
/// Share i of n has the documents i - 1, i - 1 + n, i - 1 + 2 n, ... of the corpus, counted from 0. Little-endian:
/// <code>
/// header   8 bytes "RETROTSH", int32 bytes of the text that follows, text: what it was made with, as JSON, filled up with spaces to a multiple of 4
/// blocks   int64 documents, int64 bytes of them, SHA-256 of these bytes; each document: SHA-256 of its text, int32 tokens, int32 [tokens] without bounds
/// the end  a block of no documents
/// </code>
/// </summary>
internal sealed class TokenShare : IDisposable
{
    private const int HeadBytes = 12, BlockHeadBytes = 8 + 8 + SHA256.HashSizeInBytes, DocumentHeadBytes = SHA256.HashSizeInBytes + 4;
    private const int MostSettingsBytes = 1 << 16;

    private readonly MappedFile _file;
    private long _at;
    private long _left;

    private TokenShare(MappedFile file, int headerBytes) => (_file, _at, End) = (file, headerBytes, headerBytes);

    private static ReadOnlySpan<byte> Magic => "RETROTSH"u8;

    /// <summary>Where the blocks end that were gone to, all of them whole.</summary>
    public long End { get; private set; }

    /// <summary>The file.</summary>
    public string Path => _file.Path;

    /// <summary>What a share begins with.</summary>
    public static byte[] Header(BuildSettings settings, WorkShare share)
    {
        byte[] text = JsonSerializer.SerializeToUtf8Bytes(new Made(share.ToString(), settings));
        byte[] header = new byte[(HeadBytes + text.Length + 3) / 4 * 4];
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(8), header.Length - HeadBytes);
        header.AsSpan(HeadBytes).Fill((byte)' ');
        text.CopyTo(header, HeadBytes);
        return header;
    }

    /// <summary>A block of documents.</summary>
    public static void WriteBlock(Stream stream, PreparedDocument[] documents)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        long bytes = documents.Sum(document => DocumentHeadBytes + (long)sizeof(int) * document.Ids.Length), start = stream.Position;
        Span<byte> block = stackalloc byte[BlockHeadBytes];
        BinaryPrimitives.WriteInt64LittleEndian(block, documents.Length);
        BinaryPrimitives.WriteInt64LittleEndian(block[8..], bytes);
        stream.Write(block);
        Span<byte> count = stackalloc byte[4];
        foreach (PreparedDocument document in documents)
        {
            BinaryPrimitives.WriteInt32LittleEndian(count, document.Ids.Length);
            Write(document.ContentHash);
            Write(count);
            TokenFile.WriteIds(document.Ids, Write);
        }

        hash.GetHashAndReset(block[16..]);
        stream.Position = start;
        stream.Write(block);
        stream.Position = stream.Length;

        void Write(ReadOnlySpan<byte> some)
        {
            stream.Write(some);
            hash.AppendData(some);
        }
    }

    /// <summary>Opens a share that was made with some settings, at its first block.</summary>
    /// <exception cref="DatabaseException">It is none, or was made with others, which are named.</exception>
    public static TokenShare Open(string path, BuildSettings settings, WorkShare share)
    {
        byte[] header = Header(settings, share);
        MappedFile file = MappedFile.Open(path);
        if (file.Length >= header.Length && file.Values<byte>(0, header.Length).SequenceEqual(header))
        {
            return new(file, header.Length);
        }

        string differences = Read(file) is { Settings: { } there } made && there.DifferencesTo(settings) is { Count: > 0 } some
            ? string.Join("; ", some)
            : "it is none of ours, or damaged";
        file.Dispose();
        throw new DatabaseException($"The share '{path}' does not fit ({differences}): make it again, or delete it.");
    }

    /// <summary>Goes to the next block, past whatever is left of the one before.</summary>
    /// <returns>Its documents; 0 at the end; null where it is cut off or damaged.</returns>
    public long? NextBlock()
    {
        (_at, _left) = (End, 0);
        if (_at > _file.Length - BlockHeadBytes)
        {
            return null;
        }

        ReadOnlySpan<byte> head = _file.Values<byte>(_at, BlockHeadBytes);
        long documents = BinaryPrimitives.ReadInt64LittleEndian(head), bytes = BinaryPrimitives.ReadInt64LittleEndian(head[8..]);
        long start = _at + BlockHeadBytes;
        if (documents < 0 || bytes < 0 || bytes > _file.Length - start || documents > bytes / DocumentHeadBytes)
        {
            return null;
        }

        if (!head[16..].SequenceEqual(_file.Sha256((start, start + bytes))))
        {
            return null;
        }

        if (documents > 0)
        {
            (_at, _left, End) = (start, documents, start + bytes);
        }

        return documents;
    }

    /// <summary>The next document: the checksum of its text, which is empty at the end, and its tokens.</summary>
    /// <exception cref="DatabaseException">The file is damaged.</exception>
    public (byte[] ContentHash, int[] Ids) Next()
    {
        while (_left == 0)
        {
            if (NextBlock() is not { } documents)
            {
                throw new DatabaseException($"The share '{Path}' is damaged: a block of it does not have its checksum; make it again, or delete it.");
            }

            if (documents == 0)
            {
                return ([], []);
            }
        }

        // The checksum says that it is as it was written; the bounds hold whoever wrote it.
        int count = _at <= End - DocumentHeadBytes ? BinaryPrimitives.ReadInt32LittleEndian(_file.Values<byte>(_at + SHA256.HashSizeInBytes, 4)) : -1;
        if (count < 0 || count > (End - _at - DocumentHeadBytes) / sizeof(int))
        {
            throw new DatabaseException($"The share '{Path}' is damaged: a document of it has {count} tokens; make it again, or delete it.");
        }

        byte[] contentHash = _file.Values<byte>(_at, SHA256.HashSizeInBytes).ToArray();
        int[] ids = _file.Values<int>(_at + DocumentHeadBytes, count).ToArray();
        _at += DocumentHeadBytes + (long)sizeof(int) * count;
        _left--;
        return (contentHash, ids);
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private static Made? Read(MappedFile file)
    {
        if (file.Length < HeadBytes || !file.Values<byte>(0, Magic.Length).SequenceEqual(Magic))
        {
            return null;
        }

        int bytes = BinaryPrimitives.ReadInt32LittleEndian(file.Values<byte>(8, 4));
        try
        {
            return bytes is > 0 and <= MostSettingsBytes && bytes <= file.Length - HeadBytes
                ? JsonSerializer.Deserialize<Made>(file.Values<byte>(HeadBytes, bytes))
                : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private sealed record Made(string Share, BuildSettings? Settings);
}

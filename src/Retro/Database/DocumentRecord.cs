using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Retro.Database;

/// <summary>
/// The bytes of one document's record: int32 bytes of the whole record, int32 tokens, int64 bytes of text, 32 bytes SHA-256 of the text, then id,
/// title, location and labels, each as int32 byte count and UTF-8, the labels after their int32 number.
/// </summary>
internal static class DocumentRecord
{
    private const int FixedBytes = 4 + 4 + 8 + 32;

    private static readonly UTF8Encoding s_strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Writes a record.</summary>
    public static byte[] Write(string id, string title, string location, IReadOnlyList<string> labels, int tokens, long bytes, ReadOnlySpan<byte> contentHash)
    {
        using MemoryStream stream = new();
        Span<byte> head = stackalloc byte[FixedBytes];
        BinaryPrimitives.WriteInt32LittleEndian(head[4..], tokens);
        BinaryPrimitives.WriteInt64LittleEndian(head[8..], bytes);
        contentHash.CopyTo(head[16..]);
        stream.Write(head);
        WriteText(id);
        WriteText(title);
        WriteText(location);
        WriteNumber(labels.Count);
        foreach (string label in labels)
        {
            WriteText(label);
        }

        byte[] record = stream.ToArray();
        BinaryPrimitives.WriteInt32LittleEndian(record, record.Length);
        return record;

        void WriteNumber(int number)
        {
            Span<byte> four = stackalloc byte[4];
            BinaryPrimitives.WriteInt32LittleEndian(four, number);
            stream.Write(four);
        }

        void WriteText(string text)
        {
            // Half a surrogate pair becomes the replacement character.
            byte[] utf8 = Encoding.UTF8.GetBytes(text);
            WriteNumber(utf8.Length);
            stream.Write(utf8);
        }
    }

    /// <summary>
    /// SHA-256 of all that a document is, but for its tokens: the record's bytes bound each field by its length, so that no two documents have the same.
    /// </summary>
    public static byte[] HashOf(string id, string title, string location, IReadOnlyList<string> labels, long bytes, ReadOnlySpan<byte> contentHash)
        => SHA256.HashData(Write(id, title, location, labels, 0, bytes, contentHash));

    /// <summary>The tokens that a record says.</summary>
    public static int TokenCount(ReadOnlySpan<byte> record) => BinaryPrimitives.ReadInt32LittleEndian(record[4..]);

    /// <summary>Reads a record; every length is checked before it is used.</summary>
    /// <exception cref="InvalidDataException">The record contradicts itself.</exception>
    public static DocumentEntry Read(ReadOnlySpan<byte> record, long firstChunk, int chunkLength)
    {
        if (record.Length < FixedBytes || BinaryPrimitives.ReadInt32LittleEndian(record) != record.Length)
        {
            throw new InvalidDataException("The record's length is wrong.");
        }

        int tokens = TokenCount(record);
        long bytes = BinaryPrimitives.ReadInt64LittleEndian(record[8..]);
        string hash = Convert.ToHexStringLower(record.Slice(16, 32));
        ReadOnlySpan<byte> rest = record[FixedBytes..];
        string id = ReadText(ref rest);
        string title = ReadText(ref rest);
        string location = ReadText(ref rest);
        int count = ReadNumber(ref rest);
        if (count > rest.Length / 4)
        {
            throw new InvalidDataException("The record's labels do not fit it.");
        }

        string[] labels = new string[count];
        for (int label = 0; label < count; label++)
        {
            labels[label] = ReadText(ref rest);
        }

        return rest.IsEmpty && tokens > 0 && bytes >= 0
            ? new DocumentEntry(id, title, location, labels, firstChunk, DocumentTable.Chunks(tokens, chunkLength), tokens, bytes, hash)
            : throw new InvalidDataException("The record's fields do not fill it.");
    }

    /// <summary>Every record of a stream with its offset.</summary>
    public static IEnumerable<(long Offset, byte[] Record)> ReadAll(Stream stream, long bytes)
    {
        byte[] four = new byte[4];
        for (long offset = 0; offset < bytes;)
        {
            stream.ReadExactly(four);
            int length = BinaryPrimitives.ReadInt32LittleEndian(four);
            if (length < FixedBytes || length > bytes - offset)
            {
                throw new InvalidDataException($"The record at byte {offset} says {length} bytes.");
            }

            byte[] record = new byte[length];
            four.CopyTo(record, 0);
            stream.ReadExactly(record, 4, length - 4);
            yield return (offset, record);
            offset += length;
        }
    }

    private static int ReadNumber(ref ReadOnlySpan<byte> rest)
    {
        if (rest.Length < 4)
        {
            throw new InvalidDataException("The record ends early.");
        }

        int number = BinaryPrimitives.ReadInt32LittleEndian(rest);
        rest = rest[4..];
        return number >= 0 ? number : throw new InvalidDataException("The record has a negative length.");
    }

    private static string ReadText(ref ReadOnlySpan<byte> rest)
    {
        int length = ReadNumber(ref rest);
        if (length > rest.Length)
        {
            throw new InvalidDataException("The record ends early.");
        }

        string text = s_strict.GetString(rest[..length]);
        rest = rest[length..];
        return text;
    }
}

using System.Buffers.Binary;
using System.Collections;
using System.Text;

namespace Retro.Database;

/// <summary>
/// The documents of a database, in documents.bin: a header of 64 bytes (8 bytes "RETRODOC", int32 version, int32 chunk length,
/// int64 documents, int64 chunks, int64 bytes of records, 24 bytes zero), an index of 24 bytes a document (int64 first chunk,
/// int64 offset among the records, int32 tokens, int32 bytes of the record), then the records; all little-endian.
/// An entry is decoded when it is asked for, so that millions of documents cost only their index.
/// </summary>
internal sealed class DocumentTable : IReadOnlyList<DocumentEntry>, IDisposable
{
    private const int HeaderBytes = 64;
    private const int IndexBytes = 24;

    private readonly MappedFile _file;
    private readonly int _chunkLength;
    private readonly long[] _firstChunks;
    private readonly int[] _tokenCounts;

    private DocumentTable(MappedFile file, DatabaseManifest manifest)
    {
        _file = file;
        _chunkLength = manifest.ChunkLength;
        _firstChunks = new long[manifest.DocumentCount];
        _tokenCounts = new int[manifest.DocumentCount];
    }

    /// <inheritdoc/>
    public int Count => _firstChunks.Length;

    internal static ReadOnlySpan<byte> Magic => "RETRODOC"u8;

    /// <inheritdoc/>
    public DocumentEntry this[int index]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfNegative(index);
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, Count);
            using SharedHandle.Held held = _file.Hold();
            ReadOnlySpan<byte> entry = _file.Values<byte>(HeaderBytes + (long)index * IndexBytes, IndexBytes);
            long offset = HeaderBytes + (long)Count * IndexBytes + BinaryPrimitives.ReadInt64LittleEndian(entry[8..]);
            ReadOnlySpan<byte> record = _file.Values<byte>(offset, BinaryPrimitives.ReadInt32LittleEndian(entry[20..]));
            try
            {
                DocumentEntry read = DocumentRecord.Read(record, _firstChunks[index], _chunkLength);
                return read.TokenCount == _tokenCounts[index]
                    ? read
                    : throw new InvalidDataException($"its record says {read.TokenCount} tokens and the index {_tokenCounts[index]}");
            }
            catch (Exception exception) when (exception is ArgumentException or OverflowException or InvalidDataException)
            {
                throw new DatabaseException(
                    $"'{_file.Path}' is damaged: document {index} cannot be read ({exception.Message.TrimEnd('.')}); build the database again.", exception);
            }
        }
    }

    /// <summary>Opens the table of a database whose manifest was checked.</summary>
    /// <exception cref="DatabaseException">The file is damaged or does not fit the manifest.</exception>
    public static DocumentTable Open(string folder, DatabaseManifest manifest)
    {
        string path = Path.Combine(manifest.HomeIn(folder), manifest.DocumentsFile);
        MappedFile file = MappedFile.Open(path, HeaderBytes + manifest.DocumentCount * IndexBytes);
        try
        {
            long recordBytes = file.Length - HeaderBytes - manifest.DocumentCount * IndexBytes;
            if (!file.Values<byte>(0, HeaderBytes).SequenceEqual(Header(manifest.ChunkLength, manifest.DocumentCount, manifest.ChunkCount, recordBytes)))
            {
                throw new DatabaseException(
                    $"'{path}' belongs to another database or is damaged: its header does not say {manifest.DocumentCount} documents of "
                        + $"{manifest.ChunkCount} chunks as the manifest does; build the database again.");
            }

            DocumentTable table = new(file, manifest);
            table.ReadIndex(manifest, recordBytes);
            return table;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Writes the table of records that lie one after another in a stream.</summary>
    public static void Write(Stream output, Stream records, long recordBytes, int chunkLength, long documents, long chunks)
    {
        output.Write(Header(chunkLength, documents, chunks, recordBytes));
        Span<byte> entry = stackalloc byte[IndexBytes];
        long firstChunk = 0;
        records.Position = 0;
        foreach ((long offset, byte[] record) in DocumentRecord.ReadAll(records, recordBytes))
        {
            int tokens = DocumentRecord.TokenCount(record);
            BinaryPrimitives.WriteInt64LittleEndian(entry, firstChunk);
            BinaryPrimitives.WriteInt64LittleEndian(entry[8..], offset);
            BinaryPrimitives.WriteInt32LittleEndian(entry[16..], tokens);
            BinaryPrimitives.WriteInt32LittleEndian(entry[20..], record.Length);
            output.Write(entry);
            firstChunk += Chunks(tokens, chunkLength);
        }

        records.Position = 0;
        byte[] buffer = new byte[1 << 16];
        for (long left = recordBytes; left > 0;)
        {
            int read = records.Read(buffer, 0, (int)Math.Min(left, buffer.Length));
            if (read == 0)
            {
                throw new EndOfStreamException($"the records ended {left} bytes early");
            }

            output.Write(buffer, 0, read);
            left -= read;
        }
    }

    /// <summary>Chunks that a number of tokens takes.</summary>
    public static int Chunks(int tokens, int chunkLength) => (int)(((long)tokens + chunkLength - 1) / chunkLength);

    /// <summary>The first chunk of a document.</summary>
    public long FirstChunk(int document) => _firstChunks[document];

    /// <summary>The tokens of a document.</summary>
    public int TokenCount(int document) => _tokenCounts[document];

    /// <summary>The document of a chunk that exists.</summary>
    public int DocumentOf(long chunk) => Ascending.LastAtMost(_firstChunks, chunk);

    /// <inheritdoc/>
    public IEnumerator<DocumentEntry> GetEnumerator()
    {
        for (int index = 0; index < Count; index++)
        {
            yield return this[index];
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private static byte[] Header(int chunkLength, long documents, long chunks, long recordBytes)
    {
        byte[] header = new byte[HeaderBytes];
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(8), DatabaseManifest.CurrentFormatVersion);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(12), chunkLength);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(16), documents);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(24), chunks);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(32), recordBytes);
        return header;
    }

    // The chunk numbers and offsets must run on without a gap: then no later read can leave the files.
    private void ReadIndex(DatabaseManifest manifest, long recordBytes)
    {
        long chunk = 0;
        long offset = 0;
        long tokens = 0;
        for (int document = 0; document < Count; document++)
        {
            ReadOnlySpan<byte> entry = _file.Values<byte>(HeaderBytes + (long)document * IndexBytes, IndexBytes);
            _firstChunks[document] = BinaryPrimitives.ReadInt64LittleEndian(entry);
            _tokenCounts[document] = BinaryPrimitives.ReadInt32LittleEndian(entry[16..]);
            int length = BinaryPrimitives.ReadInt32LittleEndian(entry[20..]);
            if (_firstChunks[document] != chunk || BinaryPrimitives.ReadInt64LittleEndian(entry[8..]) != offset || _tokenCounts[document] < 2 || length < 0)
            {
                throw new DatabaseException(
                    $"'{_file.Path}' is damaged: the index of document {document} does not follow that of the one before; build the database again.");
            }

            chunk += Chunks(_tokenCounts[document], _chunkLength);
            tokens += _tokenCounts[document];
            offset += length;
        }

        if (chunk != manifest.ChunkCount || offset != recordBytes || tokens != manifest.TokenCount)
        {
            throw new DatabaseException(
                $"'{_file.Path}' is damaged: its documents have {chunk} chunks and {tokens} tokens, but the manifest says {manifest.ChunkCount} and "
                    + $"{manifest.TokenCount}; build the database again.");
        }
    }
}

using System.Text.Encodings.Web;
using System.Text.Json;
using Retro.Corpora;
using Retro.Tokenizers;

namespace Retro.Database;

/// <summary>What a database holds, as text.</summary>
public static class DatabaseExport
{
    /// <summary>Characters of a text that are written at once, and bytes that wait: .NET's writer takes none beyond 166 million at once, nor holds two
    /// billion.</summary>
    private const int PieceLength = 1 << 20;

    private static readonly JsonWriterOptions s_json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The documents of a database with the texts that their tokens stand for, in their order, decoded while they are enumerated.</summary>
    /// <param name="database">The database.</param>
    /// <param name="tokenizer">The tokenizer that it was made with.</param>
    /// <exception cref="DatabaseException">It was made with another.</exception>
    public static IEnumerable<Document> Documents(ChunkDatabase database, RetroTokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(database);
        database.RequireTokenizer(tokenizer);
        return database.Documents.Select(entry =>
            new Document(entry.Id, entry.Title, tokenizer.Decode(database.TextOf(entry)), entry.Location) { Labels = entry.Labels });
    }

    /// <summary>
    /// Writes a database as JSON lines, which <see cref="Corpus"/> reads: an object for each document with id, title, location, labels and text, and
    /// "textAsItIs" where reading would clean the text otherwise; with its chunks on demand. A file that is there is replaced when the new one is whole.
    /// </summary>
    /// <param name="database">The database.</param>
    /// <param name="tokenizer">The tokenizer that it was made with.</param>
    /// <param name="path">The file.</param>
    /// <param name="withChunks">Whether each document lists its chunks: number in the database, tokens, and text.</param>
    /// <param name="progress">Told of the documents written.</param>
    /// <param name="cancellationToken">Stops it; the file is then not written.</param>
    /// <exception cref="DatabaseException">The tokenizer is another, or the file cannot be written.</exception>
    public static void WriteJsonLines(
        ChunkDatabase database,
        RetroTokenizer tokenizer,
        string path,
        bool withChunks = false,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        IEnumerable<Document> documents = Documents(database, tokenizer);
        AtomicFile.Write(path, Write, DatabaseException.Of);

        void Write(Stream stream)
        {
            foreach ((int number, Document document) in documents.Index())
            {
                cancellationToken.ThrowIfCancellationRequested();
                using (Utf8JsonWriter json = new(stream, s_json))
                {
                    json.WriteStartObject();
                    json.WriteString("id", document.Id);
                    json.WriteString("title", document.Title);
                    json.WriteString("location", document.Location);
                    json.WriteStartArray("labels");
                    foreach (string label in document.Labels)
                    {
                        json.WriteStringValue(label);
                    }

                    json.WriteEndArray();
                    if (Cleaning.Clean(document.Text) != document.Text)
                    {
                        json.WriteBoolean(DocumentRow.AsItIs, true);
                    }

                    json.WritePropertyName("text");
                    WriteText(json, document.Text);
                    if (withChunks)
                    {
                        WriteChunks(json, number);
                    }

                    json.WriteEndObject();
                }

                stream.Write("\n"u8);
                progress?.Report(new StageProgress("write documents", number + 1, database.Documents.Count));
            }
        }

        void WriteChunks(Utf8JsonWriter json, int document)
        {
            (long first, long count) = database.ChunksOf(document);
            json.WriteStartArray("chunks");
            for (long chunk = first; chunk < first + count; chunk++)
            {
                ReadOnlySpan<int> tokens = database.OwnTokens(chunk);
                json.WriteStartObject();
                json.WriteNumber("chunk", chunk);
                json.WriteStartArray("tokens");
                foreach (int token in tokens)
                {
                    json.WriteNumberValue(token);
                }

                json.WriteEndArray();
                json.WriteString("text", database.Text(chunk, tokenizer));
                json.WriteEndObject();
                FlushMuch(json, PieceLength);
            }

            json.WriteEndArray();
        }
    }

    /// <summary>Writes a text as one JSON string, in pieces; the writer joins the halves of a character that a cut parts.</summary>
    internal static void WriteText(Utf8JsonWriter json, ReadOnlySpan<char> text, int pieceLength = PieceLength)
    {
        for (; text.Length > pieceLength; text = text[pieceLength..])
        {
            json.WriteStringValueSegment(text[..pieceLength], isFinalSegment: false);
            FlushMuch(json, pieceLength);
        }

        json.WriteStringValueSegment(text, isFinalSegment: true);
    }

    private static void FlushMuch(Utf8JsonWriter json, int bytes)
    {
        if (json.BytesPending >= bytes)
        {
            json.Flush();
        }
    }
}

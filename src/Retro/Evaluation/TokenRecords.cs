using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using Retro.Database;
using Retro.Readers;
using Retro.Search;

namespace Retro.Evaluation;

/// <summary>Writes what each held-out token costs each reader, and whether the neighbors held it, for whoever wants to look into a difference.</summary>
public static class TokenRecords
{
    /// <summary>
    /// Writes a file of JSON lines, one for each token after its document's first, in order. A run that is stopped leaves the old file, or none.
    /// </summary>
    /// <remarks>
    /// A line is <c>{"document":"id","place":65,"token":17,"hit":3,"bits":{"closed book":4.1,"RETRO":0.7}}</c>: the token's place in its document, its id, and
    /// the length of the longest run of tokens, it being the last, that stands in the neighbors of the chunk before it (at most 12; 0: the token is in none of
    /// them; null: nothing could be retrieved), and its bits by reader (null: not finite).
    /// </remarks>
    /// <param name="path">The file.</param>
    /// <param name="heldOut">The held-out documents.</param>
    /// <param name="results">Measurements on them that kept their tokens (<see cref="BitsPerByteOptions.KeepTokens"/>), by the names to write.</param>
    /// <param name="table">Neighbors of every held-out chunk.</param>
    /// <param name="neighbors">Neighbors of a chunk that are looked at; null: all of the table.</param>
    /// <param name="retrievedLength">Tokens of a neighbor and its continuation; null: twice the chunk length.</param>
    /// <param name="progress">Receives the number of documents done.</param>
    /// <param name="cancellationToken">Ends the writing between two documents.</param>
    /// <exception cref="ArgumentException">A measurement is of other documents, or did not keep its tokens; or the table holds fewer neighbors.</exception>
    /// <exception cref="DatabaseException">The table belongs to another database, or the file cannot be written.</exception>
    public static void Write(
        string path,
        ChunkDatabase heldOut,
        IReadOnlyDictionary<string, BitsPerByteResult> results,
        NeighborTable table,
        int? neighbors = null,
        int? retrievedLength = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(heldOut);
        ArgumentNullException.ThrowIfNull(results);
        ArgumentNullException.ThrowIfNull(table);
        foreach ((string name, BitsPerByteResult result) in results)
        {
            if (result.HeldOutHash != heldOut.Manifest.TokensHash)
            {
                throw new ArgumentException($"\"{name}\" was measured on other documents; measure it on these.", nameof(results));
            }

            if (result.TokenBits is null)
            {
                throw new ArgumentException(
                    $"\"{name}\" did not keep the bits of its tokens; measure with {nameof(BitsPerByteOptions.KeepTokens)}.", nameof(results));
            }
        }

        table.RequireMatch(heldOut);
        int count = neighbors ?? table.Count;
        if (count < 1 || count > table.Count)
        {
            throw new ArgumentException($"{count} neighbors are to be looked at, and the table holds {table.Count}.", nameof(neighbors));
        }

        RetrievedTokens retrieved = new(1, 1, count, heldOut.RetrievedLength(retrievedLength));
        PointerMatch match = new(count, retrieved.Length);
        AtomicFile.Write(
            path,
            stream =>
            {
                ArrayBufferWriter<byte> lines = new();
                using Utf8JsonWriter json = new(lines, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true });
                for (int i = 0; i < heldOut.Documents.Count; i++)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    Write(json, lines, heldOut, heldOut.Documents[i], results, table, retrieved, match);
                    stream.Write(lines.WrittenSpan);
                    lines.ResetWrittenCount();
                    progress?.Report(new StageProgress("write token records", i + 1, heldOut.Documents.Count));
                }
            },
            (sentence, fault) => new DatabaseException(sentence, fault));
    }

    private static void Write(
        Utf8JsonWriter json,
        ArrayBufferWriter<byte> lines,
        ChunkDatabase heldOut,
        DocumentEntry document,
        IReadOnlyDictionary<string, BitsPerByteResult> results,
        NeighborTable table,
        RetrievedTokens retrieved,
        PointerMatch match)
    {
        for (int place = 1; place < document.TokenCount; place++)
        {
            (int within, int chunkInDocument) = (place % heldOut.ChunkLength, place / heldOut.ChunkLength);
            long chunk = document.FirstChunk + chunkInDocument;
            int token = heldOut.Tokens(chunk)[within];
            if (chunkInDocument > 0 && within == 0)
            {
                retrieved.Take(0, 0, table.Retrieval, table.Row(chunk - 1)[..retrieved.Neighbors]);
                match.Begin(retrieved.Tokens, retrieved.Valid, PointerRule.Before(heldOut, chunk));
            }

            json.WriteStartObject();
            json.WriteString("document", document.Id);
            json.WriteNumber("place", place);
            json.WriteNumber("token", token);
            if (chunkInDocument > 0)
            {
                match.Append(token);
                json.WriteNumber("hit", match.Longest);
            }
            else
            {
                json.WriteNull("hit");
            }

            json.WriteStartObject("bits");
            foreach ((string name, BitsPerByteResult result) in results)
            {
                float bits = result.TokenBits![(int)(chunk * heldOut.ChunkLength) + within];
                if (float.IsFinite(bits))
                {
                    json.WriteNumber(name, bits);
                }
                else
                {
                    json.WriteNull(name);
                }
            }

            json.WriteEndObject();
            json.WriteEndObject();
            json.Flush();
            lines.Write("\n"u8);
            json.Reset();
        }
    }
}

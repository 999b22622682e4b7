using Retro.Database;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Generation;

/// <summary>Finds the neighbors of chunks that a text has completed, as plain numbers for the model and as sources for the reader.</summary>
/// <param name="tokenizer">The tokenizer of text and database.</param>
/// <param name="database">The database to read from.</param>
/// <param name="source">Finds its chunks.</param>
/// <param name="neighbors">K: neighbors for each chunk.</param>
/// <param name="retrievedLength">R: tokens read of each neighbor.</param>
/// <param name="excluded">Numbers of the documents that nothing is read of.</param>
internal sealed class ChunkRetriever(RetroTokenizer tokenizer, ChunkDatabase database, INeighborSource source, int neighbors, int retrievedLength, int[] excluded)
{
    /// <summary>Tokens of a chunk (M).</summary>
    public int ChunkLength => database.ChunkLength;

    /// <summary>What was found for C chunks.</summary>
    /// <param name="Tokens">One row of C chunks.</param>
    /// <param name="PerChunk">One entry per chunk.</param>
    internal sealed record Found(RetrievedTokens Tokens, IReadOnlyList<RetrievedNeighbors> PerChunk);

    /// <summary>Finds the neighbors of chunks that follow each other.</summary>
    /// <param name="tokens">The text so far.</param>
    /// <param name="first">The first chunk, from 0.</param>
    /// <param name="count">How many chunks, C.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    public Found Find(IReadOnlyList<int> tokens, int first, int count, CancellationToken cancellationToken)
    {
        int length = database.ChunkLength;
        int[][] chunks = Enumerable.Range(first, count).Select(chunk => tokens.Skip(chunk * length).Take(length).ToArray()).ToArray();
        long[] found = new long[count * neighbors];
        float[] scores = new float[count * neighbors];
        source.Find(chunks.Select(chunk => new NeighborQuery(chunk, excluded)).ToArray(), neighbors, found, scores, cancellationToken);
        RetrievedTokens retrieved = new(1, count, neighbors, retrievedLength);
        for (int c = 0; c < count; c++)
        {
            retrieved.Take(0, c, database, found.AsSpan(c * neighbors, neighbors));
        }

        RetrievedNeighbors[] perChunk = Enumerable.Range(0, count).Select(c => new RetrievedNeighbors(
            first + c,
            first + c == 0 ? tokenizer.Decode(chunks[c]) : tokenizer.DecodeWithin(chunks[c]),
            Enumerable.Range(c * neighbors, neighbors).Where(i => found[i] >= 0).Select(i => Describe(found[i], scores[i])).ToArray())).ToArray();
        return new Found(retrieved, perChunk);
    }

    private RetrievedNeighbor Describe(long chunk, float score)
    {
        DocumentEntry document = database.Documents[database.DocumentOf(chunk)];
        long[] tokens = new long[Math.Max(retrievedLength, database.ChunkLength)];
        bool[] valid = new bool[tokens.Length];
        database.CopyRetrieved(chunk, tokens, valid);
        int[] real = tokens.Where((_, i) => valid[i]).Select(token => (int)token).ToArray();
        int own = Math.Min(database.ChunkLength, real.Length);
        long number = chunk - document.FirstChunk;
        string text = number == 0 ? tokenizer.Decode(real.AsSpan(0, own)) : tokenizer.DecodeWithin(real.AsSpan(0, own));
        return new RetrievedNeighbor(chunk, document.Id, document.Title, document.Location, number, text, tokenizer.DecodeWithin(real.AsSpan(own)), score);
    }
}

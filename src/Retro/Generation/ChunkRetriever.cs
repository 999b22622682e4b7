using Retro.Database;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Generation;

/// <summary>Finds the neighbors of chunks that a text has completed, as plain numbers for the model and as sources for the reader.</summary>
internal sealed class ChunkRetriever(RetroTokenizer tokenizer, ChunkDatabase database, INeighborSource source, int neighbors, int retrievedLength)
{
    /// <summary>Neighbors per chunk (K).</summary>
    public int Neighbors => neighbors;

    /// <summary>What was found for C chunks.</summary>
    /// <param name="Tokens">[C, K, R].</param>
    /// <param name="Valid">[C, K, R].</param>
    /// <param name="Sources">One entry per chunk.</param>
    internal sealed record Found(long[] Tokens, bool[] Valid, IReadOnlyList<RetrievedSources> Sources);

    /// <summary>Finds the neighbors of chunks that follow each other. Nothing is excluded: whatever the database holds may be read.</summary>
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
        source.Find(chunks.Select(chunk => new NeighborQuery(chunk, [])).ToArray(), neighbors, found, scores, cancellationToken);
        long[] ids = new long[found.Length * retrievedLength];
        bool[] valid = new bool[ids.Length];
        for (int i = 0; i < found.Length; i++)
        {
            database.CopyRetrieved(found[i], ids.AsSpan(i * retrievedLength, retrievedLength), valid.AsSpan(i * retrievedLength, retrievedLength));
        }

        RetrievedSources[] sources = Enumerable.Range(0, count).Select(c => new RetrievedSources(
            first + c,
            first + c == 0 ? tokenizer.Decode(chunks[c]) : tokenizer.DecodeWithin(chunks[c]),
            Enumerable.Range(c * neighbors, neighbors).Where(i => found[i] >= 0).Select(i => Describe(found[i], scores[i])).ToArray())).ToArray();
        return new Found(ids, valid, sources);
    }

    private RetrievedSource Describe(long chunk, float score)
    {
        DocumentEntry document = database.Documents[database.DocumentOf(chunk)];
        long[] tokens = new long[Math.Max(retrievedLength, database.ChunkLength)];
        bool[] valid = new bool[tokens.Length];
        database.CopyRetrieved(chunk, tokens, valid);
        int[] real = tokens.Where((_, i) => valid[i]).Select(token => (int)token).ToArray();
        int own = Math.Min(database.ChunkLength, real.Length);
        long number = chunk - document.FirstChunk;
        string text = number == 0 ? tokenizer.Decode(real.AsSpan(0, own)) : tokenizer.DecodeWithin(real.AsSpan(0, own));
        return new RetrievedSource(chunk, document.Id, document.Title, document.Source, number, text, tokenizer.DecodeWithin(real.AsSpan(own)), score);
    }
}

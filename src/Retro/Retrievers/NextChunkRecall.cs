using Retro.Database;
using Retro.Search;

namespace Retro.Retrievers;

/// <summary>
/// How much of what follows a chunk a source finds for it, of held-out documents: the share of the different tokens of the next chunk, those left out that the
/// chunk itself has and those that begin or end a text, which stand in one of the K neighbors or its continuation. It needs no reader, and so says nothing of
/// what one makes of it.
/// </summary>
/// <param name="Value">The share, from 0 to 1; not a number where there is no such token.</param>
/// <param name="Queries">Chunks that were asked for.</param>
/// <param name="Documents">Tokens found and tokens looked for, of each document that has any: what a bootstrap over documents takes.</param>
internal sealed record NextChunkRecall(double Value, int Queries, IReadOnlyList<(int Document, long Found, long Wanted)> Documents)
{
    private const int Block = 256;

    /// <summary>Measures a source.</summary>
    /// <param name="source">The source; its database holds none of the documents.</param>
    /// <param name="heldOut">The documents.</param>
    /// <param name="neighbors">K.</param>
    /// <param name="progress">Receives the number of documents compared, and then of chunks done; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between blocks.</param>
    /// <returns>What was measured.</returns>
    /// <exception cref="DatabaseException">A document stands in the source's database, or that has chunks of another tokenizer.</exception>
    /// <exception cref="ArgumentException">The source has no database.</exception>
    public static NextChunkRecall Measure(
        INeighborSource source,
        ChunkDatabase heldOut,
        int neighbors,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(heldOut);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(neighbors);
        ChunkDatabase retrieval = source.Database
            ?? throw new ArgumentException($"The source {source.Name} has no database in which anything could be found.", nameof(source));
        heldOut.RequireSameTokenizer(retrieval);
        HeldOut.Require(heldOut, retrieval, progress, cancellationToken);
        List<long> asked = [];
        for (long chunk = 0; chunk < heldOut.ChunkCount; chunk++)
        {
            if (heldOut.Continuation(chunk) >= 0)
            {
                asked.Add(chunk);
            }
        }

        SortedDictionary<int, (long Found, long Wanted)> sums = [];
        int length = retrieval.RetrievedLength(), done = 0;
        long[] tokens = new long[length];
        bool[] valid = new bool[length];
        foreach (long[] block in asked.Chunk(Block))
        {
            cancellationToken.ThrowIfCancellationRequested();
            progress?.Report(new StageProgress($"measure {source.Name}", done, asked.Count));
            (long[] found, _) = source.Ask([.. block.Select(chunk => new NeighborQuery(Text(chunk), []))], neighbors, cancellationToken);
            for (int i = 0; i < block.Length; i++)
            {
                HashSet<long> seen = [], wanted = [.. KeywordNeighborSource.TermsOf(heldOut, block[i] + 1).ToArray().Select(token => (long)token)];
                wanted.ExceptWith(Text(block[i]).Select(token => (long)token));
                foreach (long neighbor in found.AsSpan(i * neighbors, neighbors))
                {
                    retrieval.CopyRetrieved(neighbor, tokens, valid);
                    seen.UnionWith(tokens.Where((_, place) => valid[place]));
                }

                int document = heldOut.DocumentOf(block[i]);
                (long before, long of) = sums.GetValueOrDefault(document);
                sums[document] = (before + wanted.Count(seen.Contains), of + wanted.Count);
            }

            done += block.Length;
        }

        progress?.Report(new StageProgress($"measure {source.Name}", done, asked.Count));
        long all = sums.Values.Sum(sum => sum.Wanted);
        return new NextChunkRecall(
            all == 0 ? double.NaN : (double)sums.Values.Sum(sum => sum.Found) / all,
            asked.Count,
            [.. sums.Where(pair => pair.Value.Wanted > 0).Select(pair => (pair.Key, pair.Value.Found, pair.Value.Wanted))]);

        int[] Text(long chunk) => heldOut.OwnTokens(chunk).ToArray();
    }
}

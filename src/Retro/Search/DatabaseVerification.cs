using Retro.Database;

namespace Retro.Search;

/// <summary>
/// Makes a random share of what the stages of a database have made once more, and compares: what no checksum tells, such as a stage that was wrong.
/// </summary>
public static class DatabaseVerification
{
    // Of queries whose true neighbors are looked for by comparing with every key.
    private const int MostProbes = 100;

    /// <summary>Recomputes a share of the stages that some sources stand on.</summary>
    /// <param name="database">The database.</param>
    /// <param name="sources">
    /// Sources over it: of a <see cref="KeywordNeighborSource"/> the terms and postings of chunks are compared, of a <see cref="DenseNeighborSource"/> keys,
    /// and the neighbors of at most 100 chunks with those that comparing with every key finds; of any, the rows of neighbor tables that were made by it.
    /// </param>
    /// <param name="share">Share of the chunks that are taken, from 0 to 1; at least one is.</param>
    /// <param name="seed">Chooses them.</param>
    /// <param name="progress">Told of the stages.</param>
    /// <param name="cancellationToken">Stops between two chunks.</param>
    /// <returns>What was found, a stage each.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The share is not above 0 and at most 1.</exception>
    /// <exception cref="ArgumentException">A source is over another database.</exception>
    /// <exception cref="DatabaseException">The keys are damaged, or a source finds what it must not.</exception>
    public static IReadOnlyList<StageCheck> Recompute(
        ChunkDatabase database,
        IReadOnlyList<INeighborSource> sources,
        double share = 0.01,
        long seed = 0,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(sources);
        if (share is not (> 0 and <= 1))
        {
            throw new ArgumentOutOfRangeException(nameof(share), share, "A share above 0 and at most 1 can be recomputed.");
        }

        if (sources.FirstOrDefault(source => source.Database is not null && source.Database != database) is { } other)
        {
            throw new ArgumentException(
                $"The source {other.Name} is over the database in {other.Database!.Folder}, not that in {database.Folder}.", nameof(sources));
        }

        long[] chunks = Chosen(database.ChunkCount, share, seed);
        List<StageCheck> found = [];
        foreach (INeighborSource source in sources)
        {
            cancellationToken.ThrowIfCancellationRequested();
            progress?.Report(new("recompute", found.Count, 0, source.Name));
            switch (source)
            {
                case KeywordNeighborSource keywords:
                    found.Add(Count(StageNames.Keywords, chunks, keywords.FaultOf, cancellationToken));
                    break;
                case DenseNeighborSource dense:
                    using (ChunkKeys? keys = ChunkKeys.TryOpen(database, dense.KeyIdentity))
                    {
                        if (keys is not null)
                        {
                            found.Add(Count(StageNames.Keys, chunks, chunk => dense.FaultOf(keys, chunk, cancellationToken), cancellationToken));
                            found.Add(IndexRecall.Check(database, dense, keys, chunks.Take(MostProbes), cancellationToken));
                        }
                    }

                    break;
            }

            found.AddRange(NeighborTable.Check(database, source, chunks, cancellationToken));
        }

        return found;
    }

    /// <summary>Some of the chunks, in a random order.</summary>
    private static long[] Chosen(long count, double share, long seed)
    {
        SeededPermutation order = new(count, seed, Purpose.Verification, 0);
        long wanted = Math.Clamp((long)Math.Ceiling(share * count), Math.Min(1, count), count);
        long[] chosen = new long[wanted];
        for (long i = 0; i < wanted; i++)
        {
            chosen[i] = order.At(i);
        }

        return chosen;
    }

    private static StageCheck Count(string stage, long[] chunks, Func<long, string?> faultOf, CancellationToken cancellationToken)
    {
        long wrong = 0;
        string? example = null;
        foreach (long chunk in chunks)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (faultOf(chunk) is { } fault)
            {
                wrong++;
                example ??= $"chunk {chunk}: {fault}";
            }
        }

        return new(stage, chunks.Length, wrong, example);
    }
}

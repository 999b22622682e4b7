using Retro.Database;
using Retro.Search;

namespace Retro.Readers;

/// <summary>How far copying from the neighbors is trusted, by the length of the run of last tokens that was found in them.</summary>
/// <remarks>
/// The mass of a run of some length is 0.95 times its precision: how often, among the places of a database's own chunks whose last tokens have a longest run
/// of that length in the neighbors of the chunk before, what followed such a run there was what followed here, where several different tokens followed each
/// counting for its share. It is counted on the database, whose documents no held-out document may be among, with neighbors from other documents than the
/// chunk's: never on held-out text.
/// </remarks>
public sealed class PointerRule
{
    /// <summary>Last tokens looked for, at most; longer runs count as this long.</summary>
    public const int LongestRun = 12;

    /// <summary>The share of a run's precision that is given to what followed it.</summary>
    internal const double Trust = 0.95;

    /// <summary>Takes precisions that are known.</summary>
    /// <param name="neighbors">K: neighbors per chunk that they hold for.</param>
    /// <param name="chunkLength">M: tokens of a chunk.</param>
    /// <param name="retrievedLength">R: tokens per neighbor.</param>
    /// <param name="precisions">The precision of runs of 1, 2, ... up to <see cref="LongestRun"/> tokens, each from 0 to 1.</param>
    /// <exception cref="ArgumentException">There are not as many precisions, or one is outside its range.</exception>
    public PointerRule(int neighbors, int chunkLength, int retrievedLength, IReadOnlyList<double> precisions)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(neighbors);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(chunkLength);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(retrievedLength);
        ArgumentNullException.ThrowIfNull(precisions);
        if (precisions.Count != LongestRun || precisions.Any(precision => !(precision >= 0 && precision <= 1)))
        {
            throw new ArgumentException($"Expected {LongestRun} precisions from 0 to 1, got [{string.Join(", ", precisions)}].", nameof(precisions));
        }

        (Neighbors, ChunkLength, RetrievedLength, Precisions) = (neighbors, chunkLength, retrievedLength, [.. precisions]);
    }

    /// <summary>K: neighbors per chunk.</summary>
    public int Neighbors { get; }

    /// <summary>M: tokens of a chunk.</summary>
    public int ChunkLength { get; }

    /// <summary>R: tokens per neighbor.</summary>
    public int RetrievedLength { get; }

    /// <summary>The precision of runs of 1, 2, ... up to <see cref="LongestRun"/> tokens.</summary>
    public IReadOnlyList<double> Precisions { get; }

    /// <summary>Counts the precisions on chunks of a database, with neighbors from the same database.</summary>
    /// <param name="database">The database.</param>
    /// <param name="table">The neighbors of its chunks, each from another document.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <param name="progress">Receives the number of chunks done.</param>
    /// <param name="cancellationToken">Ends the counting between two chunks.</param>
    /// <returns>The rule.</returns>
    /// <exception cref="DatabaseException">
    /// The table is of another database or of two, or it holds neighbors from a chunk's own document, or fewer than are wanted.
    /// </exception>
    /// <exception cref="RetroOptionsException">A setting is outside its range.</exception>
    public static PointerRule Count(
        ChunkDatabase database,
        NeighborTable table,
        PointerRuleOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(table);
        options = (options ?? new PointerRuleOptions()).Validate();
        int length = database.RetrievedLength(options.RetrievedLength);
        table.RequireMatch(database);
        if (!table.Retrieval.HasSameChunks(database))
        {
            throw new DatabaseException(
                database.Unlike(
                    "The table's neighbors are in", table.Retrieval, "copying is counted within", "build the table with a source over the same database"));
        }

        if (!table.ExcludesOwnDocument || table.RetrievalHash is null)
        {
            throw new DatabaseException(
                $"The precision of copying is counted with neighbors from other documents, and the table's are " +
                $"{(table.RetrievalHash is null ? "none" : "from a chunk's own document too")}; build the table with excludeOwnDocument.");
        }

        if (table.Count < options.Neighbors)
        {
            throw new DatabaseException(
                $"{options.Neighbors} neighbors per chunk are to be read, and the table holds {table.Count}; make a table of as many, or read fewer.");
        }

        double[] hits = new double[LongestRun + 1];
        long[] seen = new long[LongestRun + 1];
        PointerMatch match = new(options.Neighbors, length);
        RetrievedTokens retrieved = new(1, 1, options.Neighbors, length);
        SeededPermutation order = new(Math.Max(1, database.ChunkCount), options.Seed, Purpose.PointerRuleChunks, 0);
        for (long place = 0, done = 0; place < database.ChunkCount && done < options.Chunks; place++)
        {
            long chunk = order.At(place);
            if (database.Continuation(chunk) is var next and not -1)
            {
                cancellationToken.ThrowIfCancellationRequested();
                progress?.Report(new StageProgress("count the pointer rule", done, options.Chunks));
                done++;
                retrieved.Take(0, 0, database, table.Row(chunk)[..options.Neighbors]);
                match.Begin(retrieved.Tokens, retrieved.Valid, Before(database, next));
                foreach (int token in database.OwnTokens(next))
                {
                    (int run, double share) = match.Look(token);
                    seen[run]++;
                    hits[run] += share;
                    match.Append(token);
                }
            }
        }

        double[] precisions = PrecisionsOf(hits, seen);
        progress?.Report(new StageProgress("count the pointer rule", options.Chunks, options.Chunks));
        return new PointerRule(options.Neighbors, database.ChunkLength, length, precisions);
    }

    /// <summary>λ: the mass of what followed a run.</summary>
    /// <param name="length">The run's length; 0: none was found.</param>
    /// <returns>From 0 to 0.95.</returns>
    public double Mass(int length) => length == 0 ? 0 : Trust * Precisions[Math.Min(length, LongestRun) - 1];

    /// <summary>The precision of runs of 1, 2, ... tokens; a length that was never seen is trusted as the one below it.</summary>
    /// <param name="hits">By length, how often what followed was right.</param>
    /// <param name="seen">By length, how often such a run was the longest.</param>
    internal static double[] PrecisionsOf(double[] hits, long[] seen)
    {
        double[] precisions = new double[hits.Length - 1];
        for (int run = 1; run < hits.Length; run++)
        {
            precisions[run - 1] = seen[run] > 0 ? hits[run] / seen[run] : run > 1 ? precisions[run - 2] : 0;
        }

        return precisions;
    }

    /// <summary>The tokens of a chunk's document before it, as many as are looked for.</summary>
    internal static long[] Before(ChunkDatabase database, long chunk)
    {
        long first = Math.Max(database.ChunksOf(database.DocumentOf(chunk)).First, chunk - 1 - ((LongestRun - 1) / database.ChunkLength));
        List<long> tokens = [];
        for (long before = first; before < chunk; before++)
        {
            foreach (int token in database.Tokens(before))
            {
                tokens.Add(token);
            }
        }

        return [.. tokens];
    }
}

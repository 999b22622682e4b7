using Retro.Database;

namespace Retro.Search;

/// <summary>
/// Neighbors that the caller names: the same for every chunk, or chosen by a function. Excluded documents and those that labels hide do not come here either,
/// and a chunk that is named twice comes once.
/// </summary>
public sealed class GivenNeighborSource : INeighborSource
{
    private readonly ChunkDatabase _database;
    private readonly Func<NeighborQuery, IReadOnlyList<long>> _choose;
    private float[]? _scores; // of the given chunks, where they are known

    /// <summary>Gives the same neighbors to every chunk.</summary>
    /// <param name="database">The database they are in.</param>
    /// <param name="chunks">Their numbers, best first.</param>
    /// <exception cref="ArgumentException">There is no such chunk.</exception>
    public GivenNeighborSource(ChunkDatabase database, IEnumerable<long> chunks)
    {
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(chunks);
        long[] given = [.. chunks];
        _database = database;
        _choose = _ => given;
        Array.ForEach(given, Check);
        Identity = NeighborQueries.Identity([Name, database.Manifest.TokensHash, string.Join(',', given)]);
    }

    /// <summary>Gives the same neighbors to every chunk, with scores that are known.</summary>
    internal static GivenNeighborSource WithScores(ChunkDatabase database, IReadOnlyList<(long Chunk, float Score)> scored)
        => new(database, scored.Select(one => one.Chunk)) { _scores = [.. scored.Select(one => one.Score)] };

    /// <summary>Asks a function for the neighbors of each chunk.</summary>
    /// <param name="database">The database they are in.</param>
    /// <param name="choose">Gives the numbers of a chunk's neighbors, best first; called from one thread at a time for each <see cref="Find"/>.</param>
    /// <param name="identity">Names the function and everything that it depends on; null, and no other source is taken for this one: a neighbor table of it is
    /// used in no later run.</param>
    /// <remarks>A search throws a <see cref="RetroException"/> where the function gives null.</remarks>
    public GivenNeighborSource(ChunkDatabase database, Func<NeighborQuery, IReadOnlyList<long>> choose, string? identity = null)
    {
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(choose);
        _database = database;
        _choose = choose;

        // Nobody but the caller can tell what a function depends on.
        Identity = identity is null
            ? NeighborQueries.Identity([Name, Guid.NewGuid()])
            : NeighborQueries.Identity([Name, database.Manifest.TokensHash, "function", identity]);
    }

    /// <inheritdoc/>
    public string Name => "given";

    /// <inheritdoc/>
    public ChunkDatabase Database => _database;

    /// <inheritdoc/>
    public string Identity { get; }

    /// <inheritdoc/>
    public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
    {
        NeighborQueries.Check(queries, count, chunks, scores);
        chunks.Fill(-1);
        scores.Fill(float.NaN);
        ExcludedChunks[] excluded = NeighborQueries.Excluded(_database, queries);
        for (int q = 0; q < queries.Count; q++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            ChunkSet? visible = NeighborQueries.Visible(_database, queries[q]);
            IReadOnlyList<long> chosen = _choose(queries[q])
                ?? throw new RetroException("The function that names neighbors gave null; it has to give a list of chunks, empty where there are none.");
            int found = 0;
            for (int i = 0; i < chosen.Count; i++)
            {
                long chunk = chosen[i];
                Check(chunk);
                if (found < count && excluded[q].Admits(chunk, visible) && !chunks.Slice(q * count, found).Contains(chunk))
                {
                    // Where the order is all that is known, the score says it.
                    chunks[q * count + found] = chunk;
                    scores[q * count + found] = _scores?[i] ?? -found;
                    found++;
                }
            }
        }
    }

    private void Check(long chunk)
    {
        if (chunk < 0 || chunk >= _database.ChunkCount)
        {
            throw new ArgumentException(
                $"The database has the chunks 0 to {_database.ChunkCount - 1}, and chunk {chunk} is given as a neighbor.", nameof(chunk));
        }
    }
}

using Retro.Database;

namespace Retro.Search;

/// <summary>
/// The filter of training: a neighbor must share no document with the window it is used in, whichever of the window's documents (RETRO, section 2.3). A table holds more
/// neighbors than are used, without those of the chunk's own document; which other documents stand in the window is known only when the window is cut.
/// </summary>
public static class NeighborFilter
{
    /// <summary>Keeps the first neighbors that are in none of the documents.</summary>
    /// <param name="database">The database of the neighbors.</param>
    /// <param name="candidates">Chunk numbers, best first; -1 where there is none.</param>
    /// <param name="documents">Numbers of the documents of the database that have a token in the window.</param>
    /// <param name="kept">Filled with the first that remain, -1 behind them.</param>
    /// <returns>How many remain, at most the length of <paramref name="kept"/>.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A candidate is no chunk of the database.</exception>
    public static int Keep(ChunkDatabase database, ReadOnlySpan<long> candidates, ReadOnlySpan<int> documents, Span<long> kept)
    {
        ArgumentNullException.ThrowIfNull(database);
        int count = 0;
        foreach (long chunk in candidates)
        {
            if (count == kept.Length)
            {
                break;
            }

            if (chunk >= 0 && !documents.Contains(database.DocumentOf(chunk)))
            {
                kept[count++] = chunk;
            }
        }

        kept[count..].Fill(-1);
        return count;
    }
}

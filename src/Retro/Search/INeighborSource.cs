using Retro.Database;

namespace Retro.Search;

/// <summary>
/// Finds neighbors of chunks: the seam between retrieval and everything that uses it. Implementations may be called from several threads at once.
/// </summary>
public interface INeighborSource
{
    /// <summary>A short name, such as "dense": it stands in file names, so without slashes and colons, and in reports.</summary>
    string Name { get; }

    /// <summary>The database whose chunk numbers are found; null where the source has none.</summary>
    ChunkDatabase? Database => null;

    /// <summary>
    /// Everything that the answers depend on: two sources of the same identity give the same answers to the same queries, up to ties (chunks whose scores
    /// rounding alone tells apart may change places), and one may use the neighbor table of the other.
    /// Name every setting in it, and the database's contents (its manifest's TokensHash).
    /// </summary>
    string Identity { get; }

    /// <summary>The identity of the function that makes the keys of <see cref="NeighborQuery.Key"/>; null where the source needs no keys.</summary>
    string? KeyIdentity => null;

    /// <summary>Finds the neighbors of every query, each once, in no document that it excludes or that its labels do not show.</summary>
    /// <param name="queries">The chunks; n of them.</param>
    /// <param name="count">K, neighbors wanted for each.</param>
    /// <param name="chunks"><c>[n, K]</c>: chunk numbers of the database, best first, ties by number; -1 where there are no more. Of several chunks that are
    /// as good as the last that comes, those of the lowest numbers come. A <see cref="DenseNeighborSource"/> keeps to that where its index is exact; elsewhere
    /// it orders by number what the index gives, and the index keeps of equal ones whichever it has. Equals come in a drawn order from a
    /// <see cref="RandomNeighborSource"/>, to which all are equal, and in that of the candidates from a <see cref="RerankedNeighborSource"/>.</param>
    /// <param name="scores"><c>[n, K]</c>: greater is better in every source; NaN beside -1, and nowhere else.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    /// <exception cref="ArgumentException">The lengths do not fit, or an excluded document does not exist.</exception>
    void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default);
}

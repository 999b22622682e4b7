namespace Retro.Embedders;

/// <summary>
/// The function from chunks to their keys in the retrieval database (RETRO, section 2.3). Implementations may be called from several threads at once.
/// </summary>
public interface IChunkKeyer
{
    /// <summary>Numbers in a key.</summary>
    int Dimensions { get; }

    /// <summary>
    /// Names the function: two of one identity make the same keys of the same tokens, within rounding, and another function has another identity.
    /// </summary>
    string Identity { get; }

    /// <summary>
    /// Chunks that a build asks for at once, at most: what one call has made is kept on the disk whatever becomes of the next, such as where a service fails.
    /// All of a block of the key file by default, 2,048, which suits what computes here.
    /// </summary>
    int BatchSize => 2048;

    /// <summary>Makes the keys of chunks.</summary>
    /// <param name="chunks">The token ids of each chunk, n of them.</param>
    /// <param name="keys"><c>[n, Dimensions]</c> to fill, one row for each chunk; zeros for a chunk that has no key, which is then never found.</param>
    /// <param name="cancellationToken">Stops the work.</param>
    void Keys(IReadOnlyList<ReadOnlyMemory<int>> chunks, Span<float> keys, CancellationToken cancellationToken = default);
}

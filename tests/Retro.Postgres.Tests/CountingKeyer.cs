using Retro.Embedders;

namespace Retro.Postgres.Tests;

/// <summary>A keyer that tells how many keys it makes, or goes by another name.</summary>
internal sealed class CountingKeyer(IChunkKeyer keyer, Action<int>? told = null, string? identity = null, int? dimensions = null) : IChunkKeyer
{
    public int Dimensions => dimensions ?? keyer.Dimensions;

    public string Identity => identity ?? keyer.Identity;

    public void Keys(IReadOnlyList<ReadOnlyMemory<int>> chunks, Span<float> keys, CancellationToken cancellationToken = default)
    {
        told?.Invoke(chunks.Count);
        keyer.Keys(chunks, keys, cancellationToken);
    }
}

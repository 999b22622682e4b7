using Retro.Embedders;

namespace Retro.Tests.Search;

internal delegate void MakeKeys(IReadOnlyList<ReadOnlyMemory<int>> chunks, Span<float> keys, CancellationToken cancellationToken);

/// <summary>A keyer made of any function.</summary>
internal sealed class TestKeyer(MakeKeys keys, int dimensions, string identity, int batchSize = 2048) : IChunkKeyer
{
    public int Dimensions => dimensions;

    public string Identity => identity;

    public int BatchSize => batchSize;

    public void Keys(IReadOnlyList<ReadOnlyMemory<int>> chunks, Span<float> into, CancellationToken cancellationToken = default)
        => keys(chunks, into, cancellationToken);
}

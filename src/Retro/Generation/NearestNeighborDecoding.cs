using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Generation;

/// <summary>A decoder and what followed its own nearest states, which are looked up for every token.</summary>
/// <param name="reader">The reader.</param>
/// <param name="capacity">Tokens to reserve memory for.</param>
/// <param name="excluded">Numbers of the documents whose states are passed over.</param>
internal sealed class NearestNeighborDecoding(NearestNeighborReader reader, int capacity, IReadOnlySet<int> excluded) : IDecoding
{
    private readonly DecodingCache _cache = reader.Model.NewCache(1, capacity);
    private readonly ChunkSet? _among = reader.Store.Without(excluded);

    public Tensor Read(IReadOnlyList<int> text, StretchRetriever.Found? found, CancellationToken cancellationToken)
    {
        using DisposeScope scope = NewDisposeScope();
        RetroModel model = reader.Model;
        (Tensor keys, Tensor states) = _cache.Lengths[0] == 0
            ? model.PrefillKeysAndStates(_cache, tensor(text.Select(token => (long)token).ToArray(), [1, text.Count], device: model.Device), cancellationToken)
            : model.StepKeysAndStates(_cache, tensor([(long)text[^1]], device: model.Device));
        return reader.Logits(keys, states, _among).MoveToOuterDisposeScope();
    }

    public void Dispose() => _cache.Dispose();
}

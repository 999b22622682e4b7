using Retro.Modeling;
using static TorchSharp.torch;

namespace Retro.Generation;

/// <summary>A model that reads its neighbors by cross-attention, or none.</summary>
/// <param name="model">The model.</param>
/// <param name="capacity">Tokens to reserve memory for.</param>
internal sealed class ModelDecoding(RetroModel model, int capacity) : IDecoding
{
    private readonly DecodingCache _cache = model.NewCache(1, capacity);

    public Tensor Read(IReadOnlyList<int> text, StretchRetriever.Found? found, CancellationToken cancellationToken)
    {
        (Tensor? neighbors, Tensor? valid) = found?.Tokens.ToTensors(model.Device) ?? default;
        return _cache.Lengths[0] == 0
            ? model.Prefill(
                _cache, tensor(text.Select(token => (long)token).ToArray(), [1, text.Count], device: model.Device), null, neighbors, valid, cancellationToken)
            : model.Step(_cache, tensor([(long)text[^1]], device: model.Device), neighbors?.squeeze(1), valid?.squeeze(1));
    }

    public void Dispose() => _cache.Dispose();
}

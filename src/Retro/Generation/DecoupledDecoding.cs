using Retro.Modeling;
using Retro.Readers;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Generation;

/// <summary>A decoder that reads neighbors by its own attention: passages are encoded once, when they are found, and a token costs a step.</summary>
/// <param name="reader">The reader.</param>
/// <param name="capacity">Tokens to reserve memory for.</param>
/// <param name="stride">Tokens of a chunk of text.</param>
internal sealed class DecoupledDecoding(DecoupledReader reader, int capacity, int stride) : IDecoding
{
    private readonly DecodingCache _cache = reader.Model.NewCache(1, capacity);
    private DecoupledReading? _last;

    public Tensor Read(IReadOnlyList<int> text, StretchRetriever.Found? found, CancellationToken cancellationToken)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        RetroModel model = reader.Model;
        DecoupledReading? all = found is null ? null : reader.Reading(found.Tokens, stride, cancellationToken);
        if (found is not null)
        {
            // The tokens to come ask the last chunk's passages alone.
            _last?.Dispose();
            _last = all?.LastChunk();
        }

        Tensor states = _cache.Lengths[0] == 0
            ? model.PrefillStates(
                _cache,
                tensor(text.Select(token => (long)token).ToArray(), [1, text.Count], device: model.Device),
                tap: all,
                cancellationToken: cancellationToken)
            : model.StepStates(_cache, tensor([(long)text[^1]], device: model.Device), tap: _last);
        return model.Head(states).MoveToOuterDisposeScope();
    }

    public void Dispose()
    {
        _last?.Dispose();
        _cache.Dispose();
    }
}

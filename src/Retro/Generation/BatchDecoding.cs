using Retro.Modeling;
using Retro.Search;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Generation;

/// <summary>A model that reads several texts at once, each at its own place; a text that has ended takes no more time.</summary>
/// <param name="model">The model.</param>
/// <param name="rows">How many texts.</param>
/// <param name="capacity">Tokens of each to reserve memory for.</param>
internal sealed class BatchDecoding(RetroModel model, int rows, int capacity) : IDisposable
{
    private readonly DecodingCache _cache = model.NewCache(rows, capacity);
    private readonly bool _gated = FinalizerGate.IsNeededFor(model);
    private float[] _logits = []; // of all texts, which read them until the next ones are taken

    /// <summary>Reads what is new of the texts, and gives each its logits.</summary>
    /// <param name="texts">Those that have not ended; at first all that will be read.</param>
    /// <param name="from">
    /// For each the place, among those read before, of the text that it goes on from by one token, which may be itself; several may go on from one. At first
    /// there are none.
    /// </param>
    public void Read(List<GenerationSequence> texts, IReadOnlyList<int> from)
    {
        using DisposeScope scope = NewDisposeScope();
        using FinalizerGate.Hold gate = FinalizerGate.Close(_gated, lingers: true);
        Tensor logits = _cache.Lengths[0] == 0 ? Begin(texts) : Go(texts, from); // [B, V]
        Memory<float> all = logits.Floats(ref _logits);
        int vocabulary = all.Length / texts.Count;
        for (int row = 0; row < texts.Count; row++)
        {
            texts[row].Take(all.Slice(row * vocabulary, vocabulary));
        }
    }

    public void Dispose() => _cache.Dispose();

    private Tensor Begin(List<GenerationSequence> texts)
    {
        int longest = texts.Max(text => text.Tokens.Count);
        long[] tokens = [.. texts.SelectMany(text => text.Tokens.Select(token => (long)token).Concat(Enumerable.Repeat(0L, longest - text.Tokens.Count)))];
        (Tensor? neighbors, Tensor? valid) = Found(texts)?.ToTensors(model.Device) ?? default;
        return model.Prefill(
            _cache, tensor(tokens, [texts.Count, longest], device: model.Device), [.. texts.Select(text => text.Tokens.Count)], neighbors, valid);
    }

    private Tensor Go(List<GenerationSequence> texts, IReadOnlyList<int> from)
    {
        if (!from.SequenceEqual(Enumerable.Range(0, _cache.Rows)))
        {
            _cache.SelectRows(from);
        }

        (Tensor? neighbors, Tensor? valid) = Found(texts)?.ToTensors(model.Device) ?? default;
        long[] tokens = [.. texts.Select(text => (long)text.Tokens[^1])];
        return model.Step(_cache, tensor(tokens, device: model.Device), neighbors?.squeeze(1), valid?.squeeze(1));
    }

    /// <summary>What was found for all of them; null: nothing for any.</summary>
    private static RetrievedTokens? Found(List<GenerationSequence> texts)
    {
        RetrievedTokens[] any = [.. texts.Select(text => text.Found?.Tokens).OfType<RetrievedTokens>()];
        if (any.Length == 0)
        {
            return null;
        }

        RetrievedTokens all = new(texts.Count, any.Max(found => found.Chunks), any[0].Neighbors, any[0].Length);
        for (int row = 0; row < texts.Count; row++)
        {
            for (int chunk = 0; chunk < (texts[row].Found?.Tokens.Chunks ?? 0); chunk++)
            {
                all.Take(row, chunk, texts[row].Found!.Tokens, 0, chunk);
            }
        }

        return all;
    }
}

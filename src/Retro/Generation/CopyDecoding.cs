using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using static TorchSharp.torch;

namespace Retro.Generation;

/// <summary>A copying reader: of the text before, the copying needs the last tokens alone, and of what was retrieved, the last stretch's neighbors.</summary>
/// <param name="reader">The reader.</param>
/// <param name="capacity">Tokens to reserve memory for.</param>
/// <param name="excluded">Numbers of the documents that nothing is read of; null: nothing is read at all.</param>
internal sealed class CopyDecoding(CopyReader reader, int capacity, IReadOnlySet<int>? excluded) : IDecoding
{
    private readonly DecodingCache _cache = reader.Model.NewCache(1, capacity);
    private PointerMatch? _match;

    public bool ReadsWholePrompt => false;

    public Tensor Read(IReadOnlyList<int> text, RetrievedTokens? found)
    {
        long[] last = text.Skip(text.Count - CopyCandidates.ComparedTokens).Select(token => (long)token).ToArray();
        if (found is not null)
        {
            _match = new(found.Neighbors, found.Length);
            _match.Begin(found.Tokens, found.Valid, last);
        }
        else
        {
            _match?.Append(last[^1]);
        }

        RetroModel model = reader.Model;
        Tensor states = _cache.Lengths[0] == 0
            ? model.PrefillStates(_cache, tensor(text.Select(token => (long)token).ToArray(), [1, text.Count], device: model.Device))
            : model.StepStates(_cache, tensor([last[^1]], device: model.Device)); // [1, D]
        return reader.LogDistribution(states, reader.Candidates(last, _match, excluded));
    }

    public void Dispose() => _cache.Dispose();
}

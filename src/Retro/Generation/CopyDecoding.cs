using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using static TorchSharp.torch;

namespace Retro.Generation;

/// <summary>
/// A copying reader: of the text before, the copying needs the last tokens alone, and of what was retrieved, the last stretch's neighbors; the model itself may
/// read those of each of its chunks.
/// </summary>
/// <param name="reader">The reader.</param>
/// <param name="capacity">Tokens to reserve memory for.</param>
/// <param name="excluded">Numbers of the documents that nothing is read of; null: nothing is read at all.</param>
internal sealed class CopyDecoding(CopyReader reader, int capacity, IReadOnlySet<int>? excluded) : IDecoding
{
    private readonly DecodingCache _cache = reader.Model.NewCache(1, capacity);
    private PointerMatch? _match;

    public Tensor Read(IReadOnlyList<int> text, RetrievedTokens? found)
    {
        long[] last = text.Skip(text.Count - CopyCandidates.ComparedTokens).Select(token => (long)token).ToArray();
        if (found is not null)
        {
            int start = found.Offset(0, found.Chunks - 1, 0);
            _match = new(found.Neighbors, found.Length);
            _match.Begin(found.Tokens.AsSpan(start), found.Valid.AsSpan(start), last);
        }
        else
        {
            _match?.Append(last[^1]);
        }

        return reader.Logits(States(text, found), reader.Candidates(last, _match, excluded));
    }

    public void Dispose() => _cache.Dispose();

    /// <summary>[1, D]: the model's state after the text.</summary>
    private Tensor States(IReadOnlyList<int> text, RetrievedTokens? found)
    {
        RetroModel model = reader.Model;
        if (_cache.Lengths[0] == 0)
        {
            Tensor tokens = tensor(text.Select(token => (long)token).ToArray(), [1, text.Count], device: model.Device);
            (Tensor? ofChunks, Tensor? valid) = reader.CrossAttended(found);
            return model.PrefillStates(_cache, tokens, null, ofChunks, valid);
        }

        (Tensor? neighbors, Tensor? read) = _cache.CompletesChunk(0) ? reader.CrossAttendedNext(found) : default;
        return model.StepStates(_cache, tensor([(long)text[^1]], device: model.Device), neighbors, read);
    }
}

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
/// <param name="retriever">Finds neighbors, and describes what is copied; null: nothing is read at all.</param>
/// <param name="excluded">Numbers of the documents that nothing is read of.</param>
internal sealed class CopyDecoding(CopyReader reader, int capacity, StretchRetriever? retriever, IReadOnlySet<int> excluded) : IDecoding
{
    private readonly DecodingCache _cache = reader.Model.NewCache(1, capacity);
    private PointerMatch? _match;
    private IReadOnlyList<RetrievedNeighbor?> _neighbors = [];
    private CopyCandidates? _candidates;
    private float[] _copied = [];

    public Tensor Read(IReadOnlyList<int> text, StretchRetriever.Found? found, CancellationToken cancellationToken)
    {
        long[] last = text.Skip(text.Count - CopyCandidates.ComparedTokens).Select(token => (long)token).ToArray();
        if (found?.Tokens is { } tokens)
        {
            int start = tokens.Offset(0, tokens.Chunks - 1, 0);
            _match = new(tokens.Neighbors, tokens.Length);
            _match.Begin(tokens.Tokens.AsSpan(start), tokens.Valid.AsSpan(start), last);
            _neighbors = found.Last;
        }
        else
        {
            _match?.Append(last[^1]);
        }

        _candidates = reader.Candidates(last, _match, retriever is null ? null : excluded);
        (Tensor logits, Tensor copied) = reader.Logits(States(text, found?.Tokens, cancellationToken), _candidates);
        using (copied)
        {
            copied.Floats(ref _copied);
        }

        return logits;
    }

    public RetrievedNeighbor? CopiedFrom(int token, double logProbability)
    {
        double all = 0;
        int best = -1;
        for (int i = 0; i < (_candidates?.Width ?? 0); i++)
        {
            if (_candidates!.Exists[i] && _candidates.Tokens[i] == token)
            {
                all += _copied[i];
                best = best < 0 || _copied[i] > _copied[best] ? i : best;
            }
        }

        return all <= Math.Exp(logProbability) / 2 ? null
            : _candidates!.Places[best] is >= 0 and int place ? retriever!.Describe(reader.Index!.ChunkOf(place))
            : _neighbors[(int)_candidates.Ranks[best]];
    }

    public void Dispose() => _cache.Dispose();

    /// <summary>[1, D]: the model's state after the text.</summary>
    private Tensor States(IReadOnlyList<int> text, RetrievedTokens? found, CancellationToken cancellationToken)
    {
        RetroModel model = reader.Model;
        if (_cache.Lengths[0] == 0)
        {
            Tensor tokens = tensor(text.Select(token => (long)token).ToArray(), [1, text.Count], device: model.Device);
            (Tensor? ofChunks, Tensor? valid) = reader.CrossAttended(found);
            return model.PrefillStates(_cache, tokens, null, ofChunks, valid, cancellationToken: cancellationToken);
        }

        (Tensor? neighbors, Tensor? read) = _cache.CompletesChunk(0) ? reader.CrossAttendedNext(found) : default;
        return model.StepStates(_cache, tensor([(long)text[^1]], device: model.Device), neighbors, read);
    }
}

using Retro.Modeling;
using Retro.Search;
using static TorchSharp.torch;

namespace Retro.Generation;

/// <summary>
/// A RETRO whose neighbors are found anew more often than once a chunk: its chunks are counted from the place where that was done last, so that the tokens to
/// come read what was found for the last chunk's length of text. The text is read anew then, filled up at its beginning to whole chunks.
/// </summary>
/// <param name="model">The model.</param>
/// <param name="begin">The token that it is filled up with.</param>
/// <param name="capacity">Tokens to reserve memory for.</param>
/// <param name="stride">s: tokens after which neighbors are found anew, a divisor of the chunk length.</param>
internal sealed class RefreshedDecoding(RetroModel model, int begin, int capacity, int stride) : IDecoding
{
    private readonly List<(RetrievedTokens From, int Stretch)> _found = []; // by the number of the stretch
    private DecodingCache? _cache;

    public Tensor Read(IReadOnlyList<int> text, StretchRetriever.Found? found, CancellationToken cancellationToken)
    {
        if (_cache is not null && found is null)
        {
            return model.Step(_cache, tensor([(long)text[^1]], device: model.Device));
        }

        _found.AddRange(Enumerable.Range(0, found?.Tokens.Chunks ?? 0).Select(stretch => (found!.Tokens, stretch)));
        int chunk = model.Config.Retrieval!.ChunkLength, last = _found.Count * stride, missing = (chunk - (last % chunk)) % chunk;
        RetrievedTokens? read = null;
        int chunks = (missing + last) / chunk;
        if (chunks > 0 && _found.Count > 0)
        {
            read = new(1, chunks, _found[0].From.Neighbors, _found[0].From.Length);
            for (int c = 0; c < chunks; c++)
            {
                (RetrievedTokens from, int stretch) = _found[((((c + 1) * chunk) - missing) / stride) - 1];
                read.Take(0, c, from, 0, stretch);
            }
        }

        long[] tokens = [.. Enumerable.Repeat((long)begin, missing), .. text.Select(token => (long)token)];
        _cache?.Dispose();
        _cache = model.NewCache(1, Math.Max(capacity, tokens.Length + stride));
        (Tensor? neighbors, Tensor? valid) = read?.ToTensors(model.Device) ?? default;
        return model.Prefill(_cache, tensor(tokens, [1, tokens.Length], device: model.Device), null, neighbors, valid, cancellationToken);
    }

    public void Dispose() => _cache?.Dispose();
}

using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// A piece of text that is read behind what a cache holds, as chunked cross-attention counts: each row from the beginning of its unfinished chunk on, and where
/// neighbors are kept, from the chunk before, which is theirs.
/// </summary>
internal sealed class PlacedPiece : IPlacedRows
{
    private readonly DecodingCache _cache;
    private readonly long[] _starts; // of each row's tokens
    private readonly long _tokens;

    private PlacedPiece(DecodingCache cache, long[] starts, long tokens) => (_cache, _starts, _tokens) = (cache, starts, tokens);

    /// <summary>Places a piece.</summary>
    /// <param name="cache">What was read before.</param>
    /// <param name="pass">How much.</param>
    /// <param name="tokens">A, padding included.</param>
    /// <returns>Null where it lies so already, and no chunk of it compares neighbors with the text before.</returns>
    public static PlacedPiece? Of(DecodingCache cache, DecodingPass pass, long tokens)
    {
        if (cache.Model.Config.Retrieval is not { } retrieval)
        {
            return null;
        }

        long chunk = retrieval.ChunkLength, front = cache.Kept is null ? 0 : chunk;
        long[] starts = [.. pass.Before.Select(before => front + (before % chunk))];
        bool looksBack = retrieval.MatchBias && chunk < MatchFeatures.Compared && pass.Before.Any(before => before > 0);
        return starts.All(start => start == 0) && !looksBack ? null : new(cache, starts, tokens);
    }

    /// <summary>Whether neighbors are kept.</summary>
    public bool ReadsKept => _cache.Kept is not null;

    /// <summary>[B, A, ...] to [B, T, ...], zero where the piece holds nothing.</summary>
    public Tensor Unpack(Tensor x) => Placed(x, 0, 0);

    /// <summary>[B, T, ...] to [B, A, ...].</summary>
    public Tensor Pack(Tensor x) => _starts.All(start => start == _starts[0])
        ? x.narrow(1, _starts[0], _tokens)
        : stack([.. _starts.Select((start, row) => x.select(0, row).narrow(0, start, _tokens))]);

    /// <summary>What its chunks read, and how.</summary>
    /// <param name="tokens">[B, A] of int64.</param>
    /// <param name="given">What was retrieved for the chunks that it completes; null: nothing.</param>
    /// <param name="encoded">The same, encoded, [B, C, K, R, E].</param>
    /// <returns>What is kept, where it is, and behind it what was given.</returns>
    public (Tensor Encoded, AttentionPlan Plan) Read(Tensor tokens, PassNeighbors? given, Tensor? encoded)
    {
        RetroModel model = _cache.Model;
        Tensor text = model.Config.Retrieval!.MatchBias ? Placed(cat([_cache.LastTokens(), tokens], 1), MatchFeatures.NoText, MatchFeatures.Compared) : tokens;
        PassNeighbors all = given!;
        if (_cache.Kept is var (keptEncoded, keptRetrieved, keptValid))
        {
            long neighbors = Math.Max(keptEncoded.shape[1], given?.Tokens.shape[2] ?? 0);
            Tensor Joined(Tensor kept, Tensor? behind)
                => behind is null ? kept.unsqueeze(1) : cat([Widened(kept.unsqueeze(1), neighbors), Widened(behind, neighbors)], 1);
            Tensor valid = Joined(keptValid, given is null ? null : given.Valid ?? ones_like(given.Tokens, ScalarType.Bool));
            all = new(Joined(keptRetrieved ?? zeros_like(keptValid, ScalarType.Int64), given?.Tokens), valid, PassNeighbors.AskingChunks(valid));
            encoded = Joined(keptEncoded, encoded);
        }

        return (encoded!, model.CrossPlan(text, all, _starts.Max() + _tokens));
    }

    // [B, C, K, ...] with so many neighbors, of which those beyond are zeros.
    private static Tensor Widened(Tensor x, long neighbors)
    {
        long[] missing = [.. x.shape];
        missing[2] = neighbors - missing[2];
        return missing[2] == 0 ? x : cat([x, zeros(missing, x.dtype, x.device)], 2);
    }

    private Tensor Placed(Tensor x, long filling, long before)
    {
        long count = x.shape[1];
        Tensor all = KeptScalars.Filled([x.shape[0], before + _starts.Max() + _tokens, .. x.shape[2..]], filling, x.dtype, x.device);
        for (int row = 0; row < _starts.Length; row++)
        {
            using Tensor target = all.select(0, row), place = target.narrow(0, before + _starts[row] + _tokens - count, count), own = x.select(0, row);
            place.copy_(own);
        }

        return all;
    }
}

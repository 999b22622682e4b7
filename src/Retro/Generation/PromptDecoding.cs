using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Generation;

/// <summary>
/// A reader that writes passages in front of the text: other passages, other prompts, so that a completed stretch is read anew behind its own; the tokens of
/// the next one cost a step each.
/// </summary>
/// <param name="reader">The reader.</param>
/// <param name="stride">Tokens of a stretch.</param>
internal sealed class PromptDecoding(PromptReader reader, int stride) : IDecoding
{
    private DecodingCache? _cache;
    private double[] _logWeights = [];
    private RetrievedTokens? _all;

    public Tensor Read(IReadOnlyList<int> text, StretchRetriever.Found? found, CancellationToken cancellationToken)
    {
        RetroModel model = reader.Model;
        if (_cache is not null && found is null)
        {
            return Mix(model.Step(_cache, tensor(Enumerable.Repeat((long)text[^1], _cache.Rows).ToArray(), device: model.Device)));
        }

        IReadOnlyList<(long[] Tokens, int Shift, int First, double LogWeight)> prompts = Prompts(reader, text, found?.Tokens, stride);
        long[][] rows = [.. prompts.Select(one => one.Tokens)];
        (_, int shift, int first, _) = prompts[^1];
        int length = rows.Max(row => row.Length);
        _logWeights = [.. prompts.Select(one => one.LogWeight)];
        _cache?.Dispose();
        _cache = model.NewCache(rows.Length, length + stride);
        (Tensor? neighbors, Tensor? valid) = CrossAttended(found?.Tokens, length / stride, shift, first)?.ToTensors(model.Device) ?? default;
        return Mix(model.Prefill(
            _cache,
            tensor(rows.SelectMany(row => row.Concat(Enumerable.Repeat(0L, length - row.Length))).ToArray(), [rows.Length, length], device: model.Device),
            [.. rows.Select(row => row.Length)],
            neighbors,
            valid,
            cancellationToken));
    }

    /// <summary>What is read of a text, each prompt with the passages of the last stretch in front.</summary>
    /// <param name="reader">The reader.</param>
    /// <param name="text">The text so far.</param>
    /// <param name="found">What was found for its stretches, the last one last; null: nothing.</param>
    /// <param name="stride">Tokens of a stretch.</param>
    /// <returns>
    /// The prompts, one at least: their tokens, by how many stretches those of the text stand later in them, which stretch is the first, and the logarithm of
    /// their weight.
    /// </returns>
    public static IReadOnlyList<(long[] Tokens, int Shift, int First, double LogWeight)> Prompts(
        PromptReader reader, IReadOnlyList<int> text, RetrievedTokens? found, int stride)
    {
        IReadOnlyList<(long[] Prefix, double LogWeight)> prefixes = found is null ? [] : reader.Prefixes(found, 0, found.Chunks - 1);
        long[] tokens = [.. text.Select(token => (long)token)];
        int windowEnd = (((text.Count / stride) + 1) * stride) - 1;
        List<(long[] Tokens, int Shift, int First, double LogWeight)> prompts = [];
        foreach ((long[] passages, double weight) in prefixes.Count > 0 ? prefixes : [([], 0)])
        {
            ReadOnlySpan<long> seen = tokens.AsSpan(0, Math.Max(1, windowEnd + 1 - stride));
            (long[] prefix, int from) = reader.CrossAttended > 0
                ? reader.Prompt.InWholeChunks(passages, seen, windowEnd, stride)
                : (passages, reader.Prompt.TextStart(passages.Length, seen, windowEnd));
            prompts.Add(([.. prefix, .. tokens.AsSpan(from)], (prefix.Length - from) / stride, from / stride, weight));
        }

        return prompts;
    }

    /// <summary>What the cross-attention reads in the one prompt of a reader that has it; null: nothing.</summary>
    private RetrievedTokens? CrossAttended(RetrievedTokens? found, int chunks, int shift, int first)
    {
        if (reader.CrossAttended == 0 || found is null)
        {
            return null;
        }

        RetrievedTokens all = new(1, (_all?.Chunks ?? 0) + found.Chunks, found.Neighbors, found.Length);
        for (int chunk = 0, before = all.Chunks - found.Chunks; chunk < all.Chunks; chunk++)
        {
            all.Take(0, chunk, chunk < before ? _all! : found, 0, chunk < before ? chunk : chunk - before);
        }

        _all = all;
        RetrievedTokens read = new(1, chunks, reader.CrossAttended, found.Length);
        PromptReading.CopyCrossAttended(reader, all, 0, read, 0, chunks, shift, first);
        return read;
    }

    public void Dispose() => _cache?.Dispose();

    /// <summary>[n, V] of logits to [1, V] of the mixture, on their scale; of one prompt the logits themselves.</summary>
    private Tensor Mix(Tensor logits)
    {
        if (_logWeights.Length == 1)
        {
            return logits;
        }

        using DisposeScope scope = NewDisposeScope();
        ScalarType dtype = Precision.AtLeastFloat32(logits).dtype;
        Tensor weights = tensor(_logWeights, dtype: dtype, device: logits.device).unsqueeze(1), own = logits.to_type(dtype);
        Tensor mixed = nn.functional.log_softmax(own, 1).Plus(weights).logsumexp(0, keepdim: true);
        Tensor scale = own.logsumexp(1, keepdim: true).mul(weights.softmax(0)).sum(0, keepdim: true);
        return mixed.Plus(scale).MoveToOuterDisposeScope();
    }
}

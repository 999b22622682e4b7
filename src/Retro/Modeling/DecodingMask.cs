using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>Which of the cached keys of chunked cross-attention may be seen; made when the neighbors change, and read by every step until then.</summary>
/// <param name="additive">What is added to the logits, [1, B, 1, K·R]; null where every key is valid.</param>
/// <param name="hasKey">Rows that have a key at all, [B, 1, 1] of zeros and ones; null where every key is valid.</param>
internal sealed class DecodingMask(Tensor? additive, Tensor? hasKey) : IDisposable
{
    public Tensor? Additive => additive;

    public Tensor? HasKey => hasKey;

    public long ByteLength => DecodingCache.BytesOf(additive) + DecodingCache.BytesOf(hasKey);

    /// <summary>Makes the mask of valid keys, [B, K·R] of bool.</summary>
    public static DecodingMask Create(Tensor valid, ScalarType dtype)
    {
        using DisposeScope scope = NewDisposeScope();
        if (valid.all().item<bool>())
        {
            return new(null, null);
        }

        return new(
            AttentionPlan.Hidden(valid.view(1, -1, 1, valid.shape[1]), dtype).DetachFromDisposeScope(),
            valid.any(-1, keepdim: true).to_type(dtype).unsqueeze(-1).DetachFromDisposeScope());
    }

    public void Dispose()
    {
        additive?.Dispose();
        hasKey?.Dispose();
    }
}

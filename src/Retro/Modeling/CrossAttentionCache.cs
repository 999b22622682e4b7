using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// Keys and values of one chunked cross-attention, [H, B, K·R, S]: those of each row's last complete chunk, made once per chunk. Earlier chunks are never read
/// again.
/// </summary>
public sealed class CrossAttentionCache : IDisposable
{
    private readonly RetroConfig _config;
    private Tensor? _keys;
    private Tensor? _values;
    private Tensor? _distances;

    internal CrossAttentionCache(RetroConfig config) => _config = config;

    /// <summary>[H, B, K·R, S], rotated; null before a neighbor was read.</summary>
    public Tensor? Keys => _keys;

    /// <summary>[H, B, K·R, S]; null before a neighbor was read.</summary>
    public Tensor? Values => _values;

    internal long ByteLength => DecodingCache.BytesOf(_keys) + DecodingCache.BytesOf(_values) + DecodingCache.BytesOf(_distances);

    /// <summary>Stores keys and values [H, n, K·R, S] of the rows [n].</summary>
    internal void Write(Tensor rows, long batch, Tensor keys, Tensor values)
    {
        Write(ref _keys, rows, batch, keys);
        Write(ref _values, rows, batch, values);
    }

    /// <summary>Projected sinusoids of the distances 2M − 2 down, [H, S, W]; null where positions are not Transformer-XL's.</summary>
    internal Tensor? Distances(AttentionParts parts, ScalarType dtype, Device device)
    {
        if (_distances is null && _config.EffectiveRetrievalPositions == PositionKind.TransformerXl)
        {
            using DisposeScope scope = NewDisposeScope();
            DecodingCache.Replace(ref _distances, parts.ProjectDistances(AttentionPlan.CrossSinusoids(_config, dtype, device)!).contiguous());
        }

        return _distances;
    }

    internal void SelectRows(Tensor rows)
    {
        DecodingCache.SelectRows(ref _keys, rows);
        DecodingCache.SelectRows(ref _values, rows);
    }

    /// <summary>Takes in the rows of another one.</summary>
    internal void AppendRows(CrossAttentionCache other, long rows, long otherRows)
    {
        DecodingCache.AppendRows(ref _keys, _keys, other._keys, 1, rows, otherRows);
        DecodingCache.AppendRows(ref _values, _values, other._values, 1, rows, otherRows);
    }

    /// <summary>Frees keys and values.</summary>
    public void Dispose()
    {
        _keys?.Dispose();
        _values?.Dispose();
        _distances?.Dispose();
        _keys = _values = _distances = null;
    }

    private static void Write(ref Tensor? stored, Tensor rows, long batch, Tensor values)
    {
        long width = values.shape[2];
        if (stored is null || stored.shape[2] < width)
        {
            Tensor grown = zeros([values.shape[0], batch, width, values.shape[3]], values.dtype, values.device);
            if (stored is not null)
            {
                using Tensor kept = grown.narrow(2, 0, stored.shape[2]);
                kept.copy_(stored);
            }

            DecodingCache.Replace(ref stored, grown);
        }

        using Tensor place = stored!.narrow(2, 0, width);
        place.index_copy_(1, rows, values);
    }
}

using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// Keys and values of one decoder self-attention, [G, B, capacity, S]: the token at position p of a row lies at place p. Capacity doubles when it is used up,
/// so that a token costs a constant share of copying.
/// </summary>
internal sealed class SelfAttentionCache(RetroConfig config, DecodingCache owner, AttentionParts parts) : IDisposable
{
    private Tensor? _keys;
    private Tensor? _values;
    private Tensor? _distances;
    private long _distanceCount;

    public long ByteLength => DecodingCache.BytesOf(_keys) + DecodingCache.BytesOf(_values) + DecodingCache.BytesOf(_distances);

    /// <summary>Stores new keys and values of [G, B, A, S] and returns all that the queries of this pass may see.</summary>
    public (Tensor Keys, Tensor Values) Append(Tensor keys, Tensor values)
    {
        long added = keys.shape[2];
        Reserve(owner.Pass.KeyCount, keys);
        if (owner.Pass.IsPrefill)
        {
            Place(_keys!, keys, 0, added);
            Place(_values!, values, 0, added);
            return (keys, values);
        }

        if (owner.Pass.Equal)
        {
            Place(_keys!, keys, owner.Pass.KeyCount - 1, 1);
            Place(_values!, values, owner.Pass.KeyCount - 1, 1);
        }
        else
        {
            Tensor places = owner.Pass.Positions!.view(1, -1, 1, 1).expand(keys.shape);
            _keys!.scatter_(2, places, keys);
            _values!.scatter_(2, places, values);
        }

        return (_keys!.narrow(2, 0, owner.Pass.KeyCount), _values!.narrow(2, 0, owner.Pass.KeyCount));
    }

    /// <summary>Projected sinusoids of the distances 0, 1, ..., [H, S, W], made once per capacity.</summary>
    public Tensor Distances(ScalarType dtype, Device device)
    {
        long capacity = _keys!.shape[2];
        if (_distanceCount < capacity)
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor rising = RelativePositions.Sinusoids(capacity - 1, capacity, config.Width, dtype, device).flip(0);
            DecodingCache.Replace(ref _distances, parts.ProjectDistances(rising).contiguous());
            _distanceCount = capacity;
        }

        return _distances!;
    }

    public void SelectRows(Tensor rows)
    {
        DecodingCache.SelectRows(ref _keys, rows);
        DecodingCache.SelectRows(ref _values, rows);
    }

    public void Dispose()
    {
        _keys?.Dispose();
        _values?.Dispose();
        _distances?.Dispose();
        _keys = _values = _distances = null;
        _distanceCount = 0;
    }

    private static void Place(Tensor target, Tensor source, long start, long count)
    {
        using Tensor place = target.narrow(2, start, count);
        place.copy_(source);
    }

    private void Reserve(long count, Tensor like)
    {
        long capacity = _keys?.shape[2] ?? 0;
        if (count <= capacity)
        {
            return;
        }

        long wanted = Math.Max(count, Math.Max(2 * capacity, owner.InitialCapacity));
        if (config.MaximumLength is int longest)
        {
            wanted = Math.Min(wanted, Math.Max(longest, count));
        }

        Grow(ref _keys, wanted, like);
        Grow(ref _values, wanted, like);
    }

    // Zeros, because masked places are multiplied by zero and must not hold what is no number.
    private static void Grow(ref Tensor? tensor, long capacity, Tensor like)
    {
        Tensor grown = zeros([like.shape[0], like.shape[1], capacity, like.shape[3]], like.dtype, like.device);
        if (tensor is not null)
        {
            Place(grown, tensor, 0, tensor.shape[2]);
        }

        DecodingCache.Replace(ref tensor, grown);
    }
}

using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// Keys and values of one decoder self-attention, [G, B, capacity, S]: the token at position p of a row lies p places behind the first one kept. Capacity
/// doubles when it is used up, so that a token costs a constant share of copying; what lies before a sliding window is dropped then.
/// </summary>
public sealed class SelfAttentionCache : IDisposable
{
    private readonly RetroConfig _config;
    private readonly long _initialCapacity;
    private Tensor? _keys;
    private Tensor? _values;
    private Tensor? _distances;
    private long _distanceCount;
    private long _start; // the position at place 0

    internal SelfAttentionCache(RetroConfig config, long initialCapacity)
    {
        _config = config;
        _initialCapacity = initialCapacity;
    }

    /// <summary>Positions that there is room for.</summary>
    internal long Capacity => _keys?.shape[2] ?? 0;

    internal long ByteLength => DecodingCache.BytesOf(_keys) + DecodingCache.BytesOf(_values) + DecodingCache.BytesOf(_distances);

    /// <summary>Stores the keys and values of a pass, and gives all that its queries may see, in the order of the mask.</summary>
    /// <param name="keys">[G, B, A, S], rotated where positions are rotary; G and S are the branch's own affair.</param>
    /// <param name="values">[G, B, A, S'].</param>
    /// <param name="plan">The plan of the pass, as it came to <see cref="SelfAttention.Attend"/>.</param>
    /// <returns>Keys [G, B, L, S] and values [G, B, L, S']; they stay the cache's own where L is more than A.</returns>
    /// <exception cref="ArgumentException">The plan is of no pass with a cache.</exception>
    public (Tensor Keys, Tensor Values) Append(Tensor keys, Tensor values, AttentionPlan plan)
    {
        ArgumentNullException.ThrowIfNull(keys);
        ArgumentNullException.ThrowIfNull(values);
        ArgumentNullException.ThrowIfNull(plan);
        DecodingPass pass = plan.Pass
            ?? throw new ArgumentException("The plan is of a pass without a cache; hand on the plan that came with the cache.", nameof(plan));
        long added = keys.shape[2];
        // A prompt's padding is stored too, and overwritten later.
        Reserve(
            pass.FirstKey, Math.Max(added, pass.EndOfKeys), keys.shape[0], keys.shape[1], (keys.shape[3], values.shape[3]), keys.dtype, keys.device);
        if (pass.Positions is not { } positions)
        {
            using Tensor lastKeys = keys.narrow(2, _start, added - _start), lastValues = values.narrow(2, _start, added - _start);
            Place(_keys!, lastKeys, 0, added - _start);
            Place(_values!, lastValues, 0, added - _start);
            return (keys, values);
        }

        if (pass.Equal)
        {
            Place(_keys!, keys, pass.EndOfKeys - 1 - _start, 1);
            Place(_values!, values, pass.EndOfKeys - 1 - _start, 1);
        }
        else
        {
            Tensor places = (_start == 0 ? positions : positions.Plus(-_start)).view(1, -1, 1, 1);
            _keys!.scatter_(2, places.expand(keys.shape), keys);
            _values!.scatter_(2, places.expand(values.shape), values);
        }

        return (Seen(_keys!, pass), Seen(_values!, pass));
    }

    /// <summary>Stores keys and values [N, G·S] of a step, and gives all that its queries may see, [G, N, L, S], with what there is room for behind.</summary>
    internal (Tensor Keys, Tensor Values) AppendRows(Memory<float> keys, Memory<float> values, AttentionParts parts, DecodingPass pass, FewRows few)
    {
        Reserve(pass.FirstKey, pass.EndOfKeys, parts.KeyHeads, few.Count, (parts.HeadSize, parts.HeadSize), few.Dtype, CPU);
        few.Store(keys.Span, _keys!, pass.Places, _start);
        few.Store(values.Span, _values!, pass.Places, _start);
        return pass.FirstKey == _start ? (_keys!, _values!) : (Seen(_keys!, pass), Seen(_values!, pass));
    }

    /// <summary>Projected sinusoids of the distances 0, 1, ..., [H, S, W], made once per capacity.</summary>
    internal Tensor Distances(AttentionParts parts, ScalarType dtype, Device device)
    {
        long capacity = Capacity;
        if (_distanceCount < capacity)
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor rising = RelativePositions.Sinusoids(capacity - 1, capacity, _config.Width, dtype, device).flip(0);
            DecodingCache.Replace(ref _distances, parts.ProjectDistances(rising).contiguous());
            _distanceCount = capacity;
        }

        return _distances!;
    }

    internal void SelectRows(Tensor rows)
    {
        DecodingCache.SelectRows(ref _keys, rows);
        DecodingCache.SelectRows(ref _values, rows);
    }

    /// <summary>
    /// Takes in the rows of another one, and keeps no more room than the longest row has use for. Both begin where the one begins that begins first, since a
    /// row may still see that far back.
    /// </summary>
    internal void AppendRows(SelfAttentionCache other, long rows, long otherRows, long longest)
    {
        long start = Math.Min(_start, other._start), used = longest - start;
        long capacity = Math.Min(Math.Max(_start + Capacity, other._start + other.Capacity) - start, used + _initialCapacity);
        DecodingCache.AppendRows(ref _keys, From(_keys, _start), From(other._keys, other._start), 1, rows, otherRows, capacity);
        DecodingCache.AppendRows(ref _values, From(_values, _start), From(other._values, other._start), 1, rows, otherRows, capacity);
        _start = start;

        Tensor? From(Tensor? states, long first)
            => states?.shape[2] is not { } room ? null
                : first == start ? states.narrow(2, 0, Math.Min(room, used))
                : nn.functional.pad(states, [0L, 0, first - start, Math.Min(0, start + used - first - room)]);
    }

    /// <summary>Frees keys and values.</summary>
    public void Dispose()
    {
        _keys?.Dispose();
        _values?.Dispose();
        _distances?.Dispose();
        _keys = _values = _distances = null;
        _distanceCount = _start = 0;
    }

    private static void Place(Tensor target, Tensor source, long start, long count)
    {
        using Tensor place = target.narrow(2, start, count);
        place.copy_(source);
    }

    private Tensor Seen(Tensor all, DecodingPass pass) => all.narrow(2, pass.FirstKey - _start, pass.KeyCount);

    // Makes room for the positions from the first one that is still seen up to the end.
    private void Reserve(long first, long end, long groups, long rows, (long Key, long Value) sizes, ScalarType dtype, Device device)
    {
        long capacity = Capacity, count = end - first;
        if (end - _start <= capacity)
        {
            return;
        }

        long wanted = Math.Max(count, Math.Max(2 * Math.Min(capacity, count - 1), _initialCapacity));
        if (_config.MaximumLength is int longest)
        {
            wanted = Math.Min(wanted, Math.Max(longest - first, count));
        }

        // Zeros, because masked places are multiplied by zero and must not hold what is no number.
        long dropped = first - _start;
        Grow(ref _keys, zeros([groups, rows, wanted, sizes.Key], dtype, device), dropped);
        Grow(ref _values, zeros([groups, rows, wanted, sizes.Value], dtype, device), dropped);
        _start = first;
    }

    private static void Grow(ref Tensor? tensor, Tensor grown, long dropped)
    {
        if (tensor is not null)
        {
            using Tensor kept = tensor.narrow(2, dropped, tensor.shape[2] - dropped);
            Place(grown, kept, 0, kept.shape[2]);
        }

        DecodingCache.Replace(ref tensor, grown);
    }
}

using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// Keys and values of one decoder self-attention, [G, P, S]: those of a row side by side, each row's behind those of the one before. When a row has used up its
/// room, there is made as much more as all rows have taken, so that a token costs a constant share of copying; what lies before a sliding window is dropped
/// then.
/// </summary>
public sealed class SelfAttentionCache : IDisposable
{
    private readonly RetroConfig _config;
    private Tensor? _keys;
    private Tensor? _values;
    private CacheLayout? _layout; // of these
    private Tensor? _distances;
    private long _distanceCount;

    internal SelfAttentionCache(RetroConfig config) => _config = config;

    /// <summary>Tokens that there is room for, of all rows together.</summary>
    internal long Capacity => _keys?.shape[1] ?? 0;

    /// <summary>Whether keys and values lie otherwise: a pass that failed after it had made room leaves them so.</summary>
    internal bool LiesOtherwise(CacheLayout layout) => _layout is not null && _layout != layout;

    /// <summary>Bytes of keys and values.</summary>
    internal long StatesByteLength => DecodingCache.BytesOf(_keys) + DecodingCache.BytesOf(_values);

    internal long ByteLength => StatesByteLength + DecodingCache.BytesOf(_distances);

    /// <summary>Stores the keys and values of a pass, and gives all that its queries may see, in the order of the mask.</summary>
    /// <param name="keys">[G, B, A, S], rotated where positions are rotary; G and S are the branch's own affair.</param>
    /// <param name="values">[G, B, A, S'].</param>
    /// <param name="plan">The plan of the pass, as it came to <see cref="SelfAttention.Attend"/>.</param>
    /// <returns>Keys [G, B, L, S] and values [G, B, L, S']; where L is more than A, they may be the cache's own, and are not to be changed.</returns>
    /// <exception cref="ArgumentException">The plan is of no pass with a cache.</exception>
    public (Tensor Keys, Tensor Values) Append(Tensor keys, Tensor values, AttentionPlan plan)
    {
        ArgumentNullException.ThrowIfNull(keys);
        ArgumentNullException.ThrowIfNull(values);
        ArgumentNullException.ThrowIfNull(plan);
        DecodingPass pass = plan.Pass
            ?? throw new ArgumentException("The plan is of a pass without a cache; hand on the plan that came with the cache.", nameof(plan));
        if (pass.Positions is null)
        {
            (Tensor ownKeys, Tensor seenKeys) = StorePrompt(_keys, keys, pass);
            (Tensor ownValues, Tensor seenValues) = StorePrompt(_values, values, pass);
            if (_keys is null || _layout != pass.Layout)
            {
                DecodingCache.Replace(ref _keys, ownKeys);
                DecodingCache.Replace(ref _values, ownValues);
                _layout = pass.Layout;
            }

            return (seenKeys, seenValues);
        }

        (Tensor allKeys, Tensor allValues) = Store(keys, values, pass);
        return (pass.Seen(allKeys), pass.Seen(allValues));
    }

    /// <summary>Stores the keys and values of a step, and gives those of all places, [G, P, S].</summary>
    internal (Tensor Keys, Tensor Values) Store(Tensor keys, Tensor values, DecodingPass pass)
    {
        MakeRoom(pass, keys.shape[0], (keys.shape[3], values.shape[3]), keys.dtype, keys.device);
        _keys!.index_copy_(1, pass.WrittenPlaces(_keys.device), keys.squeeze(2));
        _values!.index_copy_(1, pass.WrittenPlaces(_values.device), values.squeeze(2));
        return (_keys!, _values!);
    }

    /// <summary>The same of keys and values [N, G·S] of a step.</summary>
    internal (Tensor Keys, Tensor Values) Store(Memory<float> keys, Memory<float> values, AttentionParts parts, DecodingPass pass, FewRows few)
    {
        MakeRoom(pass, parts.KeyHeads, (parts.HeadSize, parts.HeadSize), few.Dtype, CPU);
        few.Store(keys.Span, _keys!, pass.Places);
        few.Store(values.Span, _values!, pass.Places);
        return (_keys!, _values!);
    }

    /// <summary>Projected sinusoids of the distances 0, 1, ..., [H, S, W], made once per capacity.</summary>
    internal Tensor Distances(AttentionParts parts, ScalarType dtype, Device device)
    {
        long count = _layout!.LongestRoom;
        if (_distanceCount < count)
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor rising = RelativePositions.Sinusoids(count - 1, count, _config.Width, dtype, device).flip(0);
            DecodingCache.Replace(ref _distances, parts.ProjectDistances(rising).contiguous());
            _distanceCount = count;
        }

        return _distances!;
    }

    /// <summary>Lays keys and values out anew.</summary>
    /// <param name="layout">Where they lie then.</param>
    /// <param name="rows">What becomes each of its rows: a row of a cache, which may be this one.</param>
    internal void Arrange(CacheLayout layout, IReadOnlyList<(SelfAttentionCache Cache, int Row)> rows)
    {
        Tensor? keys = Arranged(cache => cache._keys), values = Arranged(cache => cache._values);
        if (keys is not null)
        {
            DecodingCache.Replace(ref _keys, keys);
            DecodingCache.Replace(ref _values, values!);
        }

        _layout = layout;

        Tensor? Arranged(Func<SelfAttentionCache, Tensor?> states)
        {
            if (rows.Select(row => states(row.Cache)).FirstOrDefault(some => some is not null) is not { } like)
            {
                return null;
            }

            Tensor all = Empty(layout, like.shape[0], like.shape[2], like.dtype, like.device);
            for (int row = 0; row < rows.Count; row++)
            {
                (SelfAttentionCache cache, int of) = rows[row];
                if (layout.Kept(row) > 0 && states(cache) is { } source)
                {
                    // A pass that failed may have dropped what no later one sees.
                    long first = Math.Max(layout.First(row), cache._layout!.First(of)), count = layout.First(row) + layout.Kept(row) - first;
                    using Tensor target = all.narrow(1, layout.Place(row, first), count), some = source.narrow(1, cache._layout.Place(of, first), count);
                    target.copy_(some);
                }
            }

            return all;
        }
    }

    /// <summary>Frees keys and values.</summary>
    public void Dispose()
    {
        _keys?.Dispose();
        _values?.Dispose();
        _distances?.Dispose();
        _keys = _values = _distances = null;
        _layout = null;
        _distanceCount = 0;
    }

    // Stores the keys or values [G, B, A, S] of a prompt, and gives those of all places, which are others where the layout changes, and those that it sees.
    private (Tensor Stored, Tensor Seen) StorePrompt(Tensor? stored, Tensor states, DecodingPass pass)
    {
        long tokens = states.shape[2], earlier = pass.EarlierKeys;
        bool stays = stored is not null && _layout == pass.Layout;
        if (stays && pass.Before.Zip(pass.Lengths).All(row => row.Second - row.First == tokens))
        {
            Write(states, 0, stored!);
            return (stored!, earlier == 0 ? states : pass.WithEarlier(stored!, tokens));
        }

        Tensor seen = earlier == 0 ? states : cat([pass.EarlierOf(stored!, _layout!), states], 2);
        Tensor all = stays ? stored! : Empty(pass.Layout, states.shape[0], states.shape[3], states.dtype, states.device);
        Write(seen, earlier, all);
        return (all, seen);

        // Of each row what is not there yet; of a new layout, all that it keeps.
        void Write(Tensor from, long before, Tensor to)
        {
            for (int row = 0; row < pass.Lengths.Count; row++)
            {
                long first = stays ? pass.Before[row] : pass.Layout.First(row), count = pass.Lengths[row] - first;
                if (count > 0)
                {
                    using Tensor target = to.narrow(1, pass.Layout.Place(row, first), count), own = from.select(1, row);
                    using Tensor some = own.narrow(1, before + first - pass.Before[row], count);
                    target.copy_(some);
                }
            }
        }
    }

    // Zeros, because masked places are multiplied by zero and must not hold what is no number.
    private static Tensor Empty(CacheLayout layout, long groups, long size, ScalarType dtype, Device device)
        => zeros([groups, layout.Places, size], dtype, device);

    private void MakeRoom(DecodingPass pass, long groups, (long Key, long Value) sizes, ScalarType dtype, Device device)
    {
        CacheLayout layout = pass.Layout;
        if (_keys is null)
        {
            DecodingCache.Replace(ref _keys, Empty(layout, groups, sizes.Key, dtype, device));
            DecodingCache.Replace(ref _values, Empty(layout, groups, sizes.Value, dtype, device));
            _layout = layout;
        }
        else if (_layout != layout)
        {
            Arrange(layout, [.. Enumerable.Range(0, layout.Rows).Select(row => (this, row))]);
        }
    }
}

using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// Rotations that a step looks up rather than computes: those of the next positions of self-attention, and those of the places in a block of chunked
/// cross-attention.
/// </summary>
internal sealed class DecodingTables(RetroConfig config) : IDisposable
{
    // So many at a time that making them costs a step next to nothing, and so few that they need no memory to speak of.
    private const long Block = 64;

    private readonly Dictionary<SelfAttentionKind, RotaryTable> _causal = [];
    private RotaryTable? _cross;
    private long _start;

    public long ByteLength => _causal.Values.Sum(table => table.ByteLength) + (_cross?.ByteLength ?? 0);

    /// <summary>The rotation of one position in layers of a kind that rotates, the same for all rows.</summary>
    public RotaryTable Causal(long position, SelfAttentionKind kind, ScalarType dtype, Device device)
    {
        long start = position / Block * Block;
        if (_start != start)
        {
            Forget();
            _start = start;
        }

        if (!_causal.TryGetValue(kind, out RotaryTable? table))
        {
            using Tensor positions = KeptScalars.Range(start, start + Block, 1, ScalarType.Float64, device);
            _causal[kind] = table = AttentionPlan.DecoderRotation(config, kind, positions, dtype);
            table.DetachFromDisposeScope();
        }

        return table.At(position - start);
    }

    /// <summary>The rotation of each row's query, [B] of int64, its place in its block.</summary>
    public RotaryTable ChunkedCross(Tensor places, ScalarType dtype)
    {
        if (_cross is null)
        {
            _cross = AttentionPlan.CrossQueryRotation(config, dtype, places.device);
            _cross.DetachFromDisposeScope();
        }

        return _cross.At(places);
    }

    public void Dispose()
    {
        Forget();
        _cross?.Dispose();
        _cross = null;
    }

    private void Forget()
    {
        foreach (RotaryTable table in _causal.Values)
        {
            table.Dispose();
        }

        _causal.Clear();
    }
}

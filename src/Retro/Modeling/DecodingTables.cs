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

    private RotaryTable? _causal;
    private RotaryTable? _cross;
    private long _start;

    public long ByteLength => (_causal?.ByteLength ?? 0) + (_cross?.ByteLength ?? 0);

    /// <summary>The rotation of one position, the same for all rows.</summary>
    public RotaryTable Causal(long position, ScalarType dtype, Device device)
    {
        long start = position / Block * Block;
        if (_causal is null || _start != start)
        {
            using Tensor positions = KeptScalars.Range(start, start + Block, 1, ScalarType.Float64, device);
            Replace(ref _causal, AttentionPlan.DecoderRotation(config, positions, dtype));
            _start = start;
        }

        return _causal!.At(position - start);
    }

    /// <summary>The rotation of each row's query, [B] of int64, its place in its block.</summary>
    public RotaryTable ChunkedCross(Tensor places, ScalarType dtype)
    {
        if (_cross is null)
        {
            Replace(ref _cross, AttentionPlan.CrossQueryRotation(config, dtype, places.device));
        }

        return _cross!.At(places);
    }

    public void Dispose()
    {
        _causal?.Dispose();
        _cross?.Dispose();
        _causal = _cross = null;
    }

    private static void Replace(ref RotaryTable? place, RotaryTable table)
    {
        table.DetachFromDisposeScope();
        place?.Dispose();
        place = table;
    }
}

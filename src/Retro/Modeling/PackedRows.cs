using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// Rows of tokens without the padding after the documents in them, whose last chunks are seldom full: what a row holds, one token after another. Layers compute
/// that, so that padding costs nothing and no token reads it; chunked cross-attention, which counts in chunks, has the rows as they were.
/// </summary>
internal sealed class PackedRows : IPlacedRows
{
    // So that the shapes of products, each of which is prepared for anew, stay few.
    private const long Multiple = 32;

    private readonly Tensor _held;
    private readonly Tensor _slots;
    private readonly long _rows;
    private readonly long _length;

    private PackedRows(Tensor held, Tensor slots, long rows, long length, long packed)
    {
        (_held, _slots, _rows, _length, Length) = (held, slots, rows, length, packed);
    }

    /// <summary>N: tokens of a packed row, those behind a shorter row's end among them.</summary>
    public long Length { get; }

    /// <summary>Finds what rows hold, in the current dispose scope. An accelerator is waited for.</summary>
    /// <param name="padding">Which tokens are padding, [B, T] of bool; null: none.</param>
    /// <returns>Null where there is no padding, or nothing else.</returns>
    public static PackedRows? Of(Tensor? padding)
    {
        if (padding is null)
        {
            return null;
        }

        using DisposeScope scope = NewDisposeScope();
        long rows = padding.shape[0], length = padding.shape[1];
        Tensor holds = padding.logical_not(), held = holds.view(-1).nonzero().view(-1); // [V], places in the B·T tokens
        if (held.shape[0] == 0 || held.shape[0] == rows * length)
        {
            return null;
        }

        Tensor places = holds.cumsum(1, ScalarType.Int64); // from 1
        long most = places.select(1, length - 1).max().item<long>(), packed = Math.Min(length, (most + Multiple - 1) / Multiple * Multiple);
        Tensor before = tensor([.. Enumerable.Range(0, (int)rows).Select(row => (row * packed) - 1)], [rows, 1], device: padding.device);
        Tensor slots = places.Plus(before).view(-1).index_select(0, held); // [V], places in the B·N tokens
        return new(held.MoveToOuterDisposeScope(), slots.MoveToOuterDisposeScope(), rows, length, packed);
    }

    /// <summary>[B, T, ...] to [B, N, ...], zero behind a row's end.</summary>
    public Tensor Pack(Tensor x) => Move(x, _held, _slots, Length);

    /// <summary>[B, N, ...] to [B, T, ...], zero in the padding.</summary>
    public Tensor Unpack(Tensor x) => Move(x, _slots, _held, _length);

    private Tensor Move(Tensor x, Tensor from, Tensor to, long length)
    {
        long[] shape = x.shape;
        Tensor flat = x.reshape([-1, .. shape[2..]]);
        return zeros([_rows * length, .. shape[2..]], x.dtype, x.device).index_copy(0, to, flat.index_select(0, from)).view([_rows, length, .. shape[2..]]);
    }
}

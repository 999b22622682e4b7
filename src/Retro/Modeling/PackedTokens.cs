using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// Which of some rows' tokens hold something. What computes token by token takes these alone, one after another; attention takes the rows as they were, with
/// zeros in the gaps, which its mask hides.
/// </summary>
internal sealed class PackedTokens
{
    // With fewer gaps the copies to and fro cost as much as the gaps.
    private const double MostPacked = 0.9;

    private readonly long _rows;
    private readonly long _length;

    private PackedTokens(Tensor places, long rows, long length)
    {
        Places = places;
        _rows = rows;
        _length = length;
    }

    /// <summary>Their places in the rows one after another, [V] of int64.</summary>
    public Tensor Places { get; }

    /// <summary>Finds them.</summary>
    /// <param name="valid">Which tokens hold something, [..., R] of bool.</param>
    /// <returns>Null where packing does not pay: with few gaps, without any token, and on an accelerator, which would have to wait for the count.</returns>
    public static PackedTokens? Of(Tensor valid)
    {
        if (valid.device_type != DeviceType.CPU)
        {
            return null;
        }

        long length = valid.shape[^1], count = valid.numel();
        Tensor places = valid.reshape(-1).nonzero().view(-1);
        if (places.shape[0] == 0 || places.shape[0] > MostPacked * count)
        {
            places.Dispose();
            return null;
        }

        return new(places, count / length, length);
    }

    /// <summary>The tokens' rows: [N, R, F], in any shape, to [1, V, F].</summary>
    public Tensor Pack(Tensor x) => Pick(x.reshape(_rows * _length, -1)).unsqueeze(0);

    /// <summary>The tokens of [N·R, ...]: [V, ...].</summary>
    public Tensor Pick(Tensor x) => x.index_select(0, Places);

    /// <summary>[1, V, F] to [N, R, F], zero in the gaps.</summary>
    public Tensor Unpack(Tensor x)
    {
        Tensor flat = x.view(-1, x.shape[^1]);
        return zeros([_rows * _length, flat.shape[1]], x.dtype, x.device).index_copy(0, Places, flat).view(_rows, _length, flat.shape[1]);
    }

    /// <summary>What belongs to each place of a row, [R, F], for the tokens: [V, F].</summary>
    public Tensor OfPlaces(Tensor table) => table.index_select(0, Places.Modulo(_length));
}

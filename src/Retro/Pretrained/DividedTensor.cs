using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Pretrained;

/// <summary>
/// A stored tensor that is read divided by a number and written back to the bit. Multiplication does not undo every division (by 7, say): what it would give
/// otherwise is kept.
/// </summary>
/// <param name="divisor">The number.</param>
internal sealed class DividedTensor(int divisor)
{
    private long[] _places = [];
    private double[] _stored = [];

    /// <summary>The quotients.</summary>
    /// <param name="stored">The stored values, kept where they would be others when they are written.</param>
    /// <returns>In float64; the model rounds them to the type that it computes in.</returns>
    public Tensor Divide(Tensor stored)
    {
        Tensor values = stored.to_type(ScalarType.Float64), divided = values.div(tensor((double)divisor));

        // A model computes in no type that holds less than the stored one, where it is to be written back.
        Tensor back = divided.to_type(stored.dtype).to_type(ScalarType.Float64).Times(divisor).to_type(stored.dtype);
        Tensor places = back.ne(stored).reshape(-1).nonzero().reshape(-1);
        _places = places.numel() == 0 ? [] : places.data<long>().ToArray();
        _stored = places.numel() == 0 ? [] : values.reshape(-1).index_select(0, places).data<double>().ToArray();
        return divided;
    }

    /// <summary>The stored values of quotients: those that were read, where the quotients are as they were made of them.</summary>
    /// <param name="quotients">The parameter.</param>
    /// <returns>In float64, rounded by whoever writes them.</returns>
    public Tensor Multiply(Tensor quotients)
    {
        Tensor values = quotients.to_type(ScalarType.Float64).Times(divisor).reshape(-1);
        if (_places.Length > 0)
        {
            Tensor places = tensor(_places), stored = tensor(_stored), now = quotients.reshape(-1).index_select(0, places);
            Tensor kept = where(stored.div(tensor((double)divisor)).to_type(quotients.dtype).eq(now), stored, values.index_select(0, places));
            values = values.index_copy(0, places, kept);
        }

        return values.reshape(quotients.shape);
    }
}

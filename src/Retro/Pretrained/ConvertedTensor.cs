using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Pretrained;

/// <summary>
/// A stored tensor whose numbers are read as others, and written back to the bit. Rounding does not let every one come back (x / 7 · 7 is not always x): what
/// it would give otherwise is kept.
/// </summary>
/// <param name="convert">Gives the parameter of the stored numbers, both in float64.</param>
/// <param name="restore">Gives the stored numbers of the parameter.</param>
internal sealed class ConvertedTensor(Func<Tensor, Tensor> convert, Func<Tensor, Tensor> restore)
{
    private long[] _places = [];
    private double[] _stored = [];

    /// <summary>Numbers that are read divided.</summary>
    public static ConvertedTensor Divided(double divisor) => new(stored => stored.div(tensor(divisor, device: CPU)), parameter => parameter.Times(divisor));

    /// <summary>Numbers to which another one is added when they are read.</summary>
    public static ConvertedTensor Raised(double added) => new(stored => stored.Plus(added), parameter => parameter.Plus(-added));

    /// <summary>The parameter.</summary>
    /// <param name="stored">The stored values, kept where they would be others when they are written.</param>
    /// <returns>In float64; the model rounds them to the type that it computes in.</returns>
    public Tensor Read(Tensor stored)
    {
        Tensor values = stored.to_type(ScalarType.Float64), converted = convert(values);

        // A model computes in no type that holds less than the stored one, where it is to be written back.
        Tensor back = restore(converted.to_type(stored.dtype).to_type(ScalarType.Float64)).to_type(stored.dtype);
        Tensor places = back.ne(stored).reshape(-1).nonzero().reshape(-1);
        _places = places.numel() == 0 ? [] : places.data<long>().ToArray();
        _stored = places.numel() == 0 ? [] : values.reshape(-1).index_select(0, places).data<double>().ToArray();
        return converted;
    }

    /// <summary>The stored values of a parameter: those that were read, where it is as it was made of them.</summary>
    /// <param name="parameter">The parameter.</param>
    /// <returns>In float64, rounded by whoever writes them.</returns>
    public Tensor Written(Tensor parameter)
    {
        Tensor values = restore(parameter.to_type(ScalarType.Float64)).reshape(-1);
        if (_places.Length > 0)
        {
            Tensor places = tensor(_places, device: CPU), stored = tensor(_stored, device: CPU), now = parameter.reshape(-1).index_select(0, places);
            Tensor kept = where(convert(stored).to_type(parameter.dtype).eq(now), stored, values.index_select(0, places));
            values = values.index_copy(0, places, kept);
        }

        return values.reshape(parameter.shape);
    }
}

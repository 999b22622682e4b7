using TorchSharp;
using TensorPrimitives = System.Numerics.Tensors.TensorPrimitives;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// Cosines and sines that rotate queries or keys by their positions (arXiv 2104.09864). Feature i of the first half and feature i of the second half form a
/// pair, turned by position · base^(−2i/size). The tensors belong to the dispose scope in which the table was made.
/// </summary>
public sealed class RotaryTable
{
    private readonly Tensor _cosines; // [A, size] or [N, A, size]
    private readonly Tensor _sines;   // negative in the first half, so that x·cos + roll(x)·sin is the rotation
    private readonly long _size;

    private RotaryTable(Tensor cosines, Tensor sines)
    {
        _cosines = cosines;
        _sines = sines;
        _size = cosines.shape[^1];
    }

    /// <summary>Type of the tensors that it is for.</summary>
    internal ScalarType Type => _cosines.dtype;

    /// <summary>Makes the table of some positions.</summary>
    /// <param name="positions">Positions as float64, of shape [A], or [N, A] where rows differ.</param>
    /// <param name="frequencies">Radians a position turns each pair by; see <see cref="Frequencies"/>.</param>
    /// <param name="dtype">Type of the tensors that will be rotated.</param>
    /// <param name="factor">What they are multiplied by besides; see <see cref="RotaryScaling.AttentionFactor"/>.</param>
    public static RotaryTable Create(Tensor positions, double[] frequencies, ScalarType dtype, double factor = 1)
    {
        ArgumentNullException.ThrowIfNull(positions);
        ArgumentNullException.ThrowIfNull(frequencies);
        using DisposeScope scope = NewDisposeScope();
        Tensor angles = positions.to_type(ScalarType.Float64).unsqueeze(-1) * KeptScalars.Numbers(frequencies, positions.device);
        Tensor cosine = angles.cos(), sine = angles.sin();
        if (factor != 1)
        {
            (cosine, sine) = (cosine.Times(factor), sine.Times(factor));
        }

        Tensor cosines = cat([cosine, cosine], -1).to_type(dtype);
        Tensor sines = cat([-sine, sine], -1).to_type(dtype);
        return new(cosines.MoveToOuterDisposeScope(), sines.MoveToOuterDisposeScope());
    }

    /// <summary>Radians that one position turns each pair of features by.</summary>
    /// <param name="size">Features rotated. Where the number is odd, as GPT-NeoX may have it, the frequencies are those of the odd number, and one feature more
    /// is rotated to make pairs.</param>
    /// <param name="rotaryBase">Base of the frequencies.</param>
    /// <param name="scaling">A change of them; null for none.</param>
    public static double[] Frequencies(int size, double rotaryBase, RotaryScaling? scaling = null)
    {
        double[] frequencies = new double[(size + 1) / 2];
        (double first, double last) = scaling?.Kind == RotaryScalingKind.Yarn ? BlendedPairs(size, rotaryBase, scaling) : default;
        for (int i = 0; i < frequencies.Length; i++)
        {
            double frequency = Math.Pow(rotaryBase, -2.0 * i / size);
            frequencies[i] = scaling?.Kind switch
            {
                null => frequency,
                RotaryScalingKind.Linear => frequency / scaling.Factor,
                RotaryScalingKind.LongRope => frequency / scaling.PairFactors[i],
                RotaryScalingKind.Llama3 => Blend(frequency, scaling.Factor, TurnsKept(frequency, scaling)),
                _ => Blend(frequency, scaling.Factor, 1 - Math.Clamp((i - first) / (last - first), 0, 1)),
            };
        }

        return frequencies;
    }

    /// <summary>Rotates the first features of queries or keys; those beyond the table's size stay as they are.</summary>
    /// <param name="x">[H, N, A, S].</param>
    /// <returns>[H, N, A, S].</returns>
    public Tensor Rotate(Tensor x)
    {
        ArgumentNullException.ThrowIfNull(x);
        long size = x.shape[^1];
        if (size == _size)
        {
            return RotateAll(x);
        }

        return cat([RotateAll(x.narrow(-1, 0, _size)), x.narrow(-1, _size, size - _size)], -1);
    }

    /// <summary>Rotates queries or keys of one position a row in their place.</summary>
    /// <param name="few">The rows.</param>
    /// <param name="headSize">S.</param>
    /// <param name="states">Each of [N, H, S].</param>
    internal void Rotate(FewRows few, int headSize, params ReadOnlySpan<Memory<float>> states)
    {
        int size = (int)_size, half = size / 2;
        ReadOnlySpan<float> cosines = few.Read(_cosines).Span, sines = few.Read(_sines).Span;
        Span<float> rolled = few.Take(size).Span;
        foreach (Memory<float> rows in states)
        {
            int width = rows.Length / few.Count;
            for (int at = 0; at < rows.Length; at += headSize)
            {
                int table = cosines.Length == size ? 0 : at / width * size;
                Span<float> x = rows.Span.Slice(at, size);
                x[half..].CopyTo(rolled);
                x[..half].CopyTo(rolled[half..]);
                TensorPrimitives.Multiply(rolled, sines.Slice(table, size), rolled);
                TensorPrimitives.MultiplyAdd(x, cosines.Slice(table, size), rolled, x);
            }
        }
    }

    /// <summary>The table for sequences that hold these positions several times over.</summary>
    internal RotaryTable Repeat(long times) => times == 1 ? this : new(_cosines.repeat(times, 1), _sines.repeat(times, 1));

    /// <summary>The table of one of these positions alone, for every row; a view.</summary>
    internal RotaryTable At(long index) => new(_cosines.narrow(0, index, 1), _sines.narrow(0, index, 1));

    /// <summary>The table of one of these positions for each row, [N] of int64.</summary>
    internal RotaryTable At(Tensor indices) => new(_cosines.index_select(0, indices).unsqueeze(1), _sines.index_select(0, indices).unsqueeze(1));

    /// <summary>Hands the tensors to the scope around the current one.</summary>
    internal void MoveToOuterDisposeScope()
    {
        _cosines.MoveToOuterDisposeScope();
        _sines.MoveToOuterDisposeScope();
    }

    /// <summary>Takes the tensors out of every scope; <see cref="Dispose"/> frees them.</summary>
    internal void DetachFromDisposeScope()
    {
        _cosines.DetachFromDisposeScope();
        _sines.DetachFromDisposeScope();
    }

    internal void Dispose()
    {
        _cosines.Dispose();
        _sines.Dispose();
    }

    internal long ByteLength => DecodingCache.BytesOf(_cosines) + DecodingCache.BytesOf(_sines);

    private Tensor RotateAll(Tensor x) => (x * _cosines).addcmul(x.roll(_size / 2, -1), _sines, KeptScalars.One);

    private static double Blend(double frequency, double factor, double keep) => ((1 - keep) * frequency / factor) + (keep * frequency);

    // As in Llama 3 (https://github.com/meta-llama/llama-models): blended by how many turns fit the original length.
    private static double TurnsKept(double frequency, RotaryScaling scaling)
    {
        double turns = scaling.OriginalLength * frequency / (2 * Math.PI);
        return Math.Clamp((turns - scaling.LowFrequencyFactor) / (scaling.HighFrequencyFactor - scaling.LowFrequencyFactor), 0, 1);
    }

    // As in YaRN (https://github.com/jquesnelle/yarn): from the pair that turns as often as high frequencies do in the original length to that of the low
    // ones.
    private static (double First, double Last) BlendedPairs(int size, double rotaryBase, RotaryScaling scaling)
    {
        double first = Pair(scaling.HighFrequencyFactor), last = Pair(scaling.LowFrequencyFactor);
        (first, last) = scaling.WholePairs ? (Math.Floor(first), Math.Ceiling(last)) : (first, last);
        (first, last) = (Math.Max(first, 0), Math.Min(last, size - 1));
        return (first, first == last ? last + 0.001 : last);

        double Pair(double turns) => size * Math.Log(scaling.OriginalLength / (turns * 2 * Math.PI)) / (2 * Math.Log(rotaryBase));
    }
}

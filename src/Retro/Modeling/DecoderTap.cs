using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>Looks into a pass of the decoder, layer by layer, and may add to what a layer gives.</summary>
internal abstract class DecoderTap
{
    /// <summary>A layer has attended.</summary>
    /// <param name="index">Which one, from 0.</param>
    /// <param name="input">[B, T, D], what the layer read.</param>
    /// <param name="state">[B, T, D], the state after its attention. Both are disposed of by whoever made them.</param>
    public virtual void Attended(int index, Tensor input, Tensor state)
    {
    }

    /// <summary>A layer is done.</summary>
    /// <param name="index">Which one, from 0.</param>
    /// <param name="input">[B, T, D], what the layer read.</param>
    /// <param name="output">[B, T, D], what it gives.</param>
    /// <returns>[B, T, D], what the next layer reads: the output itself, or another.</returns>
    public virtual Tensor Finished(int index, Tensor input, Tensor output) => output;
}

using Retro.Checkpoints;
using static TorchSharp.torch;

namespace Retro.Pretrained;

/// <summary>A stored tensor that is no parameter, kept so that it can be written back.</summary>
internal sealed record StoredBuffer(ScalarType Dtype, long[] Shape, byte[] Values)
{
    /// <summary>Keeps a tensor's values.</summary>
    /// <param name="place">The file or folder, for the error.</param>
    /// <param name="name">The tensor's name there.</param>
    /// <param name="tensor">The tensor.</param>
    /// <exception cref="CheckpointException">It is larger than an array, which no mask or table of a decoder is.</exception>
    public static StoredBuffer Of(string place, string name, Tensor tensor)
    {
        if (tensor.numel() > Array.MaxLength / tensor.element_size())
        {
            throw new CheckpointException(
                $"The buffer \"{name}\" of {place} has the shape [{string.Join(", ", tensor.shape)}]; supported are those of up to {Array.MaxLength} bytes. "
                    + "Save the model without: transformers leaves such out since version 4.31.");
        }

        using Tensor contiguous = tensor.contiguous();
        return new(tensor.dtype, tensor.shape, contiguous.numel() == 0 ? [] : contiguous.bytes.ToArray());
    }

    /// <summary>A new tensor of the values.</summary>
    public Tensor ToTensor()
    {
        Tensor tensor = empty(Shape, Dtype, CPU);
        if (Values.Length > 0)
        {
            using Tensor flat = tensor.view(-1);
            Values.CopyTo(flat.bytes);
        }

        return tensor;
    }
}

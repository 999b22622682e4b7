using static TorchSharp.torch;

namespace Retro.Pretrained;

/// <summary>A stored tensor that is no parameter, kept so that it can be written back.</summary>
internal sealed record StoredBuffer(ScalarType Dtype, long[] Shape, byte[] Values)
{
    /// <summary>Keeps a tensor's values.</summary>
    public static StoredBuffer Of(Tensor tensor)
    {
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

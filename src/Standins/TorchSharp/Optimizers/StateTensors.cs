using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>The tensors of an optimizer's state: to a file, from it, to another device.</summary>
internal static class StateTensors
{
    public static void Write(BinaryWriter writer, Tensor tensor)
    {
        using Tensor here = tensor.cpu();
        using Tensor whole = here.contiguous();
        writer.Write(whole.numel() * whole.element_size());
        writer.Write(whole.bytes);
    }

    public static void Read(BinaryReader reader, Tensor tensor)
    {
        using Tensor whole = empty(tensor.shape, tensor.dtype, CPU);
        long size = reader.ReadInt64();
        if (size != whole.bytes.Length)
        {
            throw new InvalidDataException($"the file holds {size} bytes of state where {whole.bytes.Length} belong");
        }

        reader.BaseStream.ReadExactly(whole.bytes);
        tensor.copy_(whole);
    }

    public static void Move(ref Tensor tensor, Device device)
    {
        Tensor moved = tensor.to(device).DetachFromDisposeScope();
        tensor.Dispose();
        tensor = moved;
    }
}

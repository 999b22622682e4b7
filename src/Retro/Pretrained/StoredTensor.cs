using static TorchSharp.torch;

namespace Retro.Pretrained;

/// <summary>A tensor of the original's file and the parameters of ours that it holds.</summary>
/// <param name="Name">Its name in the file.</param>
/// <param name="Shape">Its shape there, as the configuration says.</param>
/// <param name="Targets">Names of the parameters.</param>
/// <param name="Split">Gives the parameters of the tensor, in the order of the names.</param>
/// <param name="Join">Gives the tensor of the parameters: the inverse, bit for bit.</param>
internal sealed record StoredTensor(string Name, long[] Shape, string[] Targets, Func<Tensor, Tensor[]> Split, Func<Tensor[], Tensor> Join)
{
    /// <summary>A tensor that is a parameter as it is.</summary>
    public static StoredTensor Same(string name, string target, params long[] shape) => new(name, shape, [target], tensor => [tensor], parts => parts[0]);

    /// <summary>Parameters that are stored one below the other.</summary>
    public static StoredTensor Stacked(string name, long columns, params (string Target, long Rows)[] parts)
    {
        long[] rows = [.. parts.Select(part => part.Rows)];
        return new(name, [rows.Sum(), columns], [.. parts.Select(part => part.Target)], tensor => tensor.split(rows), tensors => cat(tensors, 0));
    }

    /// <summary>A projection stored as [in, out].</summary>
    public static StoredTensor Transposed(string name, string target, long input, long output)
        => new(name, [input, output], [target], tensor => [tensor.t()], parts => parts[0].t());
}

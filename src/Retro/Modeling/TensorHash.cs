using System.Security.Cryptography;
using System.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>Tensors of any size in a hash.</summary>
internal static class TensorHash
{
    private const long Piece = 1 << 26; // a span has at most 2³¹ bytes

    /// <summary>SHA-256, in lower-case hexadecimal, of names and tensors in their order.</summary>
    /// <param name="tensors">The tensors.</param>
    /// <param name="beginning">What is hashed before them.</param>
    /// <param name="part">What is hashed of some of a tensor's numbers; null: they as they are.</param>
    /// <param name="cancellationToken">Stops between two tensors.</param>
    /// <exception cref="OperationCanceledException">Canceled.</exception>
    public static string Of(
        IEnumerable<(string Name, Tensor Values)> tensors,
        string beginning = "",
        Func<Tensor, Tensor>? part = null,
        CancellationToken cancellationToken = default)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes(beginning));
        using IDisposable noGradients = no_grad();
        foreach ((string name, Tensor values) in tensors)
        {
            cancellationToken.ThrowIfCancellationRequested();
            hash.AppendData(Encoding.UTF8.GetBytes(name));
            hash.AppendTensor(values, part);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>Appends the numbers of a tensor, row by row.</summary>
    /// <param name="hash">The hash.</param>
    /// <param name="values">The tensor, of any shape, on any device.</param>
    /// <param name="part">What is hashed of some of its numbers; null: they as they are.</param>
    public static void AppendTensor(this IncrementalHash hash, Tensor values, Func<Tensor, Tensor>? part = null)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor flat = values.detach().contiguous().view(-1);
        for (long start = 0; start < flat.numel(); start += Piece)
        {
            using DisposeScope one = NewDisposeScope();
            Tensor some = flat.narrow(0, start, Math.Min(Piece, flat.numel() - start));
            hash.AppendData((part?.Invoke(some) ?? some).cpu().bytes);
        }
    }
}

using System.Security.Cryptography;
using System.Text;
using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>What tells one model from another.</summary>
internal static class WeightsHash
{
    /// <summary>Of configuration, type and weights: whether a model computes the same, to the bit.</summary>
    public static string Exact(RetroModel model, CancellationToken cancellationToken = default)
        => Of(model, $"{InvariantText.Of(model.Config)} {model.Dtype}", weights => weights.alias(), cancellationToken);

    /// <summary>Of the weights as far as bfloat16 tells them apart: whether a model is the same, in whatever type it is loaded to compute in.</summary>
    public static string Rounded(RetroModel model, CancellationToken cancellationToken = default)
        => Of(model, "", weights => weights.to(ScalarType.Float32).to(ScalarType.BFloat16), cancellationToken);

    private static string Of(RetroModel model, string beginning, Func<Tensor, Tensor> part, CancellationToken cancellationToken)
    {
        using IncrementalHash sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        sha.AppendData(Encoding.UTF8.GetBytes(beginning));
        using IDisposable noGradients = no_grad();
        foreach ((string name, Parameter parameter) in model.named_parameters())
        {
            cancellationToken.ThrowIfCancellationRequested();
            using DisposeScope scope = NewDisposeScope();
            sha.AppendData(Encoding.UTF8.GetBytes(name));
            sha.AppendData(part(parameter.detach()).cpu().contiguous().bytes);
        }

        return Convert.ToHexStringLower(sha.GetHashAndReset());
    }
}

using Retro.Checkpoints;
using Retro.Modeling;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>What tells one model from another.</summary>
internal static class WeightsHash
{
    /// <summary>Of configuration, type, weights and what branches of one's own keep beside them: whether a model computes the same, to the bit.</summary>
    public static string Exact(RetroModel model, CancellationToken cancellationToken = default)
        => Of(model, $"{InvariantText.Of(model.Config)} {model.Dtype}", null, cancellationToken);

    /// <summary>
    /// Of weights and what is kept beside them, as far as bfloat16 tells them apart: whether a model is the same, in whatever type it is loaded to compute in.
    /// </summary>
    public static string Rounded(RetroModel model, CancellationToken cancellationToken = default)
        => Of(model, "", Round, cancellationToken);

    /// <summary>The same of a reader: its model, and what was trained besides; null: it has no model.</summary>
    public static string? Rounded(IReader reader) => ModelReading.ModelOf(reader) is not { } model ? null
        : MeteredReader.Unwatched(reader) switch
        {
            CopyReader copying => Of(model, "", Round, default, copying.Trained),
            DecoupledReader own => Of(model, "", Round, default, own.Weights.ByName.Select(pair => (pair.Key, pair.Value))),
            _ => Rounded(model),
        };

    private static Tensor Round(Tensor weights)
        => weights.is_floating_point() ? weights.to(ScalarType.Float32).to(ScalarType.BFloat16) : weights;

    private static string Of(
        RetroModel model,
        string beginning,
        Func<Tensor, Tensor>? part,
        CancellationToken cancellationToken,
        IEnumerable<(string Name, Parameter Weights)>? besides = null)
        => TensorHash.Of(
            Checkpoint.Stored(model).Select(pair => (pair.Key, pair.Value)).Concat((besides ?? []).Select(pair => (pair.Name, (Tensor)pair.Weights))),
            beginning,
            part,
            cancellationToken);
}

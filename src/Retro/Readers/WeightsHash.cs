using Retro.Checkpoints;
using Retro.Modeling;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>What tells one model from another.</summary>
internal static class WeightsHash
{
    /// <summary>Version 1 of <see cref="Rounded"/> left the configuration out: models of equal weights that compute otherwise had one hash.</summary>
    public const int CurrentVersion = 2;

    private static readonly string[] s_unsaid =
    [
        "NormPlacement = Before, ", "QueryKeyNormAcrossHeads = False, ", "PairFactors = [], ", "UnrotatedLayers = [], ", "WindowLayers = , ",
        "WindowRotaryBase = , ", "EmbeddingScale = 1, ",
    ];

    /// <summary>Of configuration, type, weights and what custom branches keep beside them: whether a model computes the same, to the bit.</summary>
    public static string Exact(RetroModel model, CancellationToken cancellationToken = default)
        => Of(model, $"{Said(model.Config)} {model.Dtype}", null, cancellationToken);

    /// <summary>
    /// Of configuration, weights and what is kept beside them, as far as bfloat16 tells them apart: whether a model is the same, in whatever type it is loaded
    /// to compute in.
    /// </summary>
    /// <param name="model">The model.</param>
    /// <param name="version">The version of the hash.</param>
    /// <param name="besides">What was trained besides it.</param>
    public static string Rounded(RetroModel model, int version, IEnumerable<(string Name, Parameter Weights)>? besides = null)
        => Of(model, version == 1 ? "" : Said(WithoutTraining(model.Config)), Round, default, besides);

    // What was made of a model before there was a setting is of that model still: it is left out where it is as it always was, or the weights' names tell it.
    private static string Said(RetroConfig config)
    {
        string text = InvariantText.Of(config).Replace($"{nameof(config.QueryKeyNorm)} = {config.QueryKeyNorm}, ", "", StringComparison.Ordinal);
        return s_unsaid.Aggregate(text, (said, setting) => said.Replace(setting, "", StringComparison.Ordinal));
    }

    /// <summary>The configuration but for what training alone goes by.</summary>
    private static RetroConfig WithoutTraining(RetroConfig config) => config with
    {
        Dropout = 0,
        InitialOutputScale = 1,
        Retrieval = config.Retrieval is { } retrieval ? retrieval with { Encoder = retrieval.Encoder with { Dropout = 0 } } : null,
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

using TorchSharp.Modules;
using static TorchSharp.torch;
using EmbeddingTable = TorchSharp.Modules.Embedding;

namespace Retro.Modeling;

/// <summary>Tells what each parameter of a module is.</summary>
internal static class ParameterKinds
{
    /// <summary>
    /// Every parameter with its kind: of a <see cref="RetroModel"/> what its configuration says; of custom branches and of any other module, tables
    /// belong to an embedding, what else has two dimensions or more and is not called a bias is a matrix, and the rest counts as biases do.
    /// </summary>
    /// <param name="module">The module.</param>
    public static IReadOnlyList<(string Name, Parameter Parameter, ParameterKind Kind)> Of(nn.Module module)
    {
        ArgumentNullException.ThrowIfNull(module);
        Dictionary<string, ParameterKind> kinds = module is RetroModel model
            ? model.Config.Parameters().ToDictionary(shape => shape.Name, shape => shape.Kind)
            : [];
        foreach ((string name, nn.Module part) in module.named_modules())
        {
            if (part is EmbeddingTable)
            {
                kinds.TryAdd($"{name}.weight", ParameterKind.Embedding);
            }
        }

        return [.. module.named_parameters()
            .Select(pair => (pair.name, pair.parameter, kinds.TryGetValue(pair.name, out ParameterKind kind) ? kind : Guess(pair.name, pair.parameter)))];
    }

    private static ParameterKind Guess(string name, Parameter parameter)
        => parameter.dim() >= 2 && !name.EndsWith("bias", StringComparison.Ordinal) ? ParameterKind.Matrix : ParameterKind.Bias;
}

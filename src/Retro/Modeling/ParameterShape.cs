namespace Retro.Modeling;

/// <summary>What a parameter is; optimizers and parameter counts tell by it.</summary>
internal enum ParameterKind
{
    /// <summary>A table of token or position embeddings, or an output head of its own.</summary>
    Embedding,

    /// <summary>A matrix of a branch.</summary>
    Matrix,

    /// <summary>Weight or bias of a normalization.</summary>
    Norm,

    /// <summary>Bias of a projection, or content or position bias of relative attention.</summary>
    Bias,
}

/// <summary>A parameter as the configuration implies it, without any memory behind it.</summary>
/// <param name="Name">Name in the state dictionary and in checkpoints.</param>
/// <param name="Shape">Its dimensions; a linear weight is [out, in].</param>
/// <param name="Kind">What it is.</param>
internal sealed record ParameterShape(string Name, IReadOnlyList<long> Shape, ParameterKind Kind)
{
    /// <summary>How many values it holds.</summary>
    public long Count => Shape.Aggregate(1L, (product, size) => checked(product * size));
}

/// <summary>How many values a model's parameters hold, by kind.</summary>
/// <param name="Matrices">In matrices of branches: the count without embeddings, norms and biases, by which the paper names its models.</param>
/// <param name="Embeddings">In token and position tables and an untied head.</param>
/// <param name="Norms">In normalizations.</param>
/// <param name="Biases">In biases of projections and of relative attention.</param>
public readonly record struct ParameterCounts(long Matrices, long Embeddings, long Norms, long Biases)
{
    /// <summary>All values.</summary>
    public long Total => Matrices + Embeddings + Norms + Biases;
}

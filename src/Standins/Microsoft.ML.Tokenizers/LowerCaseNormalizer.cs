namespace Microsoft.ML.Tokenizers;

/// <summary>Lower-cases by the invariant culture.</summary>
public sealed class LowerCaseNormalizer : Normalizer
{
    public static LowerCaseNormalizer Instance { get; } = new();

    public override string Normalize(string original) => original.ToLowerInvariant();

    public override string Normalize(ReadOnlySpan<char> original)
        => string.Create(original.Length, original, static (target, source) => source.ToLowerInvariant(target));
}

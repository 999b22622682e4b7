using Retro.Text.SentencePiece;

namespace Microsoft.ML.Tokenizers;

/// <summary>SentencePiece's treatment of spaces, and a model's map where it has one.</summary>
public sealed class SentencePieceNormalizer : Normalizer
{
    private readonly SentencePieceNormalization _normalization;

    public SentencePieceNormalizer(bool removeExtraWhiteSpaces, bool addDummyPrefix, bool escapeWhiteSpaces, bool treatWhitespaceAsSuffix, IReadOnlyDictionary<string, int>? specialTokens)
        : this(null, removeExtraWhiteSpaces, addDummyPrefix, escapeWhiteSpaces, treatWhitespaceAsSuffix, specialTokens)
    {
    }

    internal SentencePieceNormalizer(CharacterMap? map, bool removeExtraWhiteSpaces, bool addDummyPrefix, bool escapeWhiteSpaces, bool treatWhitespaceAsSuffix, IReadOnlyDictionary<string, int>? specialTokens)
    {
        RemoveExtraWhiteSpaces = removeExtraWhiteSpaces;
        AddDummyPrefix = addDummyPrefix;
        EscapeWhiteSpaces = escapeWhiteSpaces;
        TreatWhitespaceAsSuffix = treatWhitespaceAsSuffix;
        SpecialTokens = specialTokens;
        _normalization = new SentencePieceNormalization(map, addDummyPrefix, removeExtraWhiteSpaces, escapeWhiteSpaces, treatWhitespaceAsSuffix, []);
    }

    public bool RemoveExtraWhiteSpaces { get; }

    public bool AddDummyPrefix { get; }

    public bool EscapeWhiteSpaces { get; }

    public bool TreatWhitespaceAsSuffix { get; }

    public IReadOnlyDictionary<string, int>? SpecialTokens { get; }

    public override string Normalize(string original) => Normalize(original.AsSpan());

    public override string Normalize(ReadOnlySpan<char> original) => _normalization.Normalize(original);
}

using System.Text;
using Retro.Text.SentencePiece;

namespace Microsoft.ML.Tokenizers;

/// <summary>SentencePiece's treatment of spaces, and a model's map where it has one.</summary>
public sealed class SentencePieceNormalizer : Normalizer
{
    private readonly SentencePieceNormalization? _byMap;

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
        _byMap = map is null ? null : new SentencePieceNormalization(map, addDummyPrefix, removeExtraWhiteSpaces, escapeWhiteSpaces, treatWhitespaceAsSuffix, [], keepWhatTheMapRemoves: true);
    }

    public bool RemoveExtraWhiteSpaces { get; }

    public bool AddDummyPrefix { get; }

    public bool EscapeWhiteSpaces { get; }

    public bool TreatWhitespaceAsSuffix { get; }

    public IReadOnlyDictionary<string, int>? SpecialTokens { get; }

    public override string Normalize(string original) => Normalize(original.AsSpan());

    public override string Normalize(ReadOnlySpan<char> original)
    {
        if (_byMap is not null)
        {
            return _byMap.Normalize(original);
        }

        ReadOnlySpan<char> text = RemoveExtraWhiteSpaces ? original.Trim(' ') : original;
        // A single character is lost with the spaces around it; the original loses it too.
        if (original.IsEmpty || (RemoveExtraWhiteSpaces && text.Length == 1))
        {
            return "";
        }

        char space = EscapeWhiteSpaces ? SentencePieceModel.Space : ' ';
        StringBuilder normalized = new(text.Length + 8);
        if (AddDummyPrefix && !TreatWhitespaceAsSuffix)
        {
            normalized.Append(space);
        }

        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] != ' ')
            {
                normalized.Append(text[i]);
            }
            else if (!RemoveExtraWhiteSpaces || text[i - 1] != ' ')
            {
                normalized.Append(space);
            }
        }

        return AddDummyPrefix && TreatWhitespaceAsSuffix ? normalized.Append(space).ToString() : normalized.ToString();
    }
}

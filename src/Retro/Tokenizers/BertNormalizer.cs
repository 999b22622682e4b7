using System.Globalization;
using System.Text;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>
/// BERT's normalization as the models were trained with it: control characters go, white space becomes spaces, ideographs stand alone,
/// accents are stripped, letters are lower-cased. The package's own BERT tokenizer drops symbols such as "$" and "+" instead.
/// </summary>
internal sealed class BertNormalizer(bool cleanText, bool separateIdeographs, bool stripAccents, bool lowerCase) : Normalizer
{
    /// <summary>Whether letters are lower-cased.</summary>
    public bool LowersCase => lowerCase;

    /// <summary>Whether accents are stripped.</summary>
    public bool StripsAccents => stripAccents;

    /// <summary>Whether ideographs stand alone.</summary>
    public bool SeparatesIdeographs => separateIdeographs;

    public override string Normalize(ReadOnlySpan<char> original) => Normalize(original.ToString());

    public override string Normalize(string original)
    {
        string text = cleanText || separateIdeographs ? Clean(original) : original;
        if (stripAccents)
        {
            text = WithoutMarks(UnicodeForms.ToFormD(text), anyKind: false);
        }

        return lowerCase ? LowerCase(text) : text;
    }

    /// <summary>Lower case as Unicode's full mapping has it: of all letters only U+0130 becomes two characters.</summary>
    internal static string LowerCase(string text)
        => text.ToLowerInvariant().Replace("\u0130", "i\u0307", StringComparison.Ordinal);

    private string Clean(string original)
    {
        StringBuilder text = new(original.Length + 16);
        for (int i = 0, length; i < original.Length; i += length)
        {
            int code = CodePoints.At(original, i, out length);
            if (separateIdeographs && IsIdeograph(code))
            {
                text.Append(' ').Append(original, i, length).Append(' ');
            }
            else if (!cleanText)
            {
                text.Append(original, i, length);
            }
            else if (code is not (0 or 0xFFFD) && !IsControl(code))
            {
                text.Append(CodePoints.IsSpace(code) ? " " : original.AsSpan(i, length));
            }
        }

        return text.ToString();
    }

    /// <summary>
    /// Control, format, surrogate and private use (Unicode's categories C), but for tab and line ends. What is not assigned stays, as in the original library.
    /// </summary>
    private static bool IsControl(int code)
        => code is not ('\t' or '\n' or '\r') && CharUnicodeInfo.GetUnicodeCategory(code) is >= UnicodeCategory.Control and <= UnicodeCategory.PrivateUse;

    private static bool IsIdeograph(int code)
        => code is (>= 0x4E00 and <= 0x9FFF) or (>= 0x3400 and <= 0x4DBF) or (>= 0x20000 and <= 0x2A6DF) or (>= 0x2A700 and <= 0x2B73F)
            or (>= 0x2B740 and <= 0x2B81F) or (>= 0x2B920 and <= 0x2CEAF) or (>= 0xF900 and <= 0xFAFF) or (>= 0x2F800 and <= 0x2FA1F);

    /// <summary>The text without its nonspacing marks, or without marks of any kind.</summary>
    internal static string WithoutMarks(string decomposed, bool anyKind)
    {
        StringBuilder text = new(decomposed.Length);
        for (int i = 0, length; i < decomposed.Length; i += length)
        {
            UnicodeCategory category = CharUnicodeInfo.GetUnicodeCategory(CodePoints.At(decomposed, i, out length));
            if (category != UnicodeCategory.NonSpacingMark && !(anyKind && category is (UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark)))
            {
                text.Append(decomposed, i, length);
            }
        }

        return text.ToString();
    }
}

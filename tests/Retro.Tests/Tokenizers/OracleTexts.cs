using System.Text;

namespace Retro.Tests.Tokenizers;

/// <summary>
/// Random text that is hard on tokenizers: runs, marks, controls, white space of every kind, characters above U+FFFF, contractions, and a vocabulary's own
/// pieces and special tokens.
/// </summary>
internal sealed class OracleTexts(int seed, IReadOnlyList<string> pieces)
{
    private static readonly string[] s_hard =
    [
        " ", "  ", "\n", "\r\n", "\t", "\u00A0", "\u2003", "\u3000", "\u0085", "\u2028", "\u200B", "\u200D", "\uFEFF", "\u00AD", "\uFFFD", "\u2581",
        "\u2581\u2581", "_", "'s", "'S", "'ll", "'LL", "'\u017F", "'t", "n't", " do not",
        "##", "@@", "[CLS]", "[MASK]", "<s>", "</s>", "<unk>", "<0x41>", "<|endoftext|>", "<|im_end|>", "\u0130", "\u00DF", "\u1E9E", "\u03A3", "\u01C5",
        "e\u0301", "\u0301", "q\u0307\u0323", "q\u0323\u0307", "\uAC00", "\u1100\u1161\u11A8", "\u0958",
        "\u2126", "\uF900", "\u4E2D\u6587", "\u65E5\u672C", "\uD83D\uDE00", "\uD83D\uDC69\u200D\uD83D\uDC67", "\uD835\uDC00", "\uD835\uDFD8", "\uD801\uDC00",
        "\uDB40\uDC41", "\uE000", "\uDBC0\uDC00", "\uFDD0", "\u0378", "\u0001", "\u007F", "\u009F", "\u0663", "\u00BD", "\u2167",
        "\u0E01\u0E33", "\u0928\u093F", "\u0903", "\u20DD", ".", ",", "?", "!", "'", "\"", "-", "...", "$", "+", "=", "^", "|", "`", "0", "123", "1234567",
        "aaaa", "The", " the", "of", "ing", "A", "Z",
    ];

    // Planes that hold assigned characters; what lies between blocks is unassigned, and asked for too. Left out is what Unicode has assigned since version 8,
    // here U+061D: the other library's tables are of that age, and marks and punctuation that are younger count as letters to it.
    private static readonly (int First, int Last)[] s_ranges =
        [
            (0x20, 0x7E), (0xA0, 0x24F), (0x250, 0x36F), (0x370, 0x5FF), (0x600, 0x61C), (0x61E, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1E00, 0x1FFF),
            (0x2000, 0x206F), (0x2070, 0x2BFF), (0x3000, 0x30FF), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0xE000, 0xF8FF), (0xF900, 0xFAFF), (0xFE00, 0xFFFD),
            (0x10000, 0x103FF), (0x1D400, 0x1D7FF), (0x1F300, 0x1F6FF), (0x20000, 0x20FFF), (0x2F800, 0x2FA1D), (0xE0000, 0xE01EF), (0x0, 0x1F), (0x7F, 0x9F)
        ];

    private readonly Random _random = new(seed);

    /// <summary>The next text.</summary>
    public string Next()
    {
        StringBuilder text = new();
        int parts = _random.Next(10) == 0 ? _random.Next(200) : _random.Next(25);
        int kind = _random.Next(5);
        for (int i = 0; i < parts; i++)
        {
            Part(text, kind == 4 ? _random.Next(4) : kind);
        }

        // NUL ends a text in the other library's C interface; a lone surrogate is no text to it.
        return text.Replace("\0", " ").ToString();
    }

    private void Part(StringBuilder text, int kind)
    {
        switch (kind)
        {
            case 0:
                text.Append(s_hard[_random.Next(s_hard.Length)]);
                break;
            case 1:
                (int first, int last) = s_ranges[_random.Next(s_ranges.Length)];
                for (int count = _random.Next(1, 8); count > 0; count--)
                {
                    text.Append(char.ConvertFromUtf32(_random.Next(first, last + 1)));
                }

                break;
            case 2:
                text.Append(_random.Next(2) == 0 ? " " : "").Append(pieces[_random.Next(pieces.Count)]);
                break;
            default:
                // Runs longer than the limits of words, in characters of one and of two units.
                string unit = s_hard[_random.Next(s_hard.Length)];
                int repeats = _random.Next(6) == 0 ? _random.Next(40, 260) : _random.Next(1, 8);
                text.Insert(text.Length, unit, repeats).Append(_random.Next(3) == 0 ? " " : "");
                break;
        }
    }
}

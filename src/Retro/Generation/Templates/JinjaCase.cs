using System.Text;
using Retro.Embedders;
using Retro.Tokenizers;
using static Retro.Generation.Templates.JinjaValues;

namespace Retro.Generation.Templates;

/// <summary>
/// Capital and small letters as Python's texts have them: Unicode's full mappings (the Unicode Standard, section 3.13; SpecialCasing.txt), by which one letter
/// may become several.
/// </summary>
internal static class JinjaCase
{
    private const char Iota = '\u0345'; // below a letter; its capital stands behind that of the letter
    private const char Dotted = '\u0130'; // the one letter whose small one is longer

    // Letters that stand for several and are not composed of them, as they begin a word; and one whose capital .NET has in Turkish alone.
    private static readonly Dictionary<int, string> s_several = new()
    {
        ['ı'] = "I", ['ß'] = "Ss", ['ŉ'] = "ʼN", ['և'] = "Եւ", ['ẚ'] = "Aʾ", ['ﬀ'] = "Ff", ['ﬁ'] = "Fi", ['ﬂ'] = "Fl", ['ﬃ'] = "Ffi", ['ﬄ'] = "Ffl",
        ['ﬅ'] = "St", ['ﬆ'] = "St", ['ﬓ'] = "Մն", ['ﬔ'] = "Մե", ['ﬕ'] = "Մի", ['ﬖ'] = "Վն", ['ﬗ'] = "Մխ",
    };

    /// <summary>In capital letters.</summary>
    public static string Upper(string text) => Ascii.IsValid(text) ? text.ToUpperInvariant() : Joined("", Characters(text).Select(OneUpper));

    /// <summary>In small letters.</summary>
    public static string Lower(string text) => Ascii.IsValid(text) ? text.ToLowerInvariant() : LowerCasing.Of(text);

    /// <summary>In small letters, but for the first character.</summary>
    public static string Capitalized(string text) => Begun(text, (place, _) => place == 0);

    /// <summary>In small letters, but for each character that does not stand behind a letter with a case.</summary>
    public static string Title(string text) => Begun(text, (_, before) => !IsCased(before));

    /// <summary>A word of any characters: the first in capitals, whatever it stands for, and the others in small letters.</summary>
    public static string Word(string word)
    {
        int first = CodePoints.LengthAt(word, 0);
        return Upper(word[..first]) + Lower(word[first..]);
    }

    private static string Begun(string text, Func<int, string, bool> begins)
    {
        string small = Lower(text), before = "";
        StringBuilder written = new(text.Length);
        int place = 0, at = 0;
        foreach (string letter in Characters(text))
        {
            int length = letter[0] == Dotted ? 2 : letter.Length;
            written.Append(begins(place++, before) ? OneTitle(letter) : small.AsSpan(at, length));
            at += length;
            before = letter;
        }

        return written.ToString();
    }

    private static bool IsCased(string letter) => letter.Length > 0 && Rune.TryGetRuneAt(letter, 0, out Rune rune) && LowerCasing.IsCased(rune);

    private static string OneUpper(string letter)
        => s_several.TryGetValue(letter[0], out string? several) ? several.ToUpperInvariant()
            : UnicodeForms.ToFormD(letter) is var parts && parts.Length > 1 && parts.EndsWith(Iota) ? Composed(parts) + Capital(parts[^1..])
            : Capital(letter) is var capital && capital == letter && parts.Length > letter.Length && char.IsLower(letter, 0) ? Capital(parts)
            : capital;

    // As a word begins with it.
    private static string OneTitle(string letter) => letter[0] switch
    {
        >= '\u01C4' and <= '\u01CC' => ((char)(((letter[0] - 0x01C4) / 3 * 3) + 0x01C5)).ToString(), // Croatian digraphs
        >= '\u01F1' and <= '\u01F3' => "\u01F2",
        >= '\u10D0' and <= '\u10FF' => letter, // Georgian has capitals for whole words alone
        var first when s_several.TryGetValue(first, out string? several) => several,
        _ when Capital(letter) is var capital && capital != letter => capital,
        _ when UnicodeForms.ToFormD(letter) is var parts && parts.Length > letter.Length && char.IsLower(letter, 0)
            => parts.EndsWith(Iota) ? Composed(parts) + parts[^1..] : Capital(parts),
        _ => letter,
    };

    // The capital of all but an iota.
    private static string Composed(string parts) => UnicodeForms.ToFormC(Capital(parts[..^1]));

    private static string Capital(string letters) => letters.Replace(Iota, '\u0399').ToUpperInvariant();
}

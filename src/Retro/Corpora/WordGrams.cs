using System.Globalization;
using System.Text;

namespace Retro.Corpora;

/// <summary>
/// A text as the set of its n-grams of words, each as a 64-bit hash: words are runs of letters, marks and digits, composed and in lower case; in scripts that
/// put no spaces between words each character is one, and so is each of a run that is longer than words are. A text of fewer than n words is one gram of all
/// its words, one without words none.
/// </summary>
internal static class WordGrams
{
    private const ulong Prime = 1099511628211;
    private const int LongestWord = 40, ZeroWidthSpace = 0x200B;

    /// <summary>The different grams' hashes, ascending.</summary>
    public static ulong[] Of(string text, int words)
    {
        List<ulong> hashes = Words(text);
        if (hashes.Count == 0)
        {
            return [];
        }

        int length = Math.Min(words, hashes.Count);
        ulong[] grams = new ulong[hashes.Count - length + 1];
        for (int start = 0; start < grams.Length; start++)
        {
            ulong gram = (ulong)length;
            for (int word = start; word < start + length; word++)
            {
                gram = SeededRandom.Mix((gram * Prime) ^ hashes[word]);
            }

            grams[start] = gram;
        }

        Array.Sort(grams);
        int kept = 1;
        for (int index = 1; index < grams.Length; index++)
        {
            if (grams[index] != grams[kept - 1])
            {
                grams[kept++] = grams[index];
            }
        }

        return grams[..kept];
    }

    /// <summary>How many members two ascending sets have in common.</summary>
    public static int Common(ulong[] first, ulong[] second)
    {
        int common = 0;
        for (int i = 0, j = 0; i < first.Length && j < second.Length;)
        {
            if (first[i] == second[j])
            {
                common++;
                i++;
                j++;
            }
            else if (first[i] < second[j])
            {
                i++;
            }
            else
            {
                j++;
            }
        }

        return common;
    }

    /// <summary>
    /// Whether a character is of a script that puts no spaces between words: those of the line breaking classes SA and ID
    /// (https://www.unicode.org/reports/tr14/), by blocks.
    /// </summary>
    public static bool WritesWithoutSpaces(int code) => code is
        (>= 0x0E00 and <= 0x109F) // Thai, Lao, Tibetan, Myanmar
        or (>= 0x1780 and <= 0x17FF) // Khmer
        or (>= 0x1950 and <= 0x19FF) // Tai Le, New Tai Lue, Khmer symbols
        or (>= 0x1A20 and <= 0x1AAF) // Tai Tham
        or (>= 0x2E80 and <= 0x2FDF) // radicals
        or (>= 0x3005 and <= 0x3007)
        or (>= 0x3041 and <= 0x312F) // Hiragana, Katakana, Bopomofo
        or (>= 0x31A0 and <= 0x31FF)
        or (>= 0x3400 and <= 0x4DBF)
        or (>= 0x4E00 and <= 0xA4CF) // ideographs, Yi
        or (>= 0xA9E0 and <= 0xA9FF)
        or (>= 0xAA60 and <= 0xAADF)
        or (>= 0xF900 and <= 0xFAFF)
        or (>= 0xFF66 and <= 0xFF9F)
        or (>= 0x1B000 and <= 0x1B16F)
        or (>= 0x20000 and <= 0x3FFFF);

    private static List<ulong> Words(string text)
    {
        const ulong none = 14695981039346656037;
        List<ulong> words = [];
        List<ulong> letters = []; // of the word that is being read
        foreach (Rune rune in UnicodeForms.ToFormC(text).EnumerateRunes())
        {
            Rune letter = Plain(rune);
            if (Rune.GetUnicodeCategory(letter) == UnicodeCategory.Format && letter.Value != ZeroWidthSpace)
            {
                continue; // a soft hyphen or a joiner is seen by nobody and ends no word (https://unicode.org/reports/tr29/#WB4)
            }

            bool alone = WritesWithoutSpaces(letter.Value);
            bool part = Rune.IsLetterOrDigit(letter)
                || Rune.GetUnicodeCategory(letter) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark;
            if (!part || alone)
            {
                End();
            }

            if (part)
            {
                // By way of upper case, as both small sigmas are one letter.
                letters.Add((ulong)Rune.ToLowerInvariant(Rune.ToUpperInvariant(letter)).Value);
            }

            if (alone)
            {
                End();
            }
        }

        End();
        return words;

        void End()
        {
            if (letters.Count > LongestWord)
            {
                // Of a script that is not known to have no spaces, or no word at all: a change in it must not change the whole.
                words.AddRange(letters.Select(letter => SeededRandom.Mix((none ^ letter) * Prime)));
            }
            else if (letters.Count > 0)
            {
                words.Add(SeededRandom.Mix(letters.Aggregate(none, (hash, letter) => (hash ^ letter) * Prime)));
            }

            letters.Clear();
        }
    }

    /// <summary>The plain form of what is written as wide as an ideograph.</summary>
    private static Rune Plain(Rune rune) => rune.Value is >= 0xFF01 and <= 0xFF5E ? new Rune(rune.Value - 0xFEE0) : rune;
}

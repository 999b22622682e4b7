using System.Globalization;

namespace Retro.Corpora;

/// <summary>
/// A text as the set of its n-grams of words, each as a 64-bit hash: words are runs of letters and digits in lower case. A text
/// of fewer than n words is one gram of all its words, one without words none.
/// </summary>
internal static class WordGrams
{
    private const ulong Prime = 1099511628211;

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
                gram = Mix((gram * Prime) ^ hashes[word]);
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

    /// <summary>The Jaccard similarity of two ascending sets.</summary>
    public static double Similarity(ulong[] first, ulong[] second)
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

        int union = first.Length + second.Length - common;
        return union == 0 ? 0 : (double)common / union;
    }

    private static List<ulong> Words(string text)
    {
        List<ulong> words = [];
        const ulong none = 14695981039346656037;
        ulong hash = none;
        bool inside = false;
        foreach (char character in text)
        {
            // Halves of surrogate pairs and combining marks count as letters: they are parts of words in scripts that use them.
            if (char.IsLetterOrDigit(character)
                || char.IsSurrogate(character)
                || char.GetUnicodeCategory(character) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark)
            {
                hash = (hash ^ char.ToLowerInvariant(character)) * Prime;
                inside = true;
            }
            else if (inside)
            {
                words.Add(Mix(hash));
                hash = none;
                inside = false;
            }
        }

        if (inside)
        {
            words.Add(Mix(hash));
        }

        return words;
    }

    // The finalizer of splitmix64: spreads every bit over all.
    private static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
        value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
        return value ^ (value >> 31);
    }
}

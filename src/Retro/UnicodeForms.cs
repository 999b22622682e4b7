using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;

namespace Retro;

/// <summary>
/// Unicode's normalization forms (UAX #15), from tables of Unicode 15.0.
/// </summary>
/// <remarks>
/// <see cref="string.Normalize(NormalizationForm)"/> gives text back unchanged where globalization is invariant, as it is in many
/// containers. A tokenizer has to give the same ids everywhere, so it has tables of its own.
/// </remarks>
internal static class UnicodeForms
{
    private const int HangulFirst = 0xAC00;
    private const int HangulLast = 0xD7A3;
    private const int LeadFirst = 0x1100;
    private const int LeadCount = 19;
    private const int VowelFirst = 0x1161;
    private const int VowelCount = 21;
    private const int TailFirst = 0x11A7;
    private const int TailCount = 28;

    private static readonly Dictionary<int, byte> s_classes = [];
    private static readonly Dictionary<int, int[]> s_decompositions = [];
    private static readonly Dictionary<(int First, int Second), int> s_compositions = [];

    static UnicodeForms()
    {
        List<int> composed = [];
        foreach (string line in Lines("UnicodeCanonical.txt"))
        {
            if (line.IndexOf(':', StringComparison.Ordinal) is > 0 and int colon)
            {
                int dash = line.IndexOf('-', StringComparison.Ordinal);
                for (int code = Hex(line.AsSpan(0, dash)); code <= Hex(line.AsSpan(dash + 1, colon - dash - 1)); code++)
                {
                    s_classes[code] = byte.Parse(line.AsSpan(colon + 1), CultureInfo.InvariantCulture);
                }

                continue;
            }

            int mark = line.IndexOfAny(['=', '>']);
            int character = Hex(line.AsSpan(0, mark));
            s_decompositions[character] = Codes(line[(mark + 1)..]);
            if (line[mark] == '=')
            {
                composed.Add(character);
            }
        }

        // A pair composes to a character whose decomposition is the first one's, followed by the second.
        Dictionary<string, int> byDecomposition = composed.ToDictionary(character => string.Join(' ', s_decompositions[character]));
        foreach (int character in composed)
        {
            int[] parts = s_decompositions[character];
            int first = parts.Length == 2 ? parts[0] : byDecomposition.GetValueOrDefault(string.Join(' ', parts[..^1]), -1);
            s_compositions[(first, parts[^1])] = character;
        }
    }

    /// <summary>The canonical decomposition.</summary>
    public static string ToFormD(string text)
        => text.AsSpan().IndexOfAnyExceptInRange('\0', '\u00BF') < 0 ? text : Write(Decompose(text));

    /// <summary>The canonical composition of the decomposition.</summary>
    public static string ToFormC(string text)
        => text.AsSpan().IndexOfAnyExceptInRange('\0', '\u02FF') < 0 ? text : Write(Compose(Decompose(text)));

    /// <summary>The compatibility decomposition.</summary>
    public static string ToFormKD(string text)
        => text.AsSpan().IndexOfAnyExceptInRange('\0', '\u009F') < 0 ? text : Write(Decompose(text, compatible: true));

    /// <summary>The canonical composition of the compatibility decomposition.</summary>
    public static string ToFormKC(string text)
        => text.AsSpan().IndexOfAnyExceptInRange('\0', '\u009F') < 0 ? text : Write(Compose(Decompose(text, compatible: true)));

    private static IEnumerable<string> Lines(string file)
    {
        Assembly assembly = typeof(UnicodeForms).Assembly;
        string name = assembly.GetManifestResourceNames().Single(resource => resource.EndsWith(file, StringComparison.Ordinal));
        using StreamReader reader = new(assembly.GetManifestResourceStream(name)!);
        while (reader.ReadLine() is { } line)
        {
            if (!line.StartsWith('#'))
            {
                yield return line;
            }
        }
    }

    private static int[] Codes(string decomposition) => [.. decomposition.Split(' ').Select(part => Hex(part))];

    private static int Hex(ReadOnlySpan<char> digits) => int.Parse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    private static byte Class(int code) => code < 0x300 ? (byte)0 : s_classes.GetValueOrDefault(code);

    private static List<int> Decompose(string text, bool compatible = false)
    {
        List<int> codes = new(text.Length + 16);
        for (int i = 0; i < text.Length; i++)
        {
            bool pair = char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]);
            int code = pair ? char.ConvertToUtf32(text[i], text[++i]) : text[i];
            if (compatible && Compatibility.Decompositions.TryGetValue(code, out int[]? compatibility))
            {
                codes.AddRange(compatibility);
            }
            else if (code is >= HangulFirst and <= HangulLast)
            {
                int syllable = code - HangulFirst;
                codes.Add(LeadFirst + (syllable / (VowelCount * TailCount)));
                codes.Add(VowelFirst + (syllable % (VowelCount * TailCount) / TailCount));
                if (syllable % TailCount > 0)
                {
                    codes.Add(TailFirst + (syllable % TailCount));
                }
            }
            else if (code >= 0xC0 && s_decompositions.TryGetValue(code, out int[]? parts))
            {
                codes.AddRange(parts);
            }
            else
            {
                codes.Add(code);
            }
        }

        Reorder(codes);
        return codes;
    }

    /// <summary>Canonical order: marks in a row are sorted by class, those of one class keep their order.</summary>
    private static void Reorder(List<int> codes)
    {
        for (int begin = 0; begin < codes.Count; begin++)
        {
            int end = begin;
            bool sorted = true;
            while (end < codes.Count && Class(codes[end]) is > 0 and byte own)
            {
                sorted &= end == begin || Class(codes[end - 1]) <= own;
                end++;
            }

            if (!sorted)
            {
                // LINQ's sort is stable.
                int[] marks = [.. codes.GetRange(begin, end - begin).OrderBy(Class)];
                marks.CopyTo(CollectionsMarshal.AsSpan(codes)[begin..end]);
            }

            begin = end;
        }
    }

    private static List<int> Compose(List<int> codes)
    {
        List<int> composed = new(codes.Count);
        int starter = -1;
        int lastClass = 0;
        foreach (int code in codes)
        {
            byte own = Class(code);
            // Blocked: a mark of the same or a higher class, or another starter, stands between.
            bool free = starter >= 0 && (starter == composed.Count - 1 || (own != 0 && lastClass < own));
            if (free && Pair(composed[starter], code) is >= 0 and int whole)
            {
                composed[starter] = whole;
                continue;
            }

            if (own == 0)
            {
                starter = composed.Count;
            }

            lastClass = own;
            composed.Add(code);
        }

        return composed;
    }

    private static int Pair(int first, int second)
    {
        if (first is >= LeadFirst and < LeadFirst + LeadCount && second is >= VowelFirst and < VowelFirst + VowelCount)
        {
            return HangulFirst + ((((first - LeadFirst) * VowelCount) + second - VowelFirst) * TailCount);
        }

        if (first is >= HangulFirst and <= HangulLast && (first - HangulFirst) % TailCount == 0 && second is > TailFirst and < TailFirst + TailCount)
        {
            return first + second - TailFirst;
        }

        return s_compositions.GetValueOrDefault((first, second), -1);
    }

    private static string Write(List<int> codes)
    {
        StringBuilder text = new(codes.Count);
        foreach (int code in codes)
        {
            if (code < 0x10000)
            {
                text.Append((char)code);
            }
            else
            {
                text.Append(char.ConvertFromUtf32(code));
            }
        }

        return text.ToString();
    }

    /// <summary>What is read where it is asked for.</summary>
    private static class Compatibility
    {
        public static Dictionary<int, int[]> Decompositions { get; } = Lines("UnicodeCompatibility.txt").Select(line => line.Split('='))
            .ToDictionary(parts => Hex(parts[0]), parts => Codes(parts[1]));
    }
}

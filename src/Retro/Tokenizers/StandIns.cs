using System.Buffers;
using System.Globalization;
using System.Text.RegularExpressions;

namespace Retro.Tokenizers;

/// <summary>
/// Characters of one UTF-16 unit that stand for those beyond U+FFFF where an expression is matched, which sees units: for each character one of the same
/// category, for those of the ranges that the expression names one of their own, for all others one that it does not name.
/// </summary>
internal sealed partial class StandIns
{
    private const int MostRanges = 64;

    // Those that there are beyond U+FFFF.
    private static readonly UnicodeCategory[] s_categories =
        [.. Enumerable.Range(0x10000, 0x100000).Select(CharUnicodeInfo.GetUnicodeCategory).Distinct()];

    private readonly List<(int First, int Last)> _ranges = [];
    private readonly Dictionary<(UnicodeCategory Category, ulong Ranges), char> _standIns = [];

    // What stands for characters of a range: by itself it is none of them.
    private SearchValues<char> _reserved = SearchValues.Create("");

    private StandIns()
    {
    }

    /// <summary>Finds them for an expression; null where it leaves too few, or has a range that begins below U+10000 and ends above.</summary>
    public static StandIns? Of(string expression)
    {
        StandIns made = new();
        foreach (Match match in Beyond().Matches(expression))
        {
            int first = char.ConvertToUtf32(match.Groups["first"].Value, 0);
            (int First, int Last) range = (first, match.Groups["last"].Success ? char.ConvertToUtf32(match.Groups["last"].Value, 0) : first);
            if (!made._ranges.Contains(range))
            {
                made._ranges.Add(range);
            }
        }

        return !Mixed().IsMatch(expression) && made._ranges.Count <= MostRanges && made._ranges.TrueForAll(range => range.First <= range.Last)
            && made.Choose(expression) ? made : null;
    }

    /// <summary>A class of characters with what stands for those beyond U+FFFF.</summary>
    public string Rewrite(string characters) => Beyond().Replace(characters, match =>
    {
        int first = char.ConvertToUtf32(match.Groups["first"].Value, 0);
        int range = _ranges.IndexOf((first, match.Groups["last"].Success ? char.ConvertToUtf32(match.Groups["last"].Value, 0) : first));
        return string.Concat(_standIns.Where(entry => (entry.Key.Ranges >> range & 1) != 0).Select(entry => entry.Value).Order());
    });

    /// <summary>Whether a text is matched otherwise than as it is.</summary>
    public bool AreNeeded(ReadOnlySpan<char> text) => text.IndexOfAnyInRange('\uD800', '\uDFFF') >= 0 || text.ContainsAny(_reserved);

    /// <summary>What stands for a character (code point).</summary>
    public char For(int code)
        => code <= char.MaxValue && !_reserved.Contains((char)code) ? (char)code
            : _standIns[(CharUnicodeInfo.GetUnicodeCategory(code), code <= char.MaxValue ? 0 : RangesOf(code))];

    private ulong RangesOf(int code)
    {
        ulong ranges = 0;
        for (int i = 0; i < _ranges.Count; i++)
        {
            ranges |= code >= _ranges[i].First && code <= _ranges[i].Last ? 1UL << i : 0;
        }

        return ranges;
    }

    private bool Choose(string expression)
    {
        Dictionary<UnicodeCategory, Queue<char>> free = Enum.GetValues<UnicodeCategory>().ToDictionary(category => category, _ => new Queue<char>());
        for (int code = 0x80; code <= 0xFFFD; code++)
        {
            if (!Names(expression, (char)code))
            {
                free[CharUnicodeInfo.GetUnicodeCategory(code)].Enqueue((char)code);
            }
        }

        // Those of a range have others of their category, which stand for what is not of it.
        foreach (UnicodeCategory category in s_categories)
        {
            if (!free[category].TryDequeue(out char other))
            {
                return false;
            }

            _standIns.Add((category, 0), other);
        }

        foreach ((UnicodeCategory Category, ulong) kind in _ranges.SelectMany(range => Enumerable.Range(range.First, range.Last - range.First + 1))
            .Select(code => (CharUnicodeInfo.GetUnicodeCategory(code), RangesOf(code))).Distinct())
        {
            if (!free[kind.Category].TryDequeue(out char own))
            {
                return false;
            }

            _standIns.Add(kind, own);
        }

        _reserved = SearchValues.Create(string.Concat(_standIns.Where(entry => entry.Key.Ranges != 0).Select(entry => entry.Value)));
        return true;
    }

    /// <summary>Whether an expression may name a character: by itself, or within a range.</summary>
    private static bool Names(string expression, char character)
    {
        for (int i = 0; i < expression.Length; i++)
        {
            if (expression[i] == character
                || (i + 2 < expression.Length && expression[i + 1] == '-' && expression[i] < character && character <= expression[i + 2]))
            {
                return true;
            }
        }

        return false;
    }

    // A character beyond U+FFFF, or a range of such.
    [GeneratedRegex(@"(?<first>[\uD800-\uDBFF][\uDC00-\uDFFF])(?:-(?<last>[\uD800-\uDBFF][\uDC00-\uDFFF]))?", RegexOptions.CultureInvariant)]
    private static partial Regex Beyond();

    // A range with such at one end alone, or one that goes on behind its end.
    [GeneratedRegex(
        @"[^\uDC00-\uDFFF]-[\uD800-\uDBFF]|[\uDC00-\uDFFF]-[^\]\uD800-\uDBFF]|[\uDC00-\uDFFF]-[\uD800-\uDBFF][\uDC00-\uDFFF]-(?!\])",
        RegexOptions.CultureInvariant)]
    private static partial Regex Mixed();
}

using System.Buffers;
using System.Globalization;
using System.Text.RegularExpressions;
using static Retro.Generation.Templates.JinjaValues;

namespace Retro.Generation.Templates;

/// <summary>The methods that Python's texts have, as far as chat templates use them.</summary>
internal static partial class JinjaMethods
{
    /// <summary>Python's white space, of which .NET has all but the four separators.</summary>
    public static readonly char[] Space = [.. Enumerable.Range(0, 0x10000).Select(code => (char)code).Where(IsSpace)];

    private static readonly SearchValues<char> s_space = SearchValues.Create(Space);

    /// <summary>A method of a text; null where there is none of the name.</summary>
    public static Function? Of(string text, string name)
    {
        return name switch
        {
            "strip" => Takes(given => Strip(text, given[0], true, true), "chars?"),
            "lstrip" => Takes(given => Strip(text, given[0], true, false), "chars?"),
            "rstrip" => Takes(given => Strip(text, given[0], false, true), "chars?"),
            "upper" => Takes(_ => JinjaCase.Upper(text)),
            "lower" => Takes(_ => JinjaCase.Lower(text)),
            "title" => Takes(_ => JinjaCase.Title(text)),
            "capitalize" => Takes(_ => JinjaCase.Capitalized(text)),
            "startswith" => Takes(given => AnyOf(given[0], one => Part(text, given).StartsWith(one, StringComparison.Ordinal)), "prefix", "start?", "end?"),
            "endswith" => Takes(given => AnyOf(given[0], one => Part(text, given).EndsWith(one, StringComparison.Ordinal)), "suffix", "start?", "end?"),
            "removeprefix" => Takes(given => text.StartsWith(Said(given[0]), StringComparison.Ordinal) ? text[Said(given[0]).Length..] : text, "prefix"),
            "removesuffix" => Takes(given => text.EndsWith(Said(given[0]), StringComparison.Ordinal) ? text[..^Said(given[0]).Length] : text, "suffix"),
            "replace" => Takes(given => Replace(text, Said(given[0]), Said(given[1]), Most(given[2])), "old", "new", "count?"),
            "find" => Takes(given => Place(text, given, (part, sought) => part.IndexOf(sought, StringComparison.Ordinal)), "sub", "start?", "end?"),
            "rfind" => Takes(given => Place(text, given, (part, sought) => part.LastIndexOf(sought, StringComparison.Ordinal)), "sub", "start?", "end?"),
            "index" or "rindex" => Takes(given => Of(text, name == "index" ? "find" : "rfind")!(given, []) is long place and >= 0 ? place
                : throw new ArgumentException("substring not found"), "sub", "start?", "end?"),
            "zfill" => Takes(given => JinjaFormat.Filled(text, Whole(given[0])), "width"),
            "count" => Takes(given => (long)(Cuts(Part(text, given), Said(given[0]), int.MaxValue).Count - 1), "sub", "start?", "end?"),
            "split" => Takes(given => given[0] is string by ? Parts(text, by, Most(given[1])) : Words(text, Most(given[1])), "sep?", "maxsplit?"),
            "rsplit" => Takes(given => given[0] is string by ? LastParts(text, by, Most(given[1])) : LastWords(text, Most(given[1])), "sep?", "maxsplit?"),
            "splitlines" => Takes(given => (List<object?>)[.. Lines(text, IsTrue(given[0]))], "keepends?"),
            "partition" => Takes(given => Parts(text, Said(given[0]), 1) is { Count: 2 } both ? Three(both[0], given[0], both[1]) : Three(text, "", ""), "sep"),
            "rpartition" => Takes(given => LastParts(text, Said(given[0]), 1) is { Count: 2 } both ? Three(both[0], given[0], both[1])
                : Three("", "", text), "sep"),
            "join" => Takes(given => Joined(text, Items(given[0]).Select(Said)), "iterable"),
            "isdigit" => Takes(_ => All(letter => CharUnicodeInfo.GetDigitValue(letter, 0) >= 0)),
            "isdecimal" => Takes(_ => All(letter => CharUnicodeInfo.GetDecimalDigitValue(letter, 0) >= 0)),
            "isalpha" => Takes(_ => All(letter => char.IsLetter(letter, 0))),
            "isalnum" => Takes(_ => All(letter => char.IsLetter(letter, 0) || CharUnicodeInfo.GetNumericValue(letter, 0) != -1)),
            "isspace" => Takes(_ => text.Length > 0 && text.All(IsSpace)),
            "isascii" => Takes(_ => text.All(char.IsAscii)),
            "isupper" => Takes(_ => Any(char.IsUpper) && !Any(char.IsLower)),
            "islower" => Takes(_ => Any(char.IsLower) && !Any(char.IsUpper)),
            _ => null,
        };

        Function Takes(Func<object?[], object?> method, params string[] parameters)
            => (arguments, named) => method(Bind(name, parameters, arguments, named));

        bool All(Func<string, bool> holds) => text.Length > 0 && Characters(text).All(holds);

        bool Any(Func<string, int, bool> holds) => Characters(text).Any(letter => holds(letter, 0));
    }

    /// <summary>A text without characters at its ends: white space, or those that are said.</summary>
    public static string Strip(string text, object? characters, bool left, bool right)
    {
        char[] said = characters is string some ? some.ToCharArray() : Space;
        if (said.Length == 0)
        {
            return text;
        }

        if (said.Any(char.IsSurrogate))
        {
            HashSet<string> letters = [.. Characters(new(said))];
            List<string> all = [.. Characters(text)];
            int from = left ? all.TakeWhile(letters.Contains).Count() : 0;
            int behind = right ? all.Skip(from).Reverse().TakeWhile(letters.Contains).Count() : 0;
            return string.Concat(all.Take(all.Count - behind).Skip(from));
        }

        text = left ? text.TrimStart(said) : text;
        return right ? text.TrimEnd(said) : text;
    }

    /// <summary>A text with other text in the place of the first so many of its parts.</summary>
    public static string Replace(string text, string old, string by, int most)
        => Joined(by, Cuts(text, old, most).Select(Said));

    /// <summary>How many, where it is said: all where it is not, or is negative.</summary>
    public static int Most(object? count) => count is long number and >= 0 ? (int)Math.Min(number, int.MaxValue) : int.MaxValue;

    private static string Said(object? value) => value as string
        ?? throw new RetroException($"The chat template gives {Text(value)} to a method of a text, which takes texts.");

    private static bool AnyOf(object? one, Func<string, bool> holds)
        => one is List<object?> several ? several.Exists(item => holds(Said(item))) : holds(Said(one));

    // What is sought in: from the second of what a method was given to the third, where there are such.
    private static string Part(string text, object?[] given)
        => given[1] == Undefined && given[2] == Undefined ? text
            : (string)Slice(text, given[1] == Undefined ? null : given[1], given[2] == Undefined ? null : given[2], null)!;

    private static long Place(string text, object?[] given, Func<string, string, int> find)
    {
        int at = find(Part(text, given), Said(given[0])), before = text.Length - Part(text, [given[0], given[1], Undefined]).Length;
        return at < 0 ? -1 : Length(text[..(before + at)]);
    }

    private static bool IsSpace(char letter) => char.IsWhiteSpace(letter) || letter is >= '\x1C' and <= '\x1F';

    private static Series Three(params object?[] items) => new(items);

    private static List<object?> Parts(string text, string by, int most)
        => by.Length == 0 ? throw new ArgumentException("empty separator") : [.. text.Split(by, most == int.MaxValue ? most : most + 1)];

    /// <summary>The parts of a text; an empty separator stands before each of its characters, and behind the last one.</summary>
    private static List<object?> Cuts(string text, string by, int most)
    {
        if (by.Length > 0)
        {
            return Parts(text, by, most);
        }

        List<string> letters = [.. Characters(text)];
        int cut = Math.Min(letters.Count, Math.Max(0, most - 1));
        return most == 0 ? [text] : ["", .. letters.Take(cut), string.Concat(letters.Skip(cut))];
    }

    /// <summary>The parts of a text, divided from its end.</summary>
    private static List<object?> LastParts(string text, string by, int most)
    {
        List<object?> parts = Parts(text, by, int.MaxValue);
        int joined = most == int.MaxValue ? 0 : Math.Max(0, parts.Count - 1 - most);
        return [string.Join(by, parts.Take(joined + 1)), .. parts.Skip(joined + 1)];
    }

    private static List<object?> Words(string text, int most)
    {
        List<object?> words = [];
        for (ReadOnlySpan<char> rest = text.AsSpan().TrimStart(Space); rest.Length > 0;)
        {
            int end = words.Count == most ? -1 : rest.IndexOfAny(s_space);
            words.Add((end < 0 ? rest : rest[..end]).ToString());
            rest = end < 0 ? [] : rest[end..].TrimStart(Space);
        }

        return words;
    }

    private static List<object?> LastWords(string text, int most)
    {
        List<object?> words = [];
        for (ReadOnlySpan<char> rest = text.AsSpan().TrimEnd(Space); rest.Length > 0;)
        {
            int before = words.Count == most ? -1 : rest.LastIndexOfAny(s_space);
            words.Add(rest[(before + 1)..].ToString());
            rest = before < 0 ? [] : rest[..before].TrimEnd(Space);
        }

        words.Reverse();
        return words;
    }

    /// <summary>The lines of a text, whatever ends them.</summary>
    /// <param name="text">The text.</param>
    /// <param name="withEnds">Whether what ends a line is a part of it.</param>
    public static List<string> Lines(string text, bool withEnds = false)
        => [.. Line().Matches(text).Where(line => line.Length > 0).Select(line => withEnds ? line.Value : line.Groups["text"].Value)];

    [GeneratedRegex(@"(?<text>[^\n\r\v\f\x1C-\x1E\x85\u2028\u2029]*)(?:\r\n|[\n\r\v\f\x1C-\x1E\x85\u2028\u2029]|\z)")]
    private static partial Regex Line();
}

using System.Globalization;
using static Retro.Generation.Templates.JinjaValues;

namespace Retro.Generation.Templates;

/// <summary>The methods that Python's texts have, as far as chat templates use them.</summary>
internal static class JinjaMethods
{
    /// <summary>A method of a text; null where there is none of the name.</summary>
    public static Function? Of(string text, string name)
    {
        return name switch
        {
            "strip" => Takes(given => Strip(text, given[0], true, true), "chars?"),
            "lstrip" => Takes(given => Strip(text, given[0], true, false), "chars?"),
            "rstrip" => Takes(given => Strip(text, given[0], false, true), "chars?"),
            "upper" => Takes(_ => text.ToUpperInvariant()),
            "lower" => Takes(_ => text.ToLowerInvariant()),
            "title" => Takes(_ => Capitals(text, before => !char.IsLetter(before))),
            "capitalize" => Takes(_ => text.Length == 0 ? text : char.ToUpperInvariant(text[0]) + text[1..].ToLowerInvariant()),
            "startswith" => Takes(given => Any(given[0], one => From(text, given[1]).StartsWith(one, StringComparison.Ordinal)), "prefix", "start?"),
            "endswith" => Takes(given => Any(given[0], one => From(text, given[1]).EndsWith(one, StringComparison.Ordinal)), "suffix", "start?"),
            "removeprefix" => Takes(given => text.StartsWith(Said(given[0]), StringComparison.Ordinal) ? text[Said(given[0]).Length..] : text, "prefix"),
            "removesuffix" => Takes(given => text.EndsWith(Said(given[0]), StringComparison.Ordinal) ? text[..^Said(given[0]).Length] : text, "suffix"),
            "replace" => Takes(given => Replace(text, Said(given[0]), Said(given[1]), Most(given[2])), "old", "new", "count?"),
            "find" => Takes(given => Place(text, text.IndexOf(Said(given[0]), text.Length - From(text, given[1]).Length, StringComparison.Ordinal)), "sub",
                "start?"),
            "index" => Takes(given => Place(text, text.IndexOf(Said(given[0]), StringComparison.Ordinal)) is var place and >= 0 ? place
                : throw new ArgumentException("substring not found"), "sub"),
            "zfill" => Takes(given => JinjaFormat.Filled(text, Whole(given[0])), "width"),
            "rfind" => Takes(given => Place(text, text.LastIndexOf(Said(given[0]), StringComparison.Ordinal)), "sub"),
            "count" => Takes(given => (long)(Parts(text, Said(given[0]), int.MaxValue).Count - 1), "sub"),
            "split" => Takes(given => given[0] is string by ? Parts(text, by, Most(given[1])) : Words(text, Most(given[1])), "sep?", "maxsplit?"),
            "rsplit" => Takes(given => LastParts(text, Said(given[0]), Most(given[1])), "sep", "maxsplit?"),
            "splitlines" => Takes(_ => (List<object?>)[.. Lines(text)]),
            "partition" => Takes(given => Parts(text, Said(given[0]), 1) is { Count: 2 } both ? Three(both[0], given[0], both[1]) : Three(text, "", ""), "sep"),
            "rpartition" => Takes(given => LastParts(text, Said(given[0]), 1) is { Count: 2 } both ? Three(both[0], given[0], both[1])
                : Three("", "", text), "sep"),
            "join" => Takes(given => Joined(text, Items(given[0]).Select(Said)), "iterable"),
            "isdigit" => Takes(_ => text.Length > 0 && text.All(char.IsDigit)),
            "isalpha" => Takes(_ => text.Length > 0 && text.All(char.IsLetter)),
            "isalnum" => Takes(_ => text.Length > 0 && text.All(char.IsLetterOrDigit)),
            "isspace" => Takes(_ => text.Length > 0 && text.All(char.IsWhiteSpace)),
            "isupper" => Takes(_ => text.Any(char.IsUpper) && !text.Any(char.IsLower)),
            "islower" => Takes(_ => text.Any(char.IsLower) && !text.Any(char.IsUpper)),
            _ => null,
        };

        Function Takes(Func<object?[], object?> method, params string[] parameters)
            => (arguments, named) => method(Bind(name, parameters, arguments, named));
    }

    /// <summary>A text without characters at its ends: white space, or those that are said.</summary>
    public static string Strip(string text, object? characters, bool left, bool right)
    {
        char[]? said = characters is string some ? some.ToCharArray() : null;
        if (said is { Length: 0 })
        {
            return text;
        }

        text = left ? text.TrimStart(said) : text;
        return right ? text.TrimEnd(said) : text;
    }

    /// <summary>A text with other text in the place of the first so many of its parts.</summary>
    public static string Replace(string text, string old, string by, int most)
        => Joined(by, Parts(text, old, most).Select(Said));

    /// <summary>How many, where it is said: all where it is not, or is negative.</summary>
    public static int Most(object? count) => count is long number and >= 0 ? (int)Math.Min(number, int.MaxValue) : int.MaxValue;

    /// <summary>A text in small letters, but for the first one behind certain characters and at its head.</summary>
    public static string Capitals(string text, Func<char, bool> begins)
        => string.Concat(text.Select((letter, i) => i == 0 || begins(text[i - 1]) ? char.ToUpperInvariant(letter) : char.ToLowerInvariant(letter)));

    private static string Said(object? value) => value as string
        ?? throw new RetroException($"The chat template gives {Text(value)} to a method of a text, which takes texts.");

    private static bool Any(object? one, Func<string, bool> holds)
        => one is List<object?> several ? several.Exists(item => holds(Said(item))) : holds(Said(one));

    private static string From(string text, object? start) => start == Undefined ? text : (string)Slice(text, start, null, null)!;

    private static long Place(string text, int at) => at < 0 ? -1 : Length(text[..at]);

    private static Series Three(params object?[] items) => new(items);

    private static List<object?> Parts(string text, string by, int most)
        => by.Length == 0 ? throw new ArgumentException("empty separator") : [.. text.Split(by, most == int.MaxValue ? most : most + 1)];

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
        for (string rest = text.TrimStart(); rest.Length > 0;)
        {
            int end = words.Count == most ? -1 : rest.AsSpan().IndexOfAny(WhiteSpace);
            words.Add(end < 0 ? rest : rest[..end]);
            rest = end < 0 ? "" : rest[end..].TrimStart();
        }

        return words;
    }

    private static System.Buffers.SearchValues<char> WhiteSpace { get; }
        = System.Buffers.SearchValues.Create([.. Enumerable.Range(0, 0x10000).Select(code => (char)code).Where(char.IsWhiteSpace)]);

    /// <summary>The lines of a text, whatever ends them.</summary>
    public static List<string> Lines(string text)
    {
        List<string> lines = [.. text.ReplaceLineEndings("\n").Replace('\v', '\n').Split('\n')];
        if (lines[^1] is "")
        {
            lines.RemoveAt(lines.Count - 1);
        }

        return lines;
    }
}

using System.Collections;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Retro.Generation;

/// <summary>What the values of a template do: Python's, as far as such templates use them.</summary>
internal static class JinjaValues
{
    /// <summary>What has no value: it counts as false, and is written as nothing.</summary>
    public static readonly object Undefined = new();

    private static readonly JsonSerializerOptions s_text = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>A function of a template: its arguments in order, and by name.</summary>
    public delegate object? Function(object?[] arguments, Dictionary<string, object?> named);

    /// <summary>Whether a value counts as true.</summary>
    public static bool IsTrue(object? value) => value switch
    {
        null => false,
        bool flag => flag,
        long number => number != 0,
        double number => number != 0,
        string text => text.Length > 0,
        ICollection some => some.Count > 0,
        _ => value != Undefined,
    };

    /// <summary>A value as it is written out.</summary>
    public static string Text(object? value) => value switch
    {
        null => "None",
        bool flag => flag ? "True" : "False",
        string text => text,
        long number => number.ToString(CultureInfo.InvariantCulture),
        double number => number.ToString(number == Math.Floor(number) ? "0.0" : "R", CultureInfo.InvariantCulture),
        _ when value == Undefined => "",
        _ => Json(value, null, '\''),
    };

    /// <summary>Whether two values are equal.</summary>
    public static bool AreEqual(object? one, object? other) => (one, other) switch
    {
        (List<object?> some, List<object?> others) => some.Count == others.Count && some.Zip(others).All(pair => AreEqual(pair.First, pair.Second)),
        (long or double or bool, long or double or bool) => Number(one) == Number(other),
        _ => Equals(one, other),
    };

    /// <summary>Which of two values comes first.</summary>
    public static int Compare(object? one, object? other)
        => one is string text && other is string with ? string.CompareOrdinal(text, with) : Number(one).CompareTo(Number(other));

    /// <summary>A value as a number.</summary>
    public static double Number(object? value) => value switch
    {
        long number => number,
        double number => number,
        bool flag => flag ? 1 : 0,
        _ => throw new RetroException($"The chat template computes with {Text(value)}, which is no number."),
    };

    /// <summary>A value as a whole number.</summary>
    public static int Whole(object? value) => (int)Math.Clamp(Number(value), int.MinValue, int.MaxValue);

    /// <summary>The values of a list, the names of a dictionary, the characters of a text.</summary>
    public static List<object?> Items(object? value) => value switch
    {
        List<object?> list => list,
        Dictionary<string, object?> map => [.. map.Keys],
        string text => [.. text.Select(letter => (object?)letter.ToString())],
        _ when value == Undefined => [],
        _ => throw new RetroException($"The chat template goes through {Text(value)}, which is no list."),
    };

    /// <summary>Whether a value holds another one.</summary>
    public static bool Contains(object? value, object? item) => value is string text
        ? item is string part && text.Contains(part, StringComparison.Ordinal)
        : Items(value).Exists(one => AreEqual(one, item));

    /// <summary>The member of a value: of a dictionary by name, of a list or a text by place, or a method.</summary>
    public static object? Member(object? value, object? name) => (value, name) switch
    {
        (Dictionary<string, object?> map, string key) when map.TryGetValue(key, out object? found) => found,
        (List<object?> list, long place) => (place < 0 ? place + list.Count : place) is var at && at >= 0 && at < list.Count ? list[(int)at] : Undefined,
        (string text, long place) => (place < 0 ? place + text.Length : place) is var at && at >= 0 && at < text.Length ? text[(int)at].ToString() : Undefined,
        (string text, string method) => Method(text, method),
        (Dictionary<string, object?> map, string method) => Method(map, method),
        (List<object?> list, "append") => (Function)((arguments, _) =>
        {
            list.Add(arguments[0]);
            return null;
        }),
        _ => value == Undefined ? throw new RetroException($"The chat template asks what is not there for '{Text(name)}'.") : Undefined,
    };

    /// <summary>A part of a list or a text.</summary>
    public static object? Slice(object? value, object? from, object? to, object? step)
    {
        List<object?> items = Items(value);
        int by = step is null ? 1 : Whole(step), count = items.Count;
        if (by == 0)
        {
            throw new RetroException("The chat template goes through a list by steps of 0.");
        }

        int Place(object? place, int otherwise)
            => place is null ? otherwise
                : Whole(place) is var at && at < 0 ? Math.Max(at + count, by < 0 ? -1 : 0)
                : Math.Min(at, by < 0 ? count - 1 : count);
        List<object?> part = [];
        int end = Place(to, by < 0 ? -1 : count);
        for (int i = Place(from, by < 0 ? count - 1 : 0); by < 0 ? i > end : i < end; i += by)
        {
            part.Add(items[i]);
        }

        return value is string ? string.Concat(part.Cast<string>()) : part;
    }

    /// <summary>JSON as Python writes it.</summary>
    /// <param name="value">The value.</param>
    /// <param name="indent">Spaces of each level; null: all in one line.</param>
    /// <param name="quote">The quotation mark; an apostrophe where a value is only written out.</param>
    /// <param name="depth">Levels around it.</param>
    public static string Json(object? value, int? indent, char quote = '"', int depth = 0)
    {
        string Line(int level) => indent is { } spaces ? "\n" + new string(' ', spaces * level) : "";
        string line = Line(depth + 1), end = Line(depth);
        string between = indent is null ? ", " : ",";
        return value switch
        {
            null => quote == '"' ? "null" : "None",
            bool flag => quote == '"' ? (flag ? "true" : "false") : Text(flag),
            string text => quote == '"' ? JsonSerializer.Serialize(text, s_text) : $"'{text}'",
            List<object?> { Count: 0 } => "[]",
            Dictionary<string, object?> { Count: 0 } => "{}",
            List<object?> list => $"[{line}{string.Join(between + line, list.Select(one => Json(one, indent, quote, depth + 1)))}{end}]",
            Dictionary<string, object?> map => $"{{{line}{string.Join(between + line, map.Select(Pair))}{end}}}",
            _ => Text(value),
        };

        string Pair(KeyValuePair<string, object?> one) => $"{Json(one.Key, null, quote)}: {Json(one.Value, indent, quote, depth + 1)}";
    }

    private static object? Method(Dictionary<string, object?> map, string name) => name switch
    {
        "items" => (Function)((_, _) => map.Select(pair => (object?)new List<object?> { pair.Key, pair.Value }).ToList()),
        "keys" => (Function)((_, _) => map.Keys.Select(key => (object?)key).ToList()),
        "values" => (Function)((_, _) => map.Values.ToList()),
        "get" => (Function)((arguments, _) => map.TryGetValue(Text(arguments[0]), out object? found) ? found : arguments.ElementAtOrDefault(1)),
        _ => Undefined,
    };

    private static object? Method(string text, string name)
    {
        return name switch
        {
            "strip" => Of(said => said.Length > 0 ? text.Trim(said[0].ToCharArray()) : text.Trim()),
            "lstrip" => Of(said => said.Length > 0 ? text.TrimStart(said[0].ToCharArray()) : text.TrimStart()),
            "rstrip" => Of(said => said.Length > 0 ? text.TrimEnd(said[0].ToCharArray()) : text.TrimEnd()),
            "upper" => Of(_ => text.ToUpperInvariant()),
            "lower" => Of(_ => text.ToLowerInvariant()),
            "title" => Of(_ => CultureInfo.InvariantCulture.TextInfo.ToTitleCase(text.ToLowerInvariant())),
            "capitalize" => Of(_ => text.Length == 0 ? text : char.ToUpperInvariant(text[0]) + text[1..].ToLowerInvariant()),
            "startswith" => Of(said => text.StartsWith(said[0], StringComparison.Ordinal)),
            "endswith" => Of(said => text.EndsWith(said[0], StringComparison.Ordinal)),
            "replace" => Of(said => text.Replace(said[0], said[1], StringComparison.Ordinal)),
            "find" => Of(said => (long)text.IndexOf(said[0], StringComparison.Ordinal)),
            "split" => Of(said => (said.Length > 0 ? text.Split(said[0]) : text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))
                .Select(part => (object?)part).ToList()),
            _ => Undefined,
        };

        static Function Of(Func<string[], object?> method) => (arguments, _) => method([.. arguments.Select(Text)]);
    }
}

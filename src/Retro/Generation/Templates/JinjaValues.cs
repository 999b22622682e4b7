using System.Collections;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;

namespace Retro.Generation.Templates;

/// <summary>What the values of a template do: Python's, as far as such templates use them.</summary>
internal static class JinjaValues
{
    /// <summary>What has no value: it counts as false, and is written as nothing.</summary>
    public static readonly object Undefined = new();

    /// <summary>Characters that are written, and what a text or list has of them or of values, at most.</summary>
    public const int MostCharacters = 10_000_000;

    /// <summary>Levels that a template or a value has at most.</summary>
    public const int MostLevels = 100;

    /// <summary>A function of a template: its arguments in order, and by name.</summary>
    public delegate object? Function(object?[] arguments, Dictionary<string, object?> named);

    /// <summary>A copy of a value from outside, as templates have them.</summary>
    /// <param name="value">Text, a number, a truth value, null, or a list or dictionary by names of these; or all of that as JSON.</param>
    /// <param name="level">Lists and dictionaries that it is in.</param>
    /// <exception cref="ArgumentException">It is something else, or has more levels than a value may have.</exception>
    public static object? Of(object? value, int level = 0) => level > MostLevels
        ? throw new ArgumentException($"A value of a chat template has more than {MostLevels} levels; give one with fewer.", nameof(value))
        : value switch
        {
            null or string or bool or long or double => value,
            sbyte or byte or short or ushort or int or uint => Convert.ToInt64(value, CultureInfo.InvariantCulture),
            float or decimal => Convert.ToDouble(value, CultureInfo.InvariantCulture),
            JsonElement json => json.ValueKind switch
            {
                JsonValueKind.String => json.GetString(),
                JsonValueKind.Number => json.TryGetInt64(out long whole) ? (object)whole : json.GetDouble(),
                JsonValueKind.True or JsonValueKind.False => json.GetBoolean(),
                JsonValueKind.Array => Of(json.EnumerateArray(), level),
                JsonValueKind.Object => Of(json.EnumerateObject().ToDictionary(member => member.Name, member => (object?)member.Value), level),
                _ => null,
            },
            IEnumerable<KeyValuePair<string, object?>> members
                => members.ToDictionary(member => member.Key, member => Of(member.Value, level + 1), StringComparer.Ordinal),
            IEnumerable items => items.Cast<object?>().Select(item => Of(item, level + 1)).ToList(),
            _ => throw new ArgumentException(
                $"A chat template takes texts, numbers, truth values, and lists and dictionaries by names of these, not {value.GetType().Name}.",
                nameof(value)),
        };

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
        double number => Digits(number),
        _ when value == Undefined => "",
        Function => throw new RetroException("The chat template writes out a function, which is not supported."),
        _ => Json(value, JsonForm.Written),
    };

    /// <summary>A value that is not too large: what doubles with each step would soon be.</summary>
    /// <exception cref="RetroException">It is.</exception>
    public static object? Bounded(object? value)
    {
        Within(value is string text ? text.Length : value is List<object?> list ? list.Count : 0);
        return value;
    }

    /// <summary>A size that a text or list may have.</summary>
    /// <exception cref="RetroException">It is too large.</exception>
    public static int Within(int size) => size <= MostCharacters
        ? size
        : throw new RetroException($"The chat template makes a text or list of more than {MostCharacters:#,0}.");

    /// <summary>Texts with another between them, which is found to be too large before it is made.</summary>
    /// <exception cref="RetroException">It is.</exception>
    public static string Joined(string between, IEnumerable<string> parts)
    {
        StringBuilder text = new();
        bool first = true;
        foreach (string part in parts)
        {
            Within(text.Length + part.Length + (first ? 0 : between.Length));
            text.Append(first ? "" : between).Append(part);
            first = false;
        }

        return text.ToString();
    }

    /// <summary>Refuses what goes deeper than the stack.</summary>
    /// <exception cref="RetroException">There is little of it left.</exception>
    public static void RequireStack()
    {
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack())
        {
            throw new RetroException("The chat template goes deeper than the stack.");
        }
    }

    /// <summary>Whether two values are equal.</summary>
    /// <exception cref="RetroException">They have too many levels or parts: a list may hold itself.</exception>
    public static bool AreEqual(object? one, object? other)
    {
        int left = MostCharacters;
        return AreEqual(one, other, MostLevels, ref left);
    }

    /// <summary>Whether two values are equal.</summary>
    /// <param name="one">One.</param>
    /// <param name="other">The other.</param>
    /// <param name="levels">Levels that they may have.</param>
    /// <param name="left">Comparisons that may still be made.</param>
    private static bool AreEqual(object? one, object? other, int levels, ref int left)
    {
        if (levels == 0 || --left < 0)
        {
            throw new RetroException($"The chat template compares values of more than {MostLevels} levels, or more than {MostCharacters:#,0} of them.");
        }

        // As Python compares the items of lists: what is the same is equal.
        if (ReferenceEquals(one, other) && one is not double)
        {
            return true;
        }

        switch (one, other)
        {
            case (List<object?> some, List<object?> others):
                bool equal = some is Series == others is Series && some.Count == others.Count;
                for (int i = 0; equal && i < some.Count; i++)
                {
                    equal = AreEqual(some[i], others[i], levels - 1, ref left);
                }

                return equal;
            case (Dictionary<string, object?> some, Dictionary<string, object?> others):
                bool same = some.Count == others.Count;
                foreach ((string name, object? value) in some)
                {
                    same = same && others.TryGetValue(name, out object? with) && AreEqual(value, with, levels - 1, ref left);
                }

                return same;
            case (long number, long with):
                return number == with;
            case (long or double or bool, long or double or bool):
                return Number(one) == Number(other);
            default:
                return Equals(one, other);
        }
    }

    /// <summary>Which of two values comes first.</summary>
    public static int Compare(object? one, object? other)
        => (one, other) switch
        {
            (string text, string with) => CompareCharacters(text, with),
            (long number, long with) => number.CompareTo(with),
            _ => Number(one).CompareTo(Number(other)),
        };

    // By code points: a pair of halves comes behind all that is no pair.
    private static int CompareCharacters(string one, string other)
    {
        int same = one.AsSpan().CommonPrefixLength(other);
        return same < one.Length && same < other.Length && char.IsSurrogate(one[same]) != char.IsSurrogate(other[same])
            ? (char.IsSurrogate(one[same]) ? 1 : -1)
            : string.CompareOrdinal(one, other);
    }

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

    /// <summary>What an operator of arithmetic makes of two values; texts and lists are added and repeated too.</summary>
    public static object? Compute(string sign, object? one, object? other)
    {
        switch (sign, one, other)
        {
            case ("%", string format, _):
                return JinjaFormat.Fill(format, other);
            case ("~", _, _):
                return Bounded(Text(one) + Text(other));
            case ("+", string text, string more):
                return Bounded(text + more);
            case ("+", List<object?> list, List<object?> more):
                return Bounded(list is Series ? new Series(list.Concat(more)) : list.Concat(more).ToList());
            case ("*", long or bool, string or List<object?>):
                return Compute(sign, other, one);
            case ("*", string or List<object?>, long or bool):
                long times = Convert.ToInt64(other, CultureInfo.InvariantCulture);
                int size = one is string repeated ? repeated.Length : Items(one).Count;
                int count = (int)Math.Clamp(times, 0, (MostCharacters / Math.Max(1, size)) + 1);
                return Bounded(one is string part ? string.Concat(Enumerable.Repeat(part, count))
                    : Enumerable.Repeat(Items(one), count).SelectMany(item => item).ToList());
            case (_, long or bool, long or bool) when sign != "/" && !(sign == "**" && Number(other) < 0):
                (long a, long b) = (Convert.ToInt64(one, CultureInfo.InvariantCulture), Convert.ToInt64(other, CultureInfo.InvariantCulture));
                return sign switch
                {
                    "+" => checked(a + b),
                    "-" => checked(a - b),
                    "*" => checked(a * b),
                    "**" => Power(a, b),
                    "//" => (a / b) - (a % b != 0 && a < 0 != b < 0 ? 1 : 0),
                    _ => a % b is var rest && rest != 0 && rest < 0 != b < 0 ? rest + b : rest,
                };
        }

        (double x, double y) = (Number(one), Number(other));
        return sign switch
        {
            "+" => x + y,
            "-" => x - y,
            "*" => x * y,
            "**" => Math.Pow(x, y),
            _ when y == 0 => throw new DivideByZeroException(),
            "/" => x / y,
            "//" => Divided(x, y).Times,
            _ => Divided(x, y).Left,
        };
    }

    // By squares, so that no power is longer in the making than its own digits.
    private static long Power(long number, long power)
    {
        long result = 1;
        for (long square = number; power > 0; power /= 2)
        {
            result = power % 2 == 0 ? result : checked(result * square);
            square = power < 2 ? square : checked(square * square);
        }

        return result;
    }

    /// <summary>How often a number goes into another, and what is left, of the divisor's sign: rounded once each, as Python does it.</summary>
    private static (double Times, double Left) Divided(double number, double by)
    {
        double rest = number % by, times = (number - rest) / by;
        (times, rest) = rest != 0 && rest < 0 != by < 0 ? (times - 1, rest + by) : (times, rest);
        return (times == 0 ? Math.CopySign(0, number / by) : Math.Round(times), rest == 0 ? Math.CopySign(0, by) : rest);
    }

    /// <summary>The characters of a text: code points, not halves of them.</summary>
    public static IEnumerable<string> Characters(string text)
    {
        for (int i = 0; i < text.Length;)
        {
            int length = i + 1 < text.Length && char.IsSurrogatePair(text[i], text[i + 1]) ? 2 : 1;
            yield return text.Substring(i, length);
            i += length;
        }
    }

    /// <summary>How many characters a text has, or values a list.</summary>
    public static long Length(object? value) => value is string text ? Length(text.AsSpan()) : Items(value).Count;

    private static long Length(ReadOnlySpan<char> text)
    {
        int pairs = 0;
        for (int i = 1; i < text.Length; i++)
        {
            pairs += char.IsSurrogatePair(text[i - 1], text[i]) ? 1 : 0;
        }

        return text.Length - pairs;
    }

    /// <summary>The values of a list, the names of a dictionary, the characters of a text.</summary>
    public static List<object?> Items(object? value) => value switch
    {
        List<object?> list => list,
        Dictionary<string, object?> map => [.. map.Keys],
        string text => [.. Characters(text)],
        _ when value == Undefined => [],
        _ => throw new RetroException($"The chat template goes through {Text(value)}, which is no list."),
    };

    /// <summary>The names and values of a dictionary.</summary>
    public static List<object?> Pairs(Dictionary<string, object?> map) => [.. map.Select(pair => new Series([pair.Key, pair.Value]))];

    /// <summary>Whether a value holds another one.</summary>
    public static bool Contains(object? value, object? item)
        => value is string text ? item is string part && text.Contains(part, StringComparison.Ordinal)
            : value is Dictionary<string, object?> map ? item is string or long && map.ContainsKey(Text(item))
            : Items(value).Exists(EqualTo(item));

    private static Predicate<object?> EqualTo(object? item)
    {
        int left = MostCharacters; // for all that it is compared with
        return one => AreEqual(one, item, MostLevels, ref left);
    }

    /// <summary>The member of a value at a path: names and places with points between them.</summary>
    public static object? At(object? value, object? path) => path is not string names ? Member(value, path)
        : names.Split('.').Aggregate(
            value, (of, name) => Member(of, long.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out long place) ? place : name));

    /// <summary>What a dot asks of a value: a dictionary's method before its key of that name, which brackets give; a namespace's key first.</summary>
    public static object? Dotted(object? value, string name)
        => value is Dictionary<string, object?> map and not Namespace && Method(map, name) is Function method ? method : At(value, name);

    /// <summary>What a function was given, in the order of its parameters; what it was not given is <see cref="Undefined"/>.</summary>
    /// <param name="function">Its name.</param>
    /// <param name="parameters">The names of its parameters; "?" behind those that may be left out.</param>
    /// <param name="arguments">What it was given in order.</param>
    /// <param name="named">What it was given by name.</param>
    /// <exception cref="RetroException">It was given more than it takes, or less.</exception>
    public static object?[] Bind(string function, string[] parameters, object?[] arguments, Dictionary<string, object?> named)
    {
        object?[] bound = new object?[parameters.Length];
        int used = 0;
        for (int i = 0; i < bound.Length; i++)
        {
            bool given = named.TryGetValue(parameters[i].TrimEnd('?'), out object? value);
            used += given ? 1 : 0;
            bound[i] = i < arguments.Length ? arguments[i] : given ? value
                : parameters[i].EndsWith('?') ? Undefined
                : throw Misused($"without \"{parameters[i]}\"");
        }

        return arguments.Length <= bound.Length && used == named.Count ? bound
            : throw Misused(arguments.Length > bound.Length ? $"with {arguments.Length} arguments" : $"with \"{string.Join("\", \"", named.Keys)}\"");

        RetroException Misused(string how) => new($"The chat template uses '{function}' in a way that is not supported ({how}).");
    }

    /// <summary>The member of a value: of a dictionary by name, of a list or a text by place, or a method.</summary>
    public static object? Member(object? value, object? name) => (value, name) switch
    {
        (Dictionary<string, object?> map, string key) when map.TryGetValue(key, out object? found) => found,
        (List<object?> list, long place) => (place < 0 ? place + list.Count : place) is var at && at >= 0 && at < list.Count ? list[(int)at] : Undefined,
        (string text, long place) => Member(Items(text), place),
        (Dictionary<string, object?> map, long key) when map.TryGetValue(Text(key), out object? found) => found, // its names are texts, as in JSON
        (string text, string method) => JinjaMethods.Of(text, method) is { } found ? found : Undefined,
        (Dictionary<string, object?> map, string method) => Method(map, method),
        (List<object?> list, "append") => (Function)((arguments, _) =>
        {
            list.Add(arguments[0]);
            return null;
        }),
        (Series { Count: 2 } group, "grouper" or "list") => group[name is "list" ? 1 : 0], // of the filter "groupby"
        (List<object?> list, "count") => (Function)((arguments, _) => (long)list.FindAll(EqualTo(arguments[0])).Count),
        (List<object?> list, "index") => (Function)((arguments, _) => list.FindIndex(EqualTo(arguments[0])) is var place and >= 0 ? (long)place
            : throw new ArgumentException("not in the list")),
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

        return value is string ? string.Concat(part.Cast<string>()) : value is Series ? new Series(part) : part;
    }

    /// <summary>JSON as Python writes it, or what Python writes of a value.</summary>
    /// <param name="value">The value.</param>
    /// <param name="form">How.</param>
    /// <exception cref="RetroException">It has too many levels or characters: a list may hold itself.</exception>
    public static string Json(object? value, JsonForm form)
    {
        StringBuilder text = new();
        Write(text, value, form, 0);
        return text.ToString();
    }

    private static void Write(StringBuilder text, object? value, JsonForm form, int depth)
    {
        if (depth > MostLevels)
        {
            throw new RetroException($"The chat template writes a value of more than {MostLevels} levels.");
        }

        switch (value)
        {
            case null or bool when form.IsJson:
                text.Append(value switch { null => "null", true => "true", _ => "false" });
                break;
            case not null when value == Undefined:
                text.Append(!form.IsJson ? "Undefined" : throw new RetroException("The chat template writes what is not there as JSON."));
                break;
            case string said:
                text.Append(form.IsJson ? Quoted(said, form.Ascii) : Representation(said));
                break;
            case List<object?> list:
                bool isSeries = list is Series && !form.IsJson;
                text.Append(isSeries ? '(' : '[');
                Several(list, one => Write(text, one, form, depth + 1));
                text.Append(!isSeries ? "]" : list.Count == 1 ? ",)" : ")");
                break;
            case Dictionary<string, object?> map:
                text.Append('{');
                Several(form.Sorted ? map.OrderBy(one => one.Key, StringComparer.Ordinal) : map.AsEnumerable(), one =>
                {
                    Write(text, one.Key, form, depth + 1);
                    text.Append(form.Colon);
                    Write(text, one.Value, form, depth + 1);
                });
                text.Append('}');
                break;
            default:
                text.Append(Text(value));
                break;
        }

        Within(text.Length);

        void Several<T>(IEnumerable<T> items, Action<T> write)
        {
            string line = Line(depth + 1), between = (form.Between ?? (form.Indent is null ? ", " : ",")) + line;
            bool first = true;
            foreach (T item in items)
            {
                text.Append(first ? line : between);
                write(item);
                first = false;
            }

            text.Append(first ? "" : Line(depth));
        }

        string Line(int level)
        {
            Within(level * (form.Indent?.Length ?? 0));
            return form.Indent is { } lead ? "\n" + string.Concat(Enumerable.Repeat(lead, level)) : "";
        }
    }

    /// <summary>A number with the fewest digits that are no other number, and an exponent where Python writes one.</summary>
    private static string Digits(double number)
    {
        string digits = number.ToString("R", CultureInfo.InvariantCulture);
        int first = number < 0 ? 2 : 1; // behind the first digit
        return !double.IsFinite(number) ? (double.IsNaN(number) ? "nan" : number > 0 ? "inf" : "-inf")
            : digits.Contains('E', StringComparison.Ordinal) ? digits.Replace('E', 'e')
            : Math.Abs(number) >= 1e16 // where Python begins to write exponents, and .NET does not yet
            ? $"{digits.AsSpan(0, first)}.{digits.AsSpan(first)}".TrimEnd('0').TrimEnd('.') + $"e+{digits.Length - first}"
            : digits.Contains('.', StringComparison.Ordinal) ? digits : digits + ".0";
    }

    /// <summary>A text in JSON, with the escapes that Python's json makes and no others.</summary>
    private static string Quoted(string text, bool ascii)
    {
        StringBuilder quoted = new("\"", text.Length + 2);
        foreach (char letter in text)
        {
            quoted.Append(letter switch
            {
                '"' => "\\\"", '\\' => "\\\\", '\n' => "\\n", '\r' => "\\r", '\t' => "\\t", '\b' => "\\b", '\f' => "\\f",
                < ' ' => $"\\u{(int)letter:x4}",
                > '~' when ascii => $"\\u{(int)letter:x4}",
                _ => letter.ToString(),
            });
        }

        return quoted.Append('"').ToString();
    }

    /// <summary>A text as Python writes one that is in a list: in quotation marks, with escapes.</summary>
    private static string Representation(string text)
    {
        char quote = text.Contains('\'', StringComparison.Ordinal) && !text.Contains('"', StringComparison.Ordinal) ? '"' : '\'';
        StringBuilder written = new(quote.ToString(), text.Length + 2);
        foreach (string letter in Characters(text))
        {
            int code = letter.Length == 2 ? char.ConvertToUtf32(letter[0], letter[1]) : letter[0];
            bool hidden = code != ' ' && CharUnicodeInfo.GetUnicodeCategory(code) is
                (>= UnicodeCategory.SpaceSeparator and <= UnicodeCategory.PrivateUse) or UnicodeCategory.OtherNotAssigned;
            written.Append(letter switch
            {
                "\\" => "\\\\", "\n" => "\\n", "\r" => "\\r", "\t" => "\\t",
                _ when code == quote => "\\" + letter,
                _ when hidden => code <= 0xFF ? $"\\x{code:x2}" : code <= 0xFFFF ? $"\\u{code:x4}" : $"\\U{code:x8}",
                _ => letter,
            });
        }

        return written.Append(quote).ToString();
    }

    private static object? Method(Dictionary<string, object?> map, string name) => name switch
    {
        "items" => (Function)((_, _) => Pairs(map)),
        "keys" => (Function)((_, _) => map.Keys.Select(key => (object?)key).ToList()),
        "values" => (Function)((_, _) => map.Values.ToList()),
        "get" => (Function)((arguments, named) => Bind(name, ["key", "default?"], arguments, named) is var given
            && map.TryGetValue(Text(given[0]), out object? found) ? found : given[1] == Undefined ? null : given[1]),
        _ => Undefined,
    };

    /// <summary>Python's tuple: a list that is written in round brackets, and equals no other.</summary>
    public sealed class Series(IEnumerable<object?> items) : List<object?>(items);

    /// <summary>What "namespace" makes, and members are set of: it is for names that a template chooses.</summary>
    public sealed class Namespace() : Dictionary<string, object?>(StringComparer.Ordinal);

    /// <summary>How <see cref="Json"/> writes.</summary>
    public sealed record JsonForm
    {
        /// <summary>As Python writes a value out.</summary>
        public static JsonForm Written { get; } = new() { IsJson = false };

        /// <summary>JSON; else Python's own form.</summary>
        public bool IsJson { get; init; } = true;

        /// <summary>What each level is indented by; null: all in one line.</summary>
        public string? Indent { get; init; }

        /// <summary>What stands between values; null: a comma, and a space where all is in one line.</summary>
        public string? Between { get; init; }

        /// <summary>What stands behind a name.</summary>
        public string Colon { get; init; } = ": ";

        /// <summary>Names in their order, not as they came.</summary>
        public bool Sorted { get; init; }

        /// <summary>Whether what is not ASCII is escaped.</summary>
        public bool Ascii { get; init; }
    }
}

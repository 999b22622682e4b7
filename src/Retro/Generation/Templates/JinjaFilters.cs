using System.Globalization;
using System.Text.RegularExpressions;
using static Retro.Generation.Templates.JinjaValues;

namespace Retro.Generation.Templates;

/// <summary>The filters and tests that chat templates use.</summary>
internal static partial class JinjaFilters
{
    /// <summary>
    /// The filters and their parameters ("?": may be left out), as Jinja and transformers call them; "*" where the filter looks at them itself.
    /// </summary>
    private static readonly Dictionary<string, string[]> s_parameters = new(StringComparer.Ordinal)
    {
        ["trim"] = ["chars?"], ["length"] = [], ["count"] = [], ["upper"] = [], ["lower"] = [], ["title"] = [], ["capitalize"] = [], ["string"] = [],
        ["int"] = ["default?"], ["float"] = ["default?"], ["safe"] = [], ["list"] = [], ["first"] = [], ["last"] = [], ["reverse"] = [],
        ["join"] = ["d?", "attribute?"], ["replace"] = ["old", "new", "count?"], ["default"] = ["default_value?", "boolean?"],
        ["d"] = ["default_value?", "boolean?"], ["tojson"] = ["ensure_ascii?", "indent?", "separators?", "sort_keys?"], ["items"] = [],
        ["indent"] = ["width?", "first?", "blank?"], ["map"] = ["*"], ["selectattr"] = ["*"], ["rejectattr"] = ["*"], ["select"] = ["*"], ["reject"] = ["*"],
        ["unique"] = ["case_sensitive?", "attribute?"], ["sort"] = ["reverse?", "case_sensitive?", "attribute?"],
        ["dictsort"] = ["case_sensitive?", "by?", "reverse?"], ["min"] = ["case_sensitive?", "attribute?"], ["max"] = ["case_sensitive?", "attribute?"],
        ["groupby"] = ["attribute", "default?", "case_sensitive?"], ["batch"] = ["linecount", "fill_with?"], ["sum"] = ["attribute?", "start?"],
        ["round"] = ["precision?", "method?"], ["abs"] = [], ["format"] = ["*"], ["e"] = [], ["escape"] = [],
    };

    /// <summary>Applies a filter.</summary>
    /// <exception cref="RetroException">There is no such filter here, or it is given what it does not take here.</exception>
    public static object? Apply(string name, object? value, object?[] arguments, Dictionary<string, object?> named)
    {
        RequireStack(); // "map" is given the filter that it applies, which may be "map"
        if (!s_parameters.TryGetValue(name, out string[]? parameters))
        {
            throw new RetroException($"The chat template has the filter '{name}', which is not supported.");
        }

        object?[] given = parameters is ["*"] ? arguments : Bind(name, parameters, arguments, named);
        object? Given(int place, object? otherwise) => given[place] == Undefined ? otherwise : given[place];
        bool Passes(object? item) => given.Length == 0 ? IsTrue(item) : Test(Text(given[0]), item, given.ElementAtOrDefault(1));
        return name switch
        {
            "trim" => JinjaMethods.Strip(Text(value), given[0], true, true),
            "length" or "count" => Length(value),
            "upper" => JinjaCase.Upper(Text(value)),
            "lower" => JinjaCase.Lower(Text(value)),
            "title" => Word().Replace(Text(value), word => JinjaCase.Word(word.Value)),
            "capitalize" => JinjaCase.Capitalized(Text(value)),
            "string" => Text(value),
            "int" => long.TryParse(value as string, NumberStyles.Integer, CultureInfo.InvariantCulture, out long whole) ? whole
                : value is not (string or null) ? value is long ? value : (long)Number(value)
                : Parsed(value as string) is { } number && Math.Abs(number) < long.MaxValue ? (long)number : Given(0, 0L),
            "float" => value is string or null ? Parsed(value as string) ?? Given(0, 0.0) : Number(value),
            "safe" => value,
            "list" => (List<object?>)[.. Items(value)],
            "first" => Member((List<object?>)[.. Items(value)], 0L),
            "last" => Member((List<object?>)[.. Items(value)], -1L),
            "reverse" => Slice(value is string ? value : Items(value), null, null, -1L),
            "join" => Joined(Text(given[0]), Items(value).Select(item => Text(given[1] == Undefined ? item : At(item, given[1])))),
            "replace" => JinjaMethods.Replace(Text(value), Text(given[0]), Text(given[1]), JinjaMethods.Most(given[2])),
            "default" or "d" => value != Undefined && (!IsTrue(given[1]) || IsTrue(value)) ? value
                : arguments.Length > 0 || named.ContainsKey("default_value") ? given[0] // which may be undefined, too
                : "",
            "tojson" => Json(value, Form(given)),
            "items" => value is Dictionary<string, object?> map ? Pairs(map) : new List<object?>(),
            "indent" => Indent(Text(value), Given(0, 4L), IsTrue(given[1]), IsTrue(given[2])),
            "map" => Limited(Items(value), item => !named.TryGetValue("attribute", out object? member) ? Apply(Text(given[0]), item, given[1..], named)
                : At(item, member) is var found && found == Undefined && named.TryGetValue("default", out object? otherwise) ? otherwise : found),
            "selectattr" => Items(value).FindAll(item => Chosen(item, given)),
            "rejectattr" => Items(value).FindAll(item => !Chosen(item, given)),
            "select" => Items(value).FindAll(Passes),
            "reject" => Items(value).FindAll(item => !Passes(item)),
            "sort" => JinjaOrder.Sorted(Items(value), given[2], given[1], IsTrue(given[0])),
            "dictsort" => JinjaOrder.SortedPairs(value, given[0], given[1], IsTrue(given[2])),
            "min" or "max" => JinjaOrder.Extreme(Items(value), given[1], given[0], name == "min" ? -1 : 1),
            "groupby" => JinjaOrder.Grouped(Items(value), given[0], given[1], given[2]),
            "batch" => Batches(Items(value), Whole(given[0]), Given(1, null)),
            "sum" => Items(value).Aggregate(Given(1, 0L), (sum, item) => Compute("+", sum, Numeric(given[0] == Undefined ? item : At(item, given[0])))),
            "round" => Rounded(value, Whole(Given(0, 0L)), Given(1, "common")),
            "abs" => value is double fraction ? Math.Abs(fraction) : (object)Math.Abs((long)Numeric(value)),
            "format" => JinjaFormat.Fill(Text(value), named.Count > 0 ? named : new Series(given)),
            "e" or "escape" => JinjaFormat.Escaped(Text(value)),
            _ => Items(value).DistinctBy(item => (given[1] == Undefined ? item : At(item, given[1])) is var key && key is string text && !IsTrue(given[0])
                ? JinjaCase.Lower(text)
                : key).ToList(),
        };
    }

    /// <summary>Tests a value.</summary>
    /// <exception cref="RetroException">There is no such test here.</exception>
    public static bool Test(string name, object? value, object? argument) => name switch
    {
        "defined" => value != Undefined,
        "undefined" => value == Undefined,
        "none" => value is null,
        "true" => value is true,
        "false" => value is false,
        "boolean" => value is bool,
        "string" => value is string,
        "integer" => value is long,
        "float" => value is double,
        "number" => value is long or double or bool,
        "mapping" => value is Dictionary<string, object?>,
        "sequence" or "iterable" => value is List<object?> or string or Dictionary<string, object?> || value == Undefined,
        "callable" => value is Function,
        "odd" => !IsDivisible(value, 2L),
        "even" => IsDivisible(value, 2L),
        "divisibleby" => IsDivisible(value, argument),
        "equalto" or "eq" or "==" => AreEqual(value, argument),
        "ne" or "!=" => !AreEqual(value, argument),
        "lt" or "lessthan" or "<" => Compare(value, argument) < 0,
        "gt" or "greaterthan" or ">" => Compare(value, argument) > 0,
        "le" or "<=" => Compare(value, argument) <= 0,
        "ge" or ">=" => Compare(value, argument) >= 0,
        "in" => Contains(argument, value),
        "sameas" => Equals(value, argument),
        "lower" or "upper" => JinjaMethods.Of(Text(value), $"is{name}")!([], []) is true,
        _ => throw new RetroException($"The chat template has the test '{name}', which is not supported."),
    };

    /// <summary>A time, as Python's strftime writes it where the language is none.</summary>
    public static string Time(string format, DateTimeOffset time) => TimePart().Replace(format, part =>
    {
        string form = part.Groups["kind"].Value switch
        {
            "d" => "dd", "m" => "MM", "Y" => "yyyy", "y" => "yy", "b" or "h" => "MMM", "B" => "MMMM", "H" => "HH", "M" => "mm", "S" => "ss", "A" => "dddd",
            "a" => "ddd", "I" => "hh", "p" => "tt", "F" => "yyyy-MM-dd", "T" => "HH:mm:ss", "R" => "HH:mm", "D" => "MM/dd/yy", "%" => "'%'", "f" => "ffffff",
            "e" => time.Day < 10 ? "' 'd" : "dd", "j" => $"'{time.DayOfYear:000}'", "Z" or "z" => "''", // the time has no zone
            var other => throw new RetroException($"The chat template writes the time by %{other}, which is not supported."),
        };
        string written = time.ToString(form, CultureInfo.InvariantCulture);
        return part.Groups["plain"].Success && written.TrimStart('0', ' ') is var plain ? (plain.Length > 0 ? plain : written[^1..]) : written;
    });

    private static double? Parsed(string? text)
        => double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && double.IsFinite(number) ? number : null;

    private static JsonForm Form(object?[] given) => new()
    {
        Ascii = IsTrue(given[0]),
        Indent = given[1] as string ?? (given[1] is long or double ? new string(' ', Within(Whole(given[1]))) : null),
        Between = given[2] is List<object?> { Count: 2 } between ? Text(between[0]) : null,
        Colon = given[2] is List<object?> { Count: 2 } colon ? Text(colon[1]) : ": ",
        Sorted = IsTrue(given[3]),
    };

    /// <summary>A text with something put before its lines: all but the first and those without text, unless it is said.</summary>
    private static string Indent(string text, object? width, bool first, bool blank)
    {
        string lead = width as string ?? new string(' ', Within(Whole(width)));
        return Joined("\n", JinjaMethods.Lines(text + "\n")
            .Select((line, i) => i == 0 ? (first ? lead + line : line) : blank || line.Length > 0 ? lead + line : line));
    }

    /// <summary>What becomes of values, which is found to be too large before all of it is made.</summary>
    private static List<object?> Limited(List<object?> items, Func<object?, object?> change)
    {
        int made = 0;
        return items.ConvertAll(item =>
        {
            object? changed = change(item);
            made = Within(made + changed switch { string text => text.Length, System.Collections.ICollection some => some.Count, _ => 0 });
            return changed;
        });
    }

    private static List<object?> Batches(List<object?> items, int size, object? filling)
    {
        List<object?> batches = [.. items.Chunk(Within(size)).Select(batch => new List<object?>(batch))];
        if (filling is not null && batches is [.., List<object?> last])
        {
            last.AddRange(Enumerable.Repeat(filling, size - last.Count));
        }

        return batches;
    }

    private static object Numeric(object? value) => value is long or double ? value : (long)Number(value);

    private static object? Rounded(object? value, int precision, object? method)
    {
        double number = Number(value), power = precision < 0 ? throw new ArgumentException("a negative precision") : Math.Pow(10, precision);
        return method switch
        {
            "common" => value is double ? JinjaFormat.Rounded(number, precision) : Numeric(value),
            "ceil" => Math.Ceiling(number * power) / power,
            "floor" => Math.Floor(number * power) / power,
            _ => throw new ArgumentException($"to round by {Text(method)}"),
        };
    }

    // As Jinja parts words for its filter "title".
    [GeneratedRegex(@"[^-\s\x1C-\x1F({\[<]+")]
    private static partial Regex Word();

    // "-": without what fills up.
    [GeneratedRegex("%(?<plain>-)?(?<kind>[^-])", RegexOptions.Singleline)]
    private static partial Regex TimePart();

    private static bool IsDivisible(object? value, object? by) => AreEqual(Compute("%", Numeric(value), Numeric(by)), 0L);

    private static bool Chosen(object? item, object?[] arguments)
    {
        object? member = At(item, arguments[0]);
        return arguments.Length == 1 ? IsTrue(member) : Test(Text(arguments[1]), member, arguments.ElementAtOrDefault(2));
    }
}

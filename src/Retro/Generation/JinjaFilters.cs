using System.Globalization;
using System.Text;
using static Retro.Generation.JinjaValues;

namespace Retro.Generation;

/// <summary>The filters and tests that chat templates use.</summary>
internal static class JinjaFilters
{
    /// <summary>Applies a filter.</summary>
    /// <exception cref="RetroException">There is no such filter here.</exception>
    public static object? Apply(string name, object? value, object?[] arguments, Dictionary<string, object?> named)
    {
        object? First(object? otherwise = null) => arguments.Length > 0 ? arguments[0] : otherwise;
        object? Second(string known) => named.TryGetValue(known, out object? given) ? given : arguments.ElementAtOrDefault(1);
        bool Passes(object? item) => arguments.Length == 0 ? IsTrue(item) : Test(Text(arguments[0]), item, Second(""));
        return name switch
        {
            "trim" => Text(value).Trim(),
            "length" or "count" => (long)(value is string text ? text.Length : Items(value).Count),
            "upper" => Text(value).ToUpperInvariant(),
            "lower" => Text(value).ToLowerInvariant(),
            "title" or "capitalize" => Member(Text(value), name) is Function method ? method([], []) : null,
            "string" => Text(value),
            "int" => value is not string digits ? (long)Number(value)
                : long.TryParse(digits, NumberStyles.Integer, CultureInfo.InvariantCulture, out long parsed) ? parsed : 0L,
            "float" => value is string number ? double.Parse(number, CultureInfo.InvariantCulture) : Number(value),
            "safe" => value,
            "list" => (List<object?>)[.. Items(value)],
            "first" => Member((List<object?>)[.. Items(value)], 0L),
            "last" => Member((List<object?>)[.. Items(value)], -1L),
            "reverse" => value is string turned ? new string([.. turned.Reverse()]) : (List<object?>)[.. Enumerable.Reverse(Items(value))],
            "join" => string.Join(Text(First("")), Items(value).Select(Text)),
            "replace" => Text(value).Replace(Text(arguments[0]), Text(arguments[1]), StringComparison.Ordinal),
            "default" or "d" => value == Undefined || (IsTrue(Second("boolean")) && !IsTrue(value)) ? First("") : value,
            "tojson" => Json(value, (named.TryGetValue("indent", out object? spaces) ? spaces : First()) is { } indent ? Whole(indent) : null),
            "items" => Member(value, "items") is Function items ? items([], []) : new List<object?>(),
            "indent" => Text(value).Replace("\n", "\n" + new string(' ', Whole(First(4L))), StringComparison.Ordinal),
            "map" => Items(value).ConvertAll(item =>
                named.TryGetValue("attribute", out object? member) ? Member(item, member) : Apply(Text(arguments[0]), item, arguments[1..], [])),
            "selectattr" => Items(value).FindAll(item => Chosen(item, arguments)),
            "rejectattr" => Items(value).FindAll(item => !Chosen(item, arguments)),
            "select" => Items(value).FindAll(Passes),
            "reject" => Items(value).FindAll(item => !Passes(item)),
            "unique" => Items(value).Distinct().ToList(),
            _ => throw new RetroException($"The chat template has the filter '{name}', which is not supported."),
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
        "number" => value is long or double,
        "mapping" => value is Dictionary<string, object?>,
        "sequence" or "iterable" => value is List<object?> or string or Dictionary<string, object?>,
        "callable" => value is Function,
        "odd" => Whole(value) % 2 != 0,
        "even" => Whole(value) % 2 == 0,
        "equalto" or "eq" => AreEqual(value, argument),
        "ne" => !AreEqual(value, argument),
        "in" => Contains(argument, value),
        _ => throw new RetroException($"The chat template has the test '{name}', which is not supported."),
    };

    /// <summary>The time now, as Python's strftime writes it.</summary>
    public static string Time(string format)
    {
        DateTimeOffset now = TimeProvider.System.GetLocalNow();
        StringBuilder text = new();
        for (int i = 0; i < format.Length; i++)
        {
            text.Append(format[i] != '%' || i + 1 == format.Length ? format[i].ToString() : now.ToString(
                format[++i] switch
                {
                    'd' => "dd", 'm' => "MM", 'Y' => "yyyy", 'y' => "yy", 'b' => "MMM", 'B' => "MMMM", 'H' => "HH", 'M' => "mm", 'S' => "ss", 'A' => "dddd",
                    'a' => "ddd", var other => throw new RetroException($"The chat template writes the time by %{other}, which is not supported."),
                },
                CultureInfo.InvariantCulture));
        }

        return text.ToString();
    }

    private static bool Chosen(object? item, object?[] arguments)
    {
        object? member = Member(item, arguments[0]);
        return arguments.Length == 1 ? IsTrue(member) : Test(Text(arguments[1]), member, arguments.ElementAtOrDefault(2));
    }
}

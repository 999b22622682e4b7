using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using static Retro.Generation.Templates.JinjaValues;

namespace Retro.Generation.Templates;

/// <summary>Numbers and texts as Python rounds them and its operator % writes them.</summary>
internal static partial class JinjaFormat
{
    // From here on a number has no digits that could go.
    private const int MostPlaces = 300;

    /// <summary>A text with values in its places (https://docs.python.org/3/library/stdtypes.html#printf-style-string-formatting).</summary>
    /// <param name="format">The text.</param>
    /// <param name="values">A value, several of them as a tuple, or a dictionary for places with names.</param>
    /// <exception cref="ArgumentException">There are more places than values, or fewer, or a place is of a kind that is not known here.</exception>
    public static string Fill(string format, object? values)
    {
        List<object?> given = values is Series several ? several : [values];
        StringBuilder text = new();
        int at = 0, used = 0;
        foreach (Match place in Place().Matches(format))
        {
            text.Append(format, at, place.Index - at);
            at = place.Index + place.Length;
            string kind = place.Groups["kind"].Value;
            if (kind == "%")
            {
                text.Append('%');
                continue;
            }

            object? value = place.Groups["name"] is { Success: true } name ? Member(values, name.Value)
                : used < given.Count ? given[used++]
                : throw new ArgumentException("not enough values for a format");
            string flags = place.Groups["flags"].Value, written = Written(kind, value, Size("precision"));
            bool isNumber = kind is not ("s" or "r");
            string sign = !isNumber ? "" : written.StartsWith('-') ? "-" : flags.Contains('+') ? "+" : flags.Contains(' ') ? " " : "";
            written = written[(sign == "-" ? 1 : 0)..];
            int width = (Size("width") ?? 0) + written.Length - (int)Length(written);
            Within(text.Length + Math.Max(width, written.Length));
            text.Append(flags.Contains('-') ? (sign + written).PadRight(width)
                : flags.Contains('0') && isNumber ? sign + written.PadLeft(Math.Max(0, width - sign.Length), '0')
                : (sign + written).PadLeft(width));

            int? Size(string group) => place.Groups[group] is not { Success: true } digits ? null
                : digits.Length == 0 ? 0
                : Within(int.TryParse(digits.ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture, out int size) ? size : int.MaxValue);
        }

        text.Append(format, at, format.Length - at);
        Within(text.Length);
        return used == given.Count || values is Dictionary<string, object?> ? text.ToString()
            : throw new ArgumentException("not all values have a place in a format");
    }

    /// <summary>A text as HTML holds it.</summary>
    public static string Escaped(string text) => text.AsSpan().ContainsAny("&<>'\"")
        ? Joined(
            "", text.Select(letter => letter switch { '&' => "&amp;", '<' => "&lt;", '>' => "&gt;", '\'' => "&#39;", '"' => "&#34;", _ => letter.ToString() }))
        : text;

    /// <summary>A number rounded to so many digits behind the point, as exactly as its bits say; of two that are equally near the even one.</summary>
    public static double Rounded(double number, int places)
    {
        double power = Math.Pow(10, places), scaled = number * power;
        return !double.IsFinite(number) || places > MostPlaces ? number
            : Math.Abs(scaled % 1) == 0.5 && Math.FusedMultiplyAdd(number, power, -scaled) == 0 ? Math.Round(scaled) / power
            : double.Parse(number.ToString($"F{places}", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
    }

    /// <summary>A text with zeros before it, behind its sign, up to a width.</summary>
    public static string Filled(string text, int width)
    {
        int sign = text.StartsWith('-') || text.StartsWith('+') ? 1 : 0;
        return text[..sign] + new string('0', Math.Max(0, Within(width) - (int)Length(text))) + text[sign..];
    }

    private static string Written(string kind, object? value, int? precision)
    {
        switch (kind)
        {
            case "s" or "r":
                string text = kind == "s" ? Text(value) : Json(value, JsonForm.Written);
                return precision < text.Length ? (string)Slice(text, null, (long)precision, null)! : text;
            case "d" or "i":
                return (value is long whole ? whole : checked((long)Math.Truncate(Number(value)))).ToString(CultureInfo.InvariantCulture);
            case "f":
                double number = Rounded(Number(value), precision ?? 6);
                return double.IsFinite(number) ? number.ToString($"F{precision ?? 6}", CultureInfo.InvariantCulture) : Text(number);
            case "x" or "X" when value is long digits:
                return (digits < 0 ? "-" : "") + Math.Abs(digits).ToString(kind, CultureInfo.InvariantCulture);
            default:
                throw new ArgumentException($"a format with %{kind} of {Text(value)}");
        }
    }

    [GeneratedRegex(@"%(?:\((?<name>[^()]*)\))?(?<flags>[-+ 0]*)(?<width>[0-9]+)?(?:\.(?<precision>[0-9]*))?(?<kind>[\s\S]|\z)")]
    private static partial Regex Place();
}

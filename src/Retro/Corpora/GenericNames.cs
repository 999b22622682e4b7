using System.Globalization;
using System.Xml.Linq;

namespace Retro.Corpora;

/// <summary>
/// The names of generic parameters, as the entries of a documentation file's types give them; a name such as "Pair`2" holds their number alone.
/// </summary>
/// <param name="types">
/// The names of the parameters that a type, or a group of extension blocks, has beside those of the types around it, by its full name.
/// </param>
internal sealed class GenericNames(IReadOnlyDictionary<string, string[]> types)
{
    /// <summary>More than these no type has and no name tells: a number may be any.</summary>
    public const int MostParameters = 32;

    /// <summary>The parameters that an entry describes.</summary>
    public static string[] In(XElement entry)
        => [.. entry.Elements("typeparam").Select(parameter => (string?)parameter.Attribute("name") ?? "").Where(name => name.Length > 0).Distinct()];

    /// <summary>
    /// The parameters of a type and of those around it, outermost first, as many as each has; those of which the names are not known have a number that tells
    /// them apart.
    /// </summary>
    public IEnumerable<string[]> Of(string type)
    {
        (string Type, int Count)[] parts = [.. Parts(type)];
        int total = parts.Sum(part => part.Count), before = 0;
        foreach ((string part, int count) in parts)
        {
            int first = before;
            yield return types.GetValueOrDefault(part) is { } known && known.Length == count ? known
                : [.. Enumerable.Range(first, count).Select(number => Numbered(number, total))];
            before += count;
        }
    }

    /// <summary>The parameters of a member whose names are not known, told apart from those of its type.</summary>
    public string[] OfMember(string type, int count)
    {
        string[] around = [.. Of(type).SelectMany(part => part)], own = [.. Enumerable.Range(0, count).Select(number => Numbered(number, count))];
        return !own.Intersect(around).Any() ? own
            : [.. Enumerable.Range(around.Length, count).Select(number => Numbered(number, around.Length + count))];
    }

    /// <summary>What a parameter is called whose name is not known.</summary>
    /// <param name="number">Its number, from 0, among those that are seen together.</param>
    /// <param name="total">How many these are.</param>
    public static string Numbered(int number, int total) => total == 1 ? "T" : "T" + (number + 1).ToString(CultureInfo.InvariantCulture);

    /// <summary>Whether the backtick at a place of a name tells how many parameters a type or a member has, and not which one is meant.</summary>
    public static bool IsCount(string name, int tick) => tick > 0 && (char.IsLetterOrDigit(name[tick - 1]) || name[tick - 1] == '_');

    private static IEnumerable<(string Type, int Count)> Parts(string type)
    {
        for (int tick = type.IndexOf('`', StringComparison.Ordinal); tick >= 0; tick = type.IndexOf('`', tick + 1))
        {
            int end = tick + 1;
            while (end < type.Length && char.IsAsciiDigit(type[end]))
            {
                end++;
            }

            if (end == tick + 1 || !IsCount(type, tick))
            {
                continue;
            }

            _ = int.TryParse(type.AsSpan(tick + 1, end - tick - 1), NumberStyles.None, CultureInfo.InvariantCulture, out int count);
            yield return (type[..end], Math.Min(count, MostParameters));
        }
    }
}

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
    /// <summary>The parameters that an entry describes.</summary>
    public static string[] In(XElement entry)
        => [.. entry.Elements("typeparam").Select(parameter => (string?)parameter.Attribute("name") ?? "").Where(name => name.Length > 0).Distinct()];

    /// <summary>The parameters of a type alone; none where they are not known.</summary>
    public string[] OfOne(string type) => types.GetValueOrDefault(type) ?? [];

    /// <summary>The parameters of a type and of those around it, outermost first; none where one of them is not known.</summary>
    public string[] OfAll(string type)
    {
        List<string> all = [];
        foreach ((string part, int count) in Parts(type))
        {
            string[] known = OfOne(part);
            if (known.Length != count)
            {
                return [];
            }

            all.AddRange(known);
        }

        return [.. all];
    }

    /// <summary>How many parameters a type and those around it have.</summary>
    public static int Count(string type) => Parts(type).Sum(part => part.Count);

    private static IEnumerable<(string Type, int Count)> Parts(string type)
    {
        for (int tick = type.IndexOf('`', StringComparison.Ordinal); tick >= 0; tick = type.IndexOf('`', tick + 1))
        {
            int end = tick + 1;
            while (end < type.Length && char.IsAsciiDigit(type[end]))
            {
                end++;
            }

            _ = int.TryParse(type.AsSpan(tick + 1, end - tick - 1), NumberStyles.None, CultureInfo.InvariantCulture, out int count);
            yield return (type[..end], count);
        }
    }
}

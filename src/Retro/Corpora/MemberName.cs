using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Retro.Corpora;

/// <summary>
/// A documentation id such as <c>M:System.String.Format(System.String,System.Object)</c>, taken apart.
/// </summary>
/// <param name="Kind">T, M, P, F, E or N.</param>
/// <param name="Type">The full name of the type that it is or belongs to; "" where the id is not of that form.</param>
/// <param name="Member">The member's name; "" for a type.</param>
/// <param name="Arguments">The argument types as written, null where there is no list.</param>
internal sealed partial record MemberName(char Kind, string Type, string Member, string? Arguments)
{
    public bool IsType => Kind == 'T';

    public static MemberName Parse(string id)
    {
        if (id.Length < 3 || id[1] != ':' || id[0] == 'N' || id[0] == '!')
        {
            return new MemberName('!', "", "", null);
        }

        string name = id[2..];
        if (id[0] == 'T')
        {
            return new MemberName('T', name, "", null);
        }

        string? arguments = null;
        int open = name.IndexOf('(', StringComparison.Ordinal);
        if (open >= 0)
        {
            int close = name.LastIndexOf(')');
            arguments = name[(open + 1)..Math.Max(open + 1, close)];
            name = name[..open];
        }
        else if (name.IndexOf('~', StringComparison.Ordinal) is >= 0 and int conversion)
        {
            name = name[..conversion];
        }

        int dot = name.LastIndexOf('.');
        return dot <= 0 ? new MemberName('!', "", "", null) : new MemberName(id[0], name[..dot], name[(dot + 1)..], arguments);
    }

    /// <summary>A full name as people write it: generic parameters as &lt;T1, T2&gt; instead of `2, nested names with dots.</summary>
    public static string Display(string name)
    {
        StringBuilder text = new();
        for (int i = 0; i < name.Length; i++)
        {
            if (name[i] != '`')
            {
                text.Append(name[i] switch { '{' => '<', '}' => '>', '#' => '.', char other => other });
                continue;
            }

            int digits = i + 1 < name.Length && name[i + 1] == '`' ? i + 2 : i + 1;
            int end = digits;
            while (end < name.Length && char.IsAsciiDigit(name[end]))
            {
                end++;
            }

            // After a name, the number of parameters; by itself, a parameter's number.
            bool isCount = i > 0 && (char.IsLetterOrDigit(name[i - 1]) || name[i - 1] == '_');
            int number = end > digits ? int.Parse(name.AsSpan(digits, Math.Min(3, end - digits)), NumberStyles.None, CultureInfo.InvariantCulture) : 0;
            text.Append(isCount ? $"<{string.Join(", ", Parameters(Math.Min(number, 32)))}>" : Parameter(number, number + 2));
            i = end - 1;
        }

        return text.ToString();
    }

    /// <summary>The last part of a reference, as a sentence would name it: "String", or "String.Format" for a member.</summary>
    public static string ShortReference(string id)
    {
        MemberName name = Parse(id);
        return name.IsType ? ShortType(name.Type)
            : name.Type.Length > 0 ? $"{ShortType(name.Type)}.{Readable(name.Member, name.Type)}"
            : id.Length > 2 && id[1] == ':' ? id[2..] : id;
    }

    /// <summary>The member as one would declare it, with the names of its parameters from the entry.</summary>
    public string Signature(XElement entry)
    {
        string text = Readable(Member, Type);
        if (Arguments is null && Kind != 'M')
        {
            return text;
        }

        string[] names = entry.Elements("param").Select(parameter => (string?)parameter.Attribute("name") ?? "").ToArray();
        // The type's own single parameter is called T, as in the type's name.
        string arguments = Arguments ?? "";
        arguments = Type.EndsWith("`1", StringComparison.Ordinal) ? OwnParameter().Replace(arguments, "T") : arguments;
        string[] types = SplitArguments(arguments).ToArray();
        IEnumerable<string> parameters = types.Select((type, i) => i < names.Length && names[i].Length > 0 ? $"{ShortType(type)} {names[i]}" : ShortType(type));
        return $"{text}({string.Join(", ", parameters)})";
    }

    private static string Readable(string member, string type)
    {
        // An explicitly implemented member carries its interface's name with '#' for '.'.
        string name = member[(member.LastIndexOf('#') + 1)..];
        return name is "ctor" or "cctor" ? "new " + ShortType(type) : Display(name);
    }

    private static string ShortType(string type)
    {
        string text = Display(type.Replace("@", "", StringComparison.Ordinal));
        StringBuilder shortened = new();
        int begin = 0;
        for (int i = 0; i <= text.Length; i++)
        {
            if (i == text.Length || text[i] is '<' or '>' or ',' or '[' or '*' or ' ')
            {
                string part = text[begin..i];
                shortened.Append(part.AsSpan(part.LastIndexOf('.') + 1));
                if (i < text.Length)
                {
                    shortened.Append(text[i]);
                    if (text[i] == ',' && i + 1 < text.Length && text[i + 1] != ' ')
                    {
                        shortened.Append(' ');
                    }
                }

                begin = i + 1;
            }
        }

        return shortened.ToString();
    }

    [GeneratedRegex("(?<!`)`0")]
    private static partial Regex OwnParameter();

    private static IEnumerable<string> SplitArguments(string arguments)
    {
        int depth = 0;
        int begin = 0;
        for (int i = 0; i < arguments.Length; i++)
        {
            depth += arguments[i] is '{' or '[' or '(' ? 1 : arguments[i] is '}' or ']' or ')' ? -1 : 0;
            if (arguments[i] == ',' && depth == 0)
            {
                yield return arguments[begin..i];
                begin = i + 1;
            }
        }

        if (begin < arguments.Length)
        {
            yield return arguments[begin..];
        }
    }

    private static IEnumerable<string> Parameters(int count) => Enumerable.Range(0, count).Select(i => Parameter(i, count));

    private static string Parameter(int number, int count) => count == 1 ? "T" : "T" + (number + 1).ToString(CultureInfo.InvariantCulture);
}

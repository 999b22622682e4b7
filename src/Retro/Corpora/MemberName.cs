using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Retro.Corpora;

/// <summary>
/// A documentation id such as <c>M:System.String.Format(System.String,System.Object)</c>, taken apart.
/// </summary>
/// <param name="Kind">T, M, P, F, E or N.</param>
/// <param name="Holder">
/// What it is or belongs to: the full name of a type, or of a group of extension blocks in one, which C# gives a name that nobody can write
/// (https://github.com/dotnet/csharplang/blob/main/proposals/extensions.md#docs); "" where the id is not of that form.
/// </param>
/// <param name="Member">The member's name; "" for a type.</param>
/// <param name="Arguments">The argument types as written, null where there is no list.</param>
/// <param name="Result">The type that a conversion gives, as written; null elsewhere.</param>
internal sealed partial record MemberName(char Kind, string Holder, string Member, string? Arguments, string? Result = null)
{
    // What some tools name all methods of one name by.
    private const string Overloads = "Overload:";

    // https://learn.microsoft.com/dotnet/standard/design-guidelines/operator-overloads
    private static readonly Dictionary<string, string> s_operators = new(StringComparer.Ordinal)
    {
        ["op_Addition"] = "+", ["op_Subtraction"] = "-", ["op_Multiply"] = "*", ["op_Division"] = "/", ["op_Modulus"] = "%", ["op_BitwiseAnd"] = "&",
        ["op_BitwiseOr"] = "|", ["op_ExclusiveOr"] = "^", ["op_LeftShift"] = "<<", ["op_RightShift"] = ">>", ["op_UnsignedRightShift"] = ">>>",
        ["op_Equality"] = "==", ["op_Inequality"] = "!=", ["op_LessThan"] = "<", ["op_GreaterThan"] = ">", ["op_LessThanOrEqual"] = "<=",
        ["op_GreaterThanOrEqual"] = ">=", ["op_UnaryPlus"] = "+", ["op_UnaryNegation"] = "-", ["op_LogicalNot"] = "!", ["op_OnesComplement"] = "~",
        ["op_Increment"] = "++", ["op_Decrement"] = "--", ["op_True"] = "true", ["op_False"] = "false", ["op_CheckedAddition"] = "checked +",
        ["op_CheckedSubtraction"] = "checked -", ["op_CheckedMultiply"] = "checked *", ["op_CheckedDivision"] = "checked /",
        ["op_CheckedUnaryNegation"] = "checked -", ["op_CheckedIncrement"] = "checked ++", ["op_CheckedDecrement"] = "checked --",

        // https://github.com/dotnet/csharplang/blob/main/proposals/csharp-14.0/user-defined-compound-assignment.md
        ["op_AdditionAssignment"] = "+=", ["op_SubtractionAssignment"] = "-=", ["op_MultiplicationAssignment"] = "*=", ["op_DivisionAssignment"] = "/=",
        ["op_ModulusAssignment"] = "%=", ["op_BitwiseAndAssignment"] = "&=", ["op_BitwiseOrAssignment"] = "|=", ["op_ExclusiveOrAssignment"] = "^=",
        ["op_LeftShiftAssignment"] = "<<=", ["op_RightShiftAssignment"] = ">>=", ["op_UnsignedRightShiftAssignment"] = ">>>=",
        ["op_IncrementAssignment"] = "++", ["op_DecrementAssignment"] = "--", ["op_CheckedAdditionAssignment"] = "checked +=",
        ["op_CheckedSubtractionAssignment"] = "checked -=", ["op_CheckedMultiplicationAssignment"] = "checked *=",
        ["op_CheckedDivisionAssignment"] = "checked /=", ["op_CheckedIncrementAssignment"] = "checked ++", ["op_CheckedDecrementAssignment"] = "checked --",
    };

    /// <summary>The full name of the type that it is or belongs to.</summary>
    public string Type { get; } = Group().Replace(Holder, "");

    public bool IsType => Kind == 'T' && Type == Holder;

    private bool IsConstructor => Member is "#ctor" or "#cctor";

    public static MemberName Parse(string id)
    {
        if (id.Length < 3 || id[1] != ':' || id[0] == 'N' || id[0] == '!')
        {
            return new MemberName('!', "", "", null);
        }

        string name = id[2..];
        if (id[0] == 'T')
        {
            return new MemberName('T', Block().Replace(name, ""), "", null);
        }

        string? arguments = null, result = null;
        int conversion = name.LastIndexOf('~');
        if (conversion >= 0)
        {
            (name, result) = (name[..conversion], name[(conversion + 1)..]);
        }

        int open = name.IndexOf('(', StringComparison.Ordinal);
        if (open >= 0)
        {
            int close = name.LastIndexOf(')');
            arguments = name[(open + 1)..Math.Max(open + 1, close)];
            name = name[..open];
        }

        int dot = name.LastIndexOf('.');
        return dot <= 0 ? new MemberName('!', "", "", null) : new MemberName(id[0], name[..dot], name[(dot + 1)..], arguments, result);
    }

    /// <summary>A full name as people write it: generic parameters as &lt;TKey, TValue&gt; instead of `2, nested names with dots.</summary>
    public static string Display(string name, GenericNames names) => Display(name, names, name, []);

    /// <summary>The last part of a reference, as a sentence would name it: "String", or "String.Format" for a member.</summary>
    public static string ShortReference(string id, GenericNames names)
    {
        MemberName name = Parse(id.StartsWith(Overloads, StringComparison.Ordinal) ? $"O:{id.AsSpan(Overloads.Length)}" : id);
        return name.Kind == 'T' ? ShortType(name.Type, names, name.Type, [])
            : name.IsConstructor ? Readable(name.Member, names, name.Type, [])
            : name.Type.Length > 0 ? $"{ShortType(name.Type, names, name.Type, [])}.{name.Called(names, [])}"
            : Display(id.Length > 2 && id[1] == ':' ? id[2..] : id, names); // what the compiler has not resolved, or not seen
    }

    /// <summary>The member as one would declare it, with the names of its parameters, generic ones too, from the entry and from that of its type.</summary>
    public string Signature(XElement entry, GenericNames names)
    {
        string[] own = GenericNames.In(entry);
        string[] called = entry.Elements("param").Select(parameter => (string?)parameter.Attribute("name") ?? "").ToArray();
        if (Kind == 'T')
        {
            // Of a block of extensions nothing names the type that it extends.
            return $"extension{(own.Length > 0 ? $"<{string.Join(", ", own)}>" : "")}({string.Join(", ", called)})";
        }

        // Some entries do not name the parameters of a generic method.
        int count = Generic().Match(Member) is { Success: true } arity ? int.Parse(arity.Groups["count"].ValueSpan, CultureInfo.InvariantCulture) : 0;
        own = own.Length == count ? own : names.OfMember(Holder, count);
        string text = Called(names, own);
        if (Arguments is null && Kind != 'M')
        {
            return text;
        }

        IEnumerable<string> parameters = SplitArguments(Arguments ?? "").Select((argument, i) =>
        {
            string type = ShortType(argument, names, Holder, own);
            return i < called.Length && called[i].Length > 0 ? $"{type} {called[i]}" : type;
        });
        return $"{text}({string.Join(", ", parameters)})";
    }

    private string Called(GenericNames names, string[] own) => Member switch
    {
        "op_Implicit" when Result is not null => $"implicit operator {ShortType(Result, names, Holder, own)}",
        "op_Explicit" when Result is not null => $"explicit operator {ShortType(Result, names, Holder, own)}",
        "op_CheckedExplicit" when Result is not null => $"explicit operator checked {ShortType(Result, names, Holder, own)}",
        _ => Readable(Member, names, Holder, own),
    };

    private static string Readable(string member, GenericNames names, string type, string[] own)
    {
        // An explicitly implemented member carries its interface's name with '#' for '.'.
        string name = member[(member.LastIndexOf('#') + 1)..];
        return name is "ctor" or "cctor" ? "new " + ShortType(type, names, type, [])
            : s_operators.TryGetValue(name, out string? sign) ? $"operator {sign}"
            : Display(name, names, type, own);
    }

    /// <param name="name">A type's name, a member's, or an argument's type.</param>
    /// <param name="names">The names of the file's generic parameters.</param>
    /// <param name="type">The type whose parameters `0, `1, ... are.</param>
    /// <param name="own">The member's own parameters, ``0, ``1, ...</param>
    private static string Display(string name, GenericNames names, string type, string[] own)
    {
        StringBuilder text = new();
        using IEnumerator<string[]> counted = names.Of(name).GetEnumerator();
        string[]? around = null;
        for (int i = 0; i < name.Length; i++)
        {
            if (name[i] != '`')
            {
                text.Append(name[i] switch { '{' => '<', '}' => '>', '#' => '.', char other => other });
                continue;
            }

            bool ofMember = i + 1 < name.Length && name[i + 1] == '`';
            int digits = ofMember ? i + 2 : i + 1;
            int end = digits;
            while (end < name.Length && char.IsAsciiDigit(name[end]))
            {
                end++;
            }

            // After a name, the number of parameters; by itself, a parameter's number.
            int number = end > digits ? int.Parse(name.AsSpan(digits, Math.Min(3, end - digits)), NumberStyles.None, CultureInfo.InvariantCulture) : 0;
            if (GenericNames.IsCount(name, i))
            {
                int count = Math.Min(number, GenericNames.MostParameters);
                string[] all = !ofMember ? end > digits && counted.MoveNext() ? counted.Current : []
                    : own.Length == count ? own : names.OfMember(type, count);
                text.Append('<').AppendJoin(", ", all).Append('>');
            }
            else
            {
                string[] known = ofMember ? own : around ??= [.. names.Of(type).SelectMany(part => part)];
                text.Append(number < known.Length ? known[number] : GenericNames.Numbered(number, number + 2));
            }

            i = end - 1;
        }

        return text.ToString();
    }

    private static string ShortType(string name, GenericNames names, string type, string[] own)
    {
        string text = Display(Aside().Replace(name, ""), names, type, own);
        StringBuilder shortened = new();
        Stack<int> around = [];
        int begin = 0, typeBegin = 0;
        for (int i = 0; i <= text.Length; i++)
        {
            if (i < text.Length && text[i] is not ('<' or '>' or '(' or ')' or ',' or '[' or '*' or ' '))
            {
                continue;
            }

            // A type within a generic one: what stands before its own name goes, as other namespaces do.
            string part = text[begin..i];
            shortened.Length = part.StartsWith('.') ? typeBegin : shortened.Length;
            shortened.Append(part.AsSpan(part.LastIndexOf('.') + 1));
            begin = i + 1;
            if (i == text.Length)
            {
                break;
            }

            shortened.Append(text[i]).Append(text[i] == ',' && begin < text.Length && text[begin] is not (' ' or ',' or ']') ? " " : "");
            if (text[i] is '<' or '(')
            {
                around.Push(typeBegin);
            }

            typeBegin = text[i] is '>' or ')' && around.TryPop(out int outer) ? outer : text[i] is '<' or '(' or ',' or ' ' ? shortened.Length : typeBegin;
        }

        return shortened.ToString();
    }

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

    [GeneratedRegex(@"``(?<count>\d{1,2})$")]
    private static partial Regex Generic();

    [GeneratedRegex(@"\.<G>\$\w+(?:`\d+)?$")]
    private static partial Regex Group();

    [GeneratedRegex(@"\.<M>\$\w+$")]
    private static partial Regex Block();

    // What an id says of a type beside its name: that it is passed by reference or points to a function, the bounds of an array's dimensions, and what C++
    // modifies it with
    // (https://learn.microsoft.com/dotnet/csharp/language-reference/xmldoc/#id-strings).
    [GeneratedRegex(@"@|=FUNC:|(?<=[\[,])\d*:\d*(?=[\],])|[!|][\w.]+")]
    private static partial Regex Aside();
}

using System.Globalization;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Retro.Tests.Documentation;

/// <summary>
/// The library's reference: a page of Markdown for each namespace, made of the documentation comments. A cref becomes a link to the heading of its type, whose
/// anchor every renderer makes by itself.
/// </summary>
internal sealed partial class LibraryReference
{
    private readonly Type[] _types;
    private readonly Dictionary<string, Type> _byId;
    private readonly Dictionary<string, XElement> _documented;

    /// <summary>Reads what is documented, in the files that the compiler writes beside the assemblies.</summary>
    public LibraryReference(params Assembly[] assemblies)
    {
        _types = [.. assemblies.SelectMany(assembly => assembly.GetExportedTypes()).OrderBy(type => type.FullName, StringComparer.Ordinal)];
        _byId = _types.ToDictionary(Id);
        // What a generator writes into several assemblies has one name in all of them, and is nobody's to use.
        _documented = assemblies.SelectMany(assembly => XDocument.Load(Path.ChangeExtension(assembly.Location, ".xml")).Descendants("member"))
            .DistinctBy(member => (string)member.Attribute("name")!)
            .ToDictionary(member => (string)member.Attribute("name")!);
    }

    /// <summary>The pages by file name.</summary>
    public SortedDictionary<string, string> Pages()
    {
        SortedDictionary<string, string> pages = new(StringComparer.Ordinal);
        StringBuilder index = new(
            "# Reference\n\nMade of the documentation comments; `ReferenceTests` hold it to them. [How the namespaces belong together](../how-it-works.md).\n");
        foreach (IGrouping<string, Type> room in _types.GroupBy(type => type.Namespace!))
        {
            StringBuilder page = new($"# {room.Key}\n");
            index.Append(CultureInfo.InvariantCulture, $"\n## [{room.Key}]({room.Key}.md)\n\n");
            index.AppendJoin(", ", room.Select(type => Link(type, ""))).Append('\n');
            foreach (Type type in room)
            {
                Write(page, type);
            }

            pages[$"{room.Key}.md"] = page.ToString();
        }

        pages["README.md"] = index.ToString();
        return pages;
    }

    /// <summary>What pages point to and nobody can use, being internal: "FROM: TO" each.</summary>
    public string[] HiddenCrefs()
    {
        IEnumerable<string> told = _types.SelectMany(type => Members(type).Select(Id).Prepend($"T:{Id(type)}")).Where(_documented.ContainsKey);
        return
        [
            .. told.SelectMany(id => _documented[id].Descendants().Attributes("cref").Where(cref => !IsSeen(cref.Value)).Select(cref => $"{id}: {cref.Value}")),
        ];

        bool IsSeen(string cref)
        {
            string id = cref[2..].Split('(')[0];
            if (!id.StartsWith("Retro.", StringComparison.Ordinal) || _byId.ContainsKey(id))
            {
                return true;
            }

            string member = id[(id.LastIndexOf('.') + 1)..].Split('`')[0].Replace("#ctor", ".ctor", StringComparison.Ordinal);
            const BindingFlags All = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static;
            return _byId.TryGetValue(id[..id.LastIndexOf('.')], out Type? owner) && owner.GetMember(member, All).Any(found => found switch
            {
                FieldInfo field => field.IsPublic || field.IsFamily,
                PropertyInfo property => (property.GetMethod ?? property.SetMethod!) is { } of && (of.IsPublic || of.IsFamily || of.IsFamilyOrAssembly),
                MethodBase method => method.IsPublic || method.IsFamily || method.IsFamilyOrAssembly,
                _ => true,
            });
        }
    }

    private void Write(StringBuilder page, Type type)
    {
        page.Append(CultureInfo.InvariantCulture, $"\n## {Escape(CSharpSignature.Name(type))}\n\n`{CSharpSignature.Of(type)}`\n");
        Describe(page, $"T:{Id(type)}", type, type, "");
        page.Append('\n');
        foreach (MemberInfo member in Members(type))
        {
            page.Append(CultureInfo.InvariantCulture, $"- `{CSharpSignature.Of(member)}`");
            Describe(page, Id(member), member, type, "  ");
            page.Append('\n');
        }
    }

    private void Describe(StringBuilder page, string id, MemberInfo member, Type type, string indent)
    {
        if (!_documented.TryGetValue(id, out XElement? told))
        {
            return;
        }

        told = Whole(told);
        foreach ((string tag, string title) in new[] { ("summary", ""), ("value", ""), ("returns", "Returns: "), ("remarks", "") })
        {
            // A member's summary stands behind its signature.
            if (told.Element(tag) is { } part)
            {
                page.Append(tag != "summary" ? $"\n\n{indent}" : indent.Length > 0 ? ": " : "\n").Append(title).Append(Text(part, type));
            }
        }

        string end = indent.Length > 0 ? "" : "\n";
        ParameterInfo[] takes = member is MethodBase method ? method.GetParameters() : (member as PropertyInfo)?.GetIndexParameters() ?? [];
        string?[] parameters = [.. takes.Select(parameter => parameter.Name)];
        IEnumerable<XElement> own = told.Elements("param").Where(part => member is Type || parameters.Contains((string)part.Attribute("name")!));
        foreach (XElement part in own.Concat(told.Elements("exception")))
        {
            string name = part.Attribute("name") is { } parameter ? $"`{parameter.Value}`" : Linked((string)part.Attribute("cref")!, type);
            page.Append(CultureInfo.InvariantCulture, $"\n{end}{indent}- {name}: {Text(part, type)}");
            end = "";
        }

        page.Append(indent.Length > 0 ? "" : "\n");
    }

    /// <summary>What is told of a member: what it says itself, and of what it leaves out, what the one says that it inherits from.</summary>
    private XElement Whole(XElement told)
    {
        if (told.Element("inheritdoc")?.Attribute("cref") is not { } other)
        {
            return told;
        }

        return new(told.Name, told.Elements(), Whole(_documented[other.Value]).Elements().Where(part => !told.Elements(part.Name).Any(own
            => (part.Attribute("name") ?? part.Attribute("cref"))?.Value == (own.Attribute("name") ?? own.Attribute("cref"))?.Value)));
    }

    private string Text(XElement element, Type type)
        => Spaces().Replace(string.Concat(element.Nodes().Select(node => node switch
        {
            XText text => Escape(text.Value),
            XElement { Name.LocalName: "see" } see when see.Attribute("cref") is { } cref => Linked(cref.Value, type),
            XElement { Name.LocalName: "see" } see when see.Attribute("href") is { } address => $"<{address.Value}>",
            XElement { Name.LocalName: "paramref" or "typeparamref" } named => $"`{(string)named.Attribute("name")!}`",
            XElement { Name.LocalName: "see" } word => $"`{(string?)word.Attribute("langword")}`",
            XElement { Name.LocalName: "c" or "code" } code => $"`{code.Value.Replace('`', '\'')}`",
            XElement other => $" {Text(other, type)} ",
            _ => "",
        })), " ").Trim();

    /// <summary>What a cref means: Type or Type.Member, where Type is left out on its own page's part.</summary>
    private string Linked(string cref, Type from)
    {
        string id = cref[2..].Split('(')[0];
        if (_byId.TryGetValue(id, out Type? type))
        {
            return Link(type, from.Namespace!);
        }

        int dot = id.LastIndexOf('.');
        string member = id[(dot + 1)..].Split('`')[0].Replace("#ctor", "new", StringComparison.Ordinal);
        return !_byId.TryGetValue(id[..dot], out Type? owner) ? $"`{member}`" : owner == from ? $"`{member}`" : $"{Link(owner, from.Namespace!)}.{member}";
    }

    private static string Link(Type type, string room)
    {
        string name = CSharpSignature.Name(type);
        return $"[{Escape(name)}]({(type.Namespace == room ? "" : $"{type.Namespace}.md")}#{Others().Replace(name.ToLowerInvariant(), "")})";
    }

    /// <summary>
    /// The members that a page tells of: those that may be used from outside, without what a record's head names, what the compiler makes, and what stands with
    /// the interface or the class that the head names.
    /// </summary>
    private IEnumerable<MemberInfo> Members(Type type)
    {
        ConstructorInfo? positional = CSharpSignature.Positional(type);
        string?[] named = [.. positional?.GetParameters().Select(parameter => parameter.Name) ?? []];
        return type.GetMembers(BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly)
            .Where(member => member switch
            {
                FieldInfo { IsSpecialName: false } field => field.IsPublic,
                PropertyInfo property => IsSeen(property.GetMethod ?? property.SetMethod!) && !named.Contains(property.Name),
                ConstructorInfo constructor => IsSeen(constructor) && constructor != positional,
                MethodInfo { IsSpecialName: false } method => IsSeen(method),
                _ => false,
            })
            .Where(member => !member.IsDefined(typeof(CompilerGeneratedAttribute)))
            .Where(member => _documented.TryGetValue(Id(member), out XElement? told)
                ? told.Element("inheritdoc") is not { } inherited || inherited.Attribute("cref") is not null
                : type.IsEnum || member is ConstructorInfo { IsPublic: true })
            .OrderBy(member => member is not ConstructorInfo)
            .ThenBy(member => member is FieldInfo { FieldType.IsEnum: true } ? "" : member.Name, StringComparer.Ordinal)
            .ThenBy(CSharpSignature.Of, StringComparer.Ordinal);

        bool IsSeen(MethodBase method) => method.IsPublic || (!type.IsSealed && (method.IsFamily || method.IsFamilyOrAssembly));
    }

    /// <summary>A type's name in documentation files.</summary>
    private static string Id(Type type)
        => type.IsGenericParameter
            ? (type.DeclaringMethod is null ? "`" : "``") + type.GenericParameterPosition
            : type.IsByRef
            ? $"{Id(type.GetElementType()!)}@"
            : type.IsArray
            ? $"{Id(type.GetElementType()!)}[]"
            : type.IsConstructedGenericType
            ? $"{Id(type.GetGenericTypeDefinition()).Split('`')[0]}{{{string.Join(',', type.GetGenericArguments().Select(Id))}}}"
            : type.FullName!.Replace('+', '.');

    private static string Id(MemberInfo member)
    {
        string owner = Id(member.DeclaringType!);
        return member switch
        {
            ConstructorInfo constructor => $"M:{owner}.#ctor{Parameters(constructor.GetParameters())}",
            MethodInfo method => $"M:{owner}.{method.Name}{(method.IsGenericMethod ? $"``{method.GetGenericArguments().Length}" : "")}"
                + Parameters(method.GetParameters()),
            PropertyInfo property => $"P:{owner}.{property.Name}{Parameters(property.GetIndexParameters())}",
            _ => $"F:{owner}.{member.Name}",
        };

        static string Parameters(ParameterInfo[] all)
            => all.Length > 0 ? $"({string.Join(',', all.Select(parameter => Id(parameter.ParameterType)))})" : "";
    }

    private static string Escape(string text) => Marks().Replace(text, match => $"\\{match.Value}");

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();

    [GeneratedRegex("[^a-z0-9]+")]
    private static partial Regex Others();

    [GeneratedRegex(@"[\\`*_<>\[\]|]")]
    private static partial Regex Marks();
}

using System.Globalization;
using System.Reflection;
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
    private static readonly Dictionary<Type, string> s_keywords = new()
    {
        [typeof(bool)] = "bool", [typeof(byte)] = "byte", [typeof(double)] = "double", [typeof(float)] = "float", [typeof(int)] = "int",
        [typeof(long)] = "long", [typeof(object)] = "object", [typeof(string)] = "string", [typeof(void)] = "void",
    };

    private readonly Type[] _types;
    private readonly Dictionary<string, Type> _byId;
    private readonly Dictionary<string, XElement> _documented;

    /// <summary>Reads what is documented, in the files that the compiler writes beside the assemblies.</summary>
    public LibraryReference(params Assembly[] assemblies)
    {
        _types = [.. assemblies.SelectMany(assembly => assembly.GetExportedTypes()).OrderBy(type => type.FullName, StringComparer.Ordinal)];
        _byId = _types.ToDictionary(Id);
        _documented = assemblies.SelectMany(assembly => XDocument.Load(Path.ChangeExtension(assembly.Location, ".xml")).Descendants("member"))
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

    private void Write(StringBuilder page, Type type)
    {
        page.Append(CultureInfo.InvariantCulture, $"\n## {Escape(Name(type))}\n\n`{Kind(type)} {Name(type)}`\n");
        Describe(page, $"T:{Id(type)}", type, "");
        page.Append('\n');
        foreach (MemberInfo member in Members(type))
        {
            page.Append(CultureInfo.InvariantCulture, $"- `{Signature(member)}`");
            Describe(page, DocumentedAt(member), type, "  ");
            page.Append('\n');
        }
    }

    private void Describe(StringBuilder page, string id, Type type, string indent)
    {
        if (!_documented.TryGetValue(id, out XElement? told))
        {
            return;
        }

        foreach ((string tag, string title) in new[] { ("summary", ""), ("value", ""), ("returns", "Returns: "), ("remarks", "") })
        {
            // A member's summary stands behind its signature.
            if (told.Element(tag) is { } part)
            {
                page.Append(tag != "summary" ? $"\n\n{indent}" : indent.Length > 0 ? ": " : "\n").Append(title).Append(Text(part, type));
            }
        }

        string end = indent.Length > 0 ? "" : "\n";
        foreach (XElement part in told.Elements().Where(part => part.Name.LocalName is "param" or "exception"))
        {
            string name = part.Attribute("name") is { } parameter ? $"`{parameter.Value}`" : Linked((string)part.Attribute("cref")!, type);
            page.Append(CultureInfo.InvariantCulture, $"\n{end}{indent}- {name}: {Text(part, type)}");
            end = "";
        }

        page.Append(indent.Length > 0 ? "" : "\n");
    }

    /// <summary>Where a member is documented: with itself, or, where it says that it inherits, with the interface or the class that has it.</summary>
    private string DocumentedAt(MemberInfo member)
    {
        string id = Id(member);
        if (!_documented.TryGetValue(id, out XElement? told) || told.Element("inheritdoc") is null)
        {
            return id;
        }

        Type owner = member.DeclaringType!;
        IEnumerable<Type> bases = owner.GetInterfaces().Concat(owner.BaseType is { } parent ? [parent] : []);
        return bases.Select(other => $"{id[..2]}{Id(other)}{id[(2 + Id(owner).Length)..]}").FirstOrDefault(_documented.ContainsKey) ?? id;
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
        => $"[{Escape(Name(type))}]({(type.Namespace == room ? "" : $"{type.Namespace}.md")}#{Others().Replace(Name(type).ToLowerInvariant(), "")})";

    private static IEnumerable<MemberInfo> Members(Type type)
        => type.GetMembers(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly)
            .Where(member => member is PropertyInfo or FieldInfo { IsSpecialName: false } or ConstructorInfo or MethodInfo { IsSpecialName: false })
            .Where(member => !member.Name.StartsWith('<') && !(IsRecord(type) && member.Name is "ToString" or "Equals" or "GetHashCode" or "Deconstruct"))
            .OrderBy(member => member is not ConstructorInfo)
            .ThenBy(member => member is FieldInfo { FieldType.IsEnum: true } ? "" : member.Name, StringComparer.Ordinal)
            .ThenBy(Signature, StringComparer.Ordinal);

    private static bool IsRecord(Type type) => type.GetMethod("<Clone>$") is not null;

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
            ConstructorInfo constructor => $"M:{owner}.#ctor{Parameters(constructor)}",
            MethodInfo { IsGenericMethod: true } method => $"M:{owner}.{method.Name}``{method.GetGenericArguments().Length}{Parameters(method)}",
            MethodInfo method => $"M:{owner}.{method.Name}{Parameters(method)}",
            PropertyInfo property => $"P:{owner}.{property.Name}",
            _ => $"F:{owner}.{member.Name}",
        };

        static string Parameters(MethodBase method)
            => method.GetParameters() is { Length: > 0 } all ? $"({string.Join(',', all.Select(parameter => Id(parameter.ParameterType)))})" : "";
    }

    private static string Kind(Type type)
        => type.IsEnum
            ? "enum"
            : type.IsInterface
            ? "interface"
            : type.IsValueType
            ? "struct"
            : IsRecord(type)
            ? "record"
            : type is { IsAbstract: true, IsSealed: true }
            ? "static class"
            : type.IsAbstract
            ? "abstract class"
            : "class";

    private static string Name(Type type)
    {
        if (s_keywords.TryGetValue(type, out string? keyword))
        {
            return keyword;
        }

        if (type.IsByRef || type.IsArray)
        {
            return Name(type.GetElementType()!) + (type.IsArray ? "[]" : "");
        }

        if (Nullable.GetUnderlyingType(type) is { } underlying)
        {
            return $"{Name(underlying)}?";
        }

        string name = type.Name.Split('`')[0];
        return (type is { IsNested: true, IsGenericParameter: false } ? $"{Name(type.DeclaringType!)}." : "")
            + (type.IsGenericType ? $"{name}<{string.Join(", ", type.GetGenericArguments().Select(Name))}>" : name);
    }

    private static string Signature(MemberInfo member)
    {
        return member switch
        {
            ConstructorInfo constructor => $"new {Name(constructor.DeclaringType!)}({Parameters(constructor)})",
            MethodInfo method => $"{(method.IsStatic ? "static " : "")}{Name(method.ReturnType)} {method.Name}({Parameters(method)})",
            PropertyInfo property => $"{(property.GetMethod?.IsStatic == true ? "static " : "")}{Name(property.PropertyType)} {property.Name}",
            FieldInfo { DeclaringType.IsEnum: true } value => value.Name,
            FieldInfo field => $"{Name(field.FieldType)} {field.Name}",
            _ => member.Name,
        };

        static string Parameters(MethodBase method)
            => string.Join(", ", method.GetParameters().Select(one => $"{Name(one.ParameterType)} {one.Name}{(one.IsOptional ? "?" : "")}"));
    }

    private static string Escape(string text) => Marks().Replace(text, match => $"\\{match.Value}");

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();

    [GeneratedRegex("[^a-z0-9]+")]
    private static partial Regex Others();

    [GeneratedRegex(@"[\\`*_<>\[\]|]")]
    private static partial Regex Marks();
}

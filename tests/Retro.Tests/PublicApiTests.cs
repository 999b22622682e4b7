using System.Reflection;
using System.Text;
using Retro.Modeling;

namespace Retro.Tests;

/// <summary>The public surface is what PublicApi.approved.txt says: what is added to it or taken from it is added or taken there too, on purpose.</summary>
public class PublicApiTests
{
    private static readonly string s_approved = Path.Combine(Fixtures.Root, "tests", "Retro.Tests", "PublicApi.approved.txt");

    [Fact]
    public void The_public_surface_is_the_approved_one()
    {
        string[] now = [.. Members()], approved = File.Exists(s_approved) ? File.ReadAllLines(s_approved) : [];
        string received = Path.Combine(Path.GetTempPath(), "PublicApi.received.txt");
        if (!now.SequenceEqual(approved))
        {
            File.WriteAllLines(received, now);
        }

        Assert.True(
            now.SequenceEqual(approved),
            $"The public surface differs from {s_approved}. Added: {string.Join(" | ", Named(now).Except(Named(approved)).Take(10))}. Gone: "
                + $"{string.Join(" | ", Named(approved).Except(Named(now)).Take(10))}. Where that is meant, copy {received} over it.");
    }

    /// <summary>Members with their types' names before them, since many types have members that read alike.</summary>
    private static IEnumerable<string> Named(string[] lines)
    {
        string type = "";
        foreach (string line in lines)
        {
            type = line.StartsWith(' ') ? type : line;
            yield return line.StartsWith(' ') ? $"{type}:{line}" : line;
        }
    }

    private static IEnumerable<string> Members()
    {
        foreach (Type type in typeof(RetroModel).Assembly.GetExportedTypes().OrderBy(type => type.FullName, StringComparer.Ordinal))
        {
            yield return $"{Kind(type)} {type.FullName}";
            const BindingFlags Declared
                = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;
            IEnumerable<string> members = type.GetMembers(Declared).Where(IsVisible).Select(member => member switch
            {
                ConstructorInfo constructor => $"new({Parameters(constructor)})",
                MethodInfo method => $"{(method.IsStatic ? "static " : "")}{Name(method.ReturnType)} {method.Name}({Parameters(method)})",
                PropertyInfo property => $"{(property.GetMethod?.IsStatic == true ? "static " : "")}{Name(property.PropertyType)} {property.Name} "
                    + $"{{{(IsVisible(property.GetMethod) ? " get;" : "")}{(IsVisible(property.SetMethod) ? " set;" : "")} }}",
                FieldInfo field => $"{Name(field.FieldType)} {field.Name}",
                _ => member.ToString()!,
            });
            foreach (string member in members.Order(StringComparer.Ordinal))
            {
                yield return $"  {member}";
            }
        }
    }

    private static string Kind(Type type)
        => type.IsEnum
            ? "enum"
            : type.IsInterface
            ? "interface"
            : type.IsValueType
            ? "struct"
            : type is { IsAbstract: true, IsSealed: true }
            ? "static class"
            : type.IsSealed
            ? "sealed class"
            : "class";

    // What the compiler writes for records says nothing that their properties do not.
    private static bool IsVisible(MemberInfo? member) => member switch
    {
        MethodBase method => (method.IsPublic || method.IsFamily || method.IsFamilyOrAssembly)
            && (method is ConstructorInfo
                || (!method.IsSpecialName && method.Name is not ("<Clone>$" or "PrintMembers" or "Deconstruct" or "Equals" or "GetHashCode" or "ToString"))),
        PropertyInfo property => property.Name != "EqualityContract" && (IsAccessible(property.GetMethod) || IsAccessible(property.SetMethod)),
        FieldInfo field => (field.IsPublic || field.IsFamily) && !field.IsSpecialName,
        TypeInfo => false,
        _ => false,
    };

    private static bool IsVisible(MethodInfo? accessor) => IsAccessible(accessor);

    private static bool IsAccessible(MethodInfo? accessor) => accessor is not null && (accessor.IsPublic || accessor.IsFamily || accessor.IsFamilyOrAssembly);

    private static string Parameters(MethodBase method)
        => string.Join(
            ", ", method.GetParameters().Select(parameter => $"{Name(parameter.ParameterType)} {parameter.Name}{(parameter.IsOptional ? " = optional" : "")}"));

    private static string Name(Type type)
    {
        if (type.IsByRef || type.IsArray)
        {
            return Name(type.GetElementType()!) + (type.IsArray ? "[]" : "&");
        }

        if (!type.IsGenericType)
        {
            return type.Name;
        }

        StringBuilder name = new(type.Name.Split('`')[0]);
        return name.Append('<').AppendJoin(", ", type.GetGenericArguments().Select(Name)).Append('>').ToString();
    }
}

using System.Reflection;
using System.Text;

namespace Retro.Tests;

/// <summary>The public surface of a package, a line for each type and member.</summary>
internal static class PublicApi
{
    /// <summary>Compares it with PublicApi.approved.txt in the folder of the package's tests.</summary>
    public static void RequireApproved(Assembly assembly)
    {
        string name = assembly.GetName().Name!, path = Path.Combine(Fixtures.Root, "tests", $"{name}.Tests", "PublicApi.approved.txt");
        string[] now = [.. Members(assembly)], approved = File.Exists(path) ? File.ReadAllLines(path) : [];
        string received = Path.Combine(AppContext.BaseDirectory, $"{name}.PublicApi.received.txt");
        if (!now.SequenceEqual(approved))
        {
            File.WriteAllLines(received, now);
        }

        Assert.True(
            now.SequenceEqual(approved),
            $"The public surface differs from {path}. Added: {string.Join(" | ", Named(now).Except(Named(approved)).Take(10))}. Gone: "
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

    private static IEnumerable<string> Members(Assembly assembly)
    {
        foreach (Type type in assembly.GetExportedTypes().OrderBy(type => type.FullName, StringComparer.Ordinal))
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

using System.Globalization;
using System.Reflection;
using System.Runtime.CompilerServices;

namespace Retro.Tests.Standins;

/// <summary>An assembly's public and protected members as lines of text, in the form of the lists in fixtures/api.</summary>
internal static class ApiSignatures
{
    private const BindingFlags Declared = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;

    private static readonly Dictionary<Type, string> Keywords = new()
    {
        [typeof(void)] = "void",
        [typeof(bool)] = "bool",
        [typeof(byte)] = "byte",
        [typeof(sbyte)] = "sbyte",
        [typeof(short)] = "short",
        [typeof(int)] = "int",
        [typeof(long)] = "long",
        [typeof(float)] = "float",
        [typeof(double)] = "double",
        [typeof(string)] = "string",
        [typeof(object)] = "object",
    };

    /// <summary>Every line of an assembly.</summary>
    public static IEnumerable<string> Of(Assembly assembly) =>
        assembly.GetTypes().Where(IsVisible).SelectMany(type => MembersOf(type).Select(member => Of(member)).OfType<string>().Prepend(Of(type)));

    /// <summary>A type's own line.</summary>
    public static string Of(Type type)
    {
        string kind = type switch
        {
            { IsEnum: true } => "enum",
            { IsInterface: true } => "interface",
            { IsValueType: true } => "struct",
            { IsAbstract: true, IsSealed: true } => "static class",
            { IsAbstract: true } => "abstract class",
            { IsSealed: true } => "sealed class",
            _ => "class",
        };
        string inherits = kind.EndsWith("class", StringComparison.Ordinal) && type.BaseType is not null && type.BaseType != typeof(object) ? $" : {Name(type.BaseType)}" : "";
        return $"{Name(type)} :: {kind}{inherits}";
    }

    /// <summary>A member's line, or null where it has none: what is private, and what a compiler makes.</summary>
    public static string? Of(MemberInfo member)
    {
        string? text = member switch
        {
            FieldInfo field when IsVisible(field) => Text(field),
            PropertyInfo property => Text(property),
            ConstructorInfo constructor when IsVisible(constructor) && !constructor.IsStatic => $"{Access(constructor)}.ctor({Parameters(constructor)})",
            MethodInfo method when IsVisible(method) => Text(method),
            _ => null,
        };
        return text is null ? null : $"{Name(member.DeclaringType!)} :: {text}";
    }

    /// <summary>The property that an accessor belongs to, or the member itself.</summary>
    public static MemberInfo Owner(MemberInfo member) => member is MethodInfo { IsSpecialName: true } accessor
        ? (MemberInfo?)accessor.DeclaringType!.GetProperties(Declared).FirstOrDefault(property => property.GetMethod == accessor || property.SetMethod == accessor) ?? member
        : member;

    private static IEnumerable<MemberInfo> MembersOf(Type type) => type.GetMembers(Declared)
        .Where(member => member is not Type)
        .Where(member => member is not MethodInfo { IsSpecialName: true } method || method.Name.StartsWith("op_", StringComparison.Ordinal))
        .Where(member => member is not FieldInfo { IsSpecialName: true });

    private static string Text(FieldInfo field)
    {
        string value = field.IsLiteral ? $" = {Value(field.GetRawConstantValue(), typeof(object))}" : "";
        return $"{(field.IsStatic ? "static " : "")}{Name(field.FieldType)} {field.Name}{value}";
    }

    private static string? Text(PropertyInfo property)
    {
        MethodInfo[] accessors = [.. property.GetAccessors(nonPublic: true).Where(IsVisible)];
        if (accessors.Length == 0 || property.Name.Contains('.', StringComparison.Ordinal))
        {
            return null;
        }

        ParameterInfo[] index = property.GetIndexParameters();
        string name = index.Length > 0 ? $"this[{string.Join(", ", index.Select(Parameter))}]" : property.Name;
        string get = property.GetMethod is not null && IsVisible(property.GetMethod) ? "get; " : "";
        string set = property.SetMethod is not null && IsVisible(property.SetMethod) ? "set; " : "";
        return $"{(accessors[0].IsStatic ? "static " : "")}{Name(property.PropertyType)} {name} {{ {get}{set}}}";
    }

    private static string? Text(MethodInfo method)
    {
        // Explicit implementations of interfaces carry the interface's name.
        if (method.Name.Contains('.', StringComparison.Ordinal) || method.Name.Contains('<', StringComparison.Ordinal))
        {
            return null;
        }

        string kind = method switch
        {
            { DeclaringType.IsInterface: true } => "",
            { IsStatic: true } => "static ",
            { IsAbstract: true } => "abstract ",
            { IsVirtual: true, IsFinal: false } => "virtual ",
            _ => "",
        };
        string generics = method.IsGenericMethod ? $"<{string.Join(", ", method.GetGenericArguments().Select(Name))}>" : "";
        return $"{Access(method)}{kind}{Name(method.ReturnType)} {method.Name}{generics}({Parameters(method)})";
    }

    private static string Access(MethodBase method) => method.IsPublic ? "" : "protected ";

    private static string Parameters(MethodBase method) => string.Join(", ", method.GetParameters().Select(Parameter));

    private static string Parameter(ParameterInfo parameter)
    {
        string prefix = parameter.IsOut ? "out " : parameter.IsDefined(typeof(ParamArrayAttribute)) ? "params " : "";
        string value = parameter.HasDefaultValue ? $" = {Value(parameter.RawDefaultValue, parameter.ParameterType)}" : "";
        return $"{prefix}{Name(parameter.ParameterType)} {parameter.Name}{value}";
    }

    private static string Value(object? value, Type type)
    {
        Type bare = Nullable.GetUnderlyingType(type) ?? type;
        return value switch
        {
            null or DBNull => "null",
            bool truth => truth ? "true" : "false",
            string text => $"\"{text}\"",
            _ when bare.IsEnum => Enum.GetName(bare, value) ?? Convert.ToString(value, CultureInfo.InvariantCulture)!,
            _ => Convert.ToString(value, CultureInfo.InvariantCulture)!,
        };
    }

    private static string Name(Type type)
    {
        if (type.IsByRef)
        {
            return Name(type.GetElementType()!) + "&";
        }

        if (type.IsPointer)
        {
            return Name(type.GetElementType()!) + "*";
        }

        if (type.IsArray)
        {
            return $"{Name(type.GetElementType()!)}[{new string(',', type.GetArrayRank() - 1)}]";
        }

        if (type.IsGenericParameter)
        {
            return type.Name;
        }

        if (Nullable.GetUnderlyingType(type) is Type inner)
        {
            return Name(inner) + "?";
        }

        if (Keywords.TryGetValue(type, out string? keyword))
        {
            return keyword;
        }

        string own = type.Name.Split('`')[0];
        string prefix = type.DeclaringType is Type outer ? Bare(outer) : type.Namespace ?? "";
        string arguments = type.IsGenericType ? $"<{string.Join(", ", type.GetGenericArguments().Select(Name))}>" : "";
        return $"{(prefix.Length > 0 ? prefix + "." : "")}{own}{arguments}";
    }

    // An outer type's name without its parameters: those stand at the end of the inner one's.
    private static string Bare(Type type)
    {
        string prefix = type.DeclaringType is Type outer ? Bare(outer) : type.Namespace ?? "";
        return $"{(prefix.Length > 0 ? prefix + "." : "")}{type.Name.Split('`')[0]}";
    }

    private static bool IsVisible(Type type) => (type.IsPublic || type.IsNestedPublic || type.IsNestedFamily || type.IsNestedFamORAssem)
        && (type.DeclaringType is null || IsVisible(type.DeclaringType))
        && !type.IsDefined(typeof(CompilerGeneratedAttribute));

    private static bool IsVisible(FieldInfo field) => field.IsPublic || field.IsFamily || field.IsFamilyOrAssembly;

    private static bool IsVisible(MethodBase method) => method.IsPublic || method.IsFamily || method.IsFamilyOrAssembly;
}

using System.Globalization;
using System.Reflection;
using System.Runtime.CompilerServices;

namespace Retro.Tests.Documentation;

/// <summary>Types and members of an assembly as C# declares them, without bodies and attributes.</summary>
internal static class CSharpSignature
{
    private const BindingFlags Everything
        = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;

    private static readonly Dictionary<Type, string> s_keywords = new()
    {
        [typeof(bool)] = "bool", [typeof(byte)] = "byte", [typeof(double)] = "double", [typeof(float)] = "float", [typeof(int)] = "int",
        [typeof(long)] = "long", [typeof(object)] = "object", [typeof(string)] = "string", [typeof(void)] = "void",
    };

    /// <summary>A type's head: its kind, its name, a positional record's parameters, what it derives from and what it implements.</summary>
    public static string Of(Type type)
    {
        string kind = type switch
        {
            { IsEnum: true } => "enum",
            { IsInterface: true } => "interface",
            { IsValueType: true } => (type.IsDefined(typeof(IsReadOnlyAttribute), false) ? "readonly " : "") + (IsRecord(type) ? "record struct" : "struct"),
            { IsAbstract: true, IsSealed: true } => "static class",
            _ => (type.IsAbstract ? "abstract " : type.IsSealed ? "sealed " : "") + (IsRecord(type) ? "record" : "class"),
        };
        string[] bases = [.. Bases(type).Select(one => Name(one))];
        return $"{kind} {Name(type)}{(Positional(type) is { } positional ? $"({Parameters(positional)})" : "")}"
            + (bases.Length > 0 ? $" : {string.Join(", ", bases)}" : "");
    }

    /// <summary>A member's declaration.</summary>
    public static string Of(MemberInfo member)
    {
        NullabilityInfoContext nullability = new();
        return member switch
        {
            ConstructorInfo constructor => $"{Reach(constructor)}new {Name(constructor.DeclaringType!)}({Parameters(constructor)})",
            MethodInfo method => Modifiers(method) + Name(method.ReturnType, nullability.Create(method.ReturnParameter)) + " " + method.Name
                + (method.IsGenericMethod ? $"<{string.Join(", ", method.GetGenericArguments().Select(one => Name(one)))}>" : "") + $"({Parameters(method)})",
            PropertyInfo property => Modifiers(property.GetMethod ?? property.SetMethod!)
                + (property.IsDefined(typeof(RequiredMemberAttribute)) ? "required " : "") + $"{Name(property.PropertyType, nullability.Create(property))} "
                + (property.GetIndexParameters() is { Length: > 0 } index ? $"this[{string.Join(", ", index.Select(Parameter))}]" : property.Name)
                + $" {{ {string.Join(' ', Accessors(property))} }}",
            FieldInfo { DeclaringType.IsEnum: true } value => value.Name,
            FieldInfo field => (field.IsLiteral ? "const " : $"{(field.IsStatic ? "static " : "")}{(field.IsInitOnly ? "readonly " : "")}")
                + $"{Name(field.FieldType, nullability.Create(field))} {field.Name}",
            _ => member.Name,
        };
    }

    /// <summary>A type's name, with its arguments.</summary>
    public static string Name(Type type) => Name(type, null);

    /// <summary>Whether a type is a record, which the compiler gives the members of one.</summary>
    public static bool IsRecord(Type type) => type.GetMethod("PrintMembers", Everything) is not null;

    /// <summary>The constructor whose parameters stand behind a record's name; null: it has none.</summary>
    public static ConstructorInfo? Positional(Type type)
        => IsRecord(type) && type.GetMethod("Deconstruct", Everything) is { } deconstruct
            ? type.GetConstructors().FirstOrDefault(one => Names(one).SequenceEqual(Names(deconstruct)))
            : null;

    private static IEnumerable<string?> Names(MethodBase method) => method.GetParameters().Select(parameter => parameter.Name);

    private static IEnumerable<Type> Bases(Type type)
    {
        Type? parent = type is { IsEnum: true } or { IsValueType: true } || type.BaseType == typeof(object) ? null : type.BaseType;
        Type[] all = type.IsEnum ? [] : [.. type.GetInterfaces().Where(one => !(IsRecord(type) && one.Name == typeof(IEquatable<>).Name))];
        IEnumerable<Type> implied = all.SelectMany(one => one.GetInterfaces()).Concat(parent?.GetInterfaces() ?? []);
        Type[] bases = [.. parent is null ? [] : new[] { parent }, .. all.Except(implied).OrderBy(one => one.Name, StringComparer.Ordinal)];
        return bases.Where(one => one.IsVisible);
    }

    private static string Reach(MethodBase method) => method.IsFamily || method.IsFamilyOrAssembly ? "protected " : "";

    private static string Modifiers(MethodInfo method)
        => Reach(method) + (method.IsStatic
            ? "static "
            : method.DeclaringType!.IsInterface
            ? ""
            : method.IsAbstract
            ? "abstract "
            : method.GetBaseDefinition() != method
            ? "override "
            : method is { IsVirtual: true, IsFinal: false }
            ? "virtual "
            : "");

    private static IEnumerable<string> Accessors(PropertyInfo property)
    {
        if (property.GetMethod?.IsPrivate == false)
        {
            yield return "get;";
        }

        if (property.SetMethod is { } set && (set.IsPublic || Reach(set).Length > 0))
        {
            bool isInit = set.ReturnParameter.GetRequiredCustomModifiers().Contains(typeof(IsExternalInit));
            yield return $"{(set.IsPublic ? "" : Reach(set))}{(isInit ? "init" : "set")};";
        }
    }

    private static string Parameters(MethodBase method)
        => (method.IsDefined(typeof(ExtensionAttribute)) ? "this " : "") + string.Join(", ", method.GetParameters().Select(Parameter));

    private static string Parameter(ParameterInfo parameter)
    {
        string how = parameter.IsOut
            ? "out "
            : parameter.ParameterType.IsByRef
            ? parameter.IsIn ? "in " : "ref "
            : parameter.IsDefined(typeof(ParamArrayAttribute)) || parameter.IsDefined(typeof(ParamCollectionAttribute)) ? "params " : "";
        return $"{how}{Name(parameter.ParameterType, new NullabilityInfoContext().Create(parameter))} {parameter.Name}"
            + (parameter.HasDefaultValue ? $" = {Value(parameter.DefaultValue, parameter.ParameterType)}" : "");
    }

    private static string Value(object? value, Type type) => value switch
    {
        null => type.IsValueType && Nullable.GetUnderlyingType(type) is null ? "default" : "null",
        string text => $"\"{text}\"",
        bool truth => truth ? "true" : "false",
        _ when (Nullable.GetUnderlyingType(type) ?? type) is { IsEnum: true } names => $"{Name(names)}.{Enum.ToObject(names, value)}",
        IFormattable number => number.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString()!,
    };

    private static string Name(Type type, NullabilityInfo? nullability)
    {
        string mark = !type.IsValueType && nullability?.ReadState == NullabilityState.Nullable ? "?" : "";
        if (type.IsByRef)
        {
            return Name(type.GetElementType()!, nullability);
        }

        if (s_keywords.TryGetValue(type, out string? keyword))
        {
            return keyword + mark;
        }

        if (type.IsArray)
        {
            return $"{Name(type.GetElementType()!, nullability?.ElementType)}[]{mark}";
        }

        if (Nullable.GetUnderlyingType(type) is { } underlying)
        {
            return $"{Name(underlying)}?";
        }

        Type[] arguments = type.GetGenericArguments();
        NullabilityInfo[] told = nullability?.GenericTypeArguments ?? [];
        string[] names = [.. arguments.Select((one, i) => Name(one, i < told.Length ? told[i] : null))];
        if (type.FullName?.StartsWith("System.ValueTuple`", StringComparison.Ordinal) == true)
        {
            return $"({string.Join(", ", names)})";
        }

        // The arguments of an outer type are the nested one's first.
        int outer = type is { IsNested: true, IsGenericParameter: false } ? type.DeclaringType!.GetGenericArguments().Length : 0;
        return (type is { IsNested: true, IsGenericParameter: false } ? $"{Name(type.DeclaringType!)}." : "") + type.Name.Split('`')[0]
            + (names.Length > outer ? $"<{string.Join(", ", names[outer..])}>" : "") + mark;
    }
}

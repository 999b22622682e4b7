using System.Collections.Immutable;
using System.Reflection;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using Retro.Modeling;
using TorchSharp;

namespace Retro.Tests.Build;

/// <summary>
/// No assembly of this repository calls a member of TorchSharp that makes a Scalar which a collection can free during the native call. The analyzer refuses
/// them in the build, but does not see x += y: here the calls are read from what was built.
/// </summary>
public class BannedSymbolsTests
{
    private static readonly HashSet<string> s_banned = [.. File.ReadLines(Path.Combine(
        Fixtures.Root, "eng", "BannedSymbols.txt")).Select(line => line.Split(';')[0])];

    /// <summary>The folder of every sample.</summary>
    public static TheoryData<string> Samples
        => [.. Directory.EnumerateFiles(Path.Combine(Fixtures.Root, "samples"), "*.csproj", SearchOption.AllDirectories)
            .Select(path => Path.GetFileName(Path.GetDirectoryName(path)!))
            .Order()];

    /// <summary>One call is meant: a step of an optimizer that the user brings, around which the trainer closes the gate of finalizers.</summary>
    [Fact]
    public void The_library_calls_no_banned_member()
        => Assert.Equal(["M:TorchSharp.torch.optim.Optimizer.step(System.Func{TorchSharp.torch.Tensor})"], BannedIn(typeof(RetroModel).Assembly.Location));

    [Theory]
    [MemberData(nameof(Samples))]
    public void The_samples_call_no_banned_member(string sample)
    {
        string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name;
        string folder = Path.Combine(Fixtures.Root, "samples", sample, "bin", configuration, "net10.0");
        string[] programs = [.. Directory.GetFiles(folder, "*.runtimeconfig.json")
            .Select(path => path.Replace(".runtimeconfig.json", ".dll", StringComparison.Ordinal))];
        Assert.Empty(BannedIn(Assert.Single(programs, program => Path.GetFileName(program) != "Retro.Cli.dll")));
    }

    [Fact]
    public void The_tool_calls_no_banned_member() => Assert.Empty(BannedIn(typeof(global::Retro.Cli.Tool).Assembly.Location));

    /// <summary>The forms below stand in this assembly; each is found, compound assignment and conversion included, and what is safe is not.</summary>
    [Fact]
    public void Banned_members_are_found_where_they_are_called()
    {
        string[] found = BannedIn(typeof(BannedSymbolsTests).Assembly.Location);

        Assert.Contains("M:TorchSharp.torch.Tensor.op_Addition(TorchSharp.torch.Tensor,TorchSharp.torch.Tensor)", found);
        Assert.Contains("M:TorchSharp.torch.Tensor.op_Modulus(TorchSharp.torch.Tensor,System.Int64)", found);
        Assert.Contains("M:TorchSharp.Scalar.op_Implicit(System.Half)~TorchSharp.Scalar", found);
        Assert.Contains("M:TorchSharp.torch.Tensor.op_Explicit(TorchSharp.torch.Tensor)~System.SByte", found);
        Assert.Contains("M:TorchSharp.torch.Tensor.square", found);
        Assert.Contains(
            "M:TorchSharp.torch.arange(TorchSharp.Scalar,System.Nullable{TorchSharp.torch.ScalarType},TorchSharp.torch.Device,System.Boolean)", found);
        Assert.Contains("M:TorchSharp.torch.optim.Optimizer.step(System.Func{TorchSharp.torch.Tensor})", found);
        Assert.Contains("M:TorchSharp.torch.distributions.Normal(TorchSharp.torch.Tensor,TorchSharp.torch.Tensor,TorchSharp.torch.Generator)", found);
        Assert.DoesNotContain(
            found,
            name => name.StartsWith("M:TorchSharp.torch.Tensor.op_Subtraction(TorchSharp.torch.Tensor,TorchSharp.torch.Tensor)", StringComparison.Ordinal));
    }

    /// <summary>A line that names no member would forbid nothing.</summary>
    [Fact]
    public void Every_line_names_a_member_of_TorchSharp()
    {
        HashSet<string> members = [.. Read(typeof(torch).Assembly.Location, definitions: true)];
        Assert.NotEmpty(s_banned);
        Assert.All(
            s_banned,
            id => Assert.True(id.StartsWith("T:", StringComparison.Ordinal) ? members.Any(member => IsWithin(member, id)) : members.Contains(id), id));
    }

    // Called by no test: its calls are what the tests look for.
    private static void Unsafe(torch.Tensor x)
    {
        x += x;
        x %= 2L;
        Scalar half = (Half)1;
        _ = (sbyte)x;
        _ = x.square() - x;
        _ = torch.arange(half, null, null, false);
        using torch.optim.Optimizer optimizer = torch.optim.SGD(Array.Empty<TorchSharp.Modules.Parameter>(), 1);
        optimizer.step();
        _ = torch.distributions.Normal(x, x);
    }

    private static string[] BannedIn(string path)
        => [.. Read(path, definitions: false).Where(id => s_banned.Any(banned => banned == id || IsWithin(id, banned)))];

    // "T:" bans what is nested in a type, too.
    private static bool IsWithin(string member, string type)
        => type.StartsWith("T:", StringComparison.Ordinal) && member.AsSpan(2).StartsWith(type[2..] + ".", StringComparison.Ordinal);

    /// <summary>The methods that an assembly refers to, or that it defines, as documentation writes them.</summary>
    private static IEnumerable<string> Read(string path, bool definitions)
    {
        using PEReader file = new(File.OpenRead(path));
        MetadataReader reader = file.GetMetadataReader();
        Names names = new();
        List<string> ids = [];
        if (definitions)
        {
            foreach (MethodDefinition method in reader.MethodDefinitions.Select(reader.GetMethodDefinition))
            {
                ids.Add(Id(
                    names.GetTypeFromDefinition(reader, method.GetDeclaringType(), 0), reader.GetString(method.Name), method.DecodeSignature(names, null)));
            }

            return ids;
        }

        foreach (MemberReference member in reader.MemberReferences.Select(reader.GetMemberReference)
            .Where(member => member.GetKind() == MemberReferenceKind.Method))
        {
            string? type = member.Parent.Kind switch
            {
                HandleKind.TypeReference => names.GetTypeFromReference(reader, (TypeReferenceHandle)member.Parent, 0),
                HandleKind.TypeSpecification => names.GetTypeFromSpecification(reader, null, (TypeSpecificationHandle)member.Parent, 0),
                _ => null,
            };
            if (type is not null)
            {
                ids.Add(Id(type, reader.GetString(member.Name), member.DecodeMethodSignature(names, null)));
            }
        }

        return ids;
    }

    private static string Id(string type, string name, MethodSignature<string> signature)
        => "M:" + type + "." + name.Replace('.', '#')
            + (signature.ParameterTypes.IsEmpty ? "" : "(" + string.Join(",", signature.ParameterTypes) + ")")
            + (name is "op_Implicit" or "op_Explicit" ? "~" + signature.ReturnType : "");

    /// <summary>Writes types as documentation does.</summary>
    private sealed class Names : ISignatureTypeProvider<string, object?>
    {
        public string GetPrimitiveType(PrimitiveTypeCode typeCode) => "System." + typeCode;

        public string GetTypeFromDefinition(MetadataReader reader, TypeDefinitionHandle handle, byte rawTypeKind)
        {
            TypeDefinition type = reader.GetTypeDefinition(handle);
            return type.IsNested
                ? GetTypeFromDefinition(reader, type.GetDeclaringType(), 0) + "." + reader.GetString(type.Name)
                : Full(reader.GetString(type.Namespace), reader.GetString(type.Name));
        }

        public string GetTypeFromReference(MetadataReader reader, TypeReferenceHandle handle, byte rawTypeKind)
        {
            TypeReference type = reader.GetTypeReference(handle);
            return type.ResolutionScope.Kind == HandleKind.TypeReference
                ? GetTypeFromReference(reader, (TypeReferenceHandle)type.ResolutionScope, 0) + "." + reader.GetString(type.Name)
                : Full(reader.GetString(type.Namespace), reader.GetString(type.Name));
        }

        public string GetTypeFromSpecification(MetadataReader reader, object? genericContext, TypeSpecificationHandle handle, byte rawTypeKind)
            => reader.GetTypeSpecification(handle).DecodeSignature(this, genericContext);

        public string GetGenericInstantiation(string genericType, ImmutableArray<string> typeArguments)
            => genericType.Split('`')[0] + "{" + string.Join(",", typeArguments) + "}";

        public string GetSZArrayType(string elementType) => elementType + "[]";

        public string GetArrayType(string elementType, ArrayShape shape) => elementType + "[" + string.Join(",", Enumerable.Repeat("0:", shape.Rank)) + "]";

        public string GetByReferenceType(string elementType) => elementType + "@";

        public string GetPointerType(string elementType) => elementType + "*";

        public string GetPinnedType(string elementType) => elementType;

        public string GetModifiedType(string modifier, string unmodifiedType, bool isRequired) => unmodifiedType;

        public string GetGenericTypeParameter(object? genericContext, int index) => "`" + index;

        public string GetGenericMethodParameter(object? genericContext, int index) => "``" + index;

        public string GetFunctionPointerType(MethodSignature<string> signature) => "=FUNC";

        private static string Full(string space, string name) => space.Length == 0 ? name : space + "." + name;
    }
}

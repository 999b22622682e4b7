using System.Reflection;
using System.Reflection.Metadata;
using System.Reflection.Metadata.Ecma335;
using System.Reflection.PortableExecutable;
using System.Runtime.Loader;
using Microsoft.ML.Tokenizers;
using TorchSharp;

namespace Retro.Tests.Standins;

/// <summary>The stand-ins have nothing that the originals lack, and our code calls nothing that the originals lack.</summary>
public sealed class ApiListTests
{
    private static readonly Assembly Torch = typeof(torch).Assembly;
    private static readonly Assembly Tokenizers = typeof(Tokenizer).Assembly;

    public static TheoryData<string> Callers()
    {
        TheoryData<string> paths = [];
        foreach (string name in new[] { "Retro.dll", "Retro.Tests.dll" })
        {
            paths.Add(Path.Combine(AppContext.BaseDirectory, name));
        }

        foreach (string folder in new[] { "samples", "src/Retro.Cli", "tests/Retro.Benchmarks" })
        {
            string path = Path.Combine(Fixtures.Root, folder);
            foreach (string project in Directory.Exists(path) ? Directory.EnumerateFiles(path, "*.csproj", SearchOption.AllDirectories) : [])
            {
                string output = Path.Combine(Path.GetDirectoryName(project)!, "bin");
                string file = AssemblyName(project) + ".dll";
                string? built = Directory.Exists(output)
                    ? Directory.EnumerateFiles(output, file, SearchOption.AllDirectories).Where(found => !found.Contains($"{Path.DirectorySeparatorChar}ref{Path.DirectorySeparatorChar}", StringComparison.Ordinal)).MaxBy(File.GetLastWriteTimeUtc)
                    : null;
                if (built is not null)
                {
                    paths.Add(built);
                }
            }
        }

        return paths;
    }

    [Fact]
    public void EveryMemberOfTheTorchSharpStandinStandsInTheOriginalsList()
    {
        Assert.SkipUnless(LoadedLibraries.TorchIsStandin, "The loaded TorchSharp is the original.");
        AssertListed(Torch, "torchsharp-0.106.0-api.txt");
    }

    [Fact]
    public void EveryMemberOfTheTokenizersStandinStandsInTheOriginalsList()
    {
        Assert.SkipUnless(LoadedLibraries.TokenizersAreStandin, "The loaded Microsoft.ML.Tokenizers is the original.");
        AssertListed(Tokenizers, "microsoft-ml-tokenizers-2.0-api.txt");
    }

    [Theory]
    [MemberData(nameof(Callers))]
    public void EveryMemberThatIsCalledStandsInTheOriginalsList(string path)
    {
        HashSet<string> listed = [.. List("torchsharp-0.106.0-api.txt"), .. List("microsoft-ml-tokenizers-2.0-api.txt")];
        List<string> called = [.. Called(path)];
        if (Path.GetFileName(path) == "Retro.dll")
        {
            Assert.Contains(called, line => line.StartsWith("TorchSharp.torch.Tensor :: ", StringComparison.Ordinal));
        }

        Assert.DoesNotContain(called, line => !listed.Contains(line));
    }

    [Fact]
    public void TheListRefusesWhatTheOriginalLacks()
    {
        HashSet<string> listed = List("torchsharp-0.106.0-api.txt");
        MethodInfo sum = typeof(torch.Tensor).GetMethod("sum", [typeof(long), typeof(bool), typeof(torch.ScalarType?)])!;
        Assert.Contains(ApiSignatures.Of(sum)!, listed);
        Assert.DoesNotContain(ApiSignatures.Of(typeof(ApiListTests).GetMethod(nameof(TheListRefusesWhatTheOriginalLacks))!)!, listed);
    }

    private static void AssertListed(Assembly assembly, string list)
    {
        HashSet<string> listed = List(list);
        List<string> own = [.. ApiSignatures.Of(assembly)];
        Assert.NotEmpty(own);
        Assert.DoesNotContain(own, line => !listed.Contains(line));
    }

    private static HashSet<string> List(string name) => [.. File.ReadLines(Path.Combine(Fixtures.Own, "api", name))];

    private static string AssemblyName(string project)
    {
        System.Xml.Linq.XElement? named = System.Xml.Linq.XDocument.Load(project).Descendants("AssemblyName").FirstOrDefault();
        return named?.Value ?? Path.GetFileNameWithoutExtension(project);
    }

    // What the assembly names of the two libraries, each as the line of the member that it comes down to.
    private static IEnumerable<string> Called(string path)
    {
        Assembly caller = AssemblyLoadContext.Default.Assemblies.FirstOrDefault(loaded => !loaded.IsDynamic && loaded.Location == path)
            ?? new Beside(path).LoadFromAssemblyPath(path);
        using FileStream stream = File.OpenRead(path);
        using PEReader image = new(stream);
        MetadataReader reader = image.GetMetadataReader();
        HashSet<string> lines = [];
        foreach (MemberReferenceHandle handle in reader.MemberReferences)
        {
            if (!IsOfTheLibraries(reader, reader.GetMemberReference(handle).Parent))
            {
                continue;
            }

            MemberInfo member = Definition(Resolve(caller, MetadataTokens.GetToken(handle)));
            if (ApiSignatures.Of(ApiSignatures.Owner(member)) is string line && (member.DeclaringType!.Assembly == Torch || member.DeclaringType.Assembly == Tokenizers))
            {
                lines.Add(line);
            }
        }

        foreach (TypeReferenceHandle handle in reader.TypeReferences.Where(handle => IsOfTheLibraries(reader, handle)))
        {
            lines.Add(ApiSignatures.Of(caller.ManifestModule.ResolveType(MetadataTokens.GetToken(handle))));
        }

        return lines;
    }

    // Whether a type, the parts of a generic one aside, is of one of the two libraries.
    private static bool IsOfTheLibraries(MetadataReader reader, EntityHandle type)
    {
        switch (type.Kind)
        {
            case HandleKind.TypeReference:
                EntityHandle scope = reader.GetTypeReference((TypeReferenceHandle)type).ResolutionScope;
                return scope.Kind == HandleKind.TypeReference
                    ? IsOfTheLibraries(reader, scope)
                    : scope.Kind == HandleKind.AssemblyReference && reader.GetString(reader.GetAssemblyReference((AssemblyReferenceHandle)scope).Name) is string name
                        && (name == Torch.GetName().Name || name == Tokenizers.GetName().Name);
            case HandleKind.TypeSpecification:
                BlobReader blob = reader.GetBlobReader(reader.GetTypeSpecification((TypeSpecificationHandle)type).Signature);
                return blob.ReadSignatureTypeCode() == SignatureTypeCode.GenericTypeInstance && (blob.ReadByte(), IsOfTheLibraries(reader, blob.ReadTypeHandle())).Item2;
            default:
                return false;
        }
    }

    // A reference on a generic type can only be resolved with something in the place of its parameters; what matters here is its definition.
    private static MemberInfo Resolve(Assembly caller, int token)
    {
        foreach (Type stand in new[] { typeof(object), typeof(int), typeof(torch.nn.Module) })
        {
            Type[] any = [.. Enumerable.Repeat(stand, 16)];
            try
            {
                return caller.ManifestModule.ResolveMember(token, any, any)!;
            }
            catch (Exception fault) when (fault is TypeLoadException or ArgumentException)
            {
                // This one does not satisfy the parameters' constraints.
            }
        }

        throw new InvalidOperationException($"the reference {token:x8} of {caller.GetName().Name} cannot be resolved");
    }

    private static MemberInfo Definition(MemberInfo member)
    {
        Type declaring = member.DeclaringType!;
        return declaring.IsConstructedGenericType
            ? declaring.GetGenericTypeDefinition().GetMembers((BindingFlags)(-1) & ~BindingFlags.IgnoreCase & ~BindingFlags.FlattenHierarchy).First(one => one.HasSameMetadataDefinitionAs(member))
            : member is MethodInfo { IsGenericMethod: true } method ? method.GetGenericMethodDefinition() : member;
    }

    /// <summary>Loads a sample with what lies beside it, and the libraries in question from here.</summary>
    private sealed class Beside(string path) : AssemblyLoadContext(isCollectible: true)
    {
        protected override Assembly? Load(AssemblyName assemblyName)
        {
            string beside = Path.Combine(Path.GetDirectoryName(path)!, assemblyName.Name + ".dll");
            return assemblyName.Name == Torch.GetName().Name || assemblyName.Name == Tokenizers.GetName().Name || !File.Exists(beside)
                ? null
                : LoadFromAssemblyPath(beside);
        }
    }
}

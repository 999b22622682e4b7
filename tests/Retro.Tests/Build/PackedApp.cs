using System.Globalization;
using System.IO.Compression;
using System.Text.Json;

namespace Retro.Tests.Build;

/// <summary>Packages as their users get them: packed into a folder, added to a new project outside this repository, built and run.</summary>
internal sealed class PackedApp : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly List<string> _packed = [];

    /// <summary>Packs projects of src, and begins a project beside them.</summary>
    /// <param name="projects">Their names.</param>
    public PackedApp(params string[] projects)
    {
        Folder = Directory.CreateDirectory(_folder["app"]).FullName;
        foreach (string project in projects)
        {
            RunIn(
                Fixtures.Root, ["pack", Path.Combine("src", project), "-c", Fixtures.Configuration, "--no-build", "-o", Feed, $"-p:Version={Version}"]);
            _packed.Add(project);
        }
    }

    /// <summary>A version of its own for each run, so that nothing that an earlier one left in the package cache is taken.</summary>
    public static string Version { get; } = string.Create(CultureInfo.InvariantCulture, $"0.1.0-test{DateTime.UtcNow.Ticks}");

    /// <summary>The new project's folder.</summary>
    public string Folder { get; }

    /// <summary>The program that it is built to.</summary>
    public string Program => Path.Combine(Folder, "bin", "Release", "net10.0", "app.dll");

    private string Feed => _folder["feed"];

    /// <summary>A path in a folder beside the project's.</summary>
    public string this[string name] => _folder[name];

    /// <summary>Writes the project.</summary>
    /// <param name="program">Its only file.</param>
    /// <param name="properties">Properties besides.</param>
    /// <param name="packages">Names and versions of the packages.</param>
    public void Write(string program, string properties, params (string Name, string Version)[] packages)
    {
        File.WriteAllText(Path.Combine(Folder, "app.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <Nullable>enable</Nullable>
                <InvariantGlobalization>true</InvariantGlobalization>
                <RestoreAdditionalProjectSources>{Feed}</RestoreAdditionalProjectSources>
                {properties}
              </PropertyGroup>
              <ItemGroup>
                {string.Concat(packages.Select(package => $"<PackageReference Include=\"{package.Name}\" Version=\"{package.Version}\" />"))}
              </ItemGroup>
            </Project>
            """);
        File.WriteAllText(Path.Combine(Folder, "Program.cs"), program);
    }

    /// <summary>Requires that a package has what users expect beside the library, and tells its nuspec.</summary>
    public string RequireContent(string name)
    {
        string path = Path.Combine(Feed, $"{name}.{Version}");
        using ZipArchive package = ZipFile.OpenRead($"{path}.nupkg"), symbols = ZipFile.OpenRead($"{path}.snupkg");
        Assert.All(["README.md", $"lib/net10.0/{name}.dll", $"lib/net10.0/{name}.xml"], entry => Assert.NotNull(package.GetEntry(entry)));
        Assert.NotNull(symbols.GetEntry($"lib/net10.0/{name}.pdb"));
        using StreamReader reader = new(package.GetEntry($"{name}.nuspec")!.Open());
        string said = reader.ReadToEnd();
        Assert.Contains("<license type=\"expression\">MIT</license>", said, StringComparison.Ordinal);
        return said;
    }

    /// <summary>Requires that what a package holds of others is named in it, with the texts of their licenses.</summary>
    public void RequireNotices(string name) => Notices.Require(Path.Combine(Feed, $"{name}.{Version}.nupkg"));

    /// <summary>Runs dotnet in the project's folder, and gives what it says.</summary>
    public string Dotnet(params string[] arguments) => RunIn(Folder, arguments);

    public void Dispose()
    {
        string assets = Path.Combine(Folder, "obj", "project.assets.json");
        if (File.Exists(assets))
        {
            using JsonDocument restored = JsonDocument.Parse(File.ReadAllText(assets));
            foreach (JsonProperty cache in restored.RootElement.GetProperty("packageFolders").EnumerateObject())
            {
                foreach (string package in _packed.Select(name => Path.Combine(cache.Name, name.ToLowerInvariant(), Version)).Where(Directory.Exists))
                {
                    Directory.Delete(package, recursive: true);
                }
            }
        }

        _folder.Dispose();
    }

    private static string RunIn(string folder, string[] arguments)
    {
        (int exitCode, string output) = Tool.Run(
            "dotnet", folder, new Dictionary<string, string?> { ["DOTNET_CLI_UI_LANGUAGE"] = "en", ["DOTNET_NOLOGO"] = "1" }, arguments);
        Assert.True(exitCode == 0, $"dotnet {string.Join(' ', arguments)}\n{output}");
        return output;
    }
}

using System.Globalization;
using System.IO.Compression;
using System.Text.Json;
using Retro.Tests.Build;

namespace Retro.Distributed.Tests;

/// <summary>The package as its users get it: packed into a folder with the library's, added to a new project outside this repository, built and run.</summary>
public sealed class PackageTests : IDisposable
{
    /// <summary>A version of its own for each run, so that nothing that an earlier one left in the package cache is taken.</summary>
    private static readonly string s_version = string.Create(CultureInfo.InvariantCulture, $"0.1.0-test{DateTime.UtcNow.Ticks}");

    private readonly TemporaryFolder _folder = new();

    public void Dispose()
    {
        string assets = Path.Combine(_folder["app"], "obj", "project.assets.json");
        if (File.Exists(assets))
        {
            using JsonDocument restored = JsonDocument.Parse(File.ReadAllText(assets));
            foreach (string package in restored.RootElement.GetProperty("packageFolders")
                .EnumerateObject()
                .SelectMany(cache => new[] { "retro", "retro.distributed" }.Select(name => Path.Combine(cache.Name, name, s_version)))
                .Where(Directory.Exists))
            {
                Directory.Delete(package, recursive: true);
            }
        }

        _folder.Dispose();
    }

    [Fact]
    public void A_new_project_uses_the_package()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "libfaiss_c.so is packed for Linux.");
        string feed = _folder["feed"], app = Directory.CreateDirectory(_folder["app"]).FullName;
        foreach (string project in new[] { "Retro", "Retro.Distributed" })
        {
            Dotnet(Fixtures.Root, "pack", Path.Combine("src", project), "-c", Fixtures.Configuration, "--no-build", "-o", feed, $"-p:Version={s_version}");
        }

        RequireContent(Path.Combine(feed, $"Retro.Distributed.{s_version}"));
        _folder.File("app/app.csproj", $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <InvariantGlobalization>true</InvariantGlobalization>
                <RestoreAdditionalProjectSources>{feed}</RestoreAdditionalProjectSources>
              </PropertyGroup>
              <ItemGroup>
                <PackageReference Include="Retro.Distributed" Version="{s_version}" />
              </ItemGroup>
            </Project>
            """);
        // Without libtorch, which takes long to copy, and without mpirun, which need not be there.
        _folder.File("app/Program.cs", """
            using Retro.Distributed;
            using Retro.Optimization;

            try
            {
                using MpiExchange exchange = MpiExchange.Start();
                Console.WriteLine(string.Join(", ", ((IGradientExchange)exchange).Gather(exchange.Place)));
            }
            catch (ExchangeException fault)
            {
                Console.WriteLine(fault.Message);
            }
            """);
        Dotnet(app, "build", "-c", "Release");
        Assert.Matches(
            "^(rank 0 of 1 on .*|libmpi.so.40 cannot be loaded: .* Install OpenMPI 4 or 5 .*)\n",
            Dotnet(app, Path.Combine(app, "bin", "Release", "net10.0", "app.dll")).Replace("\n", " ", StringComparison.Ordinal) + "\n");
    }

    private static void RequireContent(string path)
    {
        using ZipArchive package = ZipFile.OpenRead($"{path}.nupkg"), symbols = ZipFile.OpenRead($"{path}.snupkg");
        Assert.All(["README.md", "lib/net10.0/Retro.Distributed.dll", "lib/net10.0/Retro.Distributed.xml"], name => Assert.NotNull(package.GetEntry(name)));
        Assert.NotNull(symbols.GetEntry("lib/net10.0/Retro.Distributed.pdb"));
        using StreamReader reader = new(package.GetEntry("Retro.Distributed.nuspec")!.Open());
        string said = reader.ReadToEnd();
        Assert.Contains("<license type=\"expression\">MIT</license>", said, StringComparison.Ordinal);
        Assert.Contains($"<dependency id=\"Retro\" version=\"{s_version}\"", said, StringComparison.Ordinal);
    }

    private static string Dotnet(string folder, params string[] arguments)
    {
        (int exitCode, string output) = Tool.Run(
            "dotnet", folder, new Dictionary<string, string?> { ["DOTNET_CLI_UI_LANGUAGE"] = "en", ["DOTNET_NOLOGO"] = "1" }, arguments);
        Assert.True(exitCode == 0, $"dotnet {string.Join(' ', arguments)}\n{output}");
        return output;
    }
}

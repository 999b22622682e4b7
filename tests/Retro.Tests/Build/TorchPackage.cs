using System.Text.Json;

namespace Retro.Tests.Build;

/// <summary>The natives of TorchSharp as they lie in the NuGet cache, from which these tests were built.</summary>
internal static class TorchPackage
{
    /// <summary>The version that <c>libLibTorchSharp.so</c> names and never uses.</summary>
    public const string Version = "GLIBCXX_3.4.32";

    /// <summary>Folder of the package.</summary>
    public static string Folder { get; } = Find();

    /// <summary>The file that the build step copies.</summary>
    public static string Library { get; } = Path.Combine(Folder, "runtimes", "linux-x64", "native", "libLibTorchSharp.so");

    /// <summary>Places in which two files of the same length differ, as (place, bits).</summary>
    public static IReadOnlyList<(int Place, int Bits)> Differences(byte[] left, byte[] right)
    {
        Assert.Equal(left.Length, right.Length);
        return Enumerable.Range(0, left.Length).Where(i => left[i] != right[i]).Select(i => (i, left[i] ^ right[i])).ToList();
    }

    /// <summary>Whether the file asks for the version and the loader of this system misses it; a weak one that is absent it merely mentions.</summary>
    public static bool LacksVersion(string file)
        => Tool.Run("ldd", Path.GetDirectoryName(file)!, file).Output.Contains($": version `{Version}' not found", StringComparison.Ordinal);

    private static string Find()
    {
        using JsonDocument assets = JsonDocument.Parse(File.ReadAllText(Path.Combine(Fixtures.Root, "tests", "Retro.Tests", "obj", "project.assets.json")));
        string relative = assets.RootElement.GetProperty("libraries")
            .EnumerateObject()
            .Single(library => library.Name.StartsWith("TorchSharp/", StringComparison.Ordinal)).Value.GetProperty("path")
            .GetString()!;
        return assets.RootElement.GetProperty("packageFolders").EnumerateObject().Select(folder => Path.Combine(folder.Name, relative)).First(Directory.Exists);
    }
}

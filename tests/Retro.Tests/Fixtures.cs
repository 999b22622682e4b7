namespace Retro.Tests;

/// <summary>Where reference files lie: copies beside the tests, the shared folder beside the checkout, and folders named by the user.</summary>
internal static class Fixtures
{
    /// <summary>The checkout's root folder, found from where the tests were built to: paths in the program itself are mapped in CI builds.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>The fixtures that belong to the project.</summary>
    public static string Own { get; } = Path.Combine(Root, "tests", "Retro.Tests", "fixtures");

    /// <summary>The shared folder beside the checkout; it may be absent. RETRO_SHARED names another.</summary>
    public static string Shared { get; } = Environment.GetEnvironmentVariable("RETRO_SHARED") is { Length: > 0 } named
        ? named
        : Path.GetFullPath(Path.Combine(Root, "..", "shared"));

    /// <summary>Every fixture folder there is: our own, the shared one, and those named in RETRO_FIXTURES, separated by ':'.</summary>
    public static IEnumerable<string> Folders(string variable = "RETRO_FIXTURES", string sharedName = "fixtures")
    {
        string[] named = (Environment.GetEnvironmentVariable(variable) ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
        foreach (string folder in named)
        {
            Assert.True(Directory.Exists(folder), $"{variable} names the folder {folder}, which does not exist.");
        }

        return new[] { Own, Path.Combine(Shared, sharedName) }.Concat(named).Where(Directory.Exists);
    }

    /// <summary>The configuration that the tests, and so everything beside them, were built in.</summary>
    public static string Configuration { get; } = AppContext.BaseDirectory.Contains(
        $"{Path.DirectorySeparatorChar}Debug{Path.DirectorySeparatorChar}", StringComparison.Ordinal) ? "Debug" : "Release";

    /// <summary>The program that a sample was built to.</summary>
    public static string Sample(string name) => Path.Combine(Root, "samples", name, "bin", Configuration, "net10.0", $"{name}.dll");

    /// <summary>The program that the tool was built to.</summary>
    public static string Cli { get; } = Path.Combine(Root, "src", "Retro.Cli", "bin", Configuration, "net10.0", "Retro.Cli.dll");

    /// <summary>A folder of a tiny pretrained model that belongs to the project.</summary>
    public static string Pretrained(string name) => Path.Combine(Own, "pretrained", name);

    /// <summary>A folder of a SentencePiece model that belongs to the project.</summary>
    public static string SentencePiece(string name) => Path.Combine(Own, "sentencepiece", name);

    /// <summary>Every file of the fixture folders that matches; the project has one of each kind itself, so that there never is none.</summary>
    public static IReadOnlyList<string> Files(string pattern)
    {
        List<string> files = Folders().SelectMany(folder => Directory.EnumerateFiles(folder, pattern).Order(StringComparer.Ordinal)).ToList();
        Assert.True(files.Count > 0, $"No fixture folder holds a file {pattern}.");
        return files;
    }

    /// <summary>The lines of a source file between a mark's two comments, from the first one's indentation on, as the documentation shows them.</summary>
    public static string Snippet(string file, string mark)
    {
        string[] lines = [.. File.ReadLines(Path.Combine(Root, file))
            .SkipWhile(line => line.Trim() != $"// <{mark}>")
            .Skip(1)
            .TakeWhile(line => line.Trim() != $"// </{mark}>")];
        int indentation = lines[0].Length - lines[0].TrimStart().Length;
        return string.Join('\n', lines.Select(line => line.Length > indentation ? line[indentation..] : ""));
    }

    /// <summary>A path below the shared folder; where it is absent the test is skipped, and the run's summary says so.</summary>
    public static string SharedPath(string relative)
    {
        string path = Path.Combine(Shared, relative);
        if (!Path.Exists(path))
        {
            NotCompared.Add($"shared/{relative}");
            Assert.Skip($"The shared input {relative} is not on this machine.");
        }

        return path;
    }

    private static string FindRoot()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "Retro.sln")))
            {
                return folder.FullName;
            }
        }

        throw new DirectoryNotFoundException(
            $"No folder above {AppContext.BaseDirectory} holds Retro.sln; run the tests from the checkout they were built in.");
    }
}

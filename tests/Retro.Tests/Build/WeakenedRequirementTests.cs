using System.IO.Compression;

namespace Retro.Tests.Build;

/// <summary>
/// The build step of the package that lets libLibTorchSharp.so load on distributions with an older C++ runtime, run by MSBuild over the package's file and over
/// several hundred damaged ones.
/// </summary>
public sealed class WeakenedRequirementTests(WeakenedRequirementTests.Run run) : IClassFixture<WeakenedRequirementTests.Run>
{
    private const int Weak = 2;
    private static readonly SmallElf s_unused = new(versionIsUsed: false), s_used = new(versionIsUsed: true);

    [Fact]
    public void It_runs_without_error_or_warning()
    {
        Assert.True(run.ExitCode == 0, run.Output);
        Assert.DoesNotContain("warning", run.Output, StringComparison.OrdinalIgnoreCase);
        Assert.Equal(run.Inputs.Keys.Order(), run.Results.Keys.Order());
    }

    [Fact]
    public void One_bit_of_the_packages_file_changes_and_a_second_pass_changes_nothing()
    {
        (_, int bits) = Assert.Single(TorchPackage.Differences(run.Inputs["package"], run.Results["package"]));
        Assert.Equal(Weak, bits);
        Assert.Equal(run.Results["package"], run.Again);
    }

    [Fact]
    public void The_result_asks_for_no_version_that_this_system_lacks()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "ldd asks the loader of Linux.");

        Assert.False(TorchPackage.LacksVersion(Path.Combine(run.Folder.Path, "out", "package")));
        Assert.Equal(run.Results["package"], File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "libLibTorchSharp.so")));
    }

    [Fact]
    public void The_package_cache_holds_what_the_package_brought()
    {
        using ZipArchive package = ZipFile.OpenRead(Directory.EnumerateFiles(TorchPackage.Folder, "*.nupkg").Single());
        using MemoryStream brought = new();
        using (Stream entry = package.GetEntry("runtimes/linux-x64/native/libLibTorchSharp.so")!.Open())
        {
            entry.CopyTo(brought);
        }

        Assert.Equal(brought.ToArray(), File.ReadAllBytes(TorchPackage.Library));
    }

    [Fact]
    public void A_small_whole_file_is_changed_in_the_versions_flags_and_one_that_uses_the_version_is_not()
    {
        Assert.Equal([(s_unused.Flags, Weak)], TorchPackage.Differences(run.Inputs["small-unused"], run.Results["small-unused"]));
        Assert.Equal(run.Inputs["small-used"], run.Results["small-used"]);
    }

    [Theory]
    [InlineData("cut-", 400)]
    [InlineData("damaged-", 15)]
    public void A_damaged_file_is_copied_as_it_is(string kind, int least)
    {
        string[] names = run.Inputs.Keys.Where(name => name.StartsWith(kind, StringComparison.Ordinal)).ToArray();

        Assert.True(names.Length >= least, $"{names.Length} files");
        Assert.All(names, name => Assert.Equal(run.Inputs[name], run.Results[name]));
    }

    [Theory]
    [InlineData("flipped-")]
    [InlineData("real-flipped-")]
    public void Whatever_byte_is_flipped_nothing_but_the_versions_flag_ever_changes(string kind)
    {
        (int Place, int Bits) flag = kind.StartsWith("real", StringComparison.Ordinal)
            ? Assert.Single(TorchPackage.Differences(run.Inputs["package"], run.Results["package"]))
            : (s_unused.Flags, Weak);
        IReadOnlyList<(int Place, int Bits)>[] changes = run.Inputs.Keys.Where(name => name.StartsWith(kind, StringComparison.Ordinal))
            .Select(name => TorchPackage.Differences(run.Inputs[name], run.Results[name]))
            .ToArray();

        Assert.All(changes, change => Assert.True(change.Count == 0 || (change.Count == 1 && change[0] == flag)));
        Assert.Contains(changes, change => change.Count == 0);
        Assert.Contains(changes, change => change.Count == 1);
    }

    /// <summary>One MSBuild process over every file.</summary>
    public sealed class Run : IDisposable
    {
        public Run()
        {
            Inputs = Files();
            string input = Directory.CreateDirectory(Path.Combine(Folder.Path, "in")).FullName;
            foreach ((string name, byte[] bytes) in Inputs)
            {
                File.WriteAllBytes(Path.Combine(input, name), bytes);
            }

            string project = Path.Combine(Folder.Path, "weaken.proj");
            File.WriteAllText(project, $"""
                <Project>
                  <Import Project="{Path.Combine(Fixtures.Root, "eng", "buildTransitive", "Retro.targets")}" />
                  <Target Name="Weaken">
                    <ItemGroup><Case Include="in/*" /></ItemGroup>
                    <RetroWeakenRequirement Source="%(Case.FullPath)" Destination="$(MSBuildProjectDirectory)/out/%(Case.Filename)" Version="{TorchPackage.Version}" />
                    <RetroWeakenRequirement Source="$(MSBuildProjectDirectory)/out/package" Destination="$(MSBuildProjectDirectory)/again" Version="{TorchPackage.Version}" />
                  </Target>
                </Project>
                """);
            (ExitCode, Output) = Tool.Run("dotnet", Folder.Path, "msbuild", project, "-t:Weaken", "-nologo", "-v:minimal");
            Results = Directory.Exists(Path.Combine(Folder.Path, "out"))
                ? Directory.EnumerateFiles(Path.Combine(Folder.Path, "out")).ToDictionary(file => Path.GetFileName(file), File.ReadAllBytes)
                : [];
            Again = ExitCode == 0 ? File.ReadAllBytes(Path.Combine(Folder.Path, "again")) : [];
        }

        internal TemporaryFolder Folder { get; } = new();

        public Dictionary<string, byte[]> Inputs { get; }

        public Dictionary<string, byte[]> Results { get; }

        public byte[] Again { get; }

        public int ExitCode { get; }

        public string Output { get; }

        public void Dispose() => Folder.Dispose();

        private static Dictionary<string, byte[]> Files()
        {
            byte[] package = File.ReadAllBytes(TorchPackage.Library), small = s_unused.Bytes();
            Dictionary<string, byte[]> files = new() { ["package"] = package, ["small-unused"] = small, ["small-used"] = s_used.Bytes() };
            for (int length = 0; length < small.Length; length++)
            {
                files.Add($"cut-{length:d4}", small[..length]);
            }

            Random random = new(8);
            for (int i = 0; i < 12; i++)
            {
                files.Add($"cut-package-{i}", package[..random.Next(package.Length)]);
            }

            for (int place = 0; place < small.Length; place++)
            {
                byte[] flipped = [.. small];
                flipped[place] ^= (byte)(1 << random.Next(8));
                files.Add($"flipped-{place:d4}", flipped);
            }

            // The file's header, and the headers of its sections.
            int sections = BitConverter.ToInt32(package, 40), count = BitConverter.ToUInt16(package, 60);
            for (int i = 0; i < 24; i++)
            {
                byte[] flipped = [.. package];
                flipped[i < 8 ? random.Next(64) : sections + random.Next(64 * count)] ^= (byte)random.Next(1, 256);
                files.Add($"real-flipped-{i}", flipped);
            }

            int needed = SmallElf.SectionAt(SmallElf.NeededSection);
            (string Name, byte[] Bytes)[] damaged =
            [
                ("empty", []),
                ("text", "GLIBCXX_3.4.32 is no library, and this is text that goes on for more than a header is long."u8.ToArray()),
                ("32-bit", s_unused.With(4, 1, 1)),
                ("big-endian", s_unused.With(5, 1, 2)),
                ("changed-already", s_unused.With(s_unused.Flags, 2, Weak)),
                ("sections-beyond-the-end", s_unused.With(40, 8, 1 << 30)),
                ("sections-beyond-counting", s_unused.With(40, 8, ulong.MaxValue)),
                ("more-sections-than-there-are", s_unused.With(60, 2, ushort.MaxValue)),
                ("versions-beyond-the-end", s_unused.With(needed + 24, 8, 1 << 30)),
                ("versions-beyond-counting", s_unused.With(needed + 24, 8, long.MaxValue)),
                ("versions-longer-than-the-file", s_unused.With(needed + 32, 8, 1 << 30)),
                ("names-in-no-section", s_unused.With(needed + 40, 4, 1000)),
                ("more-libraries-than-there-is-room-for", s_unused.With(needed + 44, 4, int.MaxValue)),
                ("more-versions-than-there-is-room-for", s_unused.With(s_unused.Library + 2, 2, ushort.MaxValue)),
                ("version-before-its-section", s_unused.With(s_unused.Library + 8, 4, unchecked((uint)-16))),
                ("name-beyond-the-end", s_unused.With(s_unused.Flags + 4, 4, 1 << 30)),
                ("symbol-without-version", s_unused.With(SmallElf.SectionAt(2) + 32, 8, 2)),
                ("no-versions-of-symbols", s_unused.With(SmallElf.SectionAt(2) + 4, 4, 1)),
            ];
            foreach ((string name, byte[] bytes) in damaged)
            {
                files.Add($"damaged-{name}", bytes);
            }

            return files;
        }
    }
}

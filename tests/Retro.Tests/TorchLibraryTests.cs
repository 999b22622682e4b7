using System.Reflection;
using Retro.Checkpoints;
using Retro.Embedders;
using Retro.Modeling;
using Retro.Pretrained;
using Retro.Retrievers;
using Retro.Tests.Build;
using Retro.Tokenizers;
using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests;

/// <summary>
/// What a user sees where TorchSharp's native half cannot be loaded: one sentence, from whatever of Retro comes first, and an exit code other than 0.
/// </summary>
public sealed class TorchLibraryTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("Quickstart")]
    [InlineData("CustomLayer")]
    public void Without_libtorch_a_program_says_which_package_to_add(string sample)
    {
        string sentence = Fault(sample, Leave("libtorch*", "libc10*"));

        Assert.StartsWith("libtorch is not beside the program: add the package TorchSharp-cpu 0.", sentence, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_the_native_half_of_TorchSharp_a_program_says_to_build_it_again()
        => Assert.StartsWith("libLibTorchSharp.so of the package TorchSharp ", Fault("Quickstart", Leave("libLibTorchSharp.so")), StringComparison.Ordinal);

    [Fact]
    public void A_file_that_ends_too_early_is_named()
    {
        string sentence = Fault("Quickstart", file => Path.GetFileName(file) == "libtorch_cpu.so" ? Head(file, 1_000_000) : null);

        Assert.Matches(@"^\S*libtorch_cpu\.so is damaged, it ends at byte 1000000 ", sentence);
    }

    [Fact]
    public void A_file_whose_end_was_never_written_is_named()
    {
        string sentence = Fault(
            "Quickstart", file => Path.GetFileName(file) == "libtorch_cpu.so" ? (Head(file, 1_000_000).Bytes, new FileInfo(file).Length) : null);

        Assert.Matches(@"^\S*libtorch_cpu\.so is damaged, its end was never written: delete it ", sentence);
    }

    [Fact]
    public void A_file_of_zeros_is_named()
    {
        string sentence = Fault("Quickstart", file => Path.GetFileName(file) == "libtorch_cpu.so" ? ([], new FileInfo(file).Length) : null);

        Assert.Matches(@"^\S*libtorch_cpu\.so is damaged, it is no library of this system: delete it ", sentence);
    }

    [Fact]
    public void A_system_that_is_too_old_is_said_to_be()
    {
        Assert.SkipUnless(
            OperatingSystem.IsLinux() && TorchPackage.LacksVersion(TorchPackage.Library),
            $"This system has {TorchPackage.Version}: the package's own file loads here.");

        string sentence = Fault("Quickstart", file => Path.GetFileName(file) == "libLibTorchSharp.so" ? (File.ReadAllBytes(TorchPackage.Library), 0) : null);

        Assert.StartsWith($"This system is too old for libtorch: {TorchPackage.Version} is needed ", sentence, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_entry_says_so_itself()
    {
        string program = Copy(Path.TrimEndingDirectorySeparator(AppContext.BaseDirectory), Leave("libtorch*", "libc10*"));

        // A checkout as far as Fixtures looks for one.
        File.WriteAllText(Path.Combine(_folder.Path, "Retro.sln"), "");
        Directory.CreateDirectory(Path.Combine(_folder.Path, "tests", "Retro.Tests"));
        Directory.CreateSymbolicLink(Path.Combine(_folder.Path, "tests", "Retro.Tests", "fixtures"), Fixtures.Own);
        (int exitCode, string output) = Tool.Run(
            "dotnet", Fixtures.Root, Isolated(), [Path.Combine(program, "Retro.Tests.dll"), .. ChildTest.Arguments(Every_entry_fails_with_the_sentence)]);

        Assert.True(exitCode == 0, output);
        Assert.Contains("Total: 1", output, StringComparison.Ordinal);
    }

    /// <summary>Runs in a process of its own, without libtorch; see above.</summary>
    [Fact(Explicit = true)]
    public void Every_entry_fails_with_the_sentence()
    {
        string bert = Path.Combine(Fixtures.Own, "pretrained", "bert"), weights = Path.Combine(bert, "model.safetensors");
        RetroTokenizer tokenizer = RetroTokenizer.Load(bert);
        using Safetensors file = Safetensors.Open(weights);
        List<(string Name, Action Call)> entries =
        [
            ("require", TorchLibrary.Require),
            ("safetensors", () => file.Read(file.Entries[0].Name)),
            ("decoder", () => PretrainedDecoder.Load(Path.Combine(Fixtures.Own, "pretrained", "mistral-sliding-window"))),
            ("embedder", () => TextEmbedder.Load(bert)),
            ("inverse cloze", () => InverseClozeTrainer.Train([], tokenizer)),
            ("batch", () => new TokenBatch(1, 64).ToTensors()),
        ];

        // Every module of Retro, with arguments found by their types.
        foreach (Type module in typeof(RetroModel).Assembly.GetExportedTypes().Where(type => type.IsSubclassOf(typeof(nn.Module)) && !type.IsAbstract))
        {
            foreach (ConstructorInfo constructor in module.GetConstructors())
            {
                entries.Add(
                    (module.Name, () => constructor.Invoke(BindingFlags.DoNotWrapExceptions, null, [.. constructor.GetParameters().Select(Argument)], null)));
            }
        }

        Assert.True(entries.Count > 13, $"{entries.Count} entries");
        foreach ((string name, Action call) in entries)
        {
            Exception? fault = Record.Exception(call);
            Assert.True(fault is TorchLibraryException && fault.Message.Contains("TorchSharp-cpu", StringComparison.Ordinal), $"{name}: {fault}");
        }

        // What was left half-made has finalizers, which must not look for the library either.
        GC.Collect();
        GC.WaitForPendingFinalizers();
    }

    [Theory]
    [InlineData("linux-x64", true)]
    [InlineData("debian.13-x64", true)]
    [InlineData("win-x64", true)]
    [InlineData("osx-arm64", true)]
    [InlineData("osx.14-arm64", true)]
    [InlineData("linux-arm64", false)]
    [InlineData("win-arm64", false)]
    [InlineData("osx-x64", false)]
    [InlineData("linux-musl-x64", false)]
    [InlineData("alpine.3.20-x64", false)]
    public void Systems_that_no_package_has_a_libtorch_for_are_known(string system, bool served)
        => Assert.Equal(served, TorchLibrary.IsServed(system));

    [Fact]
    public void Damage_is_seen_in_any_cut_and_never_throws()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Files of Linux.");
        byte[] whole = File.ReadAllBytes(TorchPackage.Library);
        string path = Path.Combine(_folder.Path, "library.so");
        Assert.Null(TorchLibrary.Damage(TorchPackage.Library));
        Random random = new(9);
        for (int i = 0; i < 40; i++)
        {
            File.WriteAllBytes(path, whole[..random.Next(whole.Length)]);
            Assert.NotNull(TorchLibrary.Damage(path));
            byte[] flipped = whole[..4096];
            flipped[random.Next(64)] ^= (byte)random.Next(1, 256);
            File.WriteAllBytes(path, flipped);
            Assert.NotNull(TorchLibrary.Damage(path));
        }

        Assert.NotNull(TorchLibrary.Damage(_folder.Path + "/absent.so"));
    }

    private static object? Argument(ParameterInfo parameter) => parameter switch
    {
        { HasDefaultValue: true } => parameter.DefaultValue,
        { ParameterType.IsEnum: true } => Enum.GetValues(parameter.ParameterType).GetValue(0),
        _ when parameter.ParameterType == typeof(RetroConfig) => RetroConfig.Tiny,
        _ when parameter.ParameterType == typeof(TextEncoderConfig) => TextEncoderConfig.Small(300),
        _ when parameter.ParameterType == typeof(int) => 8,
        _ when parameter.ParameterType == typeof(double) => 1e-5,
        _ => throw new InvalidOperationException(
            $"Say here what a {parameter.ParameterType} may be, so that {parameter.Member.DeclaringType} is tried without libtorch."),
    };

    /// <summary>Leaves files out of a copy.</summary>
    private static Func<string, (byte[] Bytes, long Length)?> Leave(params string[] patterns)
        => file => patterns.Any(pattern => System.IO.Enumeration.FileSystemName.MatchesSimpleExpression(pattern, Path.GetFileName(file))) ? ([], -1) : null;

    private static (byte[] Bytes, long Length) Head(string file, int length)
    {
        byte[] head = new byte[length];
        using FileStream stream = File.OpenRead(file);
        stream.ReadExactly(head);
        return (head, 0);
    }

    /// <summary>Runs a copy of a sample and gives back the one line that it printed.</summary>
    private string Fault(string sample, Func<string, (byte[] Bytes, long Length)?> change)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The names of the natives are those of Linux.");
        string program = Copy(Path.GetDirectoryName(Fixtures.Sample(sample))!, change);
        string[] arguments = sample == "Quickstart" ? ["--minutes", "0.1", "--out", Path.Combine(_folder.Path, "out")] : [];
        (int exitCode, string output) = Tool.Run("dotnet", _folder.Path, Isolated(), [Path.Combine(program, sample + ".dll"), .. arguments]);

        Assert.True(exitCode == 1, $"{exitCode}: {output}");
        return Assert.Single(output.TrimEnd().Split('\n'));
    }

    /// <summary>Nothing of the machine's package cache is found.</summary>
    private Dictionary<string, string?> Isolated() => new() { ["NUGET_PACKAGES"] = _folder.Path, ["LD_LIBRARY_PATH"] = null };

    /// <summary>
    /// Copies a program; natives are linked, never written through. A change gives a file's first bytes and its length where that is more; a length below 0
    /// leaves it out.
    /// </summary>
    private string Copy(string from, Func<string, (byte[] Bytes, long Length)?> change)
    {
        string to = Directory.CreateDirectory(Path.Combine(_folder.Path, "program")).FullName;
        foreach (string file in Directory.EnumerateFiles(from))
        {
            string copy = Path.Combine(to, Path.GetFileName(file));
            if (change(file) is var (bytes, length))
            {
                if (length >= 0)
                {
                    using FileStream stream = new(copy, FileMode.CreateNew);
                    stream.Write(bytes);
                    stream.SetLength(Math.Max(length, bytes.Length));
                }
            }
            else if (Path.GetFileName(file).Contains(".so", StringComparison.Ordinal))
            {
                File.CreateSymbolicLink(copy, file);
            }
            else
            {
                File.Copy(file, copy);
            }
        }

        return to;
    }
}

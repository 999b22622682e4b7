using System.Buffers.Binary;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using TorchSharp;

namespace Retro;

/// <summary>The native half of TorchSharp, which the program brings by a package of its own and which fits not every system.</summary>
/// <remarks>
/// Everything in Retro that needs it asks here first, so that the first error says what is missing and what to do. TorchSharp's own error comes wrapped in a
/// <see cref="TypeInitializationException"/>, after many lines on the console.
/// </remarks>
public static partial class TorchLibrary
{
    // Of ELF files, see elf(5).
    private const int HeaderSize = 64, SegmentSize = 56, StringTable = 3;

    /// <summary>The version that the package's build step lifts; see Retro.targets.</summary>
    private const string Lifted = "GLIBCXX_3.4.32";

    private static readonly string[] s_prefixes = ["libtorch", "libc10", "libLibTorchSharp", "libgomp"];
    private static volatile bool s_loaded;

    /// <summary>Loads the library where that has not been done yet. For programs that use TorchSharp before anything of Retro.</summary>
    /// <exception cref="TorchLibraryException">It cannot be loaded; the message says why and what to do.</exception>
    public static void Require()
    {
        if (!s_loaded)
        {
            Load();
            s_loaded = true;
        }
    }

    /// <summary>The same, in a constructor's call of its base: a module's base is native already.</summary>
    /// <param name="name">The module's name.</param>
    /// <returns><paramref name="name"/>.</returns>
    internal static string Require(string name)
    {
        Require();
        return name;
    }

    private static void Load()
    {
        Assembly torchSharp = typeof(torch).Assembly;
        string[] folders = Folders(torchSharp);
        if (OperatingSystem.IsLinux())
        {
            // The loader maps a file that ends too early all the same, and the process dies where it reads beyond the end: such a file is found before.
            foreach (string file in folders.SelectMany(folder => Directory.EnumerateFiles(folder, "lib*.so*"))
                .Where(file => s_prefixes.Any(Path.GetFileName(file).StartsWith)))
            {
                if (Damage(file) is { } damage)
                {
                    throw new TorchLibraryException(
                        $"{file} is damaged, {damage}: delete it and the folder of its package below the NuGet cache, then restore and build the "
                            + "program again.");
                }
            }
        }

        // In TorchSharp's order. Where the first fails, so does the second, which needs it.
        NativeLibrary.TryLoad("torch_cpu", torchSharp, null, out _);
        try
        {
            NativeLibrary.Load("LibTorchSharp", torchSharp, null);
        }
        catch (Exception fault) when (fault is DllNotFoundException or BadImageFormatException)
        {
            if (!LoadsFromPackages(torchSharp))
            {
                throw Explain(folders, torchSharp.GetName().Version!, fault);
            }
        }
    }

    /// <summary>Notebooks and scripts load TorchSharp out of the NuGet cache, where it gathers the native files itself.</summary>
    private static bool LoadsFromPackages(Assembly torchSharp)
    {
        if (torchSharp.Location.Length == 0 || !File.Exists(Path.Combine(Path.GetDirectoryName(torchSharp.Location)!, "..", "..", "torchsharp.nuspec")))
        {
            return false;
        }

        try
        {
            return torch.TryInitializeDeviceType(DeviceType.CPU);
        }
        catch (Exception fault) when (fault is TypeInitializationException or NotSupportedException)
        {
            return false;
        }
    }

    private static TorchLibraryException Explain(string[] folders, Version version, Exception fault)
    {
        string? torchCpu = Find(folders, "torch_cpu"), own = Find(folders, "LibTorchSharp");
        string reason = fault.Message;
        foreach (string file in new[] { torchCpu, own }.OfType<string>())
        {
            // By its path, for the reason alone: by name, the message also tells of every other place that was looked at.
            try
            {
                NativeLibrary.Load(file);
            }
            catch (Exception one) when (one is DllNotFoundException or BadImageFormatException)
            {
                reason = one.Message.TrimEnd().Split('\n')[^1].Trim();
                break;
            }
        }

        Match needed = NeededVersion().Match(reason);
        string text = torchCpu is null && !IsServed(RuntimeInformation.RuntimeIdentifier)
            ? $"There is no libtorch of TorchSharp {version.ToString(3)} for this system ({RuntimeInformation.RuntimeIdentifier}): its packages have one for "
                + "Linux (of glibc) and Windows on x64, and for macOS on arm64. In a container on another processor, run it for one of these "
                + "(docker --platform linux/amd64)."
            : torchCpu is null
            ? $"libtorch is not beside the program: add the package TorchSharp-cpu {version.ToString(3)} (or, for NVIDIA GPUs, TorchSharp-cuda-linux or "
                + "TorchSharp-cuda-windows) to its project and build it again."
            : own is null
                ? $"{FileName("LibTorchSharp")} of the package TorchSharp {version.ToString(3)} is not beside the program: restore and build its project "
                    + $"again, for this system ({RuntimeInformation.RuntimeIdentifier})."
            : needed.Success
                ? $"This system is too old for libtorch: {needed.Value} is needed ({reason}). Use a newer one, such as Debian 13 or Ubuntu 24.04; where "
                    + $"{Lifted} alone is missing, a build that references the package Retro, without RetroWeakenTorchRequirement=false, does without it."
            : $"libtorch cannot be loaded ({reason}): install what that names, or, where a file is damaged, delete it and the folder of its package below "
                + "the NuGet cache, then restore and build the program again.";
        return new TorchLibraryException(text, fault);
    }

    /// <summary>Whether the packages of TorchSharp have a libtorch for a system.</summary>
    /// <param name="system">The system's runtime identifier, such as ubuntu.24.04-x64.</param>
    internal static bool IsServed(string system)
        => system.EndsWith("-x64", StringComparison.Ordinal)
            ? !system.StartsWith("osx", StringComparison.Ordinal) && !system.Contains("musl", StringComparison.Ordinal)
                && !system.StartsWith("alpine", StringComparison.Ordinal)
            : system.StartsWith("osx", StringComparison.Ordinal) && system.EndsWith("-arm64", StringComparison.Ordinal);

    /// <summary>Where .NET looks for native files of the program and of its packages.</summary>
    private static string[] Folders(Assembly torchSharp)
    {
        string[] named = (AppContext.GetData("NATIVE_DLL_SEARCH_DIRECTORIES") as string ?? "").Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries);
        string[] beside = torchSharp.Location.Length == 0 ? [] : [Path.GetDirectoryName(torchSharp.Location)!];
        return [.. named.Append(AppContext.BaseDirectory)
            .Concat(beside)
            .Select(folder => Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)))
            .Distinct()
            .Where(Directory.Exists)];
    }

    private static string? Find(string[] folders, string library)
        => folders.Select(folder => Path.Combine(folder, FileName(library))).FirstOrDefault(File.Exists);

    private static string FileName(string library)
        => OperatingSystem.IsWindows() ? $"{library}.dll" : OperatingSystem.IsMacOS() ? $"lib{library}.dylib" : $"lib{library}.so";

    /// <summary>What is wrong with an ELF file of 64 bits as far as its headers say; null: nothing.</summary>
    internal static string? Damage(string path)
    {
        try
        {
            using FileStream file = File.OpenRead(path);
            Span<byte> header = stackalloc byte[HeaderSize];
            if (file.ReadAtLeast(header, HeaderSize, throwOnEndOfStream: false) < HeaderSize || !header.StartsWith("\u007fELF\u0002\u0001"u8))
            {
                return "it is no library of this system";
            }

            ulong segments = BinaryPrimitives.ReadUInt64LittleEndian(header[32..]), sections = BinaryPrimitives.ReadUInt64LittleEndian(header[40..]);
            int segmentSize = BinaryPrimitives.ReadUInt16LittleEndian(header[54..]), segmentCount = BinaryPrimitives.ReadUInt16LittleEndian(header[56..]);
            int sectionSize = BinaryPrimitives.ReadUInt16LittleEndian(header[58..]), sectionCount = BinaryPrimitives.ReadUInt16LittleEndian(header[60..]);
            int nameSection = BinaryPrimitives.ReadUInt16LittleEndian(header[62..]);
            byte[] table = new byte[segmentSize * segmentCount];
            UInt128 end = UInt128.Max((UInt128)segments + (uint)table.Length, (UInt128)sections + (uint)(sectionSize * sectionCount));
            if (end <= (ulong)file.Length)
            {
                file.Position = (long)segments;
                file.ReadExactly(table);
                for (int i = 0; i < segmentCount && segmentSize >= SegmentSize; i++)
                {
                    ReadOnlySpan<byte> segment = table.AsSpan(i * segmentSize, segmentSize);
                    end = UInt128.Max(
                        end, (UInt128)BinaryPrimitives.ReadUInt64LittleEndian(segment[8..]) + BinaryPrimitives.ReadUInt64LittleEndian(segment[32..]));
                }

                // The sections stand last: where a copy was broken off in a file whose room had been set aside, there are zeros.
                Span<byte> kind = stackalloc byte[8];
                file.Position = (long)sections + (sectionSize * Math.Min(nameSection, sectionCount));
                if (nameSection < sectionCount
                    && (file.ReadAtLeast(kind, kind.Length, throwOnEndOfStream: false) < kind.Length
                        || BinaryPrimitives.ReadInt32LittleEndian(kind[4..]) != StringTable))
                {
                    return "its end was never written";
                }
            }

            return end > (ulong)file.Length ? $"it ends at byte {file.Length} and speaks of {end}" : null;
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return $"it cannot be read ({fault.Message})";
        }
    }

    [GeneratedRegex("(GLIBCXX|GLIBC|CXXABI|GCC)_[0-9]+(\\.[0-9]+)*")]
    private static partial Regex NeededVersion();
}

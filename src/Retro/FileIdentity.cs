using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Retro;

/// <summary>What a path leads to, links followed: whether it is a file of bytes, and which one, whatever names it has.</summary>
internal static partial class FileIdentity
{
    /// <summary>What a path is taken from by Linux's functions that ask for a folder: the current one.</summary>
    public const int CurrentFolder = -100; // AT_FDCWD

    private const int OfHandle = 0x1000; // AT_EMPTY_PATH
    private const uint Asked = 0x105; // STATX_TYPE | STATX_NLINK | STATX_INO

    /// <summary>
    /// Whether a path leads to a file of bytes; a pipe, a socket and a device do not, and opening them can wait without end. Where the system does not tell,
    /// whatever is there and no folder counts.
    /// </summary>
    /// <param name="path">The path.</param>
    public static bool IsFile(string path) => Ask(path) is { } found ? (found.Mode & 0xF000) == 0x8000 : File.Exists(path);

    /// <summary>Whether a link leads to anything, and not to itself.</summary>
    /// <param name="link">The link's path.</param>
    public static bool LeadsSomewhere(string link)
    {
        if (Ask(link) is not null)
        {
            return true;
        }

        try
        {
            return new FileInfo(link).ResolveLinkTarget(returnFinalTarget: true) is { } target && Path.Exists(target.FullName);
        }
        catch (IOException)
        {
            return false;
        }
    }

    /// <summary>Whether something is at a path; null where that cannot be told: a link on the way leads to nothing, or may not be followed.</summary>
    /// <param name="folder">A folder.</param>
    /// <param name="name">The path from there, with '/'.</param>
    public static bool? IsThere(string folder, string name)
    {
        string path = folder;
        try
        {
            foreach (string part in name.Split('/'))
            {
                path = Path.Combine(path, part);
                if (new FileInfo(path).LinkTarget is not null && !LeadsSomewhere(path))
                {
                    return null;
                }
            }

            return File.GetAttributes(path) >= 0;
        }
        catch (Exception exception) when (exception is FileNotFoundException or DirectoryNotFoundException)
        {
            return false;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Whether a path is a link to a file or folder, or to nothing yet: what is written there changes, or makes, something elsewhere.</summary>
    /// <param name="path">The path; nothing need be there.</param>
    public static bool IsLink(string path)
        => new FileInfo(path).LinkTarget is not null && (!LeadsSomewhere(path) || IsFile(path) || Directory.Exists(path));

    /// <summary>The first link among the folders that lead from one to a file below it; null where the file lies in that folder indeed.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="name">The file's path from there.</param>
    public static string? LinkTo(string folder, string name)
    {
        string path = folder;
        foreach (string part in name.Split('/', Path.DirectorySeparatorChar)[..^1])
        {
            path = Path.Combine(path, part);
            if (IsLink(path))
            {
                return path;
            }
        }

        return null;
    }

    /// <summary>Whether a file's bytes have other names too, by hard links: what is written into it changes those. Known on Linux alone.</summary>
    /// <param name="path">The path; nothing need be there.</param>
    public static bool HasOtherNames(string path) => Ask(path) is { Links: > 1 } found && (found.Mode & 0xF000) == 0x8000;

    /// <summary>Makes sure that opening a path cannot wait without end.</summary>
    /// <param name="path">The path; where nothing is there, opening it says so.</param>
    /// <exception cref="IOException">It leads to a pipe, a socket or a device.</exception>
    public static void RequireFile(string path)
    {
        if (Ask(path) is { } found && (found.Mode & 0xF000) is not (0x8000 or 0x4000))
        {
            throw new IOException($"'{path}' is a pipe, a socket or a device and no file.");
        }
    }

    /// <summary>Names the file or folder that a path leads to: paths to one have one name, by links of either kind.</summary>
    /// <param name="path">The path; something has to be there.</param>
    public static string Of(string path) => Ask(path) is { } found
        ? Name(found)
        : new FileInfo(path).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? Path.GetFullPath(path);

    /// <summary>
    /// Tells a file from one that takes its name, and from what it is when somebody has written into it: which one it is, its length and when it was written.
    /// </summary>
    /// <param name="path">The path.</param>
    /// <exception cref="IOException">Nothing is there.</exception>
    public static string StateOf(string path)
    {
        FileInfo file = new(path);
        file = file.ResolveLinkTarget(returnFinalTarget: true) as FileInfo ?? file;
        return FormattableString.Invariant($"{Of(path)} {file.Length} {file.LastWriteTimeUtc.Ticks}");
    }

    /// <summary>Whether a path leads to a file that is open; where the system does not tell, whether anything is there.</summary>
    /// <param name="file">The file.</param>
    /// <param name="path">The path.</param>
    public static bool IsAt(SafeFileHandle file, string path)
    {
        bool isAt = Ask("", (int)file.DangerousGetHandle(), OfHandle) is { } open ? Ask(path) is { } found && Name(open) == Name(found) : File.Exists(path);
        GC.KeepAlive(file);
        return isAt;
    }

    private static string Name(Found found) => $"{found.MajorDevice}:{found.MinorDevice}:{found.Inode}";

    private static Found? Ask(string path, int folder = CurrentFolder, int flags = 0)
    {
        if (!OperatingSystem.IsLinux())
        {
            return null;
        }

        try
        {
            return Statx(folder, path, flags, Asked, out Found found) == 0 ? found : null;
        }
        catch (EntryPointNotFoundException)
        {
            return null; // a C library from before 2018
        }
    }

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(int folder, string path, int flags, uint mask, out Found found);

    /// <summary>The fields of Linux's struct statx that are asked for; it is laid out alike on every processor.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct Found
    {
        [FieldOffset(16)]
        public uint Links;

        [FieldOffset(28)]
        public ushort Mode;

        [FieldOffset(32)]
        public ulong Inode;

        [FieldOffset(136)]
        public uint MajorDevice;

        [FieldOffset(140)]
        public uint MinorDevice;
    }
}

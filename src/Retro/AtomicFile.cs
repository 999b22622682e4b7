using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Retro;

/// <summary>
/// Writes a file so that its name never stands for half a file: the bytes go to a file beside it, are flushed to the disk,
/// and only then take the name. A process killed at any moment leaves the old file, or none, and at most a ".tmp" beside it
/// that the next writing of the same file replaces.
/// </summary>
internal static partial class AtomicFile
{
    /// <summary>The ending of a file that is being written.</summary>
    public const string TemporarySuffix = ".tmp";

    private const int FollowLinks = 0x400; // AT_SYMLINK_FOLLOW
    private const int SharedAtOnce = 5; // LOCK_SH | LOCK_NB

    /// <summary>How one alone opens a file that it renames or deletes while it is open: for that Windows wants to be asked, and Unix never does.</summary>
    public static FileShare Alone => OperatingSystem.IsWindows() ? FileShare.Delete : FileShare.None;

    // EAGAIN, as the systems number it.
    private static int HeldError => OperatingSystem.IsMacOS() ? 35 : 11;

    /// <summary>Writes or replaces a file.</summary>
    /// <param name="path">The file's path; its folder is created where it is missing.</param>
    /// <param name="write">Writes the content; the stream can seek. What it throws goes through, and the old file stays.</param>
    /// <param name="fault">Makes the caller's exception of a sentence and the fault behind it.</param>
    public static void Write(string path, Action<Stream> write, Func<string, Exception, RetroException> fault)
    {
        using StagedFiles file = new(Path.GetDirectoryName(Path.GetFullPath(path)) ?? path, fault);
        file.Write(path, write);
        file.Commit();
    }

    /// <summary>Writes or replaces a UTF-8 text file.</summary>
    /// <inheritdoc cref="Write"/>
    public static void WriteText(string path, string text, Func<string, Exception, RetroException> fault)
        => Write(path, stream => stream.Write(System.Text.Encoding.UTF8.GetBytes(text)), fault);

    /// <summary>Writes or replaces a file whose content another library writes, which is given a path.</summary>
    /// <remarks>On Windows nobody is kept out meanwhile: what is open to one alone no library could write there.</remarks>
    /// <param name="path">The file's path; its folder has to exist.</param>
    /// <param name="write">Writes the content to the path that it is given. What it throws goes through, and the old file stays.</param>
    /// <param name="fault">Makes the caller's exception of a sentence and the fault behind it.</param>
    public static void WriteByPath(string path, Action<string> write, Func<string, Exception, RetroException> fault)
    {
        string beside = path + TemporarySuffix;
        FileStream? held = null;
        try
        {
            Guard(path, fault, () =>
            {
                held = CreateBeside(path, OperatingSystem.IsWindows() ? FileShare.ReadWrite | FileShare.Delete : Alone);
                AdmitReaders(held);
                write(beside);
                held.Flush(flushToDisk: true);
                TakeName(held, path);
            });
        }
        finally
        {
            Discard(held, path);
        }
    }

    /// <summary>Runs an action on a file; a fault of the disk comes out as the caller's exception, naming the path and what to do.</summary>
    /// <param name="path">The file that is written.</param>
    /// <param name="fault">Makes the caller's exception.</param>
    /// <param name="action">What is done.</param>
    public static void Guard(string path, Func<string, Exception, RetroException> fault, Action action)
    {
        try
        {
            action();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw fault(Describe(path, exception), exception);
        }
    }

    /// <summary>Removes a file where that can be done: one that nobody reads, so that nothing depends on it.</summary>
    /// <param name="path">The file; it need not be there.</param>
    public static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
        }
    }

    /// <summary>
    /// Opens a file for new content beside its place; for as long as it is open nobody else does. A link of either kind that stands there goes: what it leads
    /// to is not ours to write.
    /// </summary>
    /// <param name="path">The file that the content is for.</param>
    /// <exception cref="IOException">Another has it (<see cref="IsHeld"/>), or it cannot be written.</exception>
    public static FileStream CreateBeside(string path) => CreateBeside(path, Alone);

    /// <summary>
    /// Lets others read a file that <see cref="CreateBeside(string)"/> has opened, whose content is whole and on the disk: under its name it is read before it
    /// is closed. Nobody else writes it still.
    /// </summary>
    /// <param name="file">The file.</param>
    /// <exception cref="IOException">Another has come to it in between.</exception>
    public static void AdmitReaders(FileStream file)
    {
        // What keeps no such locks kept nobody out before.
        if (!OperatingSystem.IsWindows() && LockFile(file.SafeFileHandle, SharedAtOnce) != 0 && Marshal.GetLastPInvokeError() == HeldError)
        {
            throw new IOException(Marshal.GetPInvokeErrorMessage(HeldError), HeldError);
        }
    }

    /// <summary>Makes sure that a file which was opened beside a place is there still, so that what takes its name is its content.</summary>
    /// <param name="file">The file.</param>
    /// <param name="path">The place.</param>
    /// <exception cref="IOException">It is not.</exception>
    public static void RequireAt(FileStream file, string path)
    {
        if (!FileIdentity.IsAt(file.SafeFileHandle, path + TemporarySuffix))
        {
            throw new IOException($"'{path + TemporarySuffix}' was taken away, or replaced, while it was to be written");
        }
    }

    /// <summary>Gives a file that was opened beside a place its name, as <see cref="Move"/> does, and closes it.</summary>
    /// <param name="file">The file, whose bytes are on the disk.</param>
    /// <param name="path">The place.</param>
    /// <exception cref="IOException">It is not there any more, or cannot have the name.</exception>
    public static void TakeName(FileStream file, string path)
    {
        RequireAt(file, path);
        Move(path + TemporarySuffix, path);
        file.Dispose();
    }

    /// <summary>Removes and closes a file that was opened beside a place and has not taken its name.</summary>
    /// <param name="file">The file; null: it was not opened.</param>
    /// <param name="path">The place.</param>
    public static void Discard(FileStream? file, string path)
    {
        if (file is null || file.SafeFileHandle.IsClosed)
        {
            return;
        }

        // While it is still open, so that it is not another's. The fault that brought us here is the one to report; the next writing replaces a left-over.
        if (FileIdentity.IsAt(file.SafeFileHandle, path + TemporarySuffix))
        {
            TryDelete(path + TemporarySuffix);
        }

        file.Dispose();
    }

    /// <summary>Gives the bytes of a whole file a second name, beside the place of another: nothing is written, and either name may go.</summary>
    /// <param name="from">The file that is there; of a link, the file that it leads to.</param>
    /// <param name="path">The file that the name is for.</param>
    /// <returns>The file, open for reading; null where the file system, or the owner of the file, does not let it be. On Linux alone, where
    /// <see cref="CreateBeside(string)"/> can tell a second name from a file of its own.</returns>
    public static FileStream? LinkBeside(string from, string path)
    {
        string beside = path + TemporarySuffix;
        if (!OperatingSystem.IsLinux())
        {
            return null;
        }

        TryDelete(beside);
        return Link(FileIdentity.CurrentFolder, from, FileIdentity.CurrentFolder, beside, FollowLinks) == 0
            ? new(beside, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, 1)
            : null;
    }

    /// <summary>
    /// Gives a file whose bytes are on the disk its name, and brings that to the disk too: without this a power failure can leave the old name, or none.
    /// </summary>
    /// <param name="from">The file.</param>
    /// <param name="to">Its new path, in a folder that exists; a file there is replaced.</param>
    public static void Move(string from, string to)
    {
        File.Move(from, to, overwrite: true);
        FlushFolder(Path.GetDirectoryName(Path.GetFullPath(to))!);
    }

    /// <summary>Makes a folder where it is missing, and brings its name to the disk.</summary>
    /// <param name="folder">The folder.</param>
    public static void CreateFolder(string folder)
    {
        string path = Path.GetFullPath(folder);
        if (!Directory.Exists(path) && Path.GetDirectoryName(Path.TrimEndingDirectorySeparator(path)) is { } parent)
        {
            CreateFolder(parent);
            Directory.CreateDirectory(path);
            FlushFolder(parent);
        }
    }

    /// <summary>Brings the names of a folder to the disk.</summary>
    /// <param name="folder">The folder.</param>
    /// <exception cref="IOException">It is missing, or the disk fails.</exception>
    public static void FlushFolder(string folder)
    {
        if (OperatingSystem.IsWindows())
        {
            return; // there a renaming is written through
        }

        int handle = OpenFile(folder, 0);
        if (handle < 0)
        {
            int error = Marshal.GetLastPInvokeError();
            if (error == 13)
            {
                return; // a folder that may be written and not be read cannot be flushed
            }

            throw new IOException($"The folder '{folder}' could not be opened: {Marshal.GetPInvokeErrorMessage(error)}", error);
        }

        try
        {
            // EINVAL: a file system that has nothing to flush there.
            if (Flush(handle) != 0 && Marshal.GetLastPInvokeError() is var error && error != 22)
            {
                throw new IOException($"The folder '{folder}' could not be brought to the disk: {Marshal.GetPInvokeErrorMessage(error)}", error);
            }
        }
        finally
        {
            _ = CloseFile(handle);
        }
    }

    private static FileStream CreateBeside(string path, FileShare share)
    {
        string beside = path + TemporarySuffix;
        RemoveLink(beside);

        // A device that stands there holds nothing that two could mix.
        FileStream file = new(
            beside,
            FileMode.OpenOrCreate,
            FileAccess.ReadWrite,
            File.Exists(beside) && !FileIdentity.IsFile(beside) ? FileShare.ReadWrite : share,
            bufferSize: 0); // what a full disk has refused must not be written, and fail, once more when the file is closed
        try
        {
            // Between opening it and having it alone, whoever had it may have given it its name: then it is theirs.
            RequireAt(file, path);
            if (file.Length > 0)
            {
                file.SetLength(0);
            }

            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static void RemoveLink(string path)
    {
        if (FileIdentity.IsLink(path) || FileIdentity.HasOtherNames(path))
        {
            File.Delete(path);
        }
    }

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int OpenFile(string path, int flags);

    [LibraryImport("libc", EntryPoint = "linkat", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Link(int fromFolder, string from, int toFolder, string to, int flags);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    private static partial int LockFile(SafeFileHandle file, int operation);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Flush(int handle);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int CloseFile(int handle);

    /// <summary>
    /// Whether a file could not be opened because another has it for itself: EAGAIN as Linux and macOS number it, a sharing violation as Windows does.
    /// </summary>
    /// <param name="exception">What came of opening it.</param>
    public static bool IsHeld(IOException exception)
        => OperatingSystem.IsWindows() ? (exception.HResult & 0xffff) == 32 : exception.HResult == HeldError;

    /// <summary>
    /// Whether a file could not be written because there is no room: ENOSPC and EDQUOT as Unix systems number them, ERROR_DISK_FULL and
    /// ERROR_HANDLE_DISK_FULL as Windows does.
    /// </summary>
    /// <param name="exception">What came of writing it.</param>
    public static bool IsDiskFull(IOException exception)
        => OperatingSystem.IsWindows() ? (exception.HResult & 0xffff) is 112 or 39 : exception.HResult is 28 or 122 or 69;

    /// <summary>One sentence about a failed writing, with what to do.</summary>
    /// <param name="path">The file that was written.</param>
    /// <param name="exception">What came of it.</param>
    public static string Describe(string path, Exception exception)
    {
        if (exception is IOException full && IsDiskFull(full))
        {
            return $"There is no space left on the disk to write '{path}'; free some space or choose another folder, and run again (what was complete "
                + "before is kept).";
        }

        if (exception is IOException held && IsHeld(held))
        {
            return $"'{path}' is being written by another process, or by another part of this one; wait until it is done, and run again.";
        }

        return exception is UnauthorizedAccessException
            ? $"Writing '{path}' is not permitted ({exception.Message}); check the rights of the folder, or choose another."
            : $"'{path}' could not be written ({exception.Message}); check the disk and the path, and run again.";
    }
}

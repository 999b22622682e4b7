namespace Retro;

/// <summary>
/// Writes a file so that its name never stands for half a file: the bytes go to a file beside it, are flushed to the disk,
/// and only then take the name. A process killed at any moment leaves the old file, or none, and at most a ".tmp" beside it
/// that the next writing of the same file replaces.
/// </summary>
internal static class AtomicFile
{
    /// <summary>The ending of a file that is being written.</summary>
    public const string TemporarySuffix = ".tmp";

    /// <summary>Writes or replaces a file.</summary>
    /// <param name="path">The file's path; its folder is created where it is missing.</param>
    /// <param name="write">Writes the content; the stream can seek. What it throws goes through, and the old file stays.</param>
    /// <param name="fault">Makes the caller's exception of a sentence and the fault behind it.</param>
    public static void Write(string path, Action<Stream> write, Func<string, Exception, RetroException> fault)
    {
        using StagedFiles file = new(fault);
        file.Write(path, write);
        file.Commit();
    }

    /// <summary>Writes or replaces a UTF-8 text file.</summary>
    /// <inheritdoc cref="Write"/>
    public static void WriteText(string path, string text, Func<string, Exception, RetroException> fault)
        => Write(path, stream => stream.Write(System.Text.Encoding.UTF8.GetBytes(text)), fault);

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

    /// <summary>One sentence about a failed writing, with what to do.</summary>
    private static string Describe(string path, Exception exception)
    {
        if (exception is IOException && IsDiskFull(exception.HResult))
        {
            return $"There is no space left on the disk to write '{path}'; free some space or choose another folder, and run again (what was complete before is kept).";
        }

        return exception is UnauthorizedAccessException
            ? $"Writing '{path}' is not permitted ({exception.Message}); check the rights of the folder, or choose another."
            : $"'{path}' could not be written ({exception.Message}); check the disk and the path, and run again.";
    }

    // ENOSPC and EDQUOT as Unix systems number them, ERROR_DISK_FULL and ERROR_HANDLE_DISK_FULL as Windows does.
    private static bool IsDiskFull(int code)
        => OperatingSystem.IsWindows() ? (code & 0xffff) is 112 or 39 : code is 28 or 122 or 69;
}

namespace Retro;

/// <summary>
/// A file that one process has for itself at a time, as a sign that it alone changes what the file stands for. The operating system gives it back when the
/// process ends, however it ends.
/// </summary>
public static class FileLock
{
    private static readonly TimeSpan s_untilTriedAgain = TimeSpan.FromMilliseconds(20), s_untilTold = TimeSpan.FromSeconds(30);

    /// <summary>Takes a file, and waits for as long as another process, or another part of this one, has it.</summary>
    /// <param name="path">The file; made where it is missing, in a folder that is there.</param>
    /// <param name="waits">Told once, in a sentence that names the file, where the wait is longer than half a minute; null: nobody is told.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>The file, open; dispose it to give it back.</returns>
    /// <exception cref="IOException">It cannot be opened, for another reason than that it is held.</exception>
    /// <exception cref="UnauthorizedAccessException">This user may not write it.</exception>
    public static FileStream Wait(string path, Action<string>? waits = null, CancellationToken cancellationToken = default)
        => Wait(path, waits, s_untilTold, TimeProvider.System, cancellationToken);

    /// <summary>Takes a file by a clock.</summary>
    internal static FileStream Wait(
        string path, Action<string>? waits, TimeSpan untilTold, TimeProvider time, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        long began = time.GetTimestamp();
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            try
            {
                return new(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1);
            }
            catch (IOException exception) when (AtomicFile.IsHeld(exception))
            {
                if (waits is not null && time.GetElapsedTime(began) >= untilTold)
                {
                    waits($"Waiting for {path}, which another process has; it goes on when that one is done, or ended.");
                    waits = null;
                }

                cancellationToken.WaitHandle.WaitOne(s_untilTriedAgain);
            }
        }
    }
}

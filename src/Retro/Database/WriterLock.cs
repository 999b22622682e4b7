using System.Globalization;

namespace Retro.Database;

/// <summary>
/// The right to change a folder, such as a database's or one of databases and models, which one process, and one stage of it, has at a time: every change of
/// a database takes it for the database's own folder. The operating system gives it back when the process ends, however it ends; the file writer.lock that it
/// is tied to stays, and writer.txt beside it says who has it.
/// </summary>
public sealed class WriterLock : IDisposable
{
    /// <summary>The name of the file that is locked.</summary>
    internal const string FileName = "writer.lock";

    /// <summary>The name of the file that says who has the lock.</summary>
    internal const string HolderName = "writer.txt";

    private readonly FileStream _file;
    private readonly string _holder;

    private WriterLock(FileStream file, string folder, string what)
    {
        _file = file;
        _holder = Path.Combine(folder, HolderName);
        File.Delete(_holder); // whatever stands there: what a link leads to is not ours to write
        File.WriteAllText(_holder, string.Create(
            CultureInfo.InvariantCulture,
            $"process {Environment.ProcessId} ({Path.GetFileName(Environment.ProcessPath)}) on {Environment.MachineName}, which is to {what}, since {DateTime.UtcNow:yyyy-MM-dd HH:mm:ss} UTC"));
    }

    /// <summary>Takes the right.</summary>
    /// <param name="folder">The folder; made where it is missing.</param>
    /// <param name="what">What is to be done, for whom it keeps out.</param>
    /// <returns>The right; dispose it.</returns>
    /// <exception cref="DatabaseException">Somebody else has it; the message says who, and since when. Or the folder cannot be written.</exception>
    public static WriterLock Take(string folder, string what)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(what);
        WriterLock? taken = null;
        AtomicFile.Guard(Path.Combine(folder, FileName), DatabaseException.Of, () =>
        {
            AtomicFile.CreateFolder(folder);
            try
            {
                taken = Open(folder, what);
            }
            catch (IOException exception) when (AtomicFile.IsHeld(exception))
            {
                throw new DatabaseException(
                    $"The folder '{folder}' is being changed by {Holder(folder)}; one at a time can: wait until it is done, or end it, and run again.",
                    exception);
            }
        });
        return taken!;
    }

    /// <summary>Takes the right where nobody has it and the folder can be written; null otherwise.</summary>
    internal static WriterLock? TryTake(string folder, string what)
    {
        try
        {
            return Open(folder, what);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Gives the right back.</summary>
    public void Dispose()
    {
        AtomicFile.TryDelete(_holder); // it is read only while the lock is held
        _file.Dispose();
    }

    private static WriterLock Open(string folder, string what)
    {
        FileStream file = new(Path.Combine(folder, FileName), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1);
        try
        {
            return new(file, folder, what);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static string Holder(string folder)
    {
        try
        {
            string path = Path.Combine(folder, HolderName);
            FileIdentity.RequireFile(path);
            return File.ReadAllText(path) is { Length: > 0 } holder ? holder : "a process that has just begun";
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return "a process that has just begun or is about to end";
        }
    }
}

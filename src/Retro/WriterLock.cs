using System.Globalization;

namespace Retro;

/// <summary>
/// The right to change a folder, such as a database's or one of databases and models, which one process, and one stage of it, has at a time: every change of
/// a database takes it for the database's own folder, every training for that of its checkpoint, and every saving of a model for the model's. The operating
/// system gives it back when the process ends, however it ends; the file writer.lock that it is tied to stays, but in a model's folder, and writer.txt beside
/// it says who has it.
/// </summary>
public sealed class WriterLock : IDisposable
{
    /// <summary>The name of the file that is locked.</summary>
    internal const string FileName = "writer.lock";

    /// <summary>The name of the file that says who has the lock.</summary>
    internal const string HolderName = "writer.txt";

    private readonly FileStream _file;
    private readonly string _holder;
    private readonly bool _stays;

    private WriterLock(FileStream file, string folder, string what, bool stays)
    {
        (_file, _stays) = (file, stays);
        _holder = Path.GetFullPath(Path.Combine(folder, HolderName)); // that of now is taken away, wherever the process has gone
        File.Delete(_holder); // whatever stands there: what a link leads to is not ours to write
        File.WriteAllText(_holder, string.Create(
            CultureInfo.InvariantCulture,
            $"process {Environment.ProcessId} ({Path.GetFileName(Environment.ProcessPath)}) on {Environment.MachineName}, which is to {what}, since {DateTime.UtcNow:yyyy-MM-dd HH:mm:ss} UTC"));
    }

    /// <summary>Takes the right.</summary>
    /// <param name="folder">The folder; made where it is missing.</param>
    /// <param name="what">What is to be done, for whom it keeps out.</param>
    /// <returns>The right; dispose it.</returns>
    /// <exception cref="DatabaseException">Somebody else has it (<see cref="DatabaseException.Holder"/>); the message says who, and since when. Or the folder
    /// cannot be written.</exception>
    public static WriterLock Take(string folder, string what)
        => Take(folder, what, stays: true, DatabaseException.Of, (message, holder, inner) => new DatabaseException(message, inner) { Holder = holder });

    /// <summary>Takes the right to change the folder of a checkpoint, or of another model, in which nothing of it is left.</summary>
    /// <exception cref="CheckpointException">Somebody else has it; the message says who, and since when. Or the folder cannot be written.</exception>
    internal static WriterLock TakeOfCheckpoint(string folder, string what)
        => Take(folder, what, stays: false, CheckpointException.Of, (message, _, inner) => new CheckpointException(message, inner));

    private static WriterLock Take(
        string folder, string what, bool stays, Func<string, Exception, RetroException> fault, Func<string, string, Exception, RetroException> held)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(what);
        try
        {
            AtomicFile.CreateFolder(folder);
            return Open(folder, what, stays);
        }
        catch (IOException exception) when (AtomicFile.IsHeld(exception))
        {
            string holder = Holder(folder);
            throw held(
                $"The folder '{folder}' is being changed by {holder}; one at a time can: wait until it is done, or end it, and run again.", holder, exception);
        }
        catch (IOException exception) when (AtomicFile.IsDiskFull(exception))
        {
            throw fault(AtomicFile.Describe(Path.Combine(folder, FileName), exception), exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // Who asked for an index has heard of no lock.
            string why = exception.Message.Replace(Path.Combine(Path.GetFullPath(folder), FileName), folder, StringComparison.Ordinal);
            throw fault(
                $"To {what}, the folder '{folder}' has to be written, and it cannot be ({why}): give the right to, or do it in another folder or a copy of "
                    + "this one.",
                exception);
        }
    }

    /// <summary>Takes the right where nobody has it and the folder can be written; null otherwise.</summary>
    internal static WriterLock? TryTake(string folder, string what)
    {
        try
        {
            return Open(folder, what, stays: true);
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
        Close(_file, _stays);
    }

    private static WriterLock Open(string folder, string what, bool stays)
    {
        while (true)
        {
            FileStream file = new(Path.Combine(folder, FileName), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1);
            if (!File.Exists(file.Name))
            {
                file.Dispose(); // who had it has taken it away meanwhile, and the next would make another
                continue;
            }

            try
            {
                return new(file, folder, what, stays);
            }
            catch
            {
                Close(file, stays);
                throw;
            }
        }
    }

    // Taken away first: the right to another file of this name is another right.
    private static void Close(FileStream file, bool stays)
    {
        if (!stays)
        {
            AtomicFile.TryDelete(file.Name);
        }

        file.Dispose();
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

namespace Retro.Cli.Experiments;

/// <summary>What one process at a time does in a folder that several share; the others wait.</summary>
internal sealed class Turn : IDisposable
{
    private readonly FileStream _held;

    private Turn(FileStream held) => _held = held;

    /// <summary>Waits until no other process has it.</summary>
    /// <param name="path">Of a file that stands for it; its folder is made where it is missing.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    public static Turn Wait(string path, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            try
            {
                return new(new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None));
            }
            catch (IOException) when (File.Exists(path))
            {
                cancellationToken.WaitHandle.WaitOne(TimeSpan.FromSeconds(0.2));
            }
        }
    }

    /// <summary>Whether another process has it at this moment.</summary>
    /// <param name="path">Of the file that stands for it; it is there.</param>
    public static bool IsTaken(string path)
    {
        try
        {
            using FileStream free = new(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
            return false;
        }
        catch (IOException) when (File.Exists(path))
        {
            return true;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _held.Dispose();
}

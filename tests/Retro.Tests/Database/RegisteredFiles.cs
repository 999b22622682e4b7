using Retro.Database;

namespace Retro.Tests.Database;

/// <summary>Files that stand for those of later stages.</summary>
internal static class RegisteredFiles
{
    /// <summary>Registers a file that lies in a database's folder, as the stage that made it does.</summary>
    public static void Register(this ChunkDatabase database, string name, IReadOnlyDictionary<string, string>? details = null)
    {
        using WriterLock writing = database.Write($"register {name}");
        database.Enter(writing, name, details, progress: null, CancellationToken.None);
    }
}

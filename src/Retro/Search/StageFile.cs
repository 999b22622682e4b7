using Retro.Database;

namespace Retro.Search;

/// <summary>
/// The rule of the stages that leave a file in a database's folder: what it is made of stands in the manifest's details, a stage whose file is there and made
/// of the same things does nothing, and one of other settings is made again.
/// </summary>
internal static class StageFile
{
    private static readonly string[] s_names =
    [
        KeyFile.FileName, VectorIndexFile.FileName, VectorIndexFile.AllFileName, KeyedChunks.FileName, KeyedChunks.AllFileName, Bm25Index.FileName,
    ];

    /// <summary>Whether a name is that of a stage's file.</summary>
    public static bool IsOne(string name) => s_names.Contains(name) || NeighborTable.IsFileName(name);

    /// <summary>Whether the manifest lists a file that was made in this way and that is still there.</summary>
    /// <param name="database">The database.</param>
    /// <param name="name">The file.</param>
    /// <param name="details">How it is made.</param>
    /// <param name="measured">Details that say what came out, and not how it was made.</param>
    public static bool IsMade(ChunkDatabase database, string name, IReadOnlyDictionary<string, string> details, params string[] measured)
    {
        FileInfo file = new(database.PathOf(name));
        return database.Refresh().Find(name) is { } entry
            && file.Exists && file.Length == entry.Bytes
            && entry.Details.Keys.Except(measured).Count() == details.Count
            && details.All(detail => entry.Details.TryGetValue(detail.Key, out string? value) && value == detail.Value);
    }

    /// <summary>The path of a file, and what the manifest says of it.</summary>
    /// <exception cref="DatabaseException">There is none.</exception>
    public static (string Path, DatabaseFile Entry) Require(ChunkDatabase database, string name)
    {
        DatabaseManifest manifest = database.Refresh();
        return (database.RequireFile(name), manifest.Find(name)!);
    }
}

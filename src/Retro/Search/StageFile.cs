using Retro.Database;

namespace Retro.Search;

/// <summary>
/// The rule of the stages that leave a file in a database's folder: what it is made of stands in the manifest's details, a stage whose file is there and made
/// of the same things does nothing, and one of other settings is made again.
/// </summary>
internal static class StageFile
{
    /// <summary>Whether the manifest lists a file that was made in this way and that is still there.</summary>
    /// <param name="database">The database.</param>
    /// <param name="name">The file.</param>
    /// <param name="details">How it is made.</param>
    public static bool IsMade(ChunkDatabase database, string name, IReadOnlyDictionary<string, string> details)
        => FindMade(database, name, details) is not null;

    /// <summary>What the manifest says of a file that was made in this way and that is still there; null where there is none.</summary>
    /// <param name="database">The database.</param>
    /// <param name="name">The file.</param>
    /// <param name="details">How it is made.</param>
    /// <param name="measured">Details that say what came out, and not how it was made.</param>
    public static DatabaseFile? FindMade(ChunkDatabase database, string name, IReadOnlyDictionary<string, string> details, params string[] measured)
    {
        FileInfo file = new(database.PathOf(name));
        return database.Refresh().Find(name) is { } entry
            && file.Exists && file.Length == entry.Bytes
            && entry.Details.Keys.Except(measured).Count() == details.Count
            && details.All(detail => entry.Details.TryGetValue(detail.Key, out string? value) && value == detail.Value)
            ? entry
            : null;
    }

    /// <summary>
    /// Makes a share of a stage's file, which takes no right to write the database. Where somebody makes the whole file meanwhile, or the database is built
    /// anew or changed, nobody waits for the share any more, and it goes.
    /// </summary>
    /// <param name="database">The database.</param>
    /// <param name="name">The whole file.</param>
    /// <param name="share">The share.</param>
    /// <param name="what">What is to be done, in messages.</param>
    /// <param name="details">How the whole file is made.</param>
    /// <param name="make">Makes the share at a path, where it is not there and whole.</param>
    /// <exception cref="DatabaseException">Another process makes the same share, the database on the disk is another by now, or the share cannot be
    /// written.</exception>
    public static void MakeShare(
        ChunkDatabase database, string name, WorkShare share, string what, IReadOnlyDictionary<string, string> details, Action<string> make)
    {
        database.RequireShares(what);
        if (IsMade(database, name, details))
        {
            return;
        }

        string own = ShareName.PathOf(database.PathOf(name), share);
        using FileStream held = ShareName.Hold(own);
        try
        {
            make(own);
        }
        finally
        {
            if (database.IsReplaced() && ShareName.IsHeld(own)) // in a folder that was put in the other's place, it is not this share
            {
                ShareName.Delete(own);
            }
        }

        if (IsMade(database, name, details))
        {
            ShareName.Delete(own);
        }
    }

    /// <summary>The path of a file, and what the manifest says of it.</summary>
    /// <exception cref="DatabaseException">There is none.</exception>
    public static (string Path, DatabaseFile Entry) Require(ChunkDatabase database, string name)
        => database.Refresh().Find(name) is { } entry ? (database.PathOf(name), entry) : throw database.Lacks(name);
}

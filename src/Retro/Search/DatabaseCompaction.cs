using Retro.Database;

namespace Retro.Search;

/// <summary>Makes one segment of a database that documents were added to and removed from (<see cref="ChunkDatabaseUpdate"/>).</summary>
public static class DatabaseCompaction
{
    /// <summary>
    /// Writes what the database holds beside it, without the bytes of what was removed and with the keys that are there, switches to it when it is whole, and
    /// deletes what was there before, and an unfinished build that was to replace it, whose text may be what was removed; shares of one stay, which others may
    /// be making, and are named. Indexes are made anew when a source is next built. A process that ends in between leaves the database as it was, or compacted;
    /// run again, it deletes what that left. A database that was not changed stays as it is.
    /// </summary>
    /// <param name="folder">The database's folder.</param>
    /// <param name="progress">Told of the documents copied, and in a message of shares that stay.</param>
    /// <param name="cancellationToken">Stops it; the database is then as it was.</param>
    /// <returns>The database, open; dispose it.</returns>
    /// <exception cref="DatabaseException">There is none, it is damaged or being changed, or its folder cannot be written.</exception>
    public static ChunkDatabase Compact(string folder, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
        => ChunkDatabaseUpdate.Compact(
            folder,
            (from, to) =>
            {
                DatabaseCleaning.Copy(from, to);
                KeyFile.Copy(from, to, progress, cancellationToken);
            },
            progress,
            cancellationToken);
}

using Retro.Database;

namespace Retro.Search;

/// <summary>Makes one segment of a database that documents were added to and removed from (<see cref="ChunkDatabaseUpdate"/>).</summary>
public static class DatabaseCompaction
{
    /// <summary>
    /// Writes what the database holds beside it, without the bytes of what was removed and with the keys that are there, switches to it when it is whole, and
    /// deletes what was there before, and an unfinished build that was to replace it, whose text may be what was removed; shares of one stay, which others may
    /// be making, and are named. Indexes are made anew: before the switch where that is asked for, or when a source is next built. A process that ends in
    /// between leaves the database as it was, or compacted; run again, it deletes what that left. A database that was not changed stays as it is.
    /// </summary>
    /// <param name="folder">The database's folder.</param>
    /// <param name="prepare">
    /// Makes what sources need, before the switch: it is called with the copy that is to take the database's place, and builds sources over it, with the
    /// options of those over the database, as <c>copy => KeywordNeighborSource.Build(copy).Dispose()</c>. Where it throws, the database stays as it was. Null:
    /// the database has no index until a source is next built, and opening one fails until then.
    /// </param>
    /// <param name="progress">Told of the documents copied, and in messages of an unfinished build that goes and of shares that stay.</param>
    /// <param name="cancellationToken">Stops it; the database is then as it was.</param>
    /// <returns>The database, open; dispose it.</returns>
    /// <exception cref="DatabaseException">There is none, it is damaged or being changed, or its folder cannot be written.</exception>
    public static ChunkDatabase Compact(
        string folder,
        Action<ChunkDatabase>? prepare = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
        => ChunkDatabaseUpdate.Compact(
            folder,
            (from, to) =>
            {
                DatabaseCleaning.Copy(from, to);
                KeyFile.Copy(from, to, progress, cancellationToken);
                prepare?.Invoke(to);
            },
            progress,
            cancellationToken);
}

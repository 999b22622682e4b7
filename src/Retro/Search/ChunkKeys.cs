using Retro.Database;

namespace Retro.Search;

/// <summary>The keys of a database's chunks, from the key files of all its segments.</summary>
internal sealed class ChunkKeys : IDisposable
{
    private readonly ChunkDatabase _database;
    private readonly KeyFile[] _files;

    private ChunkKeys(ChunkDatabase database, KeyFile[] files) => (_database, _files) = (database, files);

    /// <summary>How many keys there are: one for each chunk.</summary>
    public long Count => _database.ChunkCount;

    /// <summary>Numbers in a key.</summary>
    public int Dimensions => _files[0].Dimensions;

    /// <summary>The identity of the function that made them.</summary>
    public string Identity => _files[0].Identity;

    /// <summary>Opens the keys of a database.</summary>
    /// <param name="database">The database; it stays the caller's.</param>
    /// <exception cref="DatabaseException">A segment has none yet, or those of another function than the others.</exception>
    public static ChunkKeys Open(ChunkDatabase database)
    {
        List<KeyFile> files = [];
        try
        {
            foreach (ChunkDatabase segment in database.Segments)
            {
                files.Add(KeyFile.Open(segment));
                if ((files[^1].Identity, files[^1].Dimensions) != (files[0].Identity, files[0].Dimensions))
                {
                    throw new DatabaseException(
                        $"The keys in {segment.Folder} were made with {files[^1].Identity}, and those in {database.Folder} with {files[0].Identity}: build the "
                            + "dense source again.");
                }
            }

            return new(database, [.. files]);
        }
        catch
        {
            files.ForEach(file => file.Dispose());
            throw;
        }
    }

    /// <summary>Opens them where all chunks have keys of one function; null where they have not.</summary>
    public static ChunkKeys? TryOpen(ChunkDatabase database)
    {
        try
        {
            return database.Segments.All(segment => segment.Refresh().Find(KeyFile.FileName) is not null) ? Open(database) : null;
        }
        catch (DatabaseException)
        {
            return null; // what is damaged is made again by whoever needs it
        }
    }

    /// <summary>The key of a chunk.</summary>
    /// <param name="chunk">The chunk's number.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such chunk.</exception>
    public ReadOnlySpan<float> Row(long chunk)
    {
        if ((ulong)chunk >= (ulong)Count)
        {
            throw new ArgumentOutOfRangeException(nameof(chunk), chunk, $"There are keys of the chunks 0 to {Count - 1}.");
        }

        (int segment, long local) = _database.SegmentOf(chunk);
        return _files[segment].Row(local);
    }

    /// <inheritdoc/>
    public void Dispose() => Array.ForEach(_files, file => file.Dispose());
}

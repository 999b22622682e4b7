using Retro.Database;

namespace Retro.Search;

/// <summary>The keys by one function that there are of a database's chunks, of all or of some, for whom they are a saving.</summary>
internal sealed class StoredKeys : IDisposable
{
    private readonly ChunkDatabase _database;

    // Of each segment; null where it has none.
    private readonly KeyFile?[] _files;

    private StoredKeys(ChunkDatabase database, KeyFile?[] files) => (_database, _files) = (database, files);

    /// <summary>Numbers in a key.</summary>
    public int Dimensions => _files.First(file => file is not null)!.Dimensions;

    /// <summary>Opens them.</summary>
    /// <param name="database">The database; it stays the caller's.</param>
    /// <param name="keyer">The identity of the function.</param>
    /// <returns>Null where there are none.</returns>
    public static StoredKeys? TryOpen(ChunkDatabase database, string keyer)
    {
        KeyFile?[] files = [.. database.Segments.Select(segment => KeyFile.TryOpen(segment, keyer))];
        return Array.Exists(files, file => file is not null) ? new(database, files) : null;
    }

    /// <summary>Copies the key of a chunk, where it is there and not damaged.</summary>
    /// <param name="chunk">The chunk's number.</param>
    /// <param name="key">Room for it.</param>
    /// <returns>Whether it is.</returns>
    public bool TryRead(long chunk, Span<float> key)
    {
        (int segment, long local) = _database.SegmentOf(chunk);
        return _files[segment]?.TryRead(local, key) == true;
    }

    /// <inheritdoc/>
    public void Dispose() => Array.ForEach(_files, file => file?.Dispose());
}

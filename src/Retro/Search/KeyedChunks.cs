using System.Globalization;
using System.Runtime.InteropServices;
using Retro.Database;

namespace Retro.Search;

/// <summary>
/// Which chunks stand in a vector index: those with a key. A chunk whose key is zero says nothing, and would be nearer to many than what they resemble, so it
/// has no row; the others have their rows in their order. The chunks without are listed in the file <c>unkeyed.bin</c> beside the index, ascending int64,
/// where there are any.
/// </summary>
internal sealed class KeyedChunks
{
    /// <summary>Every chunk has a key.</summary>
    public static readonly KeyedChunks All = new([]);

    // For each chunk without a key, how many with one come before it: ascending.
    private readonly long[] _before;

    private KeyedChunks(long[] unkeyed)
    {
        _before = unkeyed;
        for (int i = 0; i < _before.Length; i++)
        {
            _before[i] -= i;
        }
    }

    /// <summary>How many chunks have no key.</summary>
    public int Missing => _before.Length;

    /// <summary>The chunks without a key, ascending.</summary>
    public IEnumerable<long> Unkeyed => _before.Select((before, i) => before + i);

    /// <summary>Whether a key is none.</summary>
    public static bool IsNone(ReadOnlySpan<float> key) => !key.ContainsAnyExcept(0f);

    /// <summary>Every chunk but some has a key.</summary>
    /// <param name="unkeyed">Those without, ascending.</param>
    public static KeyedChunks Without(IEnumerable<long> unkeyed) => new([.. unkeyed]);

    /// <summary>The chunk of a row of the index.</summary>
    public long ChunkOf(long row) => row + Ascending.LastAtMost(_before, row) + 1;

    /// <summary>How many chunks with a key come before a chunk: its row of the index, where it has one.</summary>
    public long RowsBefore(long chunk)
    {
        int low = 0, high = _before.Length;
        while (low < high)
        {
            int middle = (low + high) / 2;
            (low, high) = _before[middle] + middle < chunk ? (middle + 1, high) : (low, middle);
        }

        return chunk - low;
    }

    /// <summary>Which chunks of a database that was changed have no key, by what its segments say.</summary>
    /// <exception cref="DatabaseException">A list is damaged.</exception>
    public static KeyedChunks OfSegments(ChunkDatabase database)
    {
        SortedSet<long> unkeyed = [];
        for (int segment = 0; segment < database.Segments.Count; segment++)
        {
            ChunkSet? live = database.Among(segment, labels: null);
            foreach (long chunk in Open(database.Segments[segment]).Unkeyed.Where(chunk => live?.Contains(chunk) != false))
            {
                unkeyed.Add(database.Number(segment, chunk));
            }
        }

        return Without(unkeyed);
    }

    /// <summary>Reads which chunks have no key, where the manifest lists any.</summary>
    /// <exception cref="DatabaseException">The list is damaged.</exception>
    public static KeyedChunks Open(ChunkDatabase database)
    {
        string name = NameOf(database);
        if (database.Manifest.Find(name) is not { } entry)
        {
            return All;
        }

        // All of it is read anyhow, and one wrong number in it moves every row behind it to another chunk.
        string path = database.PathOf(name);
        if (FileHash.Sha256(path) is var found && found != entry.Sha256)
        {
            throw new DatabaseException(
                $"The list {path} of chunks without a key has checksum {found}, and the manifest says {entry.Sha256}: it was changed; make the vector index "
                    + "again.");
        }

        using MappedFile file = MappedFile.Open(path);
        int count = file.Length <= int.MaxValue && file.Length % sizeof(long) == 0 ? (int)(file.Length / sizeof(long)) : -1;
        long[] unkeyed = count < 0 ? [] : file.Values<long>(0, count).ToArray();
        for (int i = 0; i < Math.Max(1, count); i++)
        {
            if (count < 1 || unkeyed[i] < (i == 0 ? 0 : unkeyed[i - 1] + 1) || unkeyed[i] >= database.ChunkCount)
            {
                throw new DatabaseException($"The list {file.Path} of chunks without a key is damaged: make the vector index again.");
            }
        }

        return new(unkeyed);
    }

    /// <summary>Replaces the list, before the index is made that it belongs to.</summary>
    /// <exception cref="DatabaseException">It cannot be written, or is too long.</exception>
    public static void Write(ChunkDatabase database, WriterLock writing, List<long> unkeyed, string keyer)
    {
        string name = NameOf(database);
        database.Forget(writing, name);
        if (unkeyed.Count == 0)
        {
            AtomicFile.TryDelete(database.PathOf(name)); // of the index before
            return;
        }

        if (unkeyed.Count > int.MaxValue / sizeof(long))
        {
            throw new DatabaseException(
                string.Create(CultureInfo.InvariantCulture, $"{unkeyed.Count} chunks have no key, more than can be listed: use another embedder."));
        }

        string path = database.PathOf(name);
        byte[] content = MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(unkeyed)).ToArray();
        AtomicFile.Write(path, stream => stream.Write(content), DatabaseException.Of);
        database.Enter(
            writing, name, new Dictionary<string, string> { [KeyFile.KeyerDetail] = keyer }, progress: null, CancellationToken.None);
    }

    private static string NameOf(ChunkDatabase database) => database.IsChanged ? StageNames.AllUnkeyed : StageNames.Unkeyed;
}

using Retro.Database;
using Retro.Vectors;

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
    /// <exception cref="DatabaseException">A segment has none yet, damaged ones, or those of another function than the others.</exception>
    public static ChunkKeys Open(ChunkDatabase database)
    {
        ChunkKeys keys = OpenFiles(database, verify: true);
        if (keys.FindOther() is not { } other)
        {
            return keys;
        }

        keys.Dispose();
        throw new DatabaseException(
            $"The keys in {database.Segments[other].Folder} were made with {keys._files[other].Identity}, and those in {database.Folder} with {keys.Identity}: "
                + "build the dense source again.");
    }

    /// <summary>Opens them where all chunks have keys of one function; null where they have not.</summary>
    /// <param name="database">The database; it stays the caller's.</param>
    /// <param name="keyer">The identity of the function that they have to be of; null: whichever.</param>
    /// <param name="verify">Whether keys are compared with their checksums when they are read.</param>
    /// <exception cref="DatabaseException">They are damaged.</exception>
    public static ChunkKeys? TryOpen(ChunkDatabase database, string? keyer = null, bool verify = true)
    {
        if (!database.Segments.All(KeyFile.IsComplete))
        {
            return null;
        }

        ChunkKeys keys = OpenFiles(database, verify);
        if (keys.FindOther() is null && (keyer ?? keys.Identity) == keys.Identity)
        {
            return keys;
        }

        keys.Dispose();
        return null;
    }

    /// <summary>Keeps the keys there while they are read in place, where another may dispose them.</summary>
    /// <exception cref="ObjectDisposedException">They were disposed.</exception>
    public Held Hold() => new(_files);

    /// <summary>The key of a chunk, in place.</summary>
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

    /// <summary>The keys of chunks that follow one another.</summary>
    /// <param name="first">The first chunk's number.</param>
    /// <param name="count">How many.</param>
    /// <exception cref="ArgumentOutOfRangeException">There are no such chunks.</exception>
    public ReadOnlySpan<float> Rows(long first, int count)
    {
        if (!_database.IsChanged)
        {
            return _files[0].Rows(first, count);
        }

        float[] rows = new float[checked(count * Dimensions)];
        for (int i = 0; i < count; i++)
        {
            Row(first + i).CopyTo(rows.AsSpan(i * Dimensions));
        }

        return rows;
    }

    /// <summary>The nearest keys of some queries, by comparing with all.</summary>
    /// <param name="queries"><c>[n, D]</c>.</param>
    /// <param name="metric">How.</param>
    /// <param name="threads">Threads that compare.</param>
    /// <param name="without">Chunks that must not come, ascending.</param>
    /// <param name="chunks"><c>[n, K]</c>: chunk numbers, best first; -1 where there are no more.</param>
    public void Nearest(float[] queries, VectorMetric metric, int threads, IReadOnlyList<long> without, long[] chunks)
    {
        if (!_database.IsChanged)
        {
            _files[0].Nearest(queries, metric, threads, without, chunks);
            return;
        }

        SortedSet<long>[] hidden =
            [.. _database.Removed.Select((gone, segment) => new SortedSet<long>(gone.SelectMany(_database.Segments[segment].ChunkNumbersOf)))];
        foreach (long chunk in without)
        {
            (int segment, long local) = _database.SegmentOf(chunk);
            hidden[segment].Add(local);
        }

        long[][] found = new long[_files.Length][];
        for (int segment = 0; segment < found.Length; segment++)
        {
            found[segment] = new long[chunks.Length];
            _files[segment].Nearest(queries, metric, threads, [.. hidden[segment]], found[segment]);
        }

        int n = queries.Length / Dimensions, count = chunks.Length / n;
        double[] scores = new double[count];
        for (int i = 0; i < n; i++)
        {
            ReadOnlySpan<float> query = queries.AsSpan(i * Dimensions, Dimensions);
            Ranking best = new(chunks.AsSpan(i * count, count), scores);
            for (int segment = 0; segment < found.Length; segment++)
            {
                foreach (long local in found[segment].AsSpan(i * count, count))
                {
                    if (local >= 0)
                    {
                        best.Offer(_database.Number(segment, local), DenseIndex.Score(metric, query, _files[segment].Row(local)));
                    }
                }
            }

            int there = best.Sort();
            chunks.AsSpan((i * count) + there, count - there).Fill(-1);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Array.ForEach(_files, file => file.Dispose());

    private static ChunkKeys OpenFiles(ChunkDatabase database, bool verify)
    {
        List<KeyFile> files = [];
        try
        {
            files.AddRange(database.Segments.Select(segment => KeyFile.Open(segment, verify)));
            return new(database, [.. files]);
        }
        catch
        {
            files.ForEach(file => file.Dispose());
            throw;
        }
    }

    /// <summary>A segment whose keys are of another function than those of the first; null for none.</summary>
    private int? FindOther()
        => Array.FindIndex(_files, file => (file.Identity, file.Dimensions) != (Identity, Dimensions)) is >= 0 and int segment ? segment : null;

    /// <summary>Keys that are there until this is disposed.</summary>
    public readonly ref struct Held : IDisposable
    {
        private readonly List<SharedHandle.Held>? _files = [];

        public Held(KeyFile[] files)
        {
            try
            {
                foreach (KeyFile file in files)
                {
                    _files.Add(file.Hold());
                }
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        public void Dispose() => _files?.ForEach(file => file.Dispose()); // null: of none
    }
}

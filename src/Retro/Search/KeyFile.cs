using System.Globalization;
using System.Runtime.InteropServices;
using Retro.Database;
using Retro.Embedders;
using Retro.Vectors;

namespace Retro.Search;

/// <summary>
/// The keys of a database's chunks: the file <c>keys.bin</c> of its folder, <c>[chunks, dimensions]</c> float32, memory-mapped. Each block is compared with its
/// checksum when it is first read, unless that is not asked for.
/// </summary>
internal sealed unsafe class KeyFile : IDisposable
{
    /// <summary>What the manifest calls the identity of the function that made the keys.</summary>
    public const string KeyerDetail = "keyer";

    private const string DimensionsDetail = "dimensions";
    private const string Remedy =
        $"{nameof(DenseNeighborSource)}.{nameof(DenseNeighborSource.Build)} without {nameof(DenseNeighborOptions.MemoryMapped)} makes it again.";

    private const string Stage = "embed chunks", CopyStage = "copy keys";
    private const int BlockChunks = KeyFileLayout.BlockRows;

    private readonly MappedFile _memory;
    private readonly KeyFileLayout _layout;

    // Which blocks were found to be whole; null where none is compared.
    private readonly bool[]? _checked;

    private KeyFile(MappedFile memory, KeyFileLayout layout, bool verify)
    {
        _memory = memory;
        _layout = layout;
        _checked = verify ? new bool[layout.File.Count] : null;
    }

    /// <summary>How many keys there are: one for each chunk.</summary>
    public long Count => _layout.Rows;

    /// <summary>Numbers in a key.</summary>
    public int Dimensions => _layout.Dimensions;

    private float* First => (float*)(_memory.Pointer + KeyFileLayout.HeaderSize);

    /// <summary>The identity of the function that made them.</summary>
    public string Identity => _layout.KeyerIdentity;

    /// <summary>Opens the keys of a database.</summary>
    /// <param name="database">The database.</param>
    /// <param name="verify">
    /// Whether keys are compared with their checksums when they are read: for a single key its whole block is read, which is 3 MB of 384 numbers.
    /// </param>
    /// <exception cref="DatabaseException">It has no keys yet, or their file does not fit the manifest.</exception>
    public static KeyFile Open(ChunkDatabase database, bool verify = true)
    {
        ArgumentNullException.ThrowIfNull(database);
        (string path, DatabaseFile entry) = StageFile.Require(database, StageNames.Keys);
        IReadOnlyDictionary<string, string> details = entry.Details;
        if (!details.TryGetValue(KeyerDetail, out string? identity)
            || !details.TryGetValue(DimensionsDetail, out string? text)
            || !int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int dimensions)
            || dimensions < 1)
        {
            throw new DatabaseException($"The manifest in {database.Folder} does not say how the keys of {StageNames.Keys} were made: make them again.");
        }

        return Open(path, new(database.Manifest.TokensHash, identity, database.ChunkCount, dimensions), verify);
    }

    private static KeyFile Open(string path, KeyFileLayout layout, bool verify)
    {
        MappedFile memory = MappedFile.Open(path);
        if (layout.File.Fits(memory))
        {
            return new(memory, layout, verify);
        }

        long length = memory.Length;
        memory.Dispose();
        throw new DatabaseException(length == layout.File.Length
            ? $"The key file {path} is damaged or belongs to another database: its header or its checksums do not fit. {Remedy}"
            : $"The key file {path} should have {layout.Rows} keys of {layout.Dimensions} numbers, {layout.File.Length} bytes, and has {length}. {Remedy}");
    }

    /// <summary>The key of a chunk.</summary>
    /// <param name="chunk">The chunk's number.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such chunk.</exception>
    public ReadOnlySpan<float> Row(long chunk) => Rows(chunk, 1);

    /// <summary>The keys of chunks that follow one another.</summary>
    /// <param name="first">The first chunk's number.</param>
    /// <param name="count">How many.</param>
    /// <exception cref="ArgumentOutOfRangeException">There are no such chunks.</exception>
    /// <exception cref="DatabaseException">They are damaged.</exception>
    public ReadOnlySpan<float> Rows(long first, int count)
    {
        if (first < 0 || count < 0 || first > Count - count)
        {
            throw new ArgumentOutOfRangeException(
                nameof(first), first, $"There are keys of the chunks 0 to {Count - 1}, and {count} from {first} on are asked for.");
        }

        for (long block = first / BlockChunks; _checked is not null && block * BlockChunks < first + count; block++)
        {
            if (!_checked[block])
            {
                RequireBlock(block);
                _checked[block] = true;
            }
        }

        return new ReadOnlySpan<float>(First + first * Dimensions, checked(count * Dimensions));
    }

    /// <exception cref="DatabaseException">A block is damaged, or holds what cannot be a key, which a function wrote that was not looked at.</exception>
    private void RequireBlock(long block)
    {
        if (!_layout.File.HoldsBlock(_memory, block))
        {
            throw new DatabaseException(
                $"The key file {_memory.Path} is damaged: the keys from chunk {block * BlockChunks} on do not have their checksum. {Remedy}");
        }

        for (long chunk = block * BlockChunks; chunk < Math.Min(Count, (block + 1) * BlockChunks); chunk++)
        {
            if (VectorIndex.FaultOf(new(First + (chunk * Dimensions), Dimensions)) is { } fault)
            {
                throw new DatabaseException($"The key of chunk {chunk} in the key file {_memory.Path} {fault}. {Remedy}");
            }
        }
    }

    /// <summary>The nearest keys of some queries, by comparing with all.</summary>
    /// <param name="queries"><c>[n, D]</c>.</param>
    /// <param name="metric">How.</param>
    /// <param name="threads">Threads that compare.</param>
    /// <param name="without">Chunks that must not come, ascending.</param>
    /// <param name="chunks"><c>[n, K]</c>: chunk numbers, best first; -1 where there are no more.</param>
    public void Nearest(float[] queries, VectorMetric metric, int threads, IReadOnlyList<long> without, long[] chunks)
    {
        int n = queries.Length / Dimensions;
        IEnumerable<(long First, long Count)> between = without.Append(Count).Zip(without.Prepend(-1), (end, before) => (before + 1, end - before - 1));
        ChunkSet? among = without.Count == 0 ? null : new(Count, between);
        float[] distances = new float[chunks.Length];
        fixed (float* asked = queries, found = distances)
        fixed (long* ids = chunks)
        {
            new ExactSearch(First, Count, Dimensions, metric, threads, among).Find(asked, n, chunks.Length / n, ids, found);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _memory.Dispose();

    /// <summary>
    /// Makes the key of every chunk, in blocks, resumable, where they are not there and whole; those that a share of them holds are taken from there.
    /// </summary>
    /// <param name="database">The database.</param>
    /// <param name="keyer">The function from chunk to key.</param>
    /// <param name="verify">Whether keys that are there are compared with their checksums, which reads all of them.</param>
    /// <param name="whole">The database that this one is a segment of: keys of the same texts in others of its segments are taken.</param>
    /// <param name="progress">Receives the number of chunks done.</param>
    /// <param name="cancellationToken">Stops between blocks; the next run goes on there.</param>
    /// <exception cref="DatabaseException">The file cannot be written.</exception>
    public static void Build(
        ChunkDatabase database,
        IChunkKeyer keyer,
        bool verify = true,
        ChunkDatabase? whole = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        KeyFileLayout layout = LayoutOf(database, keyer);
        IReadOnlyDictionary<string, string> details = DetailsOf(layout);
        string path = database.PathOf(StageNames.Keys);
        if (StageFile.IsMade(database, StageNames.Keys, details) && IsWhole(path, layout, verify, progress, cancellationToken))
        {
            return;
        }

        using WriterLock writing = database.Write("make keys");
        string sha256;
        bool made = StageFile.IsMade(database, StageNames.Keys, details);
        if (!IsWhole(path, layout, verify: true, progress, cancellationToken))
        {
            database.Forget(writing, StageNames.Keys);
            using KeysOfSameTexts? same = whole is null ? null : KeysOfSameTexts.Open(whole, database, keyer);
            MakeRows make = KeysOf(database, keyer, same, cancellationToken);
            using ShareFiles shares = ShareFiles.Open(path, layout.File, Stage, progress);
            sha256 = layout.File.Write(path, NoteOf(layout), Stage, MakeMissing, progress, cancellationToken);

            void MakeMissing(long first, Span<byte> rows)
            {
                if (!shares.TryRead(first, rows))
                {
                    make(first, rows);
                }
            }
        }
        else if (made)
        {
            return; // by another, between the question and the right to write
        }
        else
        {
            sha256 = FileHash.Sha256(path, progress, cancellationToken); // a process that ended before it could tell the manifest has left all keys
        }

        // The keys are whole, and stand under their name whatever happens before the manifest knows.
        ShareFiles.Remove(path, layout.File);
        database.Enter(writing, StageNames.Keys, details, sha256);
    }

    /// <summary>Makes the keys of a share of the chunks in a file of their own, where not all keys are there.</summary>
    /// <param name="database">The database; it is not changed.</param>
    /// <param name="keyer">The function from chunk to key.</param>
    /// <param name="share">The share.</param>
    /// <param name="progress">Receives the number of chunks of the share done.</param>
    /// <param name="cancellationToken">Stops between blocks; the next run goes on there.</param>
    /// <exception cref="DatabaseException">Another process makes the same share, or it cannot be written.</exception>
    public static void BuildShare(
        ChunkDatabase database, IChunkKeyer keyer, WorkShare share, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        KeyFileLayout layout = LayoutOf(database, keyer);
        StageFile.MakeShare(
            database,
            StageNames.Keys,
            share,
            "make keys",
            DetailsOf(layout),
            own => ShareFiles.Make(own, layout.File, share, Stage, KeysOf(database, keyer, null, cancellationToken), progress, cancellationToken));
    }

    /// <summary>Takes over the keys of a database that has the same chunks, where all of it has keys of one function and none is damaged.</summary>
    /// <param name="from">The database.</param>
    /// <param name="to">The one that gets the keys.</param>
    /// <param name="progress">Receives the number of chunks done, and in a message where the keys are damaged.</param>
    /// <param name="cancellationToken">Stops between blocks.</param>
    /// <exception cref="DatabaseException">The file cannot be written.</exception>
    public static void Copy(ChunkDatabase from, ChunkDatabase to, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        using ChunkKeys? keys = ChunkKeys.TryOpen(from, orDamaged: true);
        if (keys is null)
        {
            return;
        }

        KeyFileLayout layout = new(to.Manifest.TokensHash, keys.Identity, to.ChunkCount, keys.Dimensions);
        using WriterLock writing = to.Write(CopyStage);
        DatabaseException? damage = null;
        try
        {
            string sha256 = layout.File.Write(to.PathOf(StageNames.Keys), NoteOf(layout), CopyStage, Take, progress, cancellationToken);
            to.Enter(writing, StageNames.Keys, DetailsOf(layout), sha256);
        }
        catch (DatabaseException) when (damage is not null)
        {
            ResumableFile.Discard(to.PathOf(StageNames.Keys), NoteOf(layout));
            progress?.Report(new(CopyStage, 0, keys.Count, $"{damage.Message} The keys are not taken over."));
        }

        void Take(long first, Span<byte> rows)
        {
            Span<float> numbers = MemoryMarshal.Cast<byte, float>(rows);
            try
            {
                for (int i = 0; i * keys.Dimensions < numbers.Length; i++)
                {
                    keys.Row(first + i).CopyTo(numbers[(i * keys.Dimensions)..]);
                }
            }
            catch (DatabaseException exception)
            {
                damage = exception;
                throw;
            }
        }
    }

    /// <summary>Whether a file holds the keys of a layout, where that is asked for each block as its checksum says.</summary>
    private static bool IsWhole(string path, KeyFileLayout layout, bool verify, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        try
        {
            using KeyFile keys = Open(path, layout, verify);
            for (long first = 0; verify && first < keys.Count; first += BlockChunks)
            {
                cancellationToken.ThrowIfCancellationRequested();
                progress?.Report(new("check keys", first, keys.Count));
                _ = keys.Row(first);
            }

            return true;
        }
        catch (DatabaseException)
        {
            return false; // building replaces it, which is what the message would ask for
        }
    }

    private static string NoteOf(KeyFileLayout layout)
        => NeighborQueries.Identity("keys 2", layout.TokensHash, layout.KeyerIdentity, layout.Dimensions, BlockChunks);

    private static KeyFileLayout LayoutOf(ChunkDatabase database, IChunkKeyer keyer)
    {
        ArgumentNullException.ThrowIfNull(keyer);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(keyer.Dimensions);
        ArgumentException.ThrowIfNullOrWhiteSpace(keyer.Identity);
        return new(database.Manifest.TokensHash, keyer.Identity, database.ChunkCount, keyer.Dimensions);
    }

    private static Dictionary<string, string> DetailsOf(KeyFileLayout layout) => new()
    {
        [KeyerDetail] = layout.KeyerIdentity,
        [DimensionsDetail] = layout.Dimensions.ToString(CultureInfo.InvariantCulture),
    };

    private static MakeRows KeysOf(ChunkDatabase database, IChunkKeyer keyer, KeysOfSameTexts? same, CancellationToken cancellationToken) => (first, rows) =>
    {
        Span<float> keys = MemoryMarshal.Cast<byte, float>(rows);
        ReadOnlyMemory<int>[] chunks = new ReadOnlyMemory<int>[keys.Length / keyer.Dimensions];
        for (int i = 0; i < chunks.Length; i++)
        {
            chunks[i] = database.OwnTokens(first + i).ToArray();
        }

        KnownKeys.Complete(keyer, chunks, (i, key) => same?.TryRead(first + i, key) == true, keys, i => $"chunk {first + i}", cancellationToken);
    };
}

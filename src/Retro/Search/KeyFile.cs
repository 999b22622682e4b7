using System.Collections.Concurrent;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Retro.Database;
using Retro.Embedders;
using Retro.Vectors;

namespace Retro.Search;

/// <summary>
/// The keys of a database's chunks: the file <c>keys.bin</c> of its folder, <c>[chunks, dimensions]</c> float32, memory-mapped. Each block is compared with its
/// checksum when it is first read, once for the opened database, unless that is not asked for.
/// </summary>
internal sealed unsafe class KeyFile : IDisposable
{
    /// <summary>What the manifest calls the identity of the function that made the keys.</summary>
    public const string KeyerDetail = "keyer";

    private const string DimensionsDetail = "dimensions";

    /// <summary>How many chunks have no key yet, where a copy has taken over those that were there: their rows are NaN, which no key is.</summary>
    private const string MissingDetail = "missing";

    private const string Remedy =
        $"{nameof(DenseNeighborSource)}.{nameof(DenseNeighborSource.Build)} without {nameof(DenseNeighborOptions.MemoryMapped)} makes it again.";

    private const string Stage = "embed chunks", CopyStage = "copy keys";
    private const int BlockChunks = KeyFileLayout.BlockRows;

    // What is known of the blocks of a database's files: it was compared once, whoever reads them.
    private static readonly ConditionalWeakTable<ChunkDatabase, ConcurrentDictionary<(string Path, DateTime Changed), BlockState[]>> s_known = [];

    // Within this the time of a file need not tell two states of it apart.
    private static readonly TimeSpan s_coarse = TimeSpan.FromSeconds(2);

    private readonly MappedFile _memory;
    private readonly KeyFileLayout _layout;

    // What is known of each block; null where none is compared.
    private readonly BlockState[]? _blocks;

    private KeyFile(MappedFile memory, KeyFileLayout layout, BlockState[]? blocks) => (_memory, _layout, _blocks) = (memory, layout, blocks);

    private enum BlockState : byte
    {
        Unknown,
        Whole,
        Damaged,
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
        if (entry.Details.TryGetValue(MissingDetail, out string? missing))
        {
            throw new DatabaseException(
                $"{missing} of the {database.ChunkCount} chunks in {database.Folder} have no key yet: run the stage that makes them. {Remedy}");
        }

        KeyFileLayout layout = LayoutOf(database, entry)
            ?? throw new DatabaseException($"The manifest in {database.Folder} does not say how the keys of {StageNames.Keys} were made: make them again.");
        return Open(path, layout, verify ? BlocksOf(database, path, layout) : null);
    }

    /// <summary>
    /// Opens what there is of a database's keys, all of them or some, for whom they are a saving: <see cref="TryRead"/> says of each whether it is there.
    /// </summary>
    /// <param name="database">The database.</param>
    /// <param name="keyer">The identity of the function that they have to be of.</param>
    /// <param name="dimensions">How many numbers they have to have; null: whichever.</param>
    /// <returns>Null where there are none that can be read.</returns>
    public static KeyFile? TryOpen(ChunkDatabase database, string keyer, int? dimensions = null)
    {
        try
        {
            return database.Refresh().Find(StageNames.Keys) is { } entry && LayoutOf(database, entry) is { } layout
                && layout.KeyerIdentity == keyer && layout.Dimensions == (dimensions ?? layout.Dimensions)
                ? TryOpen(database.PathOf(StageNames.Keys), layout)
                : null;
        }
        catch (DatabaseException)
        {
            return null; // the database on the disk is another by now
        }
    }

    /// <summary>The function that made a database's keys, all of them or some; null where there are none.</summary>
    /// <param name="database">The database.</param>
    public static string? KeyerOf(ChunkDatabase database) => database.Refresh().Find(StageNames.Keys)?.Details.GetValueOrDefault(KeyerDetail);

    /// <summary>How many chunks of a database have keys.</summary>
    /// <param name="database">The database.</param>
    public static long CountOf(ChunkDatabase database)
        => database.Refresh().Find(StageNames.Keys) is not { } entry ? 0
            : database.ChunkCount
                - (long.TryParse(entry.Details.GetValueOrDefault(MissingDetail), CultureInfo.InvariantCulture, out long missing) ? missing : 0);

    /// <summary>Whether all chunks of a database have keys.</summary>
    /// <param name="database">The database.</param>
    public static bool IsComplete(ChunkDatabase database)
        => database.Refresh().Find(StageNames.Keys) is { } entry && !entry.Details.ContainsKey(MissingDetail) && File.Exists(database.PathOf(StageNames.Keys));

    private static KeyFile Open(string path, KeyFileLayout layout, BlockState[]? blocks)
    {
        MappedFile memory = MappedFile.Open(path);
        if (layout.File.Fits(memory))
        {
            return new(memory, layout, blocks);
        }

        long length = memory.Length;
        memory.Dispose();
        throw new DatabaseException(length == layout.File.Length
            ? $"The key file {path} is damaged or belongs to another database: its header or its checksums do not fit. {Remedy}"
            : $"The key file {path} should have {layout.Rows} keys of {layout.Dimensions} numbers, {layout.File.Length} bytes, and has {length}. {Remedy}");
    }

    /// <summary>What is known of the blocks of a database's file.</summary>
    private static BlockState[] BlocksOf(ChunkDatabase database, string path, KeyFileLayout layout)
    {
        BlockState[] none = new BlockState[layout.File.Count];
        DateTime changed = File.GetLastWriteTimeUtc(path);
        BlockState[] known = DateTime.UtcNow - changed < s_coarse ? none : s_known.GetOrCreateValue(database).GetOrAdd((path, changed), none);
        return known.Length == none.Length ? known : none;
    }

    /// <summary>Keeps the keys there while they are read in place.</summary>
    /// <exception cref="ObjectDisposedException">It was disposed.</exception>
    public SharedHandle.Held Hold() => _memory.Hold();

    /// <summary>The key of a chunk, in place.</summary>
    /// <param name="chunk">The chunk's number.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such chunk.</exception>
    public ReadOnlySpan<float> Row(long chunk) => Rows(chunk, 1);

    /// <summary>The keys of chunks that follow one another, in place.</summary>
    /// <param name="first">The first chunk's number.</param>
    /// <param name="count">How many.</param>
    /// <exception cref="ArgumentOutOfRangeException">There are no such chunks.</exception>
    /// <exception cref="DatabaseException">They are damaged.</exception>
    public ReadOnlySpan<float> Rows(long first, int count)
    {
        RequireChunks(first, count);
        for (long block = first / BlockChunks; _blocks is not null && block * BlockChunks < first + count; block++)
        {
            if (_blocks[block] != BlockState.Whole)
            {
                RequireBlock(block);
                _blocks[block] = BlockState.Whole;
            }
        }

        return new ReadOnlySpan<float>(First + first * Dimensions, checked(count * Dimensions));
    }

    /// <summary>Copies the key of a chunk, where it is there and its block not damaged.</summary>
    /// <param name="chunk">The chunk's number.</param>
    /// <param name="key">Room for it.</param>
    /// <returns>Whether it is.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such chunk.</exception>
    public bool TryRead(long chunk, Span<float> key)
    {
        RequireChunks(chunk, 1);
        using SharedHandle.Held held = Hold();
        long block = chunk / BlockChunks;
        if (_blocks is not null && _blocks[block] == BlockState.Unknown)
        {
            _blocks[block] = _layout.File.HoldsBlock(_memory, block) ? BlockState.Whole : BlockState.Damaged;
        }

        ReadOnlySpan<float> row = new(First + (chunk * Dimensions), Dimensions);
        if (_blocks?[block] == BlockState.Damaged || VectorIndex.FaultOf(row) is not null)
        {
            return false;
        }

        row.CopyTo(key);
        return true;
    }

    private void RequireChunks(long first, int count)
    {
        if (first < 0 || count < 0 || first > Count - count)
        {
            throw new ArgumentOutOfRangeException(
                nameof(first), first, $"There are keys of the chunks 0 to {Count - 1}, and {count} from {first} on are asked for.");
        }
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
    /// Makes the key of every chunk, in blocks, resumable, where they are not there and whole; those that a share of them holds are taken from there, and of a
    /// file of which some are missing or damaged the others.
    /// </summary>
    /// <param name="database">The database.</param>
    /// <param name="keyer">The function from chunk to key.</param>
    /// <param name="verify">Whether keys that are there are compared with their checksums, which reads all of them.</param>
    /// <param name="whole">The database that this one is a segment of, or is to be: keys of the same texts in others of its segments are taken.</param>
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
        if (StageFile.IsMade(database, StageNames.Keys, details) && IsWhole(database, layout, verify, progress, cancellationToken))
        {
            return;
        }

        using WriterLock writing = database.Write("make keys");
        string sha256;
        bool made = StageFile.IsMade(database, StageNames.Keys, details);
        if (!IsWhole(database, layout, verify: true, progress, cancellationToken))
        {
            database.Forget(writing, StageNames.Keys);
            using KeysOfSameTexts? same = whole is null ? null : KeysOfSameTexts.Open(whole.Segments.Where(other => other != database), database, layout);
            MakeRows make = KeysOf(database, keyer, layout, same, cancellationToken);
            using ShareFiles shares = ShareFiles.Open(path, layout.File, Stage, progress);
            sha256 = layout.File.Write(path, NoteOf(layout), Stage, MakeMissing, progress, cancellationToken, PieceOf(keyer));

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
            own => ShareFiles.Make(
                own, layout.File, share, Stage, KeysOf(database, keyer, layout, null, cancellationToken), progress, cancellationToken, PieceOf(keyer)));
    }

    /// <summary>
    /// Takes over the keys that a database has of the texts of another, by the function that most were made with. Those that are missing, or damaged, are made
    /// when the source is next built, and no others.
    /// </summary>
    /// <param name="from">The database.</param>
    /// <param name="to">The one that gets the keys.</param>
    /// <param name="progress">Receives the number of chunks done, and in a message how many have no key.</param>
    /// <param name="cancellationToken">Stops between blocks.</param>
    /// <exception cref="DatabaseException">The file cannot be written.</exception>
    public static void Copy(ChunkDatabase from, ChunkDatabase to, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        if (EntryOf(from) is not { } entry || LayoutOf(to, entry) is not { } layout)
        {
            return;
        }

        using KeysOfSameTexts same = KeysOfSameTexts.Open(from.Segments, to, layout);
        TakeOver(to, same, layout, progress, cancellationToken);
    }

    /// <summary>What the manifest of a segment says of its keys, those of the function that most keys of a database were made with; null: there are
    /// none.</summary>
    public static DatabaseFile? EntryOf(ChunkDatabase database)
        => database.Segments.Where(segment => KeyerOf(segment) is not null).GroupBy(KeyerOf)
            .MaxBy(segments => segments.Sum(segment => segment.ChunkCount))?.First().Manifest.Find(StageNames.Keys);

    /// <summary>Writes the keys of a database as far as they are those of texts that others have.</summary>
    /// <param name="to">The database.</param>
    /// <param name="same">The keys of those others.</param>
    /// <param name="layout">The layout of its keys.</param>
    /// <param name="progress">Receives the number of chunks done, and in a message how many have no key.</param>
    /// <param name="cancellationToken">Stops between blocks.</param>
    /// <returns>How many there are.</returns>
    /// <exception cref="DatabaseException">The file cannot be written.</exception>
    public static long TakeOver(
        ChunkDatabase to, KeysOfSameTexts same, KeyFileLayout layout, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        string path = to.PathOf(StageNames.Keys), note = NoteOf(layout, "some keys");
        using WriterLock writing = to.Write(CopyStage);
        ResumableFile.Discard(path, note);
        long missing = 0;
        string sha256 = layout.File.Write(path, note, CopyStage, Take, progress, cancellationToken);
        if (missing > 0)
        {
            string found = $"{missing} of the {layout.Rows} chunks have no key that could be taken over; they get theirs when the dense source is next built.";
            progress?.Report(new(CopyStage, layout.Rows, layout.Rows, found));
        }

        if (missing == layout.Rows)
        {
            File.Delete(path);
            return 0;
        }

        Dictionary<string, string> details = DetailsOf(layout);
        if (missing > 0)
        {
            details[MissingDetail] = missing.ToString(CultureInfo.InvariantCulture);
        }

        to.Enter(writing, StageNames.Keys, details, sha256);
        return layout.Rows - missing;

        void Take(long first, Span<byte> rows)
        {
            Span<float> numbers = MemoryMarshal.Cast<byte, float>(rows);
            for (int i = 0; i * layout.Dimensions < numbers.Length; i++)
            {
                Span<float> key = numbers.Slice(i * layout.Dimensions, layout.Dimensions);
                if (!same.TryRead(first + i, key))
                {
                    key.Fill(float.NaN);
                    missing++;
                }
            }
        }
    }

    /// <summary>Whether a database's file holds the keys of a layout, where that is asked for each block as its checksum says.</summary>
    private static bool IsWhole(
        ChunkDatabase database, KeyFileLayout layout, bool verify, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        try
        {
            string path = database.PathOf(StageNames.Keys);
            using KeyFile keys = Open(path, layout, verify ? BlocksOf(database, path, layout) : null);
            for (long block = 0; keys._blocks is not null && block < keys._blocks.Length; block++)
            {
                if (keys._blocks[block] != BlockState.Whole)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    progress?.Report(new("check keys", block * BlockChunks, keys.Count));
                    _ = keys.Row(block * BlockChunks);
                }
            }

            return true;
        }
        catch (DatabaseException)
        {
            return false; // building replaces it, which is what the message would ask for
        }
    }

    /// <summary>Keys that are made, and kept, at once.</summary>
    private static int PieceOf(IChunkKeyer keyer) => Math.Clamp(keyer.BatchSize, 1, BlockChunks);

    private static string NoteOf(KeyFileLayout layout, string what = "keys 2")
        => NeighborQueries.Identity(what, layout.TokensHash, layout.KeyerIdentity, layout.Dimensions, BlockChunks);

    private static KeyFileLayout LayoutOf(ChunkDatabase database, IChunkKeyer keyer)
    {
        ArgumentNullException.ThrowIfNull(keyer);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(keyer.Dimensions);
        ArgumentException.ThrowIfNullOrWhiteSpace(keyer.Identity);
        return new(database.Manifest.TokensHash, keyer.Identity, database.ChunkCount, keyer.Dimensions);
    }

    /// <summary>
    /// The layout of a database's keys by what a manifest says of them, its own or that of one that they are taken from; null: it does not say.
    /// </summary>
    public static KeyFileLayout? LayoutOf(ChunkDatabase database, DatabaseFile entry)
        => entry.Details.TryGetValue(KeyerDetail, out string? identity)
            && entry.Details.TryGetValue(DimensionsDetail, out string? text)
            && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int dimensions)
            && dimensions >= 1
            ? new(database.Manifest.TokensHash, identity, database.ChunkCount, dimensions)
            : null;

    private static Dictionary<string, string> DetailsOf(KeyFileLayout layout) => new()
    {
        [KeyerDetail] = layout.KeyerIdentity,
        [DimensionsDetail] = layout.Dimensions.ToString(CultureInfo.InvariantCulture),
    };

    private static MakeRows KeysOf(
        ChunkDatabase database, IChunkKeyer keyer, KeyFileLayout layout, KeysOfSameTexts? same, CancellationToken cancellationToken) => (first, rows) =>
    {
        Span<float> keys = MemoryMarshal.Cast<byte, float>(rows);
        ReadOnlyMemory<int>[] chunks = new ReadOnlyMemory<int>[keys.Length / keyer.Dimensions];
        for (int i = 0; i < chunks.Length; i++)
        {
            chunks[i] = database.OwnTokens(first + i).ToArray();
        }

        // Opened each time, so that nothing holds the file when the new one takes its name.
        using KeyFile? there = TryOpen(database.PathOf(StageNames.Keys), layout);
        KnownKeys.Complete(
            keyer,
            chunks,
            (i, key) => there?.TryRead(first + i, key) == true || same?.TryRead(first + i, key) == true,
            keys,
            i => $"chunk {first + i}",
            cancellationToken);
    };

    /// <summary>Opens a file that a manifest need not know; null where it is not there, or of other chunks or another function.</summary>
    private static KeyFile? TryOpen(string path, KeyFileLayout layout)
    {
        try
        {
            // Whole is a block here whose checksum fits, though rows in it be missing: that is not what is known of a database's blocks.
            return File.Exists(path) ? Open(path, layout, new BlockState[layout.File.Count]) : null;
        }
        catch (DatabaseException)
        {
            return null;
        }
    }
}

using System.Globalization;
using System.Runtime.InteropServices;
using Retro.Database;
using Retro.Embedders;

namespace Retro.Search;

/// <summary>The keys of a database's chunks: the file <c>keys.bin</c> of its folder, <c>[chunks, dimensions]</c> float32, memory-mapped.</summary>
internal sealed unsafe class KeyFile : IDisposable
{
    /// <summary>The file's name.</summary>
    public const string FileName = "keys.bin";

    /// <summary>What the manifest calls the identity of the function that made the keys.</summary>
    public const string KeyerDetail = "keyer";

    private const string DimensionsDetail = "dimensions";
    private const int BlockChunks = 2048;

    private readonly MappedFile memory;

    private KeyFile(MappedFile memory, long count, int dimensions, string identity)
    {
        this.memory = memory;
        Count = count;
        Dimensions = dimensions;
        Identity = identity;
    }

    /// <summary>How many keys there are: one for each chunk.</summary>
    public long Count { get; }

    /// <summary>Numbers in a key.</summary>
    public int Dimensions { get; }

    /// <summary>The identity of the function that made them.</summary>
    public string Identity { get; }

    /// <summary>Opens the keys of a database.</summary>
    /// <param name="database">The database.</param>
    /// <exception cref="DatabaseException">It has no keys yet, or their file does not fit the manifest.</exception>
    public static KeyFile Open(ChunkDatabase database)
    {
        ArgumentNullException.ThrowIfNull(database);
        (string path, DatabaseFile entry) = StageFile.Require(database, FileName);
        IReadOnlyDictionary<string, string> details = entry.Details;
        if (!details.TryGetValue(KeyerDetail, out string? identity)
            || !details.TryGetValue(DimensionsDetail, out string? text)
            || !int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int dimensions)
            || dimensions < 1)
        {
            throw new DatabaseException($"The manifest in {database.Folder} does not say how the keys of {FileName} were made: make them again.");
        }

        MappedFile memory = MappedFile.Open(path, 1, (message, inner) => new DatabaseException(message, inner));
        if (memory.Length / sizeof(float) / dimensions != database.ChunkCount || memory.Length % ((long)dimensions * sizeof(float)) != 0)
        {
            long length = memory.Length;
            memory.Dispose();
            throw new DatabaseException($"The key file {path} should have {database.ChunkCount} keys of {dimensions} numbers, {database.ChunkCount * dimensions * sizeof(float)} bytes, and has {length}: make it again.");
        }

        return new(memory, database.ChunkCount, dimensions, identity);
    }

    /// <summary>The key of a chunk.</summary>
    /// <param name="chunk">The chunk's number.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such chunk.</exception>
    public ReadOnlySpan<float> Row(long chunk) => Rows(chunk, 1);

    /// <summary>The keys of chunks that follow one another.</summary>
    /// <param name="first">The first chunk's number.</param>
    /// <param name="count">How many.</param>
    /// <exception cref="ArgumentOutOfRangeException">There are no such chunks.</exception>
    public ReadOnlySpan<float> Rows(long first, int count)
    {
        if (first < 0 || count < 0 || first > Count - count)
        {
            throw new ArgumentOutOfRangeException(nameof(first), first, $"There are keys of the chunks 0 to {Count - 1}, and {count} from {first} on are asked for.");
        }

        return new ReadOnlySpan<float>((float*)memory.Pointer + first * Dimensions, checked(count * Dimensions));
    }

    /// <inheritdoc/>
    public void Dispose() => memory.Dispose();

    /// <summary>Makes the key of every chunk, in blocks, resumable.</summary>
    /// <param name="database">The database.</param>
    /// <param name="keyer">The function from chunk to key.</param>
    /// <param name="progress">Told the chunks done.</param>
    /// <param name="cancellationToken">Stops between blocks; the next run goes on there.</param>
    /// <exception cref="DatabaseException">The file cannot be written.</exception>
    public static void Build(ChunkDatabase database, IChunkKeyer keyer, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(keyer);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(keyer.Dimensions);
        ArgumentException.ThrowIfNullOrWhiteSpace(keyer.Identity);
        Dictionary<string, string> details = new()
        {
            [KeyerDetail] = keyer.Identity,
            [DimensionsDetail] = keyer.Dimensions.ToString(CultureInfo.InvariantCulture),
        };
        if (!StageFile.IsMade(database, FileName, details))
        {
            StageFile.Forget(database, FileName);
            Write(Path.Combine(database.Folder, FileName), database, keyer, progress, cancellationToken);
            database.Register(FileName, details, progress, cancellationToken);
        }
    }

    private static void Write(string path, ChunkDatabase database, IChunkKeyer keyer, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        int dimensions = keyer.Dimensions;
        string note = NeighborQueries.Identity("keys 1", database.Manifest.TokensHash, keyer.Identity, dimensions, BlockChunks);
        using ResumableFile file = ResumableFile.Open(path, note, 0, (long)dimensions * sizeof(float), BlockChunks);
        for (long first = file.Rows; first < database.ChunkCount; first += BlockChunks)
        {
            cancellationToken.ThrowIfCancellationRequested();
            progress?.Report(new("embed chunks", first, database.ChunkCount));
            ReadOnlyMemory<int>[] chunks = new ReadOnlyMemory<int>[(int)Math.Min(BlockChunks, database.ChunkCount - first)];
            for (int i = 0; i < chunks.Length; i++)
            {
                chunks[i] = database.Tokens(first + i)[..database.TokenCount(first + i)].ToArray();
            }

            float[] rows = new float[chunks.Length * dimensions];
            keyer.Keys(chunks, rows, cancellationToken);
            file.Append(MemoryMarshal.AsBytes<float>(rows), chunks.Length);
        }

        file.Complete();
        progress?.Report(new("embed chunks", database.ChunkCount, database.ChunkCount));
    }
}

using System.Diagnostics;
using System.Globalization;
using System.Text;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Tokenizers;
using Retro.Vectors;

namespace Retro.Search;

/// <summary>
/// What a database of some documents will be, before the work is begun: counts, the index and why, room on the disk and in memory, and about how long it takes
/// here. All documents are read once; tokens and times are those of some of them, and so estimates.
/// </summary>
public sealed record DatabasePlan
{
    private const int RecordBytes = 24 + 48 + 16;
    private const int SampleBytes = 1 << 20;

    // Bytes that a byte of a document takes while it is tokenized, as measured of 60 MB: 12 (byte-level BPE) to 35 (WordPiece).
    private const long EncodingBytesOfByte = 20;

    private const int SampleChunks = 64;

    /// <summary>How many documents there are.</summary>
    public required long Documents { get; init; }

    /// <summary>Bytes of their texts in UTF-8.</summary>
    public required long TextBytes { get; init; }

    /// <summary>About how many tokens they have.</summary>
    public required long Tokens { get; init; }

    /// <summary>About how many chunks.</summary>
    public required long Chunks { get; init; }

    /// <summary>Bytes on the disk of tokens, documents and the keyword index, and of keys and vector index where there are any.</summary>
    public required long DiskBytes { get; init; }

    /// <summary>Bytes of memory that the largest stage holds beside what is mapped from files.</summary>
    public required long MemoryBytes { get; init; }

    /// <summary>
    /// The vector index that the keys will have, where every chunk has one: FAISS's factory text, or "exact" for the managed index; null where there are no
    /// keys.
    /// </summary>
    public string? Index { get; init; }

    /// <summary>Why it is that index; null where there is none.</summary>
    public string? Why { get; init; }

    /// <summary>
    /// How many chunks have keys already, those of texts that the database which is replaced has (<see cref="EarlierKeys"/>); null where it was not asked.
    /// </summary>
    public long? KeysReused { get; init; }

    /// <summary>About how long encoding the text takes on this machine's processors, and embedding the chunks where there are keys.</summary>
    public required TimeSpan Time { get; init; }

    /// <summary>Plans a database.</summary>
    /// <param name="documents">The documents; enumerated once.</param>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="keyer">Makes the keys of dense neighbors; null: there are none.</param>
    /// <param name="chunkLength">Tokens of a chunk.</param>
    /// <param name="earlier">The keys of the database that is to be replaced; null: there are none.</param>
    /// <param name="options">How the keys will be indexed; by size where null.</param>
    /// <param name="progress">Told of the documents read.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <exception cref="CorpusException">There is no text.</exception>
    /// <exception cref="RetroOptionsException">An option is out of range.</exception>
    public static DatabasePlan For(
        IEnumerable<Document> documents,
        RetroTokenizer tokenizer,
        IChunkKeyer? keyer = null,
        int chunkLength = 64,
        EarlierKeys? earlier = null,
        DenseNeighborOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(documents);
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(chunkLength);
        options = (options ?? new()).Validate();
        long count = 0, bytes = 0, longest = 0, names = 0, sampledBytes = 0, sampledTokens = 0, due = 0, reused = 0;
        Stopwatch encoding = new();
        List<ReadOnlyMemory<int>> chunks = [];
        foreach (Document document in documents)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int size = Encoding.UTF8.GetByteCount(document.Text);
            count++;
            bytes += size;
            longest = Math.Max(longest, size);
            reused += earlier?.ChunksOf(document.Text) ?? 0;
            names += Encoding.UTF8.GetByteCount(document.Id) + Encoding.UTF8.GetByteCount(document.Title) + Encoding.UTF8.GetByteCount(document.Location)
                + document.Labels.Sum(label => 4 + Encoding.UTF8.GetByteCount(label));

            // Every document at first, then ever fewer, so that what comes late in the corpus is among the sample too.
            if (bytes >= due && sampledBytes < 2L * SampleBytes)
            {
                encoding.Start();
                int[] ids = tokenizer.Encode(document.Text);
                encoding.Stop();
                sampledBytes += size;
                sampledTokens += ids.Length;
                due = bytes < SampleBytes ? 0 : bytes + (bytes / 16);
                if (chunks.Count < SampleChunks && ids.Length > 0)
                {
                    chunks.Add(ids.AsMemory(0, Math.Min(chunkLength, ids.Length)));
                }
            }

            progress?.Report(new StageProgress("plan the database", count, 0));
        }

        if (sampledTokens == 0)
        {
            throw new CorpusException($"The corpus has no text: of {count} documents none has a token; give documents with text.");
        }

        long tokens = (long)((double)sampledTokens / sampledBytes * bytes) + (2 * count);

        // A document's last chunk is on average half full.
        long total = Math.Max(count, (tokens + (count * (chunkLength - 1) / 2)) / chunkLength);
        long keywords = (long)(tokens * KeywordBytesOfToken(chunks));
        double seconds = encoding.Elapsed.TotalSeconds / sampledBytes * bytes / Environment.ProcessorCount;
        long disk = (total * chunkLength * sizeof(int)) + names + (count * RecordBytes) + keywords + (total * sizeof(long));

        // The keyword index is made in memory, or in blocks, which lie on the disk until they are joined. A document is tokenized as a whole.
        long whole = keywords + (total * 12), memory = Math.Min(whole, KeywordNeighborOptions.DefaultMemory);
        disk += whole > memory ? keywords : 0;
        DatabasePlan plan = new()
        {
            Documents = count,
            TextBytes = bytes,
            Tokens = tokens,
            Chunks = total,
            DiskBytes = disk,
            MemoryBytes = Math.Max(memory, longest * EncodingBytesOfByte),
            KeysReused = earlier is null ? null : reused,
            Time = TimeSpan.FromSeconds(seconds),
        };
        if (keyer is null)
        {
            return plan;
        }

        Stopwatch embedding = Stopwatch.StartNew();
        keyer.Keys(chunks, new float[chunks.Count * keyer.Dimensions], cancellationToken);
        VectorIndexPlan index = options.Plan(total, keyer.Dimensions);
        VectorEngine engine = VectorIndex.Choose(options.Engine);
        long keys = total * keyer.Dimensions * sizeof(float), indexed = index.Bytes(total, keyer.Dimensions);
        return plan with
        {
            Index = VectorIndexFile.FactoryOf(index, engine),
            Why = options.Factory is not null ? "as is asked for"
                : engine == VectorEngine.Exact ? "every key is compared, without FAISS"
                : index.Factory == VectorIndexPlan.Exact ? "up to 100,000 chunks every key is compared"
                : "above 100,000 chunks " + (options.Parameters is null
                    ? string.Create(CultureInfo.InvariantCulture, $"as many of the lists are looked into as finding {100 * options.Recall:0.##} % takes")
                    : $"it is looked into by {options.Parameters}")
                    + (index.IsCoded ? $"; codes, so that it fits {Amount.OfBytes(options.IndexMemory)}" : ""),
            DiskBytes = disk + keys + indexed,
            MemoryBytes = Math.Max(plan.MemoryBytes, indexed),
            Time = plan.Time + (embedding.Elapsed / chunks.Count * Math.Max(0, total - (plan.KeysReused ?? 0))),
        };
    }

    /// <summary>
    /// Makes sure that the machine can do it. What an unfinished build, or shares of one, take in the folder is room for it, as it goes on with them.
    /// </summary>
    /// <param name="folder">Where the database is to be; it need not be there.</param>
    /// <exception cref="DatabaseException">There is too little room on its disk, or too little memory: the numbers are named.</exception>
    public void Require(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        string there = Path.GetFullPath(folder);
        while (!Directory.Exists(there) && Path.GetDirectoryName(there) is { Length: > 0 } parent)
        {
            there = parent;
        }

        long begun = BuildFolder.BytesIn(folder) + TokenShares.BytesIn(folder);
        Require(folder, begun + FreeIn(there), GC.GetGCMemoryInfo().TotalAvailableMemoryBytes);

        static long FreeIn(string folder)
        {
            try
            {
                return new DriveInfo(folder).AvailableFreeSpace;
            }
            catch (ArgumentException)
            {
                return long.MaxValue / 2; // another machine's folder on Windows, \\machine\folder, of which nobody tells it
            }
        }
    }

    /// <summary>Makes sure that so much room is enough.</summary>
    internal void Require(string folder, long disk, long memory)
    {
        if (DiskBytes > disk)
        {
            throw new DatabaseException(
                $"The database takes about {Amount.OfBytes(DiskBytes)}, and {Amount.OfBytes(disk)} are free for '{folder}': make room, or take less text.");
        }

        if (MemoryBytes > memory)
        {
            throw new DatabaseException(
                $"Tokenizing the longest document and making the indexes of {Amount.Of(Chunks, "chunk")} takes about {Amount.OfBytes(MemoryBytes)} of memory, and "
                    + $"this machine has {Amount.OfBytes(memory)}: take less text, shorter documents, longer chunks, or several databases.");
        }
    }

    /// <summary>The plan in a few lines.</summary>
    public override string ToString()
    {
        string index = Index is null ? "" : $"\nvector index {Index}: {Why}";
        string keys = KeysReused is not { } reused ? ""
            : $"\n{Amount.Of(reused, "key")} of the database that is there to be taken over, about {Math.Max(0, Chunks - reused):#,0} to be made";
        return $"{Amount.Of(Documents, "document")}, {Amount.OfBytes(TextBytes)} of text; "
            + $"about {Amount.Of(Tokens, "token")}, {Amount.Of(Chunks, "chunk")}{index}{keys}\n"
            + $"about {Amount.OfBytes(DiskBytes)} on the disk, {Amount.OfBytes(MemoryBytes)} of memory, {Amount.OfTime(Time)}";
    }

    /// <summary>
    /// Bytes that the keyword index takes for a token: its id; and its posting with the impact, one for each different term of a chunk, or, of a frequent term,
    /// a byte for every chunk.
    /// </summary>
    private static double KeywordBytesOfToken(List<ReadOnlyMemory<int>> chunks)
    {
        const int Posting = sizeof(int) + sizeof(byte);
        IEnumerable<KeyValuePair<int, int>> frequencies = chunks.SelectMany(chunk => chunk.ToArray().Distinct()).CountBy(term => term);
        long bytes = frequencies.Sum(term => Bm25Image.IsFrequent(term.Value, chunks.Count) ? chunks.Count : (long)Posting * term.Value);
        return sizeof(int) + ((double)bytes / chunks.Sum(chunk => chunk.Length));
    }
}

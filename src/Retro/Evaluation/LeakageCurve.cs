using Retro.Database;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Evaluation;

/// <summary>
/// How much of a gain is copying: bits per byte over the chunks that have at most so much in common with their neighbors (arXiv 2112.04426, section 2.6).
/// </summary>
/// <remarks>
/// The overlap of a chunk is s/m, where m is its length (a document's last chunk can be shorter than the others) and s that of the longest run of tokens that
/// it has in common with one of its nearest neighbors and that one's continuation, or with one of those of the chunk before it, which are what a model reads
/// while it predicts the chunk. A model that only copies gains nothing where the overlap is small. Of what reads more, such as other neighbors or ones that are
/// asked for within a chunk, the curve says less (<see cref="LeakageTable.Note"/>).
/// </remarks>
public sealed class LeakageCurve
{
    private const int BlockChunks = 4096;

    private readonly double[] _overlaps;
    private readonly double[] _bytes;
    private readonly int[] _tokens;
    private readonly int[] _documents;
    private readonly string _heldOutHash;

    private LeakageCurve(
        double[] overlaps, double[] bytes, int[] tokens, int[] documents, string heldOutHash, string sourceName, int neighbors, int retrievedLength)
    {
        (SourceName, Neighbors, RetrievedLength) = (sourceName, neighbors, retrievedLength);
        _overlaps = overlaps;
        _bytes = bytes;
        _tokens = tokens;
        _documents = documents;
        _heldOutHash = heldOutHash;
    }

    /// <summary>The bounds of a report: the paper's, of which the first (8 of 64 tokens) is unlikely to be copied.</summary>
    public static IReadOnlyList<double> Bounds { get; } = [0.125, 0.25, 0.5, 0.75, 1];

    /// <summary>The source of the neighbors that the overlap is with.</summary>
    internal string SourceName { get; }

    /// <summary>How many of a chunk there are at most.</summary>
    internal int Neighbors { get; }

    /// <summary>How many tokens of each, its continuation among them.</summary>
    internal int RetrievedLength { get; }

    /// <summary>The overlap of each held-out chunk, from 0 to 1.</summary>
    internal IReadOnlyList<double> Overlaps => _overlaps;

    /// <summary>Computes the overlap of every held-out chunk, in time linear in what is compared.</summary>
    /// <param name="heldOut">The held-out documents.</param>
    /// <param name="table">Neighbors of every held-out chunk.</param>
    /// <param name="chunkBytes">Bytes of text behind each chunk of <paramref name="heldOut"/>, such as <see cref="ChunkBytes"/> gives.</param>
    /// <param name="neighbors">Nearest neighbors looked at, at most. Default 10, the paper's.</param>
    /// <param name="retrievedLength">Tokens of a neighbor and its continuation. Default: twice the chunk length.</param>
    /// <param name="progress">Receives the number of chunks done, in order.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <returns>The curve.</returns>
    /// <exception cref="DatabaseException">The table belongs to another database.</exception>
    /// <exception cref="ArgumentException">There are not as many bytes as chunks, or a number is not positive.</exception>
    public static LeakageCurve Compute(
        ChunkDatabase heldOut,
        NeighborTable table,
        IReadOnlyList<double> chunkBytes,
        int neighbors = 10,
        int? retrievedLength = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(heldOut);
        ArgumentNullException.ThrowIfNull(table);
        ArgumentNullException.ThrowIfNull(chunkBytes);
        int length = heldOut.RetrievedLength(retrievedLength);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(neighbors);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length, nameof(retrievedLength));
        if (chunkBytes.Count != heldOut.ChunkCount)
        {
            throw new ArgumentException($"Expected the bytes of {heldOut.ChunkCount} chunks, got {chunkBytes.Count}.", nameof(chunkBytes));
        }

        table.RequireMatch(heldOut);
        double[] overlaps = new double[heldOut.ChunkCount];
        int[] tokens = new int[overlaps.Length], documents = new int[overlaps.Length];
        using ThreadLocal<(CommonRun Run, long[] Tokens, bool[] Valid)> own = new(() => (new CommonRun(), new long[length], new bool[length]));
        for (int first = 0; first < overlaps.Length; first += BlockChunks)
        {
            progress?.Report(new StageProgress("compare chunks with their neighbors", first, overlaps.Length));
            int start = first;
            ParallelLoop.For(Math.Min(BlockChunks, overlaps.Length - start), i =>
            {
                int chunk = start + i;
                documents[chunk] = heldOut.DocumentOf(chunk);
                tokens[chunk] = heldOut.TokenCount(chunk);
                bool begins = heldOut.ChunksOf(documents[chunk]).First == chunk;
                own.Value.Run.Begin(heldOut.Tokens(chunk)[..tokens[chunk]]);
                int longest = Math.Max(Longest(table.Row(chunk)), begins ? 0 : Longest(table.Row(chunk - 1)));
                overlaps[chunk] = (double)longest / tokens[chunk];
            }, cancellationToken: cancellationToken);
        }

        progress?.Report(new StageProgress("compare chunks with their neighbors", overlaps.Length, overlaps.Length));
        return new LeakageCurve(
            overlaps, [.. chunkBytes], tokens, documents, heldOut.Manifest.TokensHash, table.SourceName, Math.Min(neighbors, table.Count), length);

        int Longest(ReadOnlySpan<long> found)
        {
            (CommonRun run, long[] retrieved, bool[] valid) = own.Value;
            int longest = 0;
            foreach (long neighbor in found[..Math.Min(neighbors, found.Length)])
            {
                table.Retrieval.CopyRetrieved(neighbor, retrieved, valid);
                longest = Math.Max(longest, run.Longest(retrieved, valid));
            }

            return longest;
        }
    }

    /// <summary>
    /// Bytes of text behind each chunk of a database. Special tokens stand for none; where a tokenizer changes the text, so that its tokens stand for other
    /// bytes than were there, those of a document are scaled to the text's.
    /// </summary>
    /// <param name="database">The database.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <returns>Bytes by chunk; those of a document's chunks add up to the bytes of its text.</returns>
    /// <exception cref="DatabaseException">The database was made with another tokenizer.</exception>
    public static double[] ChunkBytes(ChunkDatabase database, RetroTokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(tokenizer);
        database.RequireTokenizer(tokenizer);
        double[] bytes = new double[database.ChunkCount];
        foreach (DocumentEntry document in database.Documents)
        {
            Span<double> own = bytes.AsSpan((int)document.FirstChunk, document.ChunkCount);
            double sum = 0;
            for (int chunk = 0; chunk < own.Length; chunk++)
            {
                foreach (int token in database.Tokens(document.FirstChunk + chunk)[..database.TokenCount(document.FirstChunk + chunk)])
                {
                    own[chunk] += tokenizer.TokenBytes(token).Length;
                }

                sum += own[chunk];
            }

            for (int chunk = 0; chunk < own.Length; chunk++)
            {
                // Where no token stands for a byte, each has as much of the text as another.
                own[chunk] = sum > 0
                    ? own[chunk] * document.ByteCount / sum
                    : (double)document.ByteCount * database.TokenCount(document.FirstChunk + chunk) / document.TokenCount;
            }
        }

        return bytes;
    }

    /// <summary>Whether something else was read than what the overlap is with.</summary>
    internal bool IsOfOtherText(BitsPerByteResult result)
        => result.ReadsOtherText
            || (result.Neighbors > 0 && (result.SourceName != SourceName || result.Neighbors > Neighbors || result.RetrievedLength > RetrievedLength));

    /// <summary>The share of the held-out tokens that stand in chunks whose overlap is at most a bound.</summary>
    /// <param name="bound">The bound, from 0 to 1.</param>
    /// <returns>From 0 to 1.</returns>
    public double TokenShare(double bound)
        => _tokens.Where((_, chunk) => _overlaps[chunk] <= bound).Sum(count => (long)count) / (double)Math.Max(1, _tokens.Sum(count => (long)count));

    /// <summary>Bits and bytes by document, over the chunks whose overlap is at most a bound.</summary>
    /// <param name="result">A measurement on the same held-out documents, with retrieval on or off.</param>
    /// <param name="bound">The bound, from 0 to 1; 1 takes every chunk.</param>
    /// <returns>The sums; 0 for a document without such a chunk.</returns>
    /// <exception cref="ArgumentException">The measurement is of other documents.</exception>
    public DocumentSums At(BitsPerByteResult result, double bound)
    {
        ArgumentNullException.ThrowIfNull(result);
        if (result.HeldOutHash != _heldOutHash || result.ChunkBits.Count != _bytes.Length)
        {
            throw new ArgumentException(
                $"Expected a measurement of the {_bytes.Length} chunks with the checksum {_heldOutHash}, " +
                $"got one of {result.ChunkBits.Count} with {result.HeldOutHash}; measure on the documents that the curve is of.",
                nameof(result));
        }

        double[] bits = new double[result.Documents], bytes = new double[result.Documents];
        for (int chunk = 0; chunk < _bytes.Length; chunk++)
        {
            if (_overlaps[chunk] <= bound)
            {
                bits[_documents[chunk]] += result.ChunkBits[chunk];
                bytes[_documents[chunk]] += _bytes[chunk];
            }
        }

        return new DocumentSums(bits, bytes);
    }
}

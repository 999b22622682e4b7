using Retro.Database;
using Retro.Modeling;
using Retro.Search;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>
/// The pointer rule over a whole database instead of some neighbors, on top of another reader: what followed the longest run of the text's last tokens,
/// wherever it stands, has a mass that the run's length decides; the other reader's distribution has the rest. Without a trained weight, and the strongest rule
/// of its kind: what retrieves fewer passages has to beat it.
/// </summary>
/// <remarks>
/// Infini-gram (arXiv 2401.17377) mixes a language model with the same counts. Where a run stands more than 256 times, 256 of its places, spread evenly in
/// their sorted order, are counted.
/// </remarks>
public sealed class RunReader : IReader
{
    private const int MostPlaces = 256;

    private readonly IReader _reader;
    private readonly TokenIndex _index;

    /// <summary>Creates the reader with precisions that are known.</summary>
    /// <param name="reader">The reader whose distribution has the rest; it reads no neighbors and stays the caller's.</param>
    /// <param name="index">The runs of a database without held-out documents.</param>
    /// <param name="precisions">The precision of runs of 1, 2, ... up to <see cref="TokenIndex.LongestRun"/> tokens, each from 0 to 1.</param>
    /// <param name="name">The name in reports; null: made of the reader's.</param>
    /// <exception cref="ArgumentException">
    /// There are not as many precisions, one is outside its range, or the reader reads neighbors, or from another database than the index is of.
    /// </exception>
    public RunReader(IReader reader, TokenIndex index, IReadOnlyList<double> precisions, string? name = null)
    {
        ArgumentNullException.ThrowIfNull(reader);
        ArgumentNullException.ThrowIfNull(index);
        ArgumentNullException.ThrowIfNull(precisions);
        if (precisions.Count != TokenIndex.LongestRun || precisions.Any(precision => !(precision >= 0 && precision <= 1)))
        {
            throw new ArgumentException($"Expected {TokenIndex.LongestRun} precisions from 0 to 1, got [{string.Join(", ", precisions)}].", nameof(precisions));
        }

        if (reader.Neighbors > 0)
        {
            throw new ArgumentException($"{reader.Name} reads neighbors; give a reader that reads none, such as a {nameof(DecoderReader)}.", nameof(reader));
        }

        // One database is told to whoever looks for held-out documents in what is read from.
        if (reader.Database is { } other && !other.HasSameChunks(index.Database))
        {
            throw new ArgumentException(
                index.Database.Unlike($"{reader.Name} reads from", other, "the runs are of", "give a reader and an index of one database"), nameof(reader));
        }

        (_reader, _index, Precisions) = (reader, index, [.. precisions]);
        Name = name ?? $"{reader.Name} + longest run in the database";
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <summary>The precision of runs of 1, 2, ... up to <see cref="TokenIndex.LongestRun"/> tokens.</summary>
    public IReadOnlyList<double> Precisions { get; }

    /// <inheritdoc/>
    public int Neighbors => 0;

    /// <inheritdoc/>
    public int? ChunkLength => null;

    /// <inheritdoc/>
    public int? RetrievedLength => null;

    /// <inheritdoc/>
    public ChunkDatabase Database => _index.Database;

    /// <inheritdoc/>
    public Device Device => _reader.Device;

    /// <summary>
    /// Counts how often what followed the longest run elsewhere followed here too, on chunks of the database, without their own documents and copies of these.
    /// </summary>
    /// <param name="index">The runs of a database without held-out documents.</param>
    /// <param name="chunks">Chunks that are counted, drawn at random.</param>
    /// <param name="seed">Draws them.</param>
    /// <param name="progress">Receives the number of chunks done.</param>
    /// <param name="cancellationToken">Ends the counting between two chunks.</param>
    /// <returns>The precision of runs of 1, 2, ... tokens; a length that was never seen has that of the one below.</returns>
    public static double[] CountPrecisions(
        TokenIndex index, int chunks = 1500, long seed = 0, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(index);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(chunks);
        ChunkDatabase database = index.Database;
        SameDocuments same = new(database, database);
        SeededPermutation order = new(Math.Max(1, database.ChunkCount), seed, Purpose.RunChunks, 0);
        double[] hits = new double[TokenIndex.LongestRun + 1];
        long[] seen = new long[hits.Length];
        for (long done = 0; done < Math.Min(chunks, database.ChunkCount); done++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            progress?.Report(new StageProgress("count runs", done, chunks));
            long chunk = order.At(done);
            int document = database.DocumentOf(chunk);
            HashSet<int> own = [.. same.Of(document)];
            long start = chunk * database.ChunkLength, first = database.ChunksOf(document).First * database.ChunkLength;
            for (long place = Math.Max(start, first + 1); place < start + database.TokenCount(chunk); place++)
            {
                int[] last = new int[Math.Min(TokenIndex.LongestRun, place - first)];
                for (int i = 0; i < last.Length; i++)
                {
                    last[i] = database.TokenAt(place - last.Length + i);
                }

                (int length, double share) = Look(index, last, own, database.Tokens(chunk)[(int)(place - start)]);
                seen[length]++;
                hits[length] += share;
            }
        }

        return PointerRule.PrecisionsOf(hits, seen);
    }

    /// <inheritdoc/>
    string? IReader.IdentityOf(int version)
    {
        string? below = _reader.IdentityOf(version);
        return below is null && version > 1
            ? null
            : IdentityHash.Of(IdentityHash.KeyEnd, [below, _index.Database.Manifest.TokensHash, .. Precisions.Cast<object>()]);
    }

    /// <inheritdoc/>
    public long RowBytes(int length) => _reader.RowBytes(length);

    /// <inheritdoc/>
    void IReader.RequireTokenizer(string hash) => _reader.RequireTokenizer(hash);

    /// <inheritdoc/>
    public double[] LogLikelihoods(ReadingBatch batch)
    {
        ReaderChecks.Require(this, batch);
        double[] result = [.. ReaderChecks.LogLikelihoods(_reader, batch)]; // the reader may keep what it gave
        Span<int> last = stackalloc int[TokenIndex.LongestRun];
        for (int at = 0; at < result.Length; at++)
        {
            if (batch.Targets[at] == LogLikelihood.NoTarget)
            {
                continue;
            }

            int row = at / batch.Length, known = Math.Min(TokenIndex.LongestRun, at - (row * batch.Length) + 1);
            for (int i = 0; i < known; i++)
            {
                last[i] = (int)batch.Tokens[at - known + 1 + i];
            }

            (int length, double share) = Look(_index, last[..known], null, (int)batch.Targets[at]);
            result[at] = PointerReader.Mix(result[at], length == 0 ? 0 : PointerRule.Trust * Precisions[length - 1], share);
        }

        return result;
    }

    /// <summary>The longest run that something allowed follows, and the share of what follows it that is the target.</summary>
    private static (int Length, double Share) Look(TokenIndex index, ReadOnlySpan<int> last, HashSet<int>? excluded, int target)
    {
        (int longest, int first, int end) = index.Find(last);
        for (int length = longest; length > 0; length--)
        {
            (first, end) = length == longest ? (first, end) : index.Range(last[^length..]);
            int wanted = Math.Min(end - first, MostPlaces), all = 0, hits = 0;
            for (int i = 0; i < wanted; i++)
            {
                int position = index.Spread((first, end), i, wanted) + length, token = index.Token(position);
                if (token >= 0 && excluded?.Contains(index.DocumentOf(position)) != true)
                {
                    all++;
                    hits += token == target ? 1 : 0;
                }
            }

            if (all > 0)
            {
                return (length, (double)hits / all);
            }
        }

        return (0, 0);
    }
}

using System.Numerics;
using System.Runtime.CompilerServices;
using Retro.Database;
using Retro.Embedders;
using Retro.Vectors;

namespace Retro.Search;

/// <summary>A vector index of the keys of a database's chunks, or a segment's, searched for these chunks.</summary>
internal sealed class DenseIndex : IDisposable
{
    /// <summary>Queries searched in one go: enough for matrix products, few enough for the wide rows of a widened search.</summary>
    public const int Block = 512;

    /// <summary>
    /// Candidates for each neighbor that is wanted where codes stand for the vectors: of a byte a number, and product codes. Of a million keys of 128 numbers
    /// and 32 bytes, 128 candidates held 94.9 % of the 8 nearest, however far the search looked.
    /// </summary>
    private const int CandidatesOfBytes = 8, CandidatesOfProducts = 32;

    /// <summary>
    /// The part of a graph's keys, as 1 of so many, beyond which it is less work to compare with all: each step along it compares with all links of a key,
    /// which lie anywhere.
    /// </summary>
    private const int MostOfGraph = 16;

    /// <summary>Chunks among which everything is compared where a query may see no more.</summary>
    private const int FewSeen = 4096;

    private readonly VectorIndex _index;
    private readonly KeyedChunks _keyed;

    // The keys that FAISS's index was made of, to score anew what it finds; null for an exact one, or where they are not there any more.
    private readonly ChunkKeys? _keys;
    private readonly int _together;

    // How many candidates are scored anew for each that is wanted: an index of codes ranks them roughly.
    private readonly int _candidates;

    // The rows of the index that stand for some chunks.
    private readonly ConditionalWeakTable<ChunkSet, ChunkSet> _rows = [];

    /// <summary>Takes an index.</summary>
    /// <param name="segment">The database, or the segment.</param>
    /// <param name="index">The index of its chunks' keys, numbered as the chunks; disposed with this.</param>
    /// <param name="dimensions">Numbers in a key.</param>
    /// <param name="keyed">Which chunks are in the index; all where null.</param>
    /// <param name="keys">The keys of the chunks, to score anew what FAISS's index finds; null to take its scores. Disposed with this.</param>
    /// <param name="factory">FAISS's factory text of the index; null where it is not known.</param>
    /// <exception cref="DatabaseException">The index holds another number of keys, or keys of another size.</exception>
    public DenseIndex(
        ChunkDatabase segment, VectorIndex index, int dimensions, KeyedChunks? keyed = null, ChunkKeys? keys = null, string? factory = null)
    {
        _keyed = keyed ?? KeyedChunks.All;
        if (index.Count != segment.ChunkCount - _keyed.Missing)
        {
            throw new DatabaseException(
                $"The vector index holds {index.Count} keys and the database in {segment.Folder} has {segment.ChunkCount} chunks: build the index again.");
        }

        if (index.Dimensions != dimensions)
        {
            throw new DatabaseException(
                $"The vector index holds keys of {index.Dimensions} numbers and the embedder makes {dimensions}: use the embedder the database was "
                    + "made with, or build keys and index again.");
        }

        _index = index;
        _keys = keys;
        _candidates = keys is null || factory is null || !VectorIndexPlan.HasCodes(factory) ? 1
            : factory.Contains("PQ", StringComparison.Ordinal) ? CandidatesOfProducts
            : CandidatesOfBytes;
        _together = index.AnswersEachByItself ? Block : FaissIndex.EachByItself;
        string? sha256 = segment.Manifest.Find(VectorIndexFile.NameOf(segment))?.Sha256;

        // Where keys would change more than rounding, an index without them answers otherwise.
        object?[] alone = index.Engine == VectorEngine.Faiss && keys is null && !VectorIndexPlan.HoldsWhole(factory) ? ["without keys"] : [];
        Identity = [index.Engine, index.Metric, index.ListCount, index.ProbedLists, index.Parameters, sha256, .. alone];
    }

    /// <summary>Numbers in a key.</summary>
    public int Dimensions => _index.Dimensions;

    /// <summary>How keys are compared.</summary>
    public VectorMetric Metric => _index.Metric;

    /// <summary>Whether a query is compared with everything, so that nothing near is passed over.</summary>
    public bool ComparesAll => _index.ComparesAll;

    /// <summary>What its answers depend on beside the chunks and their keys.</summary>
    public object?[] Identity { get; }

    /// <summary>Opens the index of a segment with its keys, where they are there and it is none that compares with everything.</summary>
    /// <param name="segment">The database, or the segment.</param>
    /// <param name="index">The index; disposed with this.</param>
    /// <param name="keyer">The function that the keys have to be of.</param>
    /// <param name="verify">Whether keys are compared with their checksums when they are read.</param>
    /// <exception cref="DatabaseException">The keys are damaged, or the index is of others.</exception>
    public static DenseIndex Open(ChunkDatabase segment, VectorIndex index, IChunkKeyer keyer, bool verify)
    {
        ChunkKeys? keys = null;
        try
        {
            // Without them the index answers alone, and its identity says so where its own scores are rougher. Damaged ones are a fault: they are there, and
            // whoever asks counts on them.
            keys = index.ComparesAll ? null : ChunkKeys.TryOpen(segment, keyer.Identity, verify);
            return new DenseIndex(segment, index, keyer.Dimensions, KeyedChunks.Open(segment), keys, VectorIndexFile.FactoryOf(segment));
        }
        catch
        {
            keys?.Dispose();
            index.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _index.Dispose();
        _keys?.Dispose();
    }

    /// <summary>Finds the nearest chunks of some queries.</summary>
    /// <param name="vectors"><c>[n, D]</c>: their keys.</param>
    /// <param name="excluded">Of each, the chunks that must not come.</param>
    /// <param name="visible">Of each, the chunks that may come; null: all.</param>
    /// <param name="count">K, neighbors wanted for each.</param>
    /// <param name="chunks"><c>[n, K]</c>: chunk numbers of the segment, best first, ties by number; -1 where there are no more.</param>
    /// <param name="scores"><c>[n, K]</c>: NaN beside -1.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    public void Find(
        float[] vectors,
        ExcludedChunks[] excluded,
        ChunkSet?[] visible,
        int count,
        Span<long> chunks,
        Span<float> scores,
        CancellationToken cancellationToken)
    {
        using ChunkKeys.Held held = _keys is null ? default : _keys.Hold();
        int dimensions = _index.Dimensions;
        chunks.Fill(-1);
        scores.Fill(float.NaN);
        if (_index.ComparesAll)
        {
            FindAmongAll(vectors, excluded, visible, count, chunks, scores, cancellationToken);
            return;
        }

        bool inside = _index.SearchesAmong;
        long lists = _index.ListCount;

        // What a query gets does not depend on the others: each widens its search by itself, and those that look equally far are searched together.
        (long Width, long Probed, ChunkSet? Among)[] efforts = new (long, long, ChunkSet?)[excluded.Length];
        List<int> open = [], compared = [];
        for (int q = 0; q < excluded.Length; q++)
        {
            if (KeyedChunks.IsNone(vectors.AsSpan(q * dimensions, dimensions)))
            {
                continue;
            }

            if (_keys is not null && visible[q]?.Count <= FewEnough())
            {
                compared.Add(q);
            }
            else
            {
                ChunkSet? among = inside ? RowsOf(visible[q]) : null;
                if (TotalOf(among) == 0)
                {
                    continue;
                }

                // Most neighbors of a chunk stand in its own document, so some more than are wanted are asked for from the start.
                long more = Math.Min(excluded[q].Count, count + 16L) + (_keys is null ? 0 : 8);
                long width = WidthOf(_candidates, count, more);

                // What is nearest of a part of the chunks lies as many times farther off as there are more chunks than may be seen.
                long probed = among is null ? _index.ProbedLists : Math.Min(lists, (long)(_index.ProbedLists * ((double)_index.Count / among.Count)));
                efforts[q] = (Math.Min(TotalOf(among), width), probed, among);
                open.Add(q);
            }
        }

        while (open.Count > 0)
        {
            List<int> unmet = [];
            foreach (IGrouping<(long Width, long Probed, ChunkSet? Among), int> alike in open.GroupBy(q => efforts[q]))
            {
                (long width, long probed, ChunkSet? among) = alike.Key;
                long total = TotalOf(among);

                // Rows grow as a search widens; the number searched at once shrinks, so that the room stays about the same.
                foreach (int[] some in alike.Chunk((int)Math.Clamp((1 << 20) / width, 1, _together)))
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    (long[] ids, float[] distances) = Search(vectors, some, (int)width, lists > 0 ? probed : null, among);
                    for (int i = 0; i < some.Length; i++)
                    {
                        int q = some[i];
                        ReadOnlySpan<long> row = ids.AsSpan(i * (int)width, (int)width);
                        bool ended = row.Contains(-1L);
                        bool met = Take(
                            row,
                            distances.AsSpan(i * (int)width, (int)width),
                            vectors.AsSpan(q * dimensions, dimensions),
                            excluded[q],
                            visible[q],
                            chunks.Slice(q * count, count),
                            scores.Slice(q * count, count));
                        bool seen = !ended && width == (among?.Count ?? _index.Count);
                        bool isFar = lists == 0 && width >= (visible[q]?.Count ?? total) / MostOfGraph;
                        if (!met && !seen && _keys is not null && ((ended && probed >= lists) || isFar))
                        {
                            // A graph does not lead to every key, however far it is followed, and soon that is more work: all that may come are
                            // compared, unless the row names them all.
                            compared.Add(q);
                        }
                        else if (!met && (width < total || probed < lists))
                        {
                            unmet.Add(q);
                            efforts[q] = probed < lists && (ended || width == total)
                                ? (width, Math.Min(lists, 2 * probed), among)
                                : (Math.Min(total, 4 * width), probed, among);
                        }
                    }
                }
            }

            open = unmet;
        }

        if (compared.Count > 0)
        {
            (long[] nearest, float[] values) = (new long[compared.Count * count], new float[compared.Count * count]);
            ParallelLoop.For(compared.Count, Compare, _index.Threads, cancellationToken);
            for (int i = 0; i < compared.Count; i++)
            {
                nearest.AsSpan(i * count, count).CopyTo(chunks[(compared[i] * count)..]);
                values.AsSpan(i * count, count).CopyTo(scores[(compared[i] * count)..]);
            }

            void Compare(int i)
            {
                int q = compared[i];
                CompareAll(
                    _keys!,
                    vectors.AsSpan(q * dimensions, dimensions),
                    excluded[q],
                    visible[q],
                    nearest.AsSpan(i * count, count),
                    values.AsSpan(i * count, count));
            }
        }

        // As many as a query that may see everything is compared with: below, nothing is quicker than to compare what may be seen, and nothing finds more.
        long FewEnough()
            => Math.Max(FewSeen, lists > 0 ? (long)((double)_index.Count * _index.ProbedLists / lists) : 0);
    }

    /// <summary>How many rows are asked for first.</summary>
    /// <param name="candidates">Of each neighbor that is wanted.</param>
    /// <param name="count">K, neighbors wanted.</param>
    /// <param name="more">Rows beside.</param>
    public static long WidthOf(int candidates, int count, long more) => (long)BitOperations.RoundUpToPowerOf2((ulong)(((long)candidates * count) + more));

    /// <summary>Asks an index that compares with everything, once: it leaves out what each query excludes while it compares, and ties come by number.</summary>
    private void FindAmongAll(
        float[] vectors,
        ExcludedChunks[] excluded,
        ChunkSet?[] visible,
        int count,
        Span<long> chunks,
        Span<float> scores,
        CancellationToken cancellationToken)
    {
        IEnumerable<int> asked = Enumerable.Range(0, excluded.Length)
            .Where(q => !KeyedChunks.IsNone(vectors.AsSpan(q * _index.Dimensions, _index.Dimensions)));
        foreach (IGrouping<ChunkSet?, int> alike in asked.GroupBy(q => visible[q]))
        {
            ChunkSet? among = RowsOf(alike.Key);
            int width = (int)Math.Min(TotalOf(among), count);
            if (width == 0)
            {
                continue;
            }

            foreach (int[] some in alike.Chunk(Math.Clamp((1 << 20) / width, 1, Block)))
            {
                cancellationToken.ThrowIfCancellationRequested();
                (long[] ids, float[] distances) = Search(vectors, some, width, null, among, Array.ConvertAll(some, q => RowsOf(excluded[q])));
                for (int i = 0; i < ids.Length; i++)
                {
                    if (ids[i] >= 0)
                    {
                        int place = (some[i / width] * count) + (i % width);
                        chunks[place] = _keyed.ChunkOf(ids[i]);
                        scores[place] = _index.Metric == VectorMetric.SquaredL2 ? -distances[i] : distances[i];
                    }
                }
            }
        }
    }

    /// <summary>Asks the index for some of the queries.</summary>
    private (long[] Ids, float[] Distances) Search(
        float[] vectors, int[] some, int wide, long? probed, ChunkSet? among, ExcludedChunks[]? excluded = null)
    {
        int dimensions = _index.Dimensions;
        float[] asked = new float[some.Length * dimensions];
        for (int i = 0; i < some.Length; i++)
        {
            vectors.AsSpan(some[i] * dimensions, dimensions).CopyTo(asked.AsSpan(i * dimensions));
        }

        long[] ids = new long[some.Length * wide];
        float[] distances = new float[ids.Length];
        _index.Search(asked, wide, ids, distances, probed, among, excluded);
        return (ids, distances);
    }

    /// <summary>How many rows there may be in an answer: one of more could not be held.</summary>
    private long TotalOf(ChunkSet? among) => Math.Min(among?.Count ?? _index.Count, 1 << 28);

    /// <summary>The rows of the index that stand for some chunks; null: all.</summary>
    private ChunkSet? RowsOf(ChunkSet? chunks) => chunks is null ? null : _rows.GetValue(chunks, MakeRows);

    /// <summary>The rows that stand for chunks that must not come.</summary>
    private ExcludedChunks RowsOf(ExcludedChunks chunks) => _keyed.Missing == 0 ? chunks : new(Array.ConvertAll(chunks.Ranges, range =>
    {
        long first = _keyed.RowsBefore(range.First);
        return new ChunkRange(first, _keyed.RowsBefore(range.End) - first);
    }));

    private ChunkSet MakeRows(ChunkSet chunks)
        => _keyed.Missing == 0
            ? chunks
            : new(_index.Count, Rows(_index.Count).Where(row => chunks.Contains(_keyed.ChunkOf(row))).Select(row => (row, 1L)));

    private static IEnumerable<long> Rows(long count)
    {
        for (long row = 0; row < count; row++)
        {
            yield return row;
        }
    }

    /// <summary>
    /// Takes the best that may come, ties by number, and says whether there are enough. Where the keys are at hand they are scored anew, in one way
    /// whatever was asked beside them.
    /// </summary>
    private bool Take(
        ReadOnlySpan<long> rows,
        ReadOnlySpan<float> distances,
        ReadOnlySpan<float> query,
        ExcludedChunks excluded,
        ChunkSet? visible,
        Span<long> chunks,
        Span<float> scores)
    {
        Span<double> exact = chunks.Length <= 64 ? stackalloc double[chunks.Length] : new double[chunks.Length];
        Ranking best = new(chunks, exact);
        for (int i = 0; i < rows.Length; i++)
        {
            if (rows[i] < 0)
            {
                continue;
            }

            _index.Require(rows[i]);
            long chunk = _keyed.ChunkOf(rows[i]);
            double score = _index.Metric == VectorMetric.SquaredL2 ? -distances[i] : distances[i];
            if (excluded.Admits(chunk, visible))
            {
                best.Offer(chunk, _keys is null ? score : Score(_index.Metric, query, _keys.Row(chunk)));
            }
        }

        return best.Finish(scores) == chunks.Length;
    }

    /// <summary>Takes the best of all that may come, by their keys; those that may be seen are gone through, not all.</summary>
    private void CompareAll(
        ChunkKeys keys, ReadOnlySpan<float> query, ExcludedChunks excluded, ChunkSet? visible, Span<long> chunks, Span<float> scores)
    {
        Span<double> exact = chunks.Length <= 64 ? stackalloc double[chunks.Length] : new double[chunks.Length];
        Ranking best = new(chunks, exact);
        foreach (long chunk in visible?.Members() ?? Rows(_index.Count).Select(_keyed.ChunkOf))
        {
            if (excluded.Admits(chunk, visible: null) && keys.Row(chunk) is var key && !KeyedChunks.IsNone(key))
            {
                best.Offer(chunk, Score(_index.Metric, query, key));
            }
        }

        best.Finish(scores);
    }

    /// <summary>The score of a key, in double precision and in the order of its numbers.</summary>
    public static double Score(VectorMetric metric, ReadOnlySpan<float> query, ReadOnlySpan<float> key)
    {
        double sum = 0;
        if (metric == VectorMetric.InnerProduct)
        {
            for (int j = 0; j < query.Length; j++)
            {
                sum += (double)query[j] * key[j];
            }

            return sum;
        }

        for (int j = 0; j < query.Length; j++)
        {
            double difference = (double)query[j] - key[j];
            sum -= difference * difference;
        }

        return sum;
    }
}

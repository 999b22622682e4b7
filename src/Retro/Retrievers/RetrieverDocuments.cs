using Retro.Embedders;
using Retro.Modeling;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Vectors;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Retrievers;

/// <summary>
/// The document side of a retriever: keys that are searched, and vectors that scores are made of. Frozen, both are the database's keys. With a tower, vectors
/// are the tower's as it is now, and the keys are those that it made when they were last made.
/// </summary>
internal sealed class RetrieverDocuments : IDisposable
{
    private const int Block = 4096;

    private readonly DenseNeighborSource _first;
    private readonly RetroTokenizer _tokenizer;
    private readonly ChunkKeys _keys;
    private readonly float[] _nullKey;
    private DenseNeighborSource? _made;
    private float[]? _madeKeys;

    private RetrieverDocuments(DenseNeighborSource first, RetroTokenizer tokenizer, ChunkKeys keys, float[] nullKey, RetrieverTower? tower)
        => (_first, _tokenizer, _keys, _nullKey, Tower) = (first, tokenizer, keys, nullKey, tower);

    /// <summary>Makes sure that a source's keys were made with an embedder and a tokenizer, and that a tower to start from makes others as long.</summary>
    /// <returns>Whether they were then divided by their lengths, so that the towers' vectors have to be.</returns>
    /// <exception cref="ArgumentException">It is not so.</exception>
    public static bool RequireEmbedder(DenseNeighborSource source, TextEmbedder embedder, RetroTokenizer tokenizer, TextEmbedder? start)
    {
        bool normalizes = new ChunkKeyer(tokenizer, embedder, normalize: true).Identity == source.KeyIdentity;
        if (new ChunkKeyer(tokenizer, embedder).Identity is var given && given != source.KeyIdentity && !normalizes)
        {
            throw new ArgumentException(
                $"The source's keys were made with the embedder and tokenizer {source.KeyIdentity}, and those given are {given}: a query tower starts as a "
                    + $"copy of the embedder that made the keys, or of one that was trained before, which is given beside that embedder ({nameof(start)}).",
                nameof(embedder));
        }

        if (start is not null && start.Dimensions != embedder.Dimensions)
        {
            throw new ArgumentException(
                $"The source has keys of {embedder.Dimensions} numbers, and the tower to start from makes {start.Dimensions}: take one that was trained for "
                    + "them.",
                nameof(start));
        }

        return normalizes;
    }

    /// <summary>Opens the document side.</summary>
    /// <param name="first">The source that is searched until keys are made anew.</param>
    /// <param name="embedder">The embedder of its keys.</param>
    /// <param name="tokenizer">The tokenizer of its database.</param>
    /// <param name="trained">Whether there is a tower; else documents are frozen.</param>
    /// <param name="normalizes">Whether keys are the embedder's vectors divided by their lengths, as <see cref="RequireEmbedder"/> says.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <exception cref="DatabaseException">The database has no keys, those of another function, or too many to make anew.</exception>
    public static RetrieverDocuments Open(
        DenseNeighborSource first, TextEmbedder embedder, RetroTokenizer tokenizer, bool trained, bool normalizes, CancellationToken cancellationToken)
    {
        float[] nullKey = new float[embedder.Dimensions];
        embedder.Embed([""], nullKey, cancellationToken);
        if (normalizes)
        {
            ChunkKeyer.Normalize(nullKey);
        }

        ChunkKeys keys = ChunkKeys.Open(first.Database);
        string? fault = keys.Identity != first.KeyIdentity
            ? $"The keys in {first.Database.Folder} were made with {keys.Identity}, and the source is of {first.KeyIdentity}: build it again."
            : trained && keys.Count > Array.MaxLength / keys.Dimensions
            ? $"Keys that are made anew while documents are trained lie in memory, and {keys.Count} of {keys.Dimensions} numbers are too many for it: leave "
                + $"{nameof(RetrieverTrainingOptions.RefreshEvery)} out, which freezes documents."
            : null;
        if (fault is null)
        {
            return new(first, tokenizer, keys, nullKey, trained ? new(embedder, tokenizer, normalizes) : null);
        }

        keys.Dispose();
        throw new DatabaseException(fault);
    }

    /// <summary>The tower; null where documents are frozen.</summary>
    public RetrieverTower? Tower { get; }

    /// <summary>What is searched.</summary>
    public DenseNeighborSource Source => _made ?? _first;

    /// <summary>The step after which the keys were made.</summary>
    public long MadeAt { get; private set; }

    /// <summary>The tower's weights by which the keys were made; null before they were made anew.</summary>
    public TextEncoder? MadeBy { get; private set; }

    /// <summary>Whether a chunk has a key, and can be found.</summary>
    public bool HasKey(long chunk) => !KeyedChunks.IsNone(Key(chunk));

    /// <summary>The vectors of chunks, [n, D]; and how far they have moved from the keys in the mean.</summary>
    public (Tensor Vectors, double Staleness) Vectors(IReadOnlyList<long> chunks, Device device)
    {
        int dimensions = _keys.Dimensions;
        float[] keys = new float[chunks.Count * dimensions];
        for (int i = 0; i < chunks.Count; i++)
        {
            Key(chunks[i]).CopyTo(keys.AsSpan(i * dimensions));
        }

        Tensor stored = tensor(keys, [chunks.Count, dimensions], device: device);
        if (Tower is null || chunks.Count == 0)
        {
            return (stored, 0);
        }

        Tensor vectors = Tower.Vectors([.. chunks.Select(chunk => Tower.Read(_first.Database, chunk))]); // [n, D]
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        return (vectors, 1 - nn.functional.cosine_similarity(vectors, stored, dim: 1).mean().Value());
    }

    /// <summary>The vector of an empty text, REALM's null document, [1, D]: as of any other document, the tower's where there is one.</summary>
    public Tensor NullVector(Device device)
        => Tower is null ? tensor(_nullKey, [1, _nullKey.Length], device: device) : Tower.Vectors([Tower.Read("")]);

    /// <summary>How well vectors fit chunks' vectors, in the measure that is searched by.</summary>
    /// <inheritdoc cref="Scores(VectorMetric, Tensor, Tensor)"/>
    public Tensor Scores(Tensor queries, Tensor vectors) => Scores(_first.Metric, queries, vectors);

    /// <summary>How well vectors fit some chunks' vectors, each row those of its own alone, in the measure that is searched by.</summary>
    /// <inheritdoc cref="Scores(VectorMetric, Tensor, Tensor, Tensor)"/>
    public Tensor Scores(Tensor queries, Tensor vectors, Tensor own) => Scores(_first.Metric, queries, vectors, own);

    /// <summary>How well vectors fit others: their inner product, or minus half the squared distance.</summary>
    /// <param name="metric">Which of the two.</param>
    /// <param name="queries">[B, D].</param>
    /// <param name="vectors">[n, D].</param>
    /// <returns>[B, n].</returns>
    internal static Tensor Scores(VectorMetric metric, Tensor queries, Tensor vectors)
    {
        using DisposeScope scope = NewDisposeScope();
        if (metric == VectorMetric.InnerProduct)
        {
            return queries.matmul(vectors.transpose(0, 1)).MoveToOuterDisposeScope();
        }

        // Of a product and both lengths, which takes no [B, n, D]: in double, since what is near is the small difference of large numbers.
        Tensor asked = queries.to_type(ScalarType.Float64), found = vectors.to_type(ScalarType.Float64);
        Tensor apart = (asked * asked).sum(1, keepdim: true).Plus((found * found).sum(1)) - asked.matmul(found.transpose(0, 1)).Times(2); // [B, n]
        return apart.Times(-0.5).to_type(queries.dtype).MoveToOuterDisposeScope();
    }

    /// <summary>How well vectors fit some of others: their inner product, or minus half the squared distance.</summary>
    /// <param name="metric">Which of the two.</param>
    /// <param name="queries">[B, D].</param>
    /// <param name="vectors">[n, D].</param>
    /// <param name="own">Rows of the vectors that belong to each query, int64 [B, K].</param>
    /// <returns>[B, K].</returns>
    internal static Tensor Scores(VectorMetric metric, Tensor queries, Tensor vectors, Tensor own)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor some = vectors.index_select(0, own.reshape(-1)).view(own.shape[0], own.shape[1], -1); // [B, K, D]
        if (metric == VectorMetric.InnerProduct)
        {
            return some.matmul(queries.unsqueeze(2)).squeeze(2).MoveToOuterDisposeScope();
        }

        Tensor apart = queries.unsqueeze(1) - some; // [B, K, D]
        return (apart * apart).sum(2).Times(-0.5).MoveToOuterDisposeScope();
    }

    /// <summary>Makes the keys anew, with the tower as it is.</summary>
    /// <param name="step">Steps done.</param>
    /// <param name="progress">Receives the number of chunks done.</param>
    /// <param name="cancellationToken">Stops it; the keys are then as they were.</param>
    public void Refresh(long step, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        if (Tower is not null)
        {
            Make(Tower.Encoder.Clone(), step, progress, cancellationToken);
        }
    }

    /// <summary>Makes the keys by weights of the tower as it was after a step.</summary>
    /// <param name="by">The weights, which are taken over.</param>
    /// <param name="step">The step.</param>
    /// <param name="progress">Receives the number of chunks done.</param>
    /// <param name="cancellationToken">Stops it.</param>
    public void Make(TextEncoder by, long step, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        VectorIndex? index = null;
        try
        {
            TextEmbedder embedder = Tower!.As(by);
            ChunkKeyer keyer = new(_tokenizer, embedder);
            long count = _first.Database.ChunkCount;
            float[] keys = new float[count * keyer.Dimensions];
            for (long first = 0; first < count; first += Block)
            {
                cancellationToken.ThrowIfCancellationRequested();
                progress?.Report(new StageProgress("embed chunks", first, count));
                ReadOnlyMemory<int>[] chunks = new ReadOnlyMemory<int>[(int)Math.Min(Block, count - first)];
                for (int i = 0; i < chunks.Length; i++)
                {
                    chunks[i] = _first.Database.Tokens(first + i)[.._first.Database.TokenCount(first + i)].ToArray();
                }

                keyer.Keys(chunks, keys.AsSpan((int)(first * keyer.Dimensions), chunks.Length * keyer.Dimensions), cancellationToken);
            }

            index = VectorIndex.Create(keyer.Dimensions, metric: _first.Metric);
            List<long> without = [];
            for (long chunk = 0, from = 0; chunk <= count; chunk++)
            {
                // Keys are added up to the next chunk that has none.
                if (chunk == count || KeyedChunks.IsNone(keys.AsSpan((int)(chunk * keyer.Dimensions), keyer.Dimensions)))
                {
                    index.Add(keys.AsSpan((int)(from * keyer.Dimensions), (int)((chunk - from) * keyer.Dimensions)));
                    from = chunk + 1;
                    if (chunk < count)
                    {
                        without.Add(chunk);
                    }
                }
            }

            DenseNeighborSource made = new(_first.Database, index, keyer, KeyedChunks.Without(without), ownsIndex: true);
            progress?.Report(new StageProgress("embed chunks", count, count));
            DropMade();
            (_made, _madeKeys, MadeBy, MadeAt) = (made, keys, by, step);
        }
        catch
        {
            index?.Dispose();
            by.Dispose();
            throw;
        }
    }

    /// <summary>Goes back to the keys that there were before any were made anew.</summary>
    public void Reset()
    {
        DropMade();
        MadeAt = 0;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        DropMade();
        _keys.Dispose();
        Tower?.Dispose();
    }

    private void DropMade()
    {
        _made?.Dispose();
        MadeBy?.Dispose();
        (_made, _madeKeys, MadeBy) = (null, null, null);
    }

    private ReadOnlySpan<float> Key(long chunk)
        => _madeKeys is null ? _keys.Row(chunk) : _madeKeys.AsSpan((int)(chunk * _keys.Dimensions), _keys.Dimensions);
}

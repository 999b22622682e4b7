using Retro.Corpora;
using Retro.Database;
using Retro.Modeling;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tests.Vectors;
using Retro.Training;
using Retro.Vectors;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>
/// What only retrieval can know is learned where neighbors are not handed over, but found by an index, kept in a table and filtered by the sampler.
/// </summary>
public sealed class RetrievalLearningTests(ITestOutputHelper output) : IDisposable
{
    private const int M = 16, Letters = 64, EndOfText = Letters, ChunksOfADocument = 6;

    private static readonly RetroConfig s_config = new()
    {
        VocabularySize = Letters + 1,
        Width = 64,
        Layers = 3,
        Heads = 4,
        HeadSize = 16,
        FeedForwardSize = 128,
        TieEmbeddings = true,
        Retrieval = new()
        {
            ChunkLength = M,
            RetrievedLength = 2 * M,
            Neighbors = 1,
            CrossAttentionLayers = [2, 3],
            Encoder = new() { Width = 64, Layers = 1, Heads = 4, HeadSize = 16, FeedForwardSize = 128, ShareEmbedding = true },
        },
    };

    private static readonly double s_entropy = Math.Log(Letters);
    private static readonly TokenizerFacts s_letters = new(
        "letters", new string('c', 64), Letters + 1, EndOfText, text => [.. text.Select(letter => letter - '0')]);

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [Trait("Category", "Long")]
    [InlineData("bm25")]
    [InlineData("dense")]
    public void P32_neighbors_that_an_index_finds_bring_the_loss_down_and_random_ones_do_not(string kind)
    {
        using ChunkDatabase training = Build("training", 150, seed: 1), fresh = Build("fresh", 20, seed: 2);
        using NeighborTable table = Table(training, kind), freshTable = Table(fresh, kind), freshRandom = Table(fresh, "random");
        manual_seed(1);
        using RetroModel model = new(s_config);
        using (Trainer trainer = new(model, TrainingOptions.SmallModel with { Steps = 250, WarmupSteps = 10 }))
        {
            trainer.Run(Windows(training, table, rows: 4, dropout: 0.1));
        }

        double on = Loss(
            model,
            fresh,
            freshTable,
            retrieval: true), off = Loss(model, fresh, freshTable, retrieval: false), wrong = Loss(model, fresh, freshRandom, retrieval: true);
        output.WriteLine($"entropy {s_entropy:F3}, {kind} {on:F3}, off {off:F3}, random {wrong:F3}");
        Assert.InRange(on, 0, 0.5);
        Assert.InRange(off, s_entropy - 0.15, s_entropy + 1);
        Assert.True(wrong > s_entropy - 0.15);
    }

    /// <summary>
    /// Pairs of documents: random letters, the same in both but for the last ones, so that one is not a copy of the other and each is where the other's text
    /// can be read.
    /// </summary>
    private ChunkDatabase Build(string name, int pairs, int seed)
    {
        Random random = new(seed);
        string Text(int length) => string.Concat(Enumerable.Range(0, length).Select(_ => (char)('0' + random.Next(Letters))));
        // With a token at either end a document fills its chunks. The two of a pair stand apart: in one window they would be nobody's neighbors.
        string[] same = [.. Enumerable.Range(0, pairs).Select(_ => Text((ChunksOfADocument * M) - 7))];
        Document[] documents = [.. new[] { "a", "b" }.SelectMany(which => same.Select((text, pair) =>
            TestDatabases.Document($"{pair} {which}", text + Text(5))))];

        return ChunkDatabaseBuilder.Build(Path.Combine(_folder.Path, name), documents, s_letters, new ChunkDatabaseOptions { ChunkLength = M });
    }

    private NeighborTable Table(ChunkDatabase database, string kind)
    {
        string path = Path.Combine(_folder.Path, $"{Path.GetFileName(database.Folder)} {kind}");
        switch (kind)
        {
            case "random":
                return NeighborTable.Build(path, database, new RandomNeighborSource(database, 5), 4, excludeOwnDocument: true);
            case "bm25":
                using (Bm25Index keywords = Bm25Index.Build(database.ChunkCount, chunk => KeywordNeighborSource.TermsOf(database, chunk)))
                {
                    return NeighborTable.Build(path, database, new KeywordNeighborSource(database, keywords), 4, excludeOwnDocument: true);
                }

            default:
                const int Dimensions = 64;
                float[] vectors = TestVectors.Random(Letters + 1, Dimensions, seed: 9);
                void Keys(IReadOnlyList<ReadOnlyMemory<int>> chunks, Span<float> keys, CancellationToken cancellationToken)
                {
                    keys.Clear();
                    for (int i = 0; i < chunks.Count * Dimensions; i++)
                    {
                        foreach (int token in chunks[i / Dimensions].Span)
                        {
                            keys[i] += vectors[(token * Dimensions) + (i % Dimensions)];
                        }
                    }
                }

                using (VectorIndex index = VectorIndex.Create(Dimensions))
                {
                    float[] all = new float[database.ChunkCount * Dimensions];
                    Keys(
                        [.. Enumerable.Range(0, (int)database.ChunkCount)
                            .Select(chunk => (ReadOnlyMemory<int>)database.Tokens(chunk)[..database.TokenCount(chunk)].ToArray())],
                        all,
                        default);
                    index.Add(all);
                    return NeighborTable.Build(
                        path,
                        database,
                        new DenseNeighborSource(database, index, new Search.TestKeyer(Keys, Dimensions, "sum of random vectors")),
                        4,
                        excludeOwnDocument: true);
                }
        }
    }

    private static WindowSampler Windows(ChunkDatabase database, NeighborTable table, int rows, double dropout)
        => new(
            database,
            new() { WindowLength = ChunksOfADocument * M, BatchSize = rows, Neighbors = 1, RetrievedLength = 2 * M, RetrievalDropout = dropout, Seed = 3 },
            table);

    /// <summary>
    /// The mean loss over tokens of chunks before which a neighbor was read, but for a document's last chunk, whose end is in no other document.
    /// </summary>
    private static double Loss(RetroModel model, ChunkDatabase database, NeighborTable table, bool retrieval)
    {
        model.eval();
        WindowSampler windows = Windows(database, table, rows: 8, dropout: 0);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable inference = inference_mode();
        double sum = 0;
        for (int index = 0; index < 4; index++)
        {
            TokenBatch batch = windows.Batch(index, 1);
            for (int row = 0; row < batch.Rows; row++)
            {
                for (int chunk = 0; chunk < ChunksOfADocument; chunk++)
                {
                    bool read = chunk > 0 && batch.Retrieved!.Valid[batch.Retrieved.Offset(row, chunk - 1, 0)];
                    bool last = batch.Tokens[(row * batch.Length) + ((chunk + 1) * M) - 1] == EndOfText;
                    if (!read || last)
                    {
                        Array.Clear(batch.LossMask, (row * batch.Length) + (chunk * M), M);
                    }
                }
            }

            Assert.True(batch.LossMask.Count(counts => counts) > batch.LossMask.Length / 4);
            TrainingBatch tensors = batch.ToTensors();
            Tensor logits = model.call(tensors.Tokens, retrieval ? tensors.Neighbors : null, retrieval ? tensors.Valid : null);
            sum += LogLikelihood.MeanLoss(logits, LogLikelihood.Targets(tensors.Tokens, tensors.LossMask)).item<float>() / 4;
        }

        return sum;
    }
}

using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Search;
using Retro.Tests.Database;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Evaluation;

public sealed class BitsPerByteTests : IDisposable
{
    private const int M = 4;

    private static readonly RetroConfig _config = new()
    {
        VocabularySize = 257,
        Width = 8,
        Layers = 2,
        Heads = 2,
        HeadSize = 4,
        FeedForwardSize = 16,
        InitialOutputScale = 1,
        Retrieval = new()
        {
            ChunkLength = M,
            RetrievedLength = 2 * M,
            Neighbors = 2,
            CrossAttentionLayers = [1, 2],
            Encoder = new() { Width = 8, Layers = 1, Heads = 2, HeadSize = 4, FeedForwardSize = 16 },
        },
    };

    private readonly TestDatabases _databases = new();
    private readonly TemporaryFolder _folder = new();

    public void Dispose()
    {
        _databases.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(16, null, 3, false)]
    [InlineData(16, null, 1, true)]
    [InlineData(16, 8, 5, true)]
    [InlineData(12, 4, 4, false)]
    [InlineData(8, 4, 64, true)]
    public void Bits_equal_those_of_one_token_at_a_time(int length, int? stride, int rows, bool retrieve)
    {
        using ChunkDatabase heldOut = HeldOut(8);
        using ChunkDatabase retrieval = _databases.Build(TestDatabases.Documents(20, seed: 2), M, "retrieval");
        using NeighborTable? table = retrieve ? Table(heldOut, retrieval) : null;
        manual_seed(1);
        using RetroModel model = new(_config, ScalarType.Float64);
        BitsPerByteResult result = BitsPerByte.Measure(model, heldOut, table, retrieval, new() { Tokens = length, Stride = stride, Rows = rows });

        double[] chunkBits = new double[heldOut.ChunkCount];
        long tokens = 0;
        foreach (DocumentEntry document in heldOut.Documents)
        {
            int[] text = Text(heldOut, document);
            for (int target = 1; target < text.Length; target++, tokens++)
            {
                // The first window that reaches the target: it begins a multiple of the stride into the document.
                int start = 0;
                while (start + length < target)
                {
                    start += stride ?? length;
                }

                chunkBits[document.FirstChunk + target / M] += Bits(model, text[start..target], text[target], document.FirstChunk + start / M, table, retrieval);
            }
        }

        Assert.Equal(tokens, result.Tokens);
        Assert.Equal(heldOut.Documents.Sum(document => (long)document.TokenCount - 1), result.Tokens);
        Assert.Equal(heldOut.Documents.Sum(document => document.ByteCount), result.Bytes);
        Assert.Equal(heldOut.Documents.Count, result.Documents);
        Assert.Equal(chunkBits, result.ChunkBits, (one, other) => Math.Abs(one - other) < 1e-9);
        Assert.Equal(chunkBits.Sum(), result.Bits, 8);
        Assert.Equal(result.Bits / result.Bytes, result.Value);
        Assert.Equal(retrieve ? "given" : "off", result.SourceName);
    }

    [Fact]
    public void Retrieval_changes_what_is_measured_but_nothing_in_a_documents_first_chunk()
    {
        using ChunkDatabase heldOut = HeldOut(8);
        using ChunkDatabase retrieval = _databases.Build(TestDatabases.Documents(20, seed: 2), M, "retrieval");
        using NeighborTable table = Table(heldOut, retrieval);
        manual_seed(1);
        using RetroModel model = new(_config, ScalarType.Float64);
        BitsPerByteResult on = BitsPerByte.Measure(model, heldOut, table, retrieval, new() { Tokens = 16 });
        BitsPerByteResult off = BitsPerByte.Measure(model, heldOut, options: new() { Tokens = 16 });
        Assert.NotEqual(on.Bits, off.Bits, 3);
        Assert.All(heldOut.Documents, document => Assert.Equal(on.ChunkBits[(int)document.FirstChunk], off.ChunkBits[(int)document.FirstChunk], 9));
    }

    [Fact]
    public void A_held_out_document_that_is_in_the_database_is_refused_by_name()
    {
        List<Document> known = TestDatabases.Documents(10, seed: 2);
        using ChunkDatabase retrieval = _databases.Build(known, M, "retrieval");
        Document copied = known.First(document => document.Text.Length > 10);
        using ChunkDatabase heldOut = _databases.Build([TestDatabases.Document("new", "some other text"), TestDatabases.Document("copy", copied.Text)], M, "held-out");
        using RetroModel model = new(_config);
        DatabaseException exception = Assert.Throws<DatabaseException>(() => BitsPerByte.Measure(model, heldOut, null, retrieval, new() { Tokens = 16 }));
        using ChunkDatabase edited = _databases.Build([known[4] with { Text = known[4].Text + " and more" }], M, "edited");
        Assert.Contains($"\"{known[4].Id}\"", Assert.Throws<DatabaseException>(() => BitsPerByte.Measure(model, edited, null, retrieval, new() { Tokens = 16 })).Message, StringComparison.Ordinal);
        Assert.Contains("1 of 2", exception.Message, StringComparison.Ordinal);
        Assert.Contains("\"copy\"", exception.Message, StringComparison.Ordinal);
        Assert.Contains($"\"{copied.Id}\"", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Faulty_options_and_a_table_alone_or_of_another_database_are_refused()
    {
        using ChunkDatabase heldOut = HeldOut(4);
        using ChunkDatabase retrieval = _databases.Build(TestDatabases.Documents(20, seed: 2), M, "retrieval");
        using ChunkDatabase longer = _databases.Build(TestDatabases.Documents(4, seed: 3), 2 * M, "longer");
        using NeighborTable table = Table(heldOut, retrieval), foreign = Table(retrieval, heldOut);
        using RetroModel model = new(_config);
        ArgumentException faults = Assert.Throws<ArgumentException>(() => BitsPerByte.Measure(model, heldOut, options: new() { Tokens = 6, Stride = 3, Rows = 0, Neighbors = 0 }));
        Assert.All(["Tokens is 6", "Stride is 3", "Rows is 0", "Neighbors is 0"], part => Assert.Contains(part, faults.Message, StringComparison.Ordinal));
        Assert.Throws<ArgumentException>(() => BitsPerByte.Measure(model, heldOut, table));
        Assert.Throws<DatabaseException>(() => BitsPerByte.Measure(model, heldOut, foreign, retrieval, new() { Tokens = 16 }));
        Assert.Contains("the table holds", Assert.Throws<ArgumentException>(() => BitsPerByte.Measure(model, heldOut, table, retrieval, new() { Tokens = 16, Neighbors = table.Count + 1 })).Message, StringComparison.Ordinal);
        Assert.Throws<DatabaseException>(() => BitsPerByte.Measure(model, longer));
    }

    [Fact]
    public void Cancelling_ends_the_measurement()
    {
        using ChunkDatabase heldOut = HeldOut(8);
        using RetroModel model = new(_config);
        using CancellationTokenSource cancel = new();
        Assert.Throws<OperationCanceledException>(() => BitsPerByte.Measure(
            model, heldOut, options: new() { Tokens = 8, Rows = 1 }, progress: new Reports<StageProgress>(_ => cancel.Cancel()), cancellationToken: cancel.Token));
    }

    private ChunkDatabase HeldOut(int count) => _databases.Build(TestDatabases.Documents(count, seed: 1).Select(document => document with { Id = $"held-out {document.Id}" }), M, "held-out");

    private NeighborTable Table(ChunkDatabase queries, ChunkDatabase retrieval)
    {
        int number = 0;
        // Some chunks have one neighbor, some none, some more than are read.
        GivenNeighborSource source = new(retrieval, _ => [.. Enumerable.Range(0, number++ % 4).Select(i => (long)((number * 7 + i * 5) % retrieval.ChunkCount))]);
        return NeighborTable.Build(Path.Combine(_folder.Path, Guid.NewGuid().ToString("N")), queries, source, 3, excludeOwnDocument: false);
    }

    private static int[] Text(ChunkDatabase database, DocumentEntry document)
        => [.. Enumerable.Range(0, document.ChunkCount).SelectMany(i => database.Tokens(document.FirstChunk + i)[..database.TokenCount(document.FirstChunk + i)].ToArray())];

    private static double Bits(RetroModel model, int[] context, int target, long firstChunk, NeighborTable? table, ChunkDatabase retrieval)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable gradients = no_grad();
        Tensor? neighbors = null, valid = null;
        int chunks = context.Length / M;
        if (table is not null && chunks > 0)
        {
            long[] tokens = new long[chunks * 2 * 2 * M];
            bool[] exists = new bool[tokens.Length];
            for (int chunk = 0; chunk < chunks; chunk++)
            {
                for (int k = 0; k < 2; k++)
                {
                    int start = (chunk * 2 + k) * 2 * M;
                    retrieval.CopyRetrieved(table.Row(firstChunk + chunk)[k], tokens.AsSpan(start, 2 * M), exists.AsSpan(start, 2 * M));
                }
            }

            neighbors = tensor(tokens, [1, chunks, 2, 2 * M]);
            valid = tensor(exists, [1, chunks, 2, 2 * M]);
        }

        Tensor logits = model.call(tensor(context.Select(token => (long)token).ToArray(), [1, context.Length]), neighbors, valid);
        double[] scores = logits[0, context.Length - 1].contiguous().data<double>().ToArray();
        return (Math.Log(scores.Sum(Math.Exp)) - scores[target]) / Math.Log(2);
    }
}

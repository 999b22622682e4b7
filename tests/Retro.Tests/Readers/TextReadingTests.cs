using Retro.Database;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Database;
using static TorchSharp.torch;

namespace Retro.Tests.Readers;

public sealed class TextReadingTests : IDisposable
{
    private const int M = 4;

    private readonly TestDatabases _databases = new();
    private readonly ChunkDatabase _database;

    public TextReadingTests() => _database = _databases.Build(TestDatabases.Documents(6, seed: 2), M);

    /// <inheritdoc/>
    public void Dispose()
    {
        _database.Dispose();
        _databases.Dispose();
    }

    [Fact]
    public void A_tokens_bits_are_those_of_its_probability_behind_the_tokens_before_it()
    {
        ToyReader reader = new(7);
        int[] tokens = [3, 1, 4, 1, 5, 2];
        double[] bits = TextReading.Bits(reader, tokens, 2, null, M);
        Assert.Equal([double.NaN, double.NaN], bits[..2]);
        long[] context = [.. tokens.Select(token => (long)token)];
        Assert.All(Enumerable.Range(2, 4), i => Assert.Equal(-Math.Log2(reader.Probability(context.AsSpan(0, i), tokens[i])), bits[i], 1e-12));
        Assert.Throws<ArgumentOutOfRangeException>(() => TextReading.Bits(reader, tokens, 0, null, M));
        Assert.Throws<ArgumentOutOfRangeException>(() => TextReading.Bits(reader, tokens, tokens.Length, null, M));
    }

    /// <summary>A text that stands in a database is asked for as its document is when it is measured.</summary>
    [Fact]
    public void For_a_text_the_same_is_retrieved_as_for_a_document()
    {
        AskingReader reader = new();
        RandomNeighborSource source = new(_database, 1);
        DocumentEntry document = _database.Documents.MaxBy(one => one.TokenCount)!;
        int[] tokens = _database.TokensOf(document);
        Assert.True(tokens.Length > 3 * M);
        RetrievedTokens found = TextReading.Retrieve(reader, source, tokens, TestContext.Current.CancellationToken)!;
        RetrievedTokens expected = StrideRetrieval.Of(
            _database,
            [(document.FirstChunk, tokens.Length - 1, 1)],
            ReadingPlan.Of(reader, M, _database),
            source,
            cancellationToken: TestContext.Current.CancellationToken)!;
        Assert.Equal(expected.Chunks, found.Chunks);
        Assert.Equal(expected.Tokens, found.Tokens);
        Assert.Equal(expected.Valid, found.Valid);
        Assert.Contains(true, found.Valid);
        Assert.Equal(tokens[(2 * M - 3)..(2 * M)], TextReading.Query(reader, source, tokens, 2));
        Assert.Null(TextReading.Retrieve(reader, source, tokens[..M], TestContext.Current.CancellationToken)); // its last token is read by nothing
    }

    [Fact]
    public void What_cannot_be_retrieved_is_refused()
    {
        RandomNeighborSource source = new(_database, 1);
        int[] tokens = new int[2 * M];
        Assert.Throws<ArgumentException>(() => TextReading.Retrieve(new ToyReader(7), source, tokens, TestContext.Current.CancellationToken));
        Assert.Throws<ArgumentException>(() => TextReading.Retrieve(new AskingReader(), new NoNeighborSource(), tokens, TestContext.Current.CancellationToken));
        Assert.Throws<ArgumentOutOfRangeException>(() => TextReading.Query(new AskingReader(), source, tokens, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => TextReading.Query(new AskingReader(), source, tokens, 3));
    }

    private sealed class AskingReader : IReader
    {
        public string Name => "asking";

        public int Neighbors => 2;

        public int? ChunkLength => M;

        public int? RetrievedLength => 2 * M;

        public int? QueryLength => 3;

        public Device Device => CPU;

        public long RowBytes(int length) => length;

        public double[] LogLikelihoods(ReadingBatch batch) => new double[batch.Targets.Length];
    }
}

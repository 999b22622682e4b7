using Retro.Corpora;
using Retro.Database;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Database;

namespace Retro.Tests.Readers;

/// <summary>What readers are trained on.</summary>
public sealed class ReadingWindowsTests : IDisposable
{
    private const int M = 8, K = 2, Rows = 20;
    private const long Seed = 7;

    private readonly TestDatabases _databases = new();

    public void Dispose() => _databases.Dispose();

    /// <summary>Random chunks are drawn by the seed, and come from the text's own document or a copy of it as little as neighbors do.</summary>
    [Fact]
    public void With_a_random_share_of_1_all_that_is_read_is_random_and_none_of_it_the_texts_own()
    {
        using ChunkDatabase database = Twice();
        int[][] texts = [.. database.Documents.Select(document => TestDatabases.Text(database, document))];
        ReadingWindows windows = Windows(database, sourceSeed: 1, share: 1), expected = Windows(database, Seed, share: 0);
        int read = 0;
        for (int step = 0; step < 10; step++)
        {
            (ReadingBatch batch, IReadOnlyList<int> documents) = windows.Batch(step, TestContext.Current.CancellationToken);
            (ReadingBatch other, _) = expected.Batch(step, TestContext.Current.CancellationToken);
            Assert.Equal(other.Tokens, batch.Tokens);
            RetrievedTokens retrieved = batch.Retrieved!;
            Assert.Equal(other.Retrieved!.Tokens, retrieved.Tokens);
            Assert.Equal(other.Retrieved.Valid, retrieved.Valid);
            for (int row = 0; row < Rows; row++)
            {
                // A text is random, so that no other holds the same few tokens.
                int[][] own = [.. texts.Where(text => text.AsSpan().SequenceEqual(texts[documents[row]]))];
                for (int place = 0; place < retrieved.Chunks * K; place++)
                {
                    int[] passage = [.. retrieved.Passage(row, place / K, place % K).Select(token => (int)token)];
                    Assert.All(own, text => Assert.True(passage.Length == 0 || text.AsSpan().IndexOf(passage) < 0));
                    read += passage.Length > 0 ? 1 : 0;
                }
            }
        }

        Assert.InRange(read, 10 * Rows, int.MaxValue);
    }

    [Theory]
    [InlineData(0.125)]
    [InlineData(0.75)]
    public void The_random_share_is_that_of_the_stretches_and_the_others_keep_what_was_found(double share)
    {
        using ChunkDatabase database = Twice();
        ReadingWindows windows = Windows(database, 1, share), found = Windows(database, 1, share: 0), random = Windows(database, Seed, share: 0);
        int stretches = 0, drawn = 0;
        for (int step = 0; step < 40; step++)
        {
            RetrievedTokens mixed = Retrieved(windows, step), own = Retrieved(found, step), chance = Retrieved(random, step);
            for (int row = 0; row < Rows; row++)
            {
                for (int stretch = 0; stretch < own.Chunks; stretch++)
                {
                    long[] expected = Read(own, row, stretch), other = Read(chance, row, stretch), came = Read(mixed, row, stretch);
                    if (!expected.SequenceEqual(other)) // as where the window has ended
                    {
                        bool isRandom = came.SequenceEqual(other);
                        Assert.True(isRandom || came.SequenceEqual(expected));
                        (stretches, drawn) = (stretches + 1, drawn + (isRandom ? 1 : 0));
                    }
                }
            }
        }

        // Four standard deviations.
        Assert.InRange(stretches, 2000, int.MaxValue);
        Assert.Equal(share, (double)drawn / stretches, 4 * Math.Sqrt(share * (1 - share) / stretches));

        static RetrievedTokens Retrieved(ReadingWindows of, int step) => of.Batch(step, TestContext.Current.CancellationToken).Batch.Retrieved!;

        static long[] Read(RetrievedTokens from, int row, int stretch)
            => [.. Enumerable.Range(0, K).SelectMany(neighbor => from.Passage(row, stretch, neighbor))];
    }

    [Fact]
    public void A_document_is_read_as_often_as_it_has_chunks()
    {
        Random random = new(4);
        using ChunkDatabase database = _databases.Build([Document("one", 5, random), Document("three", 20, random), Document("twelve", 90, random)], M);
        Assert.Equal([1, 3, 12], database.Documents.Select(document => document.ChunkCount));
        ReadingWindows windows = Windows(database, 1, share: 0);
        int[] counts = new int[3];
        for (int step = 0; step < 100; step++)
        {
            foreach (int document in windows.Batch(step, TestContext.Current.CancellationToken).Documents)
            {
                counts[document]++;
            }
        }

        // Four standard deviations.
        Assert.All(counts.Zip(new[] { 1 / 16.0, 3 / 16.0, 12 / 16.0 }), pair => Assert.Equal(
            pair.Second, pair.First / (100.0 * Rows), 4 * Math.Sqrt(pair.Second * (1 - pair.Second) / (100 * Rows))));
    }

    private static ReadingWindows Windows(ChunkDatabase database, long sourceSeed, double share)
        => new(database, new RandomNeighborSource(database, sourceSeed), new SameDocuments(database, database))
        {
            WindowLength = 4 * M, BatchSize = Rows, Plan = new ReadingPlan(K, 2 * M, M, M), RandomShare = share, Seed = Seed,
        };

    private static Document Document(string id, int length, Random random)
        => TestDatabases.Document(id, string.Concat(Enumerable.Range(0, length).Select(_ => (char)random.Next('!', '~' + 1))));

    /// <summary>Twelve documents, half of which are there twice, under another id.</summary>
    private ChunkDatabase Twice()
    {
        Random random = new(4);
        List<Document> documents = [.. Enumerable.Range(0, 12).Select(number => Document($"d{number}", 60, random))];
        documents.AddRange(documents[..6].Select(document => document with { Id = $"copy of {document.Id}" }));
        return _databases.Build(documents, M);
    }
}

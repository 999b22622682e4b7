using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Evaluation;
using Retro.Search;
using Retro.Tests.Embedders;
using Retro.Tokenizers;

namespace Retro.Tests.Search;

public sealed class NeighborSearchTests : IDisposable
{
    private const int M = 16;

    private static readonly Document[] s_documents =
    [
        new("bridge", "Bridges", "Over the river leads an old bridge of stone, and the bridge is closed in winter. " + Filler("salt"), "bridge.txt"),
        new("copy", "Copied", "Over the river leads an old bridge of stone, and the bridge is closed in winter. " + Filler("salt"), "copy.txt"),
        new("cafe", "Coffee", "Those who wait drink coffee in the caf\u00e9 beside it. " + Filler("milk"), "cafe.txt"),
        new("secret", "Secrets", "Below it stands a second bridge, which is on no map. " + Filler("ink"), "secret.txt") { Labels = ["staff"] },
    ];

    private static readonly RetroTokenizer s_tokenizer = EmbeddingInputs.TrainTokenizer([.. s_documents.Select(document => document.Text)], 400);

    private readonly TemporaryFolder _folder = new();
    private readonly ChunkDatabase _database;
    private readonly KeywordNeighborSource _source;

    public NeighborSearchTests()
    {
        _database = Build("db", "unicode");
        _source = KeywordNeighborSource.Build(_database);
    }

    public void Dispose()
    {
        _database.Dispose();
        _folder.Dispose();
    }

    /// <summary>In the database the word stands behind a space, and is another token than at the beginning of a line, where somebody types it.</summary>
    [Fact]
    public void A_word_is_found_that_stands_within_lines()
    {
        long[] chunks = [-1];
        _source.Find([new(s_tokenizer.Encode("bridge"), [])], 1, chunks, new float[1]);
        Assert.True(chunks[0] < 0 || !_database.Text(chunks[0], s_tokenizer).Contains("bridge", StringComparison.Ordinal));

        RetrievedNeighbor best = Assert.Single(_source.Search("bridge", s_tokenizer, 1));
        Assert.Equal(("bridge", "Bridges", "bridge.txt"), (best.DocumentId, best.Title, best.Location));
        Assert.Equal(_database.Text(best.Chunk, s_tokenizer), best.Text);
        Assert.Contains("bridge", best.Text, StringComparison.Ordinal);
        Assert.Equal(_database.Text(best.Chunk + 1, s_tokenizer), best.Continuation);
        Assert.Equal(best.Chunk, _database.FindDocument("bridge")!.FirstChunk + best.ChunkInDocument);
        Assert.True(best.Score > 0);
    }

    [Fact]
    public void A_text_is_brought_into_the_form_of_the_databases_own()
    {
        using ChunkDatabase asWritten = Build("as-written", "none");
        using KeywordNeighborSource there = KeywordNeighborSource.Build(asWritten);
        const string Decomposed = "cafe\u0301";
        Assert.NotEqual(there.Search("caf\u00e9", s_tokenizer, 1)[0].Score, there.Search(Decomposed, s_tokenizer, 1)[0].Score);
        Assert.Equal("cafe", _source.Search(Decomposed, s_tokenizer, 1)[0].DocumentId);
        Assert.Equal(_source.Search("caf\u00e9", s_tokenizer), _source.Search(Decomposed, s_tokenizer));
    }

    [Fact]
    public void Labels_and_excluded_documents_hold_and_the_best_come_first()
    {
        IReadOnlyList<RetrievedNeighbor> all = _source.Search("bridge", s_tokenizer, 40);
        Assert.Equal(["bridge", "copy", "secret"], all.Select(one => one.DocumentId).Distinct().Order());
        Assert.Equal(all.OrderByDescending(one => one.Score).ThenBy(one => one.Chunk), all);
        Assert.Equal(all.Where(one => one.DocumentId != "secret"), _source.Search("bridge", s_tokenizer, 40, labels: []));
        int[] excluded = new ExcludedDocuments(_database).Of(["copy", "of nothing"]);
        Assert.Equal(["secret"], _source.Search("bridge", s_tokenizer, 40, excludedDocuments: excluded).Select(one => one.DocumentId).Distinct());
    }

    [Fact]
    public void What_cannot_be_asked_is_refused_and_nothing_is_found_with_nothing()
    {
        Assert.Empty(_source.Search("", s_tokenizer));
        Assert.Throws<ArgumentOutOfRangeException>(() => _source.Search("bridge", s_tokenizer, 0));
        Assert.Throws<DatabaseException>(() => _source.Search("bridge", EmbeddingInputs.Tokenizer));
        Assert.Throws<DatabaseException>(() => _database.Text(0, EmbeddingInputs.Tokenizer));
        string message = Assert.Throws<ArgumentException>(() => new NoNeighborSource().Search("bridge", s_tokenizer)).Message;
        Assert.Contains("no database", message, StringComparison.Ordinal);
        using CancellationTokenSource canceled = new();
        canceled.Cancel();
        Assert.ThrowsAny<OperationCanceledException>(() => _source.Search("bridge", s_tokenizer, cancellationToken: canceled.Token));
    }

    /// <summary>Room is taken for what there is, however much is asked for: a longer row could not even be held.</summary>
    [Fact]
    public void More_neighbors_than_there_are_chunks_are_all_there_are()
    {
        int all = (int)_database.ChunkCount;
        RecordingSource asked = new(_source);
        using DenseNeighborSource dense = DenseNeighborSource.Build(_database, new ChunkKeyer(s_tokenizer, new HashingEmbedder(16)));
        INeighborSource[] sources =
        [
            _source,
            dense,
            new RandomNeighborSource(_database),
            new HybridNeighborSource(_source, dense),
            new HybridNeighborSource(new HybridNeighborOptions { Depth = int.MaxValue }, asked),
            new RerankedNeighborSource(asked, _source, new() { Depth = int.MaxValue }),
            asked,
        ];
        Assert.All(sources, source =>
        {
            IReadOnlyList<RetrievedNeighbor> found = source.Search("bridge", s_tokenizer, all);
            Assert.NotEmpty(found);
            Assert.Equal(found, source.Search("bridge", s_tokenizer, int.MaxValue));
            JudgedQuery judged = new("q", "bridge") { Chunks = new Dictionary<long, int> { [found[0].Chunk] = 1 } };
            Assert.Equal(1, RetrievalQuality.Measure(source, s_tokenizer, [judged], int.MaxValue).Recall.Value);
        });
        Assert.Equal([all], asked.Counts.Distinct());
        NeighborQuery[] two = [new(default, []), new(default, [])];
        string message = Assert.Throws<ArgumentException>(() => NeighborQueries.Ask(_source, two, int.MaxValue, default)).Message;
        Assert.Contains("2 queries for 2147483647 neighbors", message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_source_of_ones_own_that_gives_what_a_query_does_not_admit_is_refused_by_name()
    {
        HeedlessSource heedless = new(_source);
        Assert.Equal(_source.Search("bridge", s_tokenizer, 40), heedless.Search("bridge", s_tokenizer, 40));
        AssertRefused("secret", () => heedless.Search("bridge", s_tokenizer, 40, labels: ["other"]));
        AssertRefused("bridge", () => heedless.Search("bridge", s_tokenizer, 1, excludedDocuments: new ExcludedDocuments(_database).Of(["bridge"])));
        AssertRefused("bridge", () => NeighborTable.Build(_database, heedless, 4).Dispose());
        NeighborTable.Build(_database, heedless, 4, excludeOwnDocument: false).Dispose();

        static void AssertRefused(string document, Action ask)
        {
            string message = Assert.Throws<DatabaseException>(ask).Message;
            Assert.Contains("source heedless", message, StringComparison.Ordinal);
            Assert.Contains($"document {document}, ", message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_source_of_ones_own_that_gives_a_chunk_twice_or_without_a_score_is_refused_by_name()
    {
        AssertRefused("chunk 2 twice", new FixedSource(_database, [2, 1, 2], [3, 2, 1]));
        AssertRefused("chunk 1 and gives it no score", new FixedSource(_database, [2, 1, -1], [3, float.NaN, float.NaN]));
        Assert.Equal([2, 1], new FixedSource(_database, [2, 1, -1], [3, 2, float.NaN]).Search("bridge", s_tokenizer, 3).Select(one => one.Chunk));

        // What is named twice comes once.
        GivenNeighborSource given = new(_database, [2, 1, 2, 0]);
        Assert.Equal([2, 1, 0], given.Search("bridge", s_tokenizer, 3).Select(one => one.Chunk));

        void AssertRefused(string expected, INeighborSource source)
        {
            foreach (Action ask in new Action[]
            {
                () => source.Search("bridge", s_tokenizer, 3), () => NeighborTable.Build(_database, source, 3, excludeOwnDocument: false).Dispose(),

                // Within another, too, where a chunk that comes twice would weigh twice.
                () => new HybridNeighborSource(new HybridNeighborOptions { Depth = 3 }, _source, source).Search("bridge", s_tokenizer, 3),
                () => new RerankedNeighborSource(source, _source, new() { Depth = 3 }).Search("bridge", s_tokenizer, 2),
            })
            {
                string message = Assert.Throws<DatabaseException>(ask).Message;
                Assert.Contains("source fixed", message, StringComparison.Ordinal);
                Assert.Contains(expected, message, StringComparison.Ordinal);
            }
        }
    }

    /// <summary>A place that it does not fill holds nothing, wherever it is asked, and not the first chunk of the database.</summary>
    [Fact]
    public void A_source_of_ones_own_that_fills_the_best_place_alone_finds_one_neighbor()
    {
        FirstPlaceSource one = new(_source);
        long best = _source.Search("cafe", s_tokenizer, 1)[0].Chunk;
        Assert.NotEqual(0, best);
        INeighborSource[] sources = [one, new HybridNeighborSource(one), new RerankedNeighborSource(one, _source)];
        Assert.All(sources, source => Assert.Equal([best], source.Search("cafe", s_tokenizer, 4).Select(found => found.Chunk)));
        using NeighborTable table = NeighborTable.Build(_database, one, 4, excludeOwnDocument: false);
        for (long chunk = 0; chunk < table.Rows; chunk++)
        {
            Assert.Equal([-1, -1, -1], table.Row(chunk)[1..].ToArray());
        }
    }

    [Fact]
    public void A_query_admits_what_is_not_excluded_and_what_its_labels_show()
    {
        NeighborQuery all = new(default, []), none = all with { Labels = [] }, staff = all with { Labels = ["other", "staff"] };
        NeighborQuery elsewhere = new(default, new ExcludedDocuments(_database).Of(["cafe"]));
        Func<long, bool>[] admissions = [.. new[] { all, none, staff, elsewhere }.Select(query => query.Admission(_database))];
        for (long chunk = 0; chunk < _database.ChunkCount; chunk++)
        {
            string id = _database.Documents[_database.DocumentOf(chunk)].Id;
            Assert.Equal(
                (true, id != "secret", true, id != "cafe"),
                (all.Admits(_database, chunk), none.Admits(_database, chunk), staff.Admits(_database, chunk), elsewhere.Admits(_database, chunk)));
            Assert.Equal([true, id != "secret", true, id != "cafe"], admissions.Select(admits => admits(chunk)));
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => all.Admits(_database, _database.ChunkCount));
        Assert.Throws<ArgumentOutOfRangeException>(() => all.Admits(_database, -1));
        Assert.Throws<ArgumentOutOfRangeException>(() => admissions[0](_database.ChunkCount));
    }

    private ChunkDatabase Build(string name, string cleaning)
        => ChunkDatabaseBuilder.Build(_folder[name], s_documents, s_tokenizer, new() { ChunkLength = M, Cleaning = cleaning });

    private static string Filler(string word) => string.Concat(Enumerable.Repeat($"There is some {word} in it too. ", 8));

    private sealed class FirstPlaceSource(INeighborSource source) : INeighborSource
    {
        public string Name => "first";

        public ChunkDatabase? Database => source.Database;

        public string Identity => $"first {source.Identity}";

        public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
        {
            for (int q = 0; q < queries.Count; q++)
            {
                source.Find([queries[q]], 1, chunks.Slice(q * count, 1), scores.Slice(q * count, 1), cancellationToken);
            }
        }
    }

    /// <summary>Gives the same to every query.</summary>
    private sealed class FixedSource(ChunkDatabase database, long[] found, float[] with) : INeighborSource
    {
        public string Name => "fixed";

        public ChunkDatabase? Database => database;

        public string Identity => $"fixed {string.Join(' ', found)}";

        public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
        {
            for (int q = 0; q < queries.Count; q++)
            {
                found.AsSpan(0, count).CopyTo(chunks[(q * count)..]);
                with.AsSpan(0, count).CopyTo(scores[(q * count)..]);
            }
        }
    }
}

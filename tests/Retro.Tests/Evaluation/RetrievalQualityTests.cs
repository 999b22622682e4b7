using System.Globalization;
using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Search;
using Retro.Tests.Embedders;
using Retro.Tests.Search;
using Retro.Tokenizers;

namespace Retro.Tests.Evaluation;

/// <summary>Values worked by hand after the definitions of trec_eval.</summary>
public sealed class RetrievalQualityTests : IDisposable
{
    private const int M = 16;

    private static readonly RetroTokenizer s_tokenizer = EmbeddingInputs.Tokenizer;

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("b x a", "a3 b2 d1", 3, 2.0 / 3, 1, 3.5 / 4.761859507142915)] // (2 + 3/2) / (3 + 2/log2 3 + 1/2)
    [InlineData("x y d", "a3 b2 d1", 3, 1.0 / 3, 1.0 / 3, 0.5 / 4.761859507142915)]
    [InlineData("x y d", "a3 b2 d1", 2, 0, 0, 0)]
    [InlineData("a b d", "a3 b2 d1", 2, 2.0 / 3, 1, 1)]
    [InlineData("a b d", "a3 b2 d1", 9, 1, 1, 1)]
    [InlineData("d b a", "a3 b2 d1", 3, 1, 1, 3.761859507142915 / 4.761859507142915)] // (1 + 2/log2 3 + 3/2) / the best
    [InlineData("x a", "a1 x0 y-2", 10, 1, 0.5, 0.6309297535714575)] // 1 / log2 3
    [InlineData("y x a a b", "a1 b1 x-2", 4, 1, 1.0 / 3, 0.5706417189553201)] // (1/2 + 1/log2 5) / (1 + 1/log2 3)
    [InlineData("", "a1", 4, 0, 0, 0)]
    public void The_measures_of_a_ranking_are_their_definitions(string ranking, string judged, int cutoff, double recall, double reciprocal, double ndcg)
    {
        Dictionary<string, int> grades = judged.Split(' ').ToDictionary(one => one[..1], one => int.Parse(one[1..], CultureInfo.InvariantCulture));
        QueryQuality found = QueryQuality.Of("q", ranking.Split(' '), grades, cutoff);
        Assert.Equal(recall, found.Recall, 1e-12);
        Assert.Equal(reciprocal, found.ReciprocalRank, 1e-12);
        Assert.Equal(ndcg, found.Ndcg, 1e-12);
        Assert.Equal(recall > 0 ? 1 : 0, found.Success);
    }

    /// <summary>Documents of several chunks, ranked by their best one; chunks; and what no source can find.</summary>
    [Fact]
    public void A_source_is_measured_by_documents_or_chunks_that_were_judged()
    {
        Document[] documents =
            [.. new[] { "a", "b", "c", "d" }.Select(id => new Document(id, id, string.Concat(Enumerable.Repeat($"The bell {id} is gray. ", 12)), ""))];
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(_folder["db"], documents, s_tokenizer, new() { ChunkLength = M });
        long[] first = [.. Enumerable.Range(0, 4).Select(document => database.ChunksOf(document).First)];
        Assert.True(first[1] > 3);
        long[] order = [first[2], first[2] + 1, first[2] + 2, first[2] + 3, first[0] + 1, first[1], first[3]];
        GivenNeighborSource source = new(database, _ => order);
        RetrievalQuality found = RetrievalQuality.Measure(
            source,
            s_tokenizer,
            [
                new("one", "The bell") { Documents = new Dictionary<string, int> { ["a"] = 1, ["b"] = 2, ["gone"] = 1 } },
                new("two", "The bell") { Chunks = new Dictionary<long, int> { [first[2] + 1] = 1, [first[3]] = 1 } },
                new("none", "The bell") { Documents = new Dictionary<string, int> { ["a"] = 0 } },
            ],
            cutoff: 3);
        Assert.Equal(("given", 3, 1, 1), (found.Source, found.Cutoff, found.LeftOut, found.Missing));
        double third = 1 / Math.Log2(3);
        Assert.Equal(
            [new("one", 2.0 / 3, 0.5, (third + 1) / (2 + third + 0.5)), new QueryQuality("two", 0.5, 0.5, third / (1 + third))], found.Queries);
        Assert.Equal((0.5, 1.0), (found.ReciprocalRank.Value, found.Success.Value));
        Assert.Equal(7.0 / 12, found.Recall.Value, 1e-12);
        Assert.Equal("given: recall@3 0.58, MRR@3 0.50, nDCG@3 0.45, success@3 1.00", $"{found}");

        // A query that is itself a document leaves that one out where it is asked to, as BEIR does.
        JudgedQuery byDocuments = new("c", "The bell") { Documents = new Dictionary<string, int> { ["b"] = 1 } };
        JudgedQuery byChunks = new("c", "The bell") { Chunks = new Dictionary<long, int> { [first[0] + 1] = 1 } };
        Assert.Equal([1.0 / 3, 0.0], Ranks(false));
        Assert.Equal([1.0 / 2, 1.0], Ranks(true));

        IEnumerable<double> Ranks(bool leaveOutOwn)
            => RetrievalQuality.Measure(source, s_tokenizer, [byDocuments, byChunks], 3, leaveOutOwn).Queries.Select(one => one.ReciprocalRank);

        Dictionary<string, int> gone = new() { ["gone"] = 1 };
        Refused("none of the 1 relevant documents, such as \"gone\"", new("q", "The bell") { Documents = gone });
        Refused("chunk 999", new("q", "The bell") { Chunks = new Dictionary<long, int> { [999] = 1 } });
        Refused("chunk -2", new("q", "The bell") { Chunks = new Dictionary<long, int> { [-2] = 1 } });
        Refused("both documents and chunks", new("q", "The bell") { Documents = gone, Chunks = new Dictionary<long, int> { [0] = 1 } });

        void Refused(string why, JudgedQuery query) => Assert.Contains(
            why, Assert.Throws<ArgumentException>(() => RetrievalQuality.Measure(source, s_tokenizer, [query])).Message, StringComparison.Ordinal);
    }

    /// <summary>As many queries as there are in two blocks, each with its own document, of which a search by words misses none.</summary>
    [Fact]
    public void Many_queries_have_intervals_and_progress()
    {
        string Word(int i) => $"{(char)('a' + (i / 26))}{(char)('a' + (i % 26))}qx";
        Document[] documents = [.. Enumerable.Range(0, 300).Select(i => new Document($"{i}", "", $"The bell is gray {Word(i)} {Word(i)}", ""))];
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(_folder["many"], documents, s_tokenizer, new() { ChunkLength = 32 });
        using KeywordNeighborSource words = KeywordNeighborSource.Build(database);
        List<StageProgress> told = [];
        RetrievalQuality found = RetrievalQuality.Measure(
            words,
            s_tokenizer,
            [.. Enumerable.Range(0, 300).Select(i => new JudgedQuery($"{i}", $"gray {Word(i)}") { Documents = new Dictionary<string, int> { [$"{i}"] = 1 } })],
            progress: new Reports<StageProgress>(told.Add));
        Assert.Equal(300, found.Queries.Count);
        Assert.InRange(found.Recall.Value, 0.9, 1);
        Assert.True(found.Recall.HasInterval && found.Recall.Low < found.Recall.Value && found.ReciprocalRank.Value <= found.Success.Value);
        Assert.Equal((300L, 300L), ((long)told[^1].Done, (long)told[^1].Total!));

        // Of chunks that were judged a block is asked for at once, too; for a query without a word nothing is found.
        JudgedQuery[] byChunks =
        [
            .. Enumerable.Range(0, 300).Select(i => new JudgedQuery($"{i}", i == 7 ? "" : $"gray {Word(i)}")
            {
                Chunks = new Dictionary<long, int> { [database.ChunksOf(i).First] = 1 },
            }),
        ];
        RecordingSource recording = new(words);
        RetrievalQuality together = RetrievalQuality.Measure(recording, s_tokenizer, byChunks);
        Assert.Equal((2, 299), (recording.Counts.Count, recording.Queries.Count));
        Assert.Equal(byChunks[..20].SelectMany(one => RetrievalQuality.Measure(words, s_tokenizer, [one]).Queries), together.Queries.Take(20));
        Assert.Equal(0, together.Queries[7].Success);
        Assert.InRange(together.Recall.Value, 0.9, 1);
    }

    [Fact]
    public void Judgments_of_trec_and_of_beir_are_read_with_the_queries_that_they_are_of()
    {
        string queries = Write("queries.jsonl", """
            {"_id": "q1", "text": "What is gray?", "metadata": {}}
            {"_id": "q 2", "text": "What is red?"}
            {"_id": "q3", "text": "Nobody judged this."}
            """);
        Document[] asked = [.. Corpus.Open(queries, new() { Fields = new() { Id = "_id" } }).Documents()];
        IReadOnlyList<JudgedQuery> beir = JudgedQuery.Read(asked, Write("test.tsv", "query-id\tcorpus-id\tscore\nq 2\td 1\t2\nq1\td2\t1\nq1\td3\t0\n"));
        Assert.Equal([("q1", "What is gray?", 2), ("q 2", "What is red?", 1)], beir.Select(one => (one.Id, one.Text, one.Documents.Count)));
        Assert.Equal(2, beir[1].Documents["d 1"]);
        JudgedQuery trec = Assert.Single(JudgedQuery.Read(asked, Write("qrels.txt", "q1 0 d2 1\nq1  0  d3  -2\n\n")));
        Assert.Equal((1, -2), (trec.Documents["d2"], trec.Documents["d3"]));
        Assert.Equal(3, Assert.Single(JudgedQuery.Read(asked, Write("tabs.txt", "q1\t0\td2\t3\r\n"))).Documents["d2"]);
        Assert.Contains("Line 2 of", Refused("q1 0 d2 1\nq1 0 d2 high\n"), StringComparison.Ordinal);
        Assert.Contains("Line 1 of", Refused("q1 d2\n"), StringComparison.Ordinal);
        Assert.Contains("judges the query \"q9\"", Refused("q9 0 d2 1\n"), StringComparison.Ordinal);

        // What stands first with a fault is no header, also of a query that is named like one, which would be left out without a word.
        asked = [.. asked, new Document("query1", "", "What is new?", "")];
        Assert.All(
            ["query1 0 d1 0.5\n", "query1 0 d1 high\n", "query1\td1\thigh\n", "query1\td1\n", "query9 0 d1 1e3\n", "a query of somebody else's here\n"],
            first => Assert.Contains("Line 1 of", Refused(first + "q1 0 d2 1\n"), StringComparison.Ordinal));
        Assert.Equal("q1", Assert.Single(JudgedQuery.Read(asked, Write("named.txt", "query_id iteration doc_id relevance\nq1 0 d2 1\n"))).Id);
        Assert.Equal(2, JudgedQuery.Read(asked, Write("empty.txt", "query1\t0\td1\t1\n\t\n \t \n  \nq1\t0\td2\t1\n")).Count);
        Assert.Throws<CorpusException>(() => JudgedQuery.Read(asked, _folder["nowhere"]));
        Assert.Single(JudgedQuery.Read(asked, Write("twice.txt", "q1 0 d2 1\nq1 0 d2 1\n")));
        Assert.Contains("holds no judgment", Refused("query-id\tcorpus-id\tscore\n"), StringComparison.Ordinal);
        string other = Refused("q1 0 d2 1\nq1 0 d3 1\nq1 0 d2 2\n");
        Assert.Contains("Line 3 of", other, StringComparison.Ordinal);
        Assert.Contains("the grade 2 for the query \"q1\", and a line before gives it 1", other, StringComparison.Ordinal);

        string Refused(string lines) => Assert.Throws<CorpusException>(() => JudgedQuery.Read(asked, Write("broken.txt", lines))).Message;
    }

    private string Write(string name, string lines)
    {
        File.WriteAllText(_folder[name], lines);
        return _folder[name];
    }
}

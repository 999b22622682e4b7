using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tests.Retrievers;

namespace Retro.Tests.Readers;

public sealed class RunReaderTests : IDisposable
{
    private const int M = 8, V = 257;

    private static readonly double[] s_precisions = [.. Enumerable.Range(1, TokenIndex.LongestRun).Select(run => run / 17.0)];

    private readonly TestDatabases _databases = new();

    public void Dispose() => _databases.Dispose();

    [Fact]
    public void The_rule_is_its_definition_and_its_probabilities_sum_to_one()
    {
        using ChunkDatabase database = Database();
        ToyReader toy = new(V);
        RunReader reader = new(toy, TokenIndex.Build(database), s_precisions);
        Random random = new(2);
        ReadingBatch batch = new(2, 30, M);
        for (int i = 0; i < batch.Tokens.Length; i++)
        {
            batch.Tokens[i] = 'a' + random.Next(3);
        }

        double[][] found = [.. Enumerable.Range(0, V).Select(target =>
        {
            Array.Fill(batch.Targets, target);
            double[] mixed = reader.LogLikelihoods(batch), below = toy.Given;
            Assert.Equal(toy.LogLikelihoods(batch), below); // it stays as it was given
            return mixed;
        })];
        for (int at = 0; at < batch.Tokens.Length; at++)
        {
            long[] context = batch.Tokens[(at / 30 * 30)..(at + 1)];
            Assert.Equal(1, found.Sum(likelihoods => Math.Exp(likelihoods[at])), 1e-9);
            foreach (int target in new[] { 'a', 'b', 'c', 'z', 256 })
            {
                (int length, double share) = Definition(database, context, target, _ => true);
                double mass = length == 0 ? 0 : 0.95 * s_precisions[length - 1];
                Assert.Equal(((1 - mass) * toy.Probability(context, target)) + (mass * share), Math.Exp(found[target][at]), 1e-9);
            }
        }
    }

    [Fact]
    public void It_keeps_the_readers_contract()
    {
        using ChunkDatabase database = Database();
        RunReader reader = new(new ToyReader(V), TokenIndex.Build(database), s_precisions);
        ReadingBatch batch = ReaderContract.Batch(V, 2, (2 * M) + 1, M, 2, 2 * M, seed: 3);
        for (int i = 0; i < batch.Tokens.Length; i++)
        {
            (batch.Tokens[i], batch.Targets[i]) = ('a' + (batch.Tokens[i] % 3), 'a' + (batch.Targets[i] % 3)); // of which there are runs
        }

        ReaderContract.Check(reader, batch, V);
    }

    [Fact]
    public void Precisions_are_counted_without_a_texts_own_document_and_its_copies()
    {
        using ChunkDatabase database = Database();
        double[] precisions = RunReader.CountPrecisions(TokenIndex.Build(database), chunks: int.MaxValue);
        double[] hits = new double[TokenIndex.LongestRun + 1], seen = new double[hits.Length];
        foreach (DocumentEntry document in database.Documents)
        {
            long[] text = Text(database, document);
            for (int place = 1; place < text.Length; place++)
            {
                (int length, double share) = Definition(
                    database, text[..place], text[place], other => other.Id != document.Id && other.ContentHash != document.ContentHash);
                seen[length]++;
                hits[length] += share;
            }
        }

        for (int run = 1; run <= TokenIndex.LongestRun; run++)
        {
            Assert.Equal(seen[run] > 0 ? hits[run] / seen[run] : precisions[run - 2], precisions[run - 1], 1e-12);
        }

        Assert.True(seen[5] > 0 && precisions[5] < 1);
    }

    [Fact]
    public void Held_out_documents_in_the_index_are_refused_by_name_whatever_stands_between()
    {
        using ChunkDatabase database = Database();
        using ChunkDatabase heldOut = _databases.Build([TestDatabases.Documents(8, seed: 4, maximumLength: 50)[3] with { Text = "aabbcc" }], M, "held-out");
        RunReader reader = new(new ToyReader(V), TokenIndex.Build(database), s_precisions);
        PointerReader above = new(reader, new PointerRule(2, M, 2 * M, new double[PointerRule.LongestRun]));

        DatabaseException fault = Assert.Throws<DatabaseException>(() => BitsPerByte.Measure(reader, heldOut));
        Assert.Contains("\"d3\"", fault.Message, StringComparison.Ordinal);
        Assert.Throws<DatabaseException>(() => BitsPerByte.Measure(above, heldOut, new RandomNeighborSource(heldOut)));
    }

    [Fact]
    public void What_does_not_fit_is_refused()
    {
        using ChunkDatabase database = Database();
        TokenIndex index = TokenIndex.Build(database);
        Assert.Contains(
            "16 precisions", Assert.Throws<ArgumentException>(() => new RunReader(new ToyReader(V), index, [0.5])).Message, StringComparison.Ordinal);
        using ChunkDatabase other = _databases.Build([TestDatabases.Document("o", "aabbcc")], M, "other"), again = ChunkDatabase.Open(database.Folder);
        Assert.Contains(
            "give a reader and an index of one database",
            Assert.Throws<ArgumentException>(() => new RunReader(new UnigramReader(V, 0, database: other), index, s_precisions)).Message,
            StringComparison.Ordinal);
        Assert.Equal(database, new RunReader(new UnigramReader(V, 0, database: again), index, s_precisions).Database);
        PointerReader reading = new(new ToyReader(V), new PointerRule(2, M, 2 * M, new double[PointerRule.LongestRun]));
        Assert.Contains(
            "reads neighbors", Assert.Throws<ArgumentException>(() => new RunReader(reading, index, s_precisions)).Message, StringComparison.Ordinal);
    }

    private ChunkDatabase Database()
    {
        // Less than 256 places of any run: all are counted.
        List<Document> documents = TestDatabases.Documents(8, seed: 4, maximumLength: 50)
            .ConvertAll(document => document with { Text = string.Concat(document.Text.Select(c => (char)('a' + c % 3))) });
        documents.Add(documents[^1] with { Id = "copy" });
        return _databases.Build(documents, M);
    }

    private static long[] Text(ChunkDatabase database, DocumentEntry document)
        => [.. Enumerable.Range(0, document.TokenCount).Select(i => (long)database.Tokens(document.FirstChunk + i / M)[i % M])];

    private static (int Length, double Share) Definition(ChunkDatabase database, long[] context, long target, Func<DocumentEntry, bool> allowed)
    {
        long[][] texts = [.. database.Documents.Where(allowed).Select(document => Text(database, document))];
        for (int length = Math.Min(TokenIndex.LongestRun, context.Length); length > 0; length--)
        {
            List<long> followed = [];
            foreach (long[] text in texts)
            {
                for (int place = length; place < text.Length; place++)
                {
                    if (text.AsSpan(place - length, length).SequenceEqual(context.AsSpan(context.Length - length)))
                    {
                        followed.Add(text[place]);
                    }
                }
            }

            if (followed.Count > 0)
            {
                return (length, followed.Count(token => token == target) / (double)followed.Count);
            }
        }

        return (0, 0);
    }
}

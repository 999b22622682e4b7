using Retro.Corpora;
using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tests.Retrievers;

namespace Retro.Tests.Readers;

public sealed class PointerReaderTests : IDisposable
{
    private const int V = 4, M = 5, K = 3, R = 16;

    private static readonly double[] s_precisions = [.. Enumerable.Range(1, PointerRule.LongestRun).Select(run => run / 13.0)];

    private readonly TestDatabases _databases = new();
    private readonly TemporaryFolder _folder = new();

    public void Dispose()
    {
        _databases.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void The_rule_is_its_definition_and_its_probabilities_sum_to_one()
    {
        ToyReader toy = new(V);
        PointerReader reader = new(toy, new PointerRule(K - 1, M, R, s_precisions));
        Random random = new(3);
        int[] lengths = new int[PointerRule.LongestRun + 1];
        for (int round = 0; round < 20; round++)
        {
            ReadingBatch batch = RandomBatch(random, round, random.Next(M));
            double[][] found = [.. Enumerable.Range(0, V).Select(target => reader.LogLikelihoods(With(batch, target)))];
            for (int row = 0; row < batch.Rows; row++)
            {
                for (int place = 0; place < batch.Length; place++)
                {
                    long[] context = batch.Tokens[(row * batch.Length)..(row * batch.Length + place + 1)];
                    int at = row * batch.Length + place;
                    Assert.Equal(1, Enumerable.Range(0, V).Sum(target => Math.Exp(found[target][at])), 1e-12);
                    for (int target = 0; target < V; target++)
                    {
                        (int length, double share) = Definition(batch.Retrieved!, row, context, target);
                        lengths[length]++;
                        double mass = length == 0 ? 0 : 0.95 * s_precisions[length - 1];
                        Assert.Equal(((1 - mass) * toy.Probability(context, target)) + (mass * share), Math.Exp(found[target][at]), 1e-12);
                    }
                }
            }
        }

        // Short and long runs, and those longer than are looked for, all occurred.
        Assert.All(lengths, count => Assert.NotEqual(0, count));
    }

    [Fact]
    public void Neither_the_target_nor_what_follows_it_nor_neighbors_of_its_own_chunk_are_seen()
    {
        PointerReader reader = new(new ToyReader(V), new PointerRule(K, M, R, s_precisions));
        Random random = new(5);
        for (int round = 0; round < 20; round++)
        {
            ReadingBatch batch = RandomBatch(random, round, round % M), other = RandomBatch(random, round, round % M);
            int place = random.Next(batch.Length), row = random.Next(batch.Rows), at = row * batch.Length + place;
            Array.Copy(batch.Tokens, row * batch.Length, other.Tokens, row * batch.Length, place + 1);
            for (int chunk = 0; chunk < (place + 1) / M && chunk < batch.Retrieved!.Chunks; chunk++)
            {
                int start = batch.Retrieved.Offset(row, chunk, 0);
                Array.Copy(batch.Retrieved.Tokens, start, other.Retrieved!.Tokens, start, K * R);
                Array.Copy(batch.Retrieved.Valid, start, other.Retrieved.Valid, start, K * R);
            }

            for (int target = 0; target < V; target++)
            {
                Assert.Equal(reader.LogLikelihoods(With(batch, target))[at], reader.LogLikelihoods(With(other, target))[at]);
            }
        }
    }

    [Fact]
    public void What_the_other_reader_gave_stays_as_it_is()
    {
        ToyReader toy = new(V);
        ReadingBatch batch = With(RandomBatch(new Random(3), 1, 0), 1);
        double[] mixed = new PointerReader(toy, new PointerRule(K, M, R, s_precisions)).LogLikelihoods(batch);
        Assert.NotEqual(mixed, toy.Given);
        Assert.Equal(new ToyReader(V).LogLikelihoods(batch), toy.Given);
    }

    [Fact]
    public void Precisions_are_the_shares_that_a_count_over_all_places_gives()
    {
        List<Document> documents = TestDatabases.Documents(12, seed: 4, maximumLength: 90)
            .ConvertAll(document => document with { Text = string.Concat(document.Text.Select(c => (char)('a' + c % 3))) });
        using ChunkDatabase database = _databases.Build(documents, M);
        Random random = new(6);
        using NeighborTable table = Table(database, random, 4, excludeOwnDocument: true);
        PointerRule rule = PointerRule.Count(database, table, new() { Neighbors = K, RetrievedLength = R, Chunks = int.MaxValue });

        double[] hits = new double[PointerRule.LongestRun + 1], seen = new double[hits.Length];
        foreach (DocumentEntry document in database.Documents)
        {
            long[] text = [.. Enumerable.Range(0, document.TokenCount).Select(i => (long)database.Tokens(document.FirstChunk + i / M)[i % M])];
            for (int place = M - 1; place < text.Length - 1; place++)
            {
                RetrievedTokens retrieved = new(1, text.Length / M, K, R);
                int chunk = (place + 1) / M - 1;
                retrieved.Take(0, chunk, database, table.Row(document.FirstChunk + chunk)[..K]);
                (int length, double share) = Definition(retrieved, 0, text[..(place + 1)], text[place + 1], K);
                seen[length]++;
                hits[length] += share;
            }
        }

        Assert.Equal((K, M, R), (rule.Neighbors, rule.ChunkLength, rule.RetrievedLength));
        Assert.InRange(seen.Skip(1).Count(count => count > 0), 4, PointerRule.LongestRun);
        for (int length = 1; length <= PointerRule.LongestRun; length++)
        {
            double expected = seen[length] > 0 ? hits[length] / seen[length] : rule.Precisions[length - 2];
            Assert.Equal(expected, rule.Precisions[length - 1], 1e-12);
            Assert.Equal(0.95 * expected, rule.Mass(length), 1e-12);
        }

        Assert.Equal(0, rule.Mass(0));

        // Some chunks, the same whether anyone watches; another seed draws others.
        PointerRuleOptions few = new() { Neighbors = K, RetrievedLength = R, Chunks = 10 };
        PointerRule some = PointerRule.Count(database, table, few), other = PointerRule.Count(database, table, few with { Seed = 1 });
        List<StageProgress> reports = [];
        Assert.Equal(some.Precisions, PointerRule.Count(database, table, few, new Reports<StageProgress>(reports.Add)).Precisions);
        Assert.Equal(Enumerable.Range(0, 11), reports.Select(report => (int)report.Done));
        Assert.All([rule, other], unlike => Assert.Contains(some.Precisions.Zip(unlike.Precisions), pair => Math.Abs(pair.First - pair.Second) > 1e-6));
    }

    [Fact]
    public void A_run_of_a_length_that_never_came_is_as_precise_as_the_next_shorter_one()
        => Assert.Equal([0.75, 0.75, 0.5, 0.5], PointerRule.PrecisionsOf([9, 3, 0, 1, 0], [9, 4, 0, 2, 0]));

    [Fact]
    public void A_rule_is_counted_with_enough_neighbors_from_other_documents_of_the_database_itself()
    {
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(12, seed: 4), M),
            other = _databases.Build(TestDatabases.Documents(12, seed: 5), M, "other");
        using NeighborTable own = Table(database, new Random(1), 2, excludeOwnDocument: false),
            few = Table(database, new Random(1), 2, excludeOwnDocument: true);
        using NeighborTable foreign = NeighborTable.Build(
            Path.Combine(_folder.Path, "foreign"), other, new GivenNeighborSource(database, [0]), 2, excludeOwnDocument: true);
        Assert.Contains(
            "from a chunk's own document too", Assert.Throws<DatabaseException>(() => PointerRule.Count(database, own)).Message, StringComparison.Ordinal);
        Assert.Contains("the table holds 2", Assert.Throws<DatabaseException>(() => PointerRule.Count(database, few, new() { Neighbors = 3 })).Message,
            StringComparison.Ordinal);
        Assert.Throws<DatabaseException>(() => PointerRule.Count(database, foreign));
        RetroOptionsException faults = Assert.Throws<RetroOptionsException>(
            () => PointerRule.Count(database, few, new() { Neighbors = 0, RetrievedLength = 0, Chunks = 0 }));
        Assert.Equal(3, faults.Faults.Count);
        using CancellationTokenSource cancel = new();
        Assert.Throws<OperationCanceledException>(
            () => PointerRule.Count(database, few, progress: new Reports<StageProgress>(_ => cancel.Cancel()), cancellationToken: cancel.Token));
        Assert.Throws<ArgumentException>(() => new PointerRule(1, M, R, [0.5]));
        Assert.Throws<ArgumentException>(() => new PointerRule(1, M, R, [.. s_precisions[1..], 1.5]));
    }

    [Fact]
    public void A_batch_with_too_few_neighbors_or_of_other_lengths_is_refused()
    {
        PointerReader reader = new(new ToyReader(V), new PointerRule(K, M, R, s_precisions));
        Assert.Throws<ArgumentException>(() => reader.LogLikelihoods(new ReadingBatch(1, M, M) { Retrieved = new(1, 1, K - 1, R) }));
        Assert.Throws<ArgumentException>(() => reader.LogLikelihoods(new ReadingBatch(1, M, M) { Retrieved = new(1, 1, K, R + 1) }));
        Assert.Throws<ArgumentException>(() => new PointerReader(new UnigramReader(V, 1, M + 1), new PointerRule(K, M, R, s_precisions)));
        Assert.Throws<ArgumentException>(() => new PointerReader(new UnigramReader(V, 1, M), new PointerRule(K, M, R, s_precisions))
            .LogLikelihoods(new ReadingBatch(1, M, M + 1)));
        Assert.Throws<ArgumentException>(() => new ReadingBatch(1, M, M) { Retrieved = new(1, 2, K, R) });
        Assert.Throws<ArgumentException>(() => new PointerReader(reader, new PointerRule(K, M, R + 1, s_precisions)));
        Assert.Equal(K, reader.Neighbors);
        Assert.Equal(K + 2, new PointerReader(reader, new PointerRule(K + 2, M, R, s_precisions)).Neighbors);
    }

    /// <summary>
    /// By the definition: the longest run of last tokens, up to 12, that stands in a neighbor of the chunk before with a token behind it, and the target's
    /// share of the tokens behind.
    /// </summary>
    private static (int Length, double Share) Definition(RetrievedTokens retrieved, int row, long[] context, long target, int neighbors = K - 1)
    {
        int chunk = context.Length / M - 1;
        if (chunk < 0 || chunk >= retrieved.Chunks)
        {
            return (0, 0);
        }

        for (int length = Math.Min(PointerRule.LongestRun, context.Length); length > 0; length--)
        {
            List<long> followers = [];
            for (int k = 0; k < neighbors; k++)
            {
                int start = retrieved.Offset(row, chunk, k);
                for (int at = 0; at + length < R; at++)
                {
                    bool matches = retrieved.Valid[start + at + length];
                    for (int i = 0; i < length && matches; i++)
                    {
                        matches = retrieved.Valid[start + at + i] && retrieved.Tokens[start + at + i] == context[context.Length - length + i];
                    }

                    if (matches)
                    {
                        followers.Add(retrieved.Tokens[start + at + length]);
                    }
                }
            }

            if (followers.Count > 0)
            {
                return (length, followers.Count(follower => follower == target) / (double)followers.Count);
            }
        }

        return (0, 0);
    }

    private static ReadingBatch RandomBatch(Random random, int round, int rest)
    {
        int chunks = 1 + round % 5;
        ReadingBatch batch = new(2, chunks * M + rest, M) { Retrieved = new(2, Math.Max(1, chunks - round % 2), K, R) };
        for (int i = 0; i < batch.Tokens.Length; i++)
        {
            batch.Tokens[i] = random.Next(round % 3 == 0 ? 2 : V);
        }

        for (int i = 0; i < batch.Retrieved.Tokens.Length; i++)
        {
            // Half of the neighbors copy the text, so that there are long runs.
            int row = i / (batch.Retrieved.Tokens.Length / 2);
            batch.Retrieved.Tokens[i] = i / R % 2 == 0 ? batch.Tokens[row * batch.Length + i % batch.Length] : random.Next(V);
            batch.Retrieved.Valid[i] = random.Next(30) > 0;
        }

        return batch;
    }

    private static ReadingBatch With(ReadingBatch batch, int target)
    {
        ReadingBatch asked = new(batch.Rows, batch.Length, M) { Retrieved = batch.Retrieved };
        batch.Tokens.CopyTo(asked.Tokens, 0);
        Array.Fill(asked.Targets, target);
        return asked;
    }

    private NeighborTable Table(ChunkDatabase database, Random random, int count, bool excludeOwnDocument)
    {
        GivenNeighborSource source = new(database, _ => [.. Enumerable.Range(0, 12).Select(_ => random.NextInt64(database.ChunkCount)).Distinct()]);
        return NeighborTable.Build(Path.Combine(_folder.Path, Guid.NewGuid().ToString("N")), database, source, count, excludeOwnDocument);
    }
}

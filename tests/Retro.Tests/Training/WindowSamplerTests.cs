using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Training;

namespace Retro.Tests.Training;

public sealed class WindowSamplerTests : IDisposable
{
    private const int M = 8;
    private const int R = 16;

    private readonly TestDatabases _databases = new();
    private readonly TemporaryFolder _folder = new();

    public void Dispose()
    {
        _databases.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(1)]
    [InlineData(12)]
    [InlineData(12345)]
    public void The_rows_of_a_batch_are_read_from_the_identity(int rows)
    {
        using ChunkDatabase database = Database(80, out _);
        WindowSampler sampler = new(database, new() { WindowLength = 4 * M, BatchSize = rows });
        Assert.Equal(rows, new StoredTraining(1, default, default, sampler.Identity).BatchSize);
        Assert.Equal(rows, new StoredTraining(1, default, default, new MixedData([(sampler, 1)]).Identity).BatchSize);
        Assert.Null(new StoredTraining(1, default, default, null).BatchSize);
    }

    [Fact]
    public void P22_a_neighbor_never_shares_a_document_with_its_window()
    {
        using ChunkDatabase database = Database(80, out _);
        using NeighborTable table = Table(database);
        WindowSampler sampler = new(
            database, new() { WindowLength = 4 * M, BatchSize = 3, Neighbors = 2, RetrievedLength = R, RetrievalDropout = 0, Seed = 5 }, table);
        Dictionary<string, List<long>> byContent = ByContent(database);
        int neighbors = 0, filtered = 0;
        for (long index = 0; index < 40; index++)
        {
            TokenBatch batch = sampler.Batch(index, 0.5);
            for (int row = 0; row < 3; row++)
            {
                long[] chunks = Chunks(database, sampler, index * 3 + row, 4);
                string[] texts = [.. chunks.Select(chunk => database.Documents[database.DocumentOf(chunk)].ContentHash)];
                for (int chunk = 0; chunk < 3; chunk++)
                {
                    bool goesOn = database.Continuation(chunks[chunk]) == chunks[chunk + 1];
                    // What the rule allows, computed the slow way from the table and the texts.
                    long[] allowed = goesOn
                        ? [.. table.Row(chunks[chunk]).ToArray().Where(c => c >= 0 && !texts.Contains(database.Documents[database.DocumentOf(c)].ContentHash))]
                        : [];
                    filtered += goesOn ? table.Row(chunks[chunk]).ToArray().Count(c => c >= 0) - allowed.Length : 0;
                    for (int neighbor = 0; neighbor < 2; neighbor++)
                    {
                        long[] tokens = new long[R];
                        bool[] valid = new bool[R];
                        if (neighbor < allowed.Length)
                        {
                            database.CopyRetrieved(allowed[neighbor], tokens, valid);
                            neighbors++;
                        }

                        int offset = batch.Retrieved!.Offset(row, chunk, neighbor);
                        Assert.Equal(valid, batch.Retrieved!.Valid.Skip(offset).Take(R));
                        Assert.Equal(tokens.Where((_, i) => valid[i]), batch.Retrieved!.Tokens.Skip(offset).Take(R).Where((_, i) => valid[i]));
                    }
                }
            }
        }

        // The test means something: neighbors were given, others were taken away, and there are copies of documents.
        Assert.True(neighbors > 50);
        Assert.True(filtered > 20);
        Assert.Contains(byContent.Values, documents => documents.Count > 1);
    }

    [Fact]
    public void P24_where_a_table_holds_fewer_neighbors_than_asked_for_the_others_are_masked_and_no_row_stands_in()
    {
        using ChunkDatabase database = Database(80, out _);
        // No neighbor, one, or two, of three asked for; the first and the last chunk, which a missing one must not become, are neighbors of none.
        long number = -1;
        GivenNeighborSource source = new(database, _ =>
        {
            number++;
            return [.. Enumerable.Range(0, (int)(number % 3)).Select(i => 1 + ((number + 31 + (17 * i)) % (database.ChunkCount - 2)))];
        });
        using NeighborTable table = NeighborTable.Build(Path.Combine(_folder.Path, "table"), database, source, 3, excludeOwnDocument: false);
        Assert.Contains(Enumerable.Range(0, (int)database.ChunkCount), chunk => table.Row(chunk)[0] < 0);
        WindowSampler sampler = new(
            database, new() { WindowLength = 4 * M, BatchSize = 1, Neighbors = 3, RetrievedLength = R, RetrievalDropout = 0, Seed = 5 }, table);
        int[] slots = new int[4];
        for (long index = 0; index < 60; index++)
        {
            TokenBatch batch = sampler.Batch(index, 0.5);
            long[] chunks = Chunks(database, sampler, index, 4);
            string[] texts = [.. chunks.Select(chunk => database.Documents[database.DocumentOf(chunk)].ContentHash)];
            for (int chunk = 0; chunk < 3; chunk++)
            {
                long[] allowed = database.Continuation(chunks[chunk]) == chunks[chunk + 1]
                    ? [.. table.Row(chunks[chunk]).ToArray().Where(c => c >= 0 && !texts.Contains(database.Documents[database.DocumentOf(c)].ContentHash))]
                    : [];
                slots[allowed.Length] += database.Continuation(chunks[chunk]) == chunks[chunk + 1] ? 1 : 0;
                for (int neighbor = 0; neighbor < 3; neighbor++)
                {
                    int offset = batch.Retrieved!.Offset(0, chunk, neighbor);
                    long[] tokens = new long[R];
                    bool[] valid = new bool[R];
                    database.CopyRetrieved(neighbor < allowed.Length ? allowed[neighbor] : -1, tokens, valid);
                    Assert.Equal(neighbor < allowed.Length, valid.Contains(true));
                    Assert.Equal(valid, batch.Retrieved!.Valid[offset..(offset + R)]);
                    Assert.Equal(tokens.Where((_, i) => valid[i]), batch.Retrieved!.Tokens[offset..(offset + R)].Where((_, i) => valid[i]));
                }
            }
        }

        Assert.True(slots[..3].All(count => count > 5), $"Chunks with 0, 1 and 2 neighbors: {string.Join(", ", slots[..3])}.");
    }

    [Fact]
    public void Windows_are_consecutive_chunks_and_padding_and_first_tokens_are_no_targets()
    {
        using ChunkDatabase database = Database(60, out _);
        WindowSampler sampler = new(database, new() { WindowLength = 4 * M, BatchSize = 2, Neighbors = 0, Seed = 1 });
        for (long index = 0; index < 30; index++)
        {
            TokenBatch batch = sampler.Batch(index, 0);
            Assert.Null(batch.Retrieved);
            for (int row = 0; row < 2; row++)
            {
                long[] chunks = Chunks(database, sampler, index * 2 + row, 4);
                for (int offset = 0; offset < 4 * M; offset++)
                {
                    long chunk = chunks[offset / M];
                    int at = offset % M;
                    bool first = at == 0 && database.Documents[database.DocumentOf(chunk)].FirstChunk == chunk;
                    Assert.Equal(database.Tokens(chunk)[at], batch.Tokens[row * 4 * M + offset]);
                    Assert.Equal(at < database.TokenCount(chunk) && !first, batch.LossMask[row * 4 * M + offset]);
                    Assert.Equal(at >= database.TokenCount(chunk), batch.Padding[row * 4 * M + offset]);
                }
            }
        }
    }

    [Fact]
    public void An_epoch_reads_every_window_once_and_the_next_one_cuts_elsewhere()
    {
        using ChunkDatabase database = Database(60, out _);
        WindowSampler sampler = new(database, new() { WindowLength = 4 * M, Seed = 3 });
        List<long[]> epochs = [];
        for (int epoch = 0; epoch < 3; epoch++)
        {
            long[] firsts = [.. Enumerable.Range(0, (int)sampler.WindowsPerEpoch).Select(i => sampler.FirstChunk(epoch * sampler.WindowsPerEpoch + i))];
            long[] covered = [.. firsts.SelectMany(first => Enumerable.Range(0, 4).Select(i => (first + i) % database.ChunkCount))];
            Assert.Equal(covered.Length, covered.Distinct().Count());
            Assert.InRange(covered.Length, database.ChunkCount - 3, database.ChunkCount);
            epochs.Add(firsts);
        }

        Assert.NotEqual(epochs[0].Order(), epochs[1].Order());
        Assert.NotEqual(epochs[0], epochs[0].Order());
        WindowSampler other = new(database, new() { WindowLength = 4 * M, Seed = 4 });
        Assert.NotEqual(epochs[0], Enumerable.Range(0, epochs[0].Length).Select(i => other.FirstChunk(i)));
    }

    [Fact]
    public void A_batch_is_a_function_of_its_number_and_the_progress()
    {
        using ChunkDatabase database = Database(60, out _);
        using NeighborTable table = Table(database);
        WindowSamplerOptions options = new() { WindowLength = 4 * M, RetrievedLength = R, Planting = new(), Seed = 9 };
        WindowSampler one = new(database, options, table), other = new(database, options, table);
        TokenBatch[] forward = [.. Enumerable.Range(0, 20).Select(i => one.Batch(i, i / 20.0))];
        TokenBatch[] backward = [.. Enumerable.Range(0, 20).Reverse().Select(i => other.Batch(i, i / 20.0)).Reverse()];
        for (int i = 0; i < 20; i++)
        {
            Assert.Equal(forward[i].Tokens, backward[i].Tokens);
            Assert.Equal(forward[i].Retrieved?.Tokens, backward[i].Retrieved?.Tokens);
            Assert.Equal(forward[i].Retrieved?.Valid, backward[i].Retrieved?.Valid);
        }

        Assert.Equal(one.Identity, other.Identity);
        Assert.NotEqual(one.Identity, new WindowSampler(database, options with { Seed = 8 }, table).Identity);
        Assert.NotEqual(one.Identity, new WindowSampler(database, options).Identity);
    }

    [Fact]
    public void Retrieval_is_dropped_for_the_asked_share_of_batches()
    {
        using ChunkDatabase database = Database(60, out _);
        using NeighborTable table = Table(database);
        WindowSampler sampler = new(database, new() { WindowLength = 4 * M, RetrievedLength = R, RetrievalDropout = 0.1 }, table);
        int dropped = Enumerable.Range(0, 1000).Count(i => sampler.Batch(i, 0).Retrieved is null);
        Assert.InRange(dropped, 60, 140);
    }

    [Fact]
    public void At_first_planted_neighbors_are_the_windows_own_text()
    {
        using ChunkDatabase database = Database(60, out _);
        WindowSampler sampler = new(
            database, new() { WindowLength = 4 * M, BatchSize = 1, Neighbors = 2, RetrievedLength = R, RetrievalDropout = 0, Planting = new() { Share = 1 } });
        int planted = 0;
        for (long index = 0; index < 50; index++)
        {
            TokenBatch batch = sampler.Batch(index, 0);
            long[] chunks = Chunks(database, sampler, index, 4);
            for (int chunk = 0; chunk < 3; chunk++)
            {
                bool goesOn = database.Continuation(chunks[chunk]) == chunks[chunk + 1];
                bool[][] valid = [.. Enumerable.Range(0, 2).Select(k => batch.Retrieved!.Valid[batch.Retrieved!.Offset(0, chunk, k)..][..R])];
                Assert.Equal(goesOn ? 1 : 0, valid.Count(v => v.Contains(true)));
                if (goesOn)
                {
                    long[] tokens = new long[R];
                    bool[] exists = new bool[R];
                    database.CopyRetrieved(chunks[chunk], tokens, exists);
                    int slot = valid[0].Contains(true) ? 0 : 1;
                    Assert.Equal(exists, valid[slot]);
                    Assert.Equal(
                        tokens.Where((_, i) => exists[i]), batch.Retrieved!.Tokens[batch.Retrieved!.Offset(0, chunk, slot)..][..R].Where((_, i) => exists[i]));
                    planted++;
                }
            }
        }

        Assert.True(planted > 20);
    }

    [Fact]
    public void Later_copies_are_shifted_within_the_document_and_damaged_and_at_last_none_is_planted()
    {
        using ChunkDatabase database = Database(60, out _);
        PlantingSchedule planting = new() { Share = 1, MaximumShift = 5, MaximumNoise = 0.4 };
        WindowSampler sampler = new(
            database, new() { WindowLength = 4 * M, BatchSize = 1, Neighbors = 1, RetrievedLength = R, RetrievalDropout = 0, Planting = planting });
        HashSet<int> shifts = [];
        int equal = 0, all = 0, chunksThatGoOn = 0, planted = 0;
        for (long index = 0; index < 300; index++)
        {
            TokenBatch batch = sampler.Batch(index, 0.7499);
            long[] chunks = Chunks(database, sampler, index, 4);
            for (int chunk = 0; chunk < 3; chunk++)
            {
                if (database.Continuation(chunks[chunk]) != chunks[chunk + 1])
                {
                    continue;
                }

                chunksThatGoOn++;
                int start = batch.Retrieved!.Offset(0, chunk, 0);
                planted += batch.Retrieved!.Valid.AsSpan(start, R).Contains(true) ? 1 : 0;
            }
        }

        // Almost at the end hardly any copy is planted any more: the share falls linearly.
        Assert.InRange(planted, 0, chunksThatGoOn / 20);

        WindowSampler steady = new(
            database,
            new()
            {
                WindowLength = 4 * M,
                BatchSize = 1,
                Neighbors = 1,
                RetrievedLength = R,
                RetrievalDropout = 0,
                Planting = planting with { End = 1, AlignedUntil = 0, MaximumShift = 10, MaximumNoise = 0.8 }
            });
        for (long index = 0; index < 300; index++)
        {
            // Half way: shifts to 5, damage to 0.4.
            TokenBatch batch = steady.Batch(index, 0.5);
            long[] chunks = Chunks(database, steady, index, 4);
            for (int chunk = 0; chunk < 3; chunk++)
            {
                int start = batch.Retrieved!.Offset(0, chunk, 0);
                bool[] valid = batch.Retrieved!.Valid[start..(start + R)];
                if (!valid.Contains(true))
                {
                    continue;
                }

                DocumentEntry document = database.Documents[database.DocumentOf(chunks[chunk])];
                int[] text = TestDatabases.Text(database, document);
                int position = (int)(chunks[chunk] - document.FirstChunk) * M;
                // The shift is the one whose text agrees best.
                (int shift, int agreeing) = Enumerable.Range(-5, 11)
                    .Select(s =>
                        (s, Enumerable.Range(0, R)
                            .Count(i =>
                                position + s + i >= 0 && position + s + i < text.Length && text[position + s + i] == batch.Retrieved!.Tokens[start + i])))
                    .MaxBy(pair => pair.Item2);
                Assert.Equal(Enumerable.Range(0, R).Select(i => position + shift + i >= 0 && position + shift + i < text.Length), valid);
                shifts.Add(shift);

                // What is damaged is a token of the same window.
                HashSet<long> damaged = [.. Enumerable.Range(0, R)
                    .Where(i => valid[i] && text[position + shift + i] != batch.Retrieved!.Tokens[start + i])
                    .Select(i => batch.Retrieved!.Tokens[start + i])];
                Assert.Subset(batch.Tokens.ToHashSet(), damaged);
                equal += agreeing;
                all += valid.Count(v => v);
            }
        }

        Assert.Equal(Enumerable.Range(-5, 11), shifts.Order());
        // The damage is uniform from 0 to 0.4, so 0.2 on average; a replaced token may be the right one by chance.
        Assert.InRange((double)equal / all, 0.76, 0.9);
        Assert.All(Enumerable.Range(0, 50), index => Assert.DoesNotContain(true, sampler.Batch(index, 0.75).Retrieved!.Valid));
    }

    [Fact]
    public void Only_the_tokens_of_the_documents_that_are_asked_for_are_targets_and_all_are_read()
    {
        using ChunkDatabase database = Database(40, out _);
        WindowSamplerOptions options = new() { WindowLength = 4 * M, Seed = 2 };
        HashSet<int> chosen = [.. Enumerable.Range(0, database.Documents.Count).Where(document => document % 3 == 1)];
        WindowSampler all = new(database, options), some = new(database, options, targets: chosen);
        int targets = 0;
        for (long index = 0; index < 20; index++)
        {
            TokenBatch expected = all.Batch(index, 0), came = some.Batch(index, 0);
            Assert.Equal(expected.Tokens, came.Tokens);
            for (int place = 0; place < came.LossMask.Length; place++)
            {
                long window = (index * options.BatchSize) + (place / options.WindowLength);
                int document = database.DocumentOf((some.FirstChunk(window) + (place % options.WindowLength / M)) % database.ChunkCount);
                Assert.Equal(expected.LossMask[place] && chosen.Contains(document), came.LossMask[place]);
                targets += came.LossMask[place] ? 1 : 0;
            }
        }

        Assert.True(targets > 100);
        Assert.StartsWith(all.Identity, some.Identity, StringComparison.Ordinal);
        Assert.NotEqual(some.Identity, new WindowSampler(database, options, targets: new HashSet<int> { 1 }).Identity);
        Assert.Throws<ArgumentException>(() => new WindowSampler(database, options, targets: new HashSet<int>()));
        Assert.Throws<ArgumentException>(() => new WindowSampler(database, options, targets: new HashSet<int> { database.Documents.Count }));
    }

    [Fact]
    public void Its_construction_tells_how_far_it_is_and_can_be_canceled()
    {
        using ChunkDatabase database = Database(40, out _);
        List<StageProgress> told = [];
        _ = new WindowSampler(database, new() { WindowLength = 4 * M }, progress: new Reports<StageProgress>(told.Add));
        Assert.Equal(
            [new("compare documents", 0, database.Documents.Count), new("compare documents", database.Documents.Count, database.Documents.Count)], told);
        Assert.Throws<OperationCanceledException>(() => new WindowSampler(database, new() { WindowLength = 4 * M }, cancellationToken: new(canceled: true)));
    }

    [Fact]
    public void Faults_of_the_options_are_named_together_and_a_small_database_is_refused()
    {
        using ChunkDatabase database = Database(3, out _);
        RetroOptionsException exception = Assert.Throws<RetroOptionsException>(() =>
            new WindowSampler(database, new() { WindowLength = 12, BatchSize = 0, RetrievalDropout = 2, Planting = new() { End = 2 } }));
        Assert.All(
            ["WindowLength is 12", "BatchSize is 0", "RetrievalDropout is 2", "Planting.End is 2"],
            part => Assert.Contains(part, exception.Message, StringComparison.Ordinal));
        TrainingException small = Assert.Throws<TrainingException>(() => new WindowSampler(database, new() { WindowLength = 8000 }));
        Assert.Contains("needs 1000", small.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_table_of_another_database_is_refused()
    {
        using ChunkDatabase database = Database(40, out _);
        using ChunkDatabase other = _databases.Build(TestDatabases.Documents(40, seed: 77), M, "other");
        using NeighborTable table = Table(other);
        Assert.Throws<DatabaseException>(() => new WindowSampler(database, new() { WindowLength = 4 * M }, table));
    }

    /// <summary>A training that named the length goes on where it is left out.</summary>
    [Fact]
    public void A_chunk_and_the_next_one_are_retrieved_where_no_length_is_said()
    {
        using ChunkDatabase database = Database(40, out _);
        using NeighborTable table = Table(database);
        WindowSamplerOptions options = new() { WindowLength = 4 * M, RetrievalDropout = 0 };
        WindowSampler unsaid = new(database, options, table), said = new(database, options with { RetrievedLength = 2 * M }, table);
        Assert.Equal(2 * M, unsaid.Batch(0, 0.5).Retrieved!.Length);
        Assert.Equal(said.Identity, unsaid.Identity);
        Assert.Contains($"RetrievedLength = {2 * M},", unsaid.Identity, StringComparison.Ordinal);
    }

    [Fact]
    public void A_table_that_holds_fewer_neighbors_than_are_to_be_read_is_refused()
    {
        using ChunkDatabase database = Database(20, out _);
        using NeighborTable table = Table(database);
        WindowSamplerOptions options = new() { WindowLength = 2 * M, Neighbors = 7, RetrievedLength = R };
        string message = Assert.Throws<ArgumentException>(() => new WindowSampler(database, options, table)).Message;
        Assert.Contains("7 neighbors per chunk are to be read, and the table holds 6; make a table of as many", message, StringComparison.Ordinal);
        _ = new WindowSampler(database, options with { Neighbors = 6 }, table);
    }

    /// <summary>What is retrieved for a chunk is read by the next one.</summary>
    [Fact]
    public void A_window_of_one_chunk_is_refused_where_neighbors_are_to_be_read()
    {
        using ChunkDatabase database = Database(20, out _);
        using NeighborTable table = Table(database);
        WindowSamplerOptions one = new() { WindowLength = M, Neighbors = 2, RetrievedLength = R };
        string message = Assert.Throws<RetroOptionsException>(() => new WindowSampler(database, one, table)).Message;
        Assert.Contains("at least 16, two chunks", message, StringComparison.Ordinal);
        Assert.Null(new WindowSampler(database, one).Batch(0, 0.5).Retrieved);
        Assert.Equal(M, new WindowSampler(database, one with { WindowLength = 2 * M, RetrievalDropout = 0 }, table).Batch(0, 0.5).ChunkLength);
    }

    /// <summary>Documents of 0 to 60 bytes; every eighth is a copy of an earlier one under another name.</summary>
    private ChunkDatabase Database(int count, out List<Document> documents)
    {
        List<Document> made = TestDatabases.Documents(count);
        documents = [.. made.Select((document, i) => i % 8 == 7 ? TestDatabases.Document(document.Id, made[i - 3].Text) : document)];
        return _databases.Build(documents, M);
    }

    /// <summary>Six neighbors of each chunk: chunks next to it, which are mostly of the same or a nearby document, and far ones.</summary>
    private NeighborTable Table(ChunkDatabase database)
    {
        long number = -1;
        GivenNeighborSource source = new(database, _ =>
        {
            number++;
            return [.. new long[] { 1, 2, -1, 24, -24, 100 }.Select(distance => ((number + distance) % database.ChunkCount
                + database.ChunkCount) % database.ChunkCount)];
        });
        return NeighborTable.Build(Path.Combine(_folder.Path, Guid.NewGuid().ToString("N")), database, source, 6, excludeOwnDocument: false);
    }

    private static long[] Chunks(ChunkDatabase database, WindowSampler sampler, long window, int count)
        => [.. Enumerable.Range(0, count).Select(i => (sampler.FirstChunk(window) + i) % database.ChunkCount)];

    private static Dictionary<string, List<long>> ByContent(ChunkDatabase database)
        => database.Documents.Select((entry, i) => (entry.ContentHash, (long)i))
            .GroupBy(pair => pair.ContentHash)
            .ToDictionary(group => group.Key, group => group.Select(pair => pair.Item2).ToList());
}

using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Retrievers;
using Retro.Search;
using Retro.Tests.Embedders;

namespace Retro.Tests.Retrievers;

/// <summary>Feedback from its log to a retriever that heeds it.</summary>
public sealed class FeedbackTests : IDisposable
{
    private readonly RetrieverWorld _world = new();

    public void Dispose() => _world.Dispose();

    [Fact]
    public void What_was_said_is_read_in_its_order_and_replayed_over_the_database_of_today()
    {
        string path = _world["feedback.jsonl"];
        ChunkDatabase database = _world.Passages;
        DocumentEntry first = database.Documents[0], last = database.Documents[^1];
        using (FeedbackLog log = FeedbackLog.Open(path))
        {
            log.Append("what\nis \"it\"?", database, [first.FirstChunk, last.FirstChunk], accepted: true);
            Assert.Throws<RetroException>(() => FeedbackLog.Open(path));
            Assert.Single(FeedbackLog.Read(path)); // while it is added to
        }

        using (FeedbackLog log = FeedbackLog.Open(path))
        {
            log.Append("what\nis \"it\"?", database, [first.FirstChunk], accepted: false);
            log.Append("other", database, [], accepted: true);
        }

        IReadOnlyList<FeedbackEntry> entries = FeedbackLog.Read(path);
        Assert.Equal(3, File.ReadAllLines(path).Length);
        string edited = _world["edited.jsonl"];
        File.WriteAllBytes(edited, [0xEF, 0xBB, 0xBF, .. File.ReadAllBytes(path)]); // as some editors save it
        Assert.Equal(entries.Select(entry => entry.Prompt), FeedbackLog.Read(edited).Select(entry => entry.Prompt));
        Assert.Equal([true, false, true], entries.Select(entry => entry.Accepted));
        Assert.Equal("what\nis \"it\"?", entries[0].Prompt);
        Assert.InRange(entries[1].Time - entries[0].Time, TimeSpan.Zero, TimeSpan.FromHours(1));
        Assert.Equal(
            [("what\nis \"it\"?", first.FirstChunk, false), ("what\nis \"it\"?", last.FirstChunk, true)],
            FeedbackLog.Replay(entries, database).Select(pair => (pair.Prompt, pair.Chunk, pair.Accepted)));

        // Another database of the same documents in another order, one of them changed and one gone.
        Document[] now = [.. database.Documents.Reverse().Where(entry => entry.Id != "p3").Select(entry => new Document(
            entry.Id, "", entry.Id == first.Id ? "something else" : Text(database, entry), ""))];
        using ChunkDatabase today = _world.Build("today", now);
        FeedbackPair pair = Assert.Single(FeedbackLog.Replay(entries, today));
        Assert.Equal((last.Id, true), (today.Documents[today.DocumentOf(pair.Chunk)].Id, pair.Accepted));
    }

    /// <summary>Ids are unique within a folder alone; the content tells them apart.</summary>
    [Fact]
    public void Feedback_is_replayed_over_databases_that_were_opened_as_one()
    {
        _world.Build("one", [new Document("readme", "", RetrieverWorld.Words(1, false, new Random(1)), "")]).Dispose();
        _world.Build("two", [new Document("readme", "", RetrieverWorld.Words(2, false, new Random(1)), "")]).Dispose();
        using ChunkDatabase both = ChunkDatabase.Open([_world["one"], _world["two"]]);
        long second = both.Documents[1].FirstChunk;
        string path = _world["feedback.jsonl"];
        using (FeedbackLog log = FeedbackLog.Open(path))
        {
            log.Append("a", both, [second], accepted: true);
        }

        Assert.Equal([new FeedbackPair("a", second, true)], FeedbackLog.Replay(FeedbackLog.Read(path), both));
    }

    [Fact]
    public void A_line_that_a_kill_cut_off_is_no_entry_and_is_overwritten_and_damage_is_told()
    {
        string path = _world["feedback.jsonl"];
        using (FeedbackLog log = FeedbackLog.Open(path))
        {
            log.Append("a", _world.Passages, [0], accepted: true);
        }

        byte[] whole = File.ReadAllBytes(path);
        for (int cut = 0; cut < whole.Length - 1; cut++)
        {
            File.WriteAllBytes(path, [.. whole, .. whole.AsSpan(0, cut)]);
            Assert.Single(FeedbackLog.Read(path));
        }

        using (FeedbackLog log = FeedbackLog.Open(path))
        {
            log.Append("b", _world.Passages, [1], accepted: false);
        }

        Assert.Equal(["a", "b"], FeedbackLog.Read(path).Select(entry => entry.Prompt));

        // An editor that writes no end of the last line takes no entry with it.
        File.WriteAllText(path, File.ReadAllText(path).TrimEnd());
        Assert.Equal(["a", "b"], FeedbackLog.Read(path).Select(entry => entry.Prompt));
        using (FeedbackLog log = FeedbackLog.Open(path))
        {
            log.Append("c", _world.Passages, [1], accepted: false);
        }

        Assert.Equal(["a", "b", "c"], FeedbackLog.Read(path).Select(entry => entry.Prompt));
        File.WriteAllText(path, "{}\n");
        Assert.Contains("Line 1 of the feedback log", Assert.Throws<RetroException>(() => FeedbackLog.Read(path)).Message, StringComparison.Ordinal);
        File.WriteAllText(path, "{\"Prompt\":\"a\",\"Passages\":[null]}\n");
        Assert.Throws<RetroException>(() => FeedbackLog.Read(path));
        Assert.Throws<RetroException>(() => FeedbackLog.Read(_world["nowhere"]));
        Assert.Throws<RetroException>(() => FeedbackLog.Open(Path.Combine(_world["nowhere"], "log")));
    }

    /// <summary>Whatever pieces of the file its lines lie in, the longest that may be among them.</summary>
    [Fact]
    public void A_long_log_is_read_line_by_line_and_a_file_beyond_arrays_is_told()
    {
        string path = _world["feedback.jsonl"];
        using (FeedbackLog log = FeedbackLog.Open(path))
        {
            log.Append("?", _world.Passages, [0, 1], accepted: true);
        }

        string line = File.ReadAllText(path);
        int room = (1 << 20) - line.Length;
        string[] prompts = [.. new[] { 7, 500_000, room, 3, 400_000, 800_000, 1, room, 9 }.Select((length, i) => $"{i}" + new string('x', length))];
        File.WriteAllText(path, string.Concat(prompts.Select(prompt => line.Replace("\"?\"", $"\"{prompt}\"", StringComparison.Ordinal))).TrimEnd());
        Assert.Equal(prompts, FeedbackLog.Read(path).Select(entry => entry.Prompt));
        Assert.Equal(
            prompts.SelectMany(prompt => new[] { prompt, prompt }),
            FeedbackLog.Replay(FeedbackLog.Read(path), _world.Passages).Select(one => one.Prompt));
        using (FileStream zeros = File.Create(path))
        {
            zeros.SetLength(2_300_000_000);
            zeros.Seek(-1, SeekOrigin.End);
            zeros.WriteByte((byte)'\n');
        }

        Assert.Contains("Line 1 of the feedback log", Assert.Throws<RetroException>(() => FeedbackLog.Read(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_log_on_a_full_disk_stays_whole_and_goes_on_with_more_space()
    {
        using MountedDisk disk = new("32k");
        string path = disk["feedback.jsonl"], filler = disk["filler"];
        using (FeedbackLog log = FeedbackLog.Open(path))
        {
            log.Append("a", _world.Passages, [0], accepted: true);
            File.WriteAllBytes(filler, new byte[6 * 4096]);
            RetroException fault = Assert.Throws<RetroException>(() => log.Append(new string('b', 12_000), _world.Passages, [0], accepted: true));
            Assert.Contains("free space", fault.Message, StringComparison.Ordinal);
            Assert.Single(File.ReadAllLines(path));
            File.Delete(filler);
            log.Append("c", _world.Passages, [0], accepted: true);
        }

        Assert.Equal(["a", "c"], FeedbackLog.Read(path).Select(entry => entry.Prompt));
    }

    [Theory]
    [InlineData("""{"vocabulary":["a","b"]}""")]
    [InlineData("some notes\nof somebody")]
    [InlineData("{\"Time\":")]
    public void A_file_that_is_no_log_is_refused_and_stays_as_it_is(string text)
    {
        string path = _world["other.json"];
        text = text.EndsWith(':') ? text + new string('1', 3 << 20) : text;
        File.WriteAllText(path, text);
        Assert.Contains("no entry of a feedback log", Assert.Throws<RetroException>(() => FeedbackLog.Open(path)).Message, StringComparison.Ordinal);
        Assert.Throws<RetroException>(() => FeedbackLog.Read(path));
        Assert.Equal(text, File.ReadAllText(path));
        File.WriteAllText(path, "");
        FeedbackLog.Open(path).Dispose(); // nothing keeps it from being written
    }

    [Fact]
    public void A_query_tower_that_is_trained_on_feedback_finds_what_was_accepted()
    {
        // Prompts are the first words of a topic, and the passages have others: an embedder that knows words finds nothing.
        Random random = new(5);
        List<FeedbackPair> pairs = [];
        for (int i = 0; i < RetrieverWorld.Topics * 6; i++)
        {
            string prompt = RetrieverWorld.Words(i, false, random);
            long helpful = _world.Passages.Documents[i % _world.Passages.Documents.Count].FirstChunk;
            long useless = _world.Passages.Documents[(i + 3) % _world.Passages.Documents.Count].FirstChunk;
            pairs.Add(new(prompt, helpful, true));
            pairs.Add(new(prompt, useless, false));
        }

        RetrieverTrainingOptions options = new() { Steps = 80, BatchSize = 8, LearningRate = 3e-3 };
        List<StageProgress> told = [];
        using TextEmbedder tower = FeedbackTrainer.Train(
            _world.Embedder, RetrieverWorld.Tokenizer, _world.Source, pairs, options, progress: new Reports<StageProgress>(told.Add));
        Assert.True(told[^1].Loss < told[0].Loss);
        using TextEmbedder same = FeedbackTrainer.Train(_world.Embedder, RetrieverWorld.Tokenizer, _world.Source, pairs, options);
        TowerNeighborSource learned = new(_world.Source, new ChunkKeyer(RetrieverWorld.Tokenizer, tower)),
            again = new(_world.Source, new ChunkKeyer(RetrieverWorld.Tokenizer, same));
        (double before, double after) = (Right(_world.Source), Right(learned));
        Assert.True(after > before + 0.2, $"{before} -> {after}");
        Assert.Equal(after, Right(again));

        // New prompts of the topics, the share of whose best passages are of the topic.
        double Right(INeighborSource source)
        {
            Random fresh = new(77);
            int right = 0, count = 0;
            for (int topic = 0; topic < RetrieverWorld.Topics * 4; topic++)
            {
                int[] tokens = RetrieverWorld.Tokenizer.Encode(RetrieverWorld.Words(topic, false, fresh));
                long[] chunks = new long[3];
                source.Find([new NeighborQuery(tokens, [])], 3, chunks, new float[3]);
                right += chunks.Count(chunk => chunk >= 0 && _world.Passages.DocumentOf(chunk) % RetrieverWorld.Topics == topic % RetrieverWorld.Topics);
                count += 3;
            }

            return (double)right / count;
        }
    }

    /// <summary>
    /// A row's chunk is told from those that were accepted for other prompts of the batch and from those that were rejected for any; what else was accepted for
    /// its own prompt does not count.
    /// </summary>
    [Fact]
    public void The_loss_is_that_of_a_softmax_over_what_was_rejected_and_what_was_accepted_for_others()
    {
        const double temperature = 0.2;
        long[] chunks = [.. _world.Passages.Documents.Take(5).Select(document => document.FirstChunk)];
        FeedbackPair[] one = [new("a", chunks[0], true), new("a", chunks[1], false)];
        FeedbackPair[] several =
        [
            new("a", chunks[0], true), new("a", chunks[1], true), new("b", chunks[2], true), new("a", chunks[3], false), new("b", chunks[4], false),
        ];
        ChunkKeyer keyer = new(RetrieverWorld.Tokenizer, _world.Embedder);

        Assert.Equal(Cost("a", 0, 1), Told(one), 1e-4);
        Assert.Equal((Cost("a", 0, 2, 3, 3, 4) + Cost("a", 1, 2, 3, 3, 4) + Cost("b", 2, 0, 1, 3, 3, 4)) / 3, Told(several), 1e-4);

        double Told(FeedbackPair[] pairs)
        {
            List<StageProgress> told = [];
            RetrieverTrainingOptions options = new() { Steps = 1, BatchSize = pairs.Count(pair => pair.Accepted), Temperature = temperature };
            using TextEmbedder tower = FeedbackTrainer.Train(
                _world.Embedder, RetrieverWorld.Tokenizer, _world.Source, pairs, options, progress: new Reports<StageProgress>(told.Add));
            Assert.NotEqual(_world.Embedder.Identity, tower.Identity);
            return Assert.Single(told).Loss!.Value;
        }

        double Cost(string prompt, int accepted, params int[] others)
        {
            float[] query = keyer.KeyOfText(
                RetrieverWorld.Tokenizer.Decode(NeighborQuery.Of(prompt, _world.Passages, RetrieverWorld.Tokenizer).Tokens.Span));
            return Math.Log(1 + others.Sum(other => Math.Exp(Score(other) - Score(accepted))));

            // Minus half the squared distance, by which the source compares.
            double Score(int i) => -0.5 * query.Zip(keyer.KeyOfText(RetrieverWorld.Tokenizer.Decode(_world.Passages.OwnTokens(chunks[i]))))
                .Sum(pair => Math.Pow((double)pair.First - pair.Second, 2)) / temperature;
        }
    }

    [Fact]
    public void A_tower_over_keys_of_length_1_makes_such()
    {
        using TextEmbedder embedder = new(new TextEncoder(EmbeddingInputs.Tiny with { Normalize = false }, 3), RetrieverWorld.Tokenizer);
        using DenseNeighborSource source = DenseNeighborSource.Build(_world.Passages, new ChunkKeyer(RetrieverWorld.Tokenizer, embedder, normalize: true));
        FeedbackPair[] pairs = [.. new[] { "a", "b" }.Select((prompt, i) => new FeedbackPair(prompt, _world.Passages.Documents[i].FirstChunk, true))];
        using TextEmbedder tower = FeedbackTrainer.Train(embedder, RetrieverWorld.Tokenizer, source, pairs, new() { Steps = 2, BatchSize = 2 });
        Assert.Equal(1, Length(new ChunkKeyer(RetrieverWorld.Tokenizer, tower)), 1e-5);
        Assert.NotEqual(1, Length(new ChunkKeyer(RetrieverWorld.Tokenizer, embedder)), 1e-2);

        static double Length(ChunkKeyer keyer) => Math.Sqrt(keyer.KeyOfText("the river").Sum(value => (double)value * value));
    }

    /// <summary>A batch of two passages that were both accepted for one prompt holds nothing to tell apart.</summary>
    [Fact]
    public void Another_passage_that_was_accepted_for_a_prompt_is_no_negative_of_it()
    {
        FeedbackPair[] pairs = [.. new[] { "a", "a", "b" }.Select((prompt, i) => new FeedbackPair(prompt, _world.Passages.Documents[i].FirstChunk, true))];
        using TextEmbedder same = OneStep(_world, pairs, together: true), other = OneStep(_world, pairs, together: false);
        Assert.Equal(_world.Embedder.Identity, same.Identity);
        Assert.NotEqual(_world.Embedder.Identity, other.Identity);
    }

    /// <summary>Chunks of one text have one key, whatever documents they stand in, and prompts that read alike are one.</summary>
    [Fact]
    public void A_copy_of_an_accepted_passage_is_no_negative_and_a_prompt_is_what_is_read_of_it()
    {
        using RetrieverWorld world = new(
            _ => [.. new[] { 0, 0, 1 }.Select((topic, i) => new Document($"p{i}", "", RetrieverWorld.Words(topic, true, new Random(topic)), ""))]);
        long[] first = [.. world.Passages.Documents.Select(document => document.FirstChunk)];
        FeedbackPair[] pairs = [.. new[] { "a", "b", "c" }.Select((prompt, i) => new FeedbackPair(prompt, first[i], true))];
        using TextEmbedder same = OneStep(world, pairs, together: true), other = OneStep(world, pairs, together: false);
        Assert.Equal(world.Embedder.Identity, same.Identity);
        Assert.NotEqual(world.Embedder.Identity, other.Identity);
        Assert.All(
            new FeedbackPair[][]
            {
                pairs[..2], [new("a", first[0], true), new("a", first[1], false)], [new("a", first[0], true), new("a", first[0], false)],
                [new(" a", first[0], true), new("   a", first[2], true)],
            },
            alike => Assert.Contains(
                "nothing to tell apart", Assert.Throws<TrainingException>(() => OneStep(world, alike, together: true)).Message, StringComparison.Ordinal));
    }

    /// <summary>Where nothing is to be told apart the tower stays as it began.</summary>
    [Fact]
    public void A_tower_that_was_trained_before_is_trained_on()
    {
        FeedbackPair[] pairs = [.. new[] { "a", "a", "b" }.Select((prompt, i) => new FeedbackPair(prompt, _world.Passages.Documents[i].FirstChunk, true))];
        using TextEmbedder tower = OneStep(_world, pairs, together: false);
        string before = tower.Identity;
        using TextEmbedder same = OneStep(_world, pairs, together: true, tower), other = OneStep(_world, pairs, together: false, tower);
        Assert.Equal(before, same.Identity);
        Assert.NotEqual(before, other.Identity);
        using TextEmbedder narrow = new(new TextEncoder(Embedders.EmbeddingInputs.Tiny with { Width = 16 }), RetrieverWorld.Tokenizer);
        Assert.Contains(
            "keys of 32 numbers, and the tower to start from makes 16",
            Assert.Throws<ArgumentException>(() => OneStep(_world, pairs, together: true, narrow)).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "given beside that embedder (start)",
            Assert.Throws<ArgumentException>(() => FeedbackTrainer.Train(tower, RetrieverWorld.Tokenizer, _world.Source, pairs)).Message,
            StringComparison.Ordinal);
    }

    /// <summary>A prompt reaches the tower as a query, of which no more than one space before the text is left.</summary>
    [Fact]
    public void Prompts_are_trained_as_they_are_asked_with()
    {
        using TextEmbedder typed = Train("   "), asked = Train(" ");
        Assert.NotEqual(_world.Embedder.Identity, asked.Identity);
        Assert.Equal(asked.Identity, typed.Identity);

        TextEmbedder Train(string before)
        {
            FeedbackPair[] pairs =
                [.. new[] { "ab", "cd", "ef" }.Select((text, i) => new FeedbackPair(before + text, _world.Passages.Documents[i].FirstChunk, true))];
            return FeedbackTrainer.Train(_world.Embedder, RetrieverWorld.Tokenizer, _world.Source, pairs, new() { Steps = 2, BatchSize = 3 });
        }
    }

    [Fact]
    public void Feedback_without_anything_accepted_or_of_another_database_is_refused()
    {
        TextEmbedder Train(params FeedbackPair[] pairs) => FeedbackTrainer.Train(_world.Embedder, RetrieverWorld.Tokenizer, _world.Source, pairs);
        Assert.All(
            new FeedbackPair[][] { [new("a", 0, true)], [new("a", 0, true), new("a", 1, true), new("b", 1, false)], [new("a", 0, true), new("b", 0, true)] },
            pairs => Assert.Contains("nothing to tell apart", Assert.Throws<TrainingException>(() => Train(pairs)).Message, StringComparison.Ordinal));
        Assert.Contains(
            "BatchSize 1",
            Assert.Throws<TrainingException>(() => FeedbackTrainer.Train(
                _world.Embedder, RetrieverWorld.Tokenizer, _world.Source, [new("a", 0, true), new("b", 1, true)], new() { BatchSize = 1 })).Message,
            StringComparison.Ordinal);
        Assert.Contains("None of 1 pairs", Assert.Throws<TrainingException>(() => Train(new FeedbackPair("a", 0, false))).Message, StringComparison.Ordinal);
        Assert.Contains(
            "names chunk", Assert.Throws<ArgumentException>(() => Train(new FeedbackPair("a", long.MaxValue, true))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Another_embedder_a_chunk_without_a_key_and_settings_of_other_trainings_are_refused()
    {
        FeedbackPair[] pairs = [new("a", 0, true)];
        using TextEmbedder other = new(new TextEncoder(Embedders.EmbeddingInputs.Tiny, 4), RetrieverWorld.Tokenizer);
        Assert.Contains(
            "a query tower starts as a copy",
            Assert.Throws<ArgumentException>(() => FeedbackTrainer.Train(other, RetrieverWorld.Tokenizer, _world.Source, pairs)).Message,
            StringComparison.Ordinal);

        using RetrieverWorld wordless = new(_ => [new("a", "", "words are here", ""), new("b", "", "... --- ...", "")]);
        Assert.Contains(
            "Chunk 1, which a pair names, has no key",
            Assert.Throws<ArgumentException>(
                () => FeedbackTrainer.Train(wordless.Embedder, RetrieverWorld.Tokenizer, wordless.Source, [.. pairs, new("a", 1, false)])).Message,
            StringComparison.Ordinal);

        RetrieverTrainingOptions options = new() { Neighbors = 4, WindowLength = 128, InBatchNegatives = true, RefreshEvery = 10 };
        RetroOptionsException fault = Assert.Throws<RetroOptionsException>(
            () => FeedbackTrainer.Train(_world.Embedder, RetrieverWorld.Tokenizer, _world.Source, pairs, options));
        Assert.Equal(4, fault.Faults.Count);
        Assert.Contains("RefreshEvery is 10; expected not set, since documents keep their keys", fault.Message, StringComparison.Ordinal);
    }

    /// <summary>One step, of the first two of three pairs or of the last and one of them.</summary>
    private static TextEmbedder OneStep(RetrieverWorld world, FeedbackPair[] pairs, bool together, TextEmbedder? start = null)
    {
        long seed = Enumerable.Range(0, 100).First(
            one => new SeededPermutation(3, one, Purpose.FeedbackOrder, 0) is var order && order.At(0) + order.At(1) == 1 == together);
        RetrieverTrainingOptions options = new() { Steps = 1, BatchSize = 2, WeightDecay = 0, Seed = seed };
        return FeedbackTrainer.Train(world.Embedder, RetrieverWorld.Tokenizer, world.Source, pairs, options, start);
    }

    private static string Text(ChunkDatabase database, DocumentEntry entry)
        => RetrieverWorld.Tokenizer.Decode(Database.TestDatabases.Text(database, entry));
}

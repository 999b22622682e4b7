using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Database;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Readers;

public sealed class ModelReaderTests
{
    private const int M = TinyRetro.M;

    private static readonly RetroConfig s_config = TinyRetro.Config with { VocabularySize = 11 };

    [Fact]
    public void On_and_off_are_the_models_own_log_likelihoods_at_the_targets_and_the_first_neighbors_are_taken()
    {
        manual_seed(1);
        using RetroModel model = new(s_config, ScalarType.Float64);
        ReadingBatch batch = Batch();
        Assert.Equal(Expected(model, batch, 0), new DecoderReader(model).LogLikelihoods(batch), (one, other) => Math.Abs(one - other) < 1e-12);
        double[] on = new RetroReader(model).LogLikelihoods(batch), three = new RetroReader(model, 3).LogLikelihoods(batch);
        Assert.Equal(Expected(model, batch, 2), on, (one, other) => Math.Abs(one - other) < 1e-12);
        Assert.Equal(Expected(model, batch, 3), three, (one, other) => Math.Abs(one - other) < 1e-12);
        Assert.NotEqual(on, three);
        Assert.All(Enumerable.Range(0, on.Length).Where(i => batch.Targets[i] == LogLikelihood.NoTarget), i => Assert.Equal(0, on[i]));
    }

    [Fact]
    public void A_text_in_several_rows_is_what_it_is_alone()
    {
        manual_seed(1);
        using RetroModel model = new(s_config, ScalarType.Float64);
        DecoderReader reader = new(model);
        ReadingBatch batch = Batch(), four = new(4, batch.Length, M);
        for (int row = 0; row < 4; row++)
        {
            // The third repeats the first, and the last has the second one's tokens and other targets.
            batch.Tokens.AsSpan(row % 2 * batch.Length, batch.Length).CopyTo(four.Tokens.AsSpan(row * batch.Length));
            batch.Targets.AsSpan((row % 3) % 2 * batch.Length, batch.Length).CopyTo(four.Targets.AsSpan(row * batch.Length));
        }

        double[] together = reader.LogLikelihoods(four);

        for (int row = 0; row < 4; row++)
        {
            ReadingBatch one = new(1, batch.Length, M);
            four.Tokens.AsSpan(row * batch.Length, batch.Length).CopyTo(one.Tokens);
            four.Targets.AsSpan(row * batch.Length, batch.Length).CopyTo(one.Targets);
            Assert.Equal(reader.LogLikelihoods(one), together[(row * batch.Length)..((row + 1) * batch.Length)], (x, y) => Math.Abs(x - y) < 1e-12);
        }

        (ReadingBatch texts, int[] rows) = four.DifferentTexts();
        Assert.Equal(3, texts.Rows);
        Assert.Equal([0, 1, 0, 2], rows);
    }

    [Fact]
    public void The_rule_stands_on_a_retro_that_reads_fewer_neighbors_and_without_mass_it_is_that_retro()
    {
        using RetroModel model = new(s_config, ScalarType.Float64);
        ReadingBatch batch = Batch();
        RetroReader retro = new(model);
        PointerReader none = new(retro, new PointerRule(3, M, 2 * M, new double[PointerRule.LongestRun]));
        PointerReader some = new(retro, new PointerRule(3, M, 2 * M, [.. Enumerable.Repeat(0.5, PointerRule.LongestRun)]));
        Assert.Equal(("RETRO + pointer rule, k = 3", 3), (none.Name, none.Neighbors));
        PointerReader closed = new(new DecoderReader(model), new PointerRule(3, M, 2 * M, new double[PointerRule.LongestRun]));
        Assert.Equal((true, false), (none.ReadsEarlierNeighbors, closed.ReadsEarlierNeighbors)); // the rule itself begins anew at each stretch
        Assert.Equal(retro.LogLikelihoods(batch), none.LogLikelihoods(batch));
        Assert.NotEqual(retro.LogLikelihoods(batch), some.LogLikelihoods(batch));
        Assert.All(
            none.LogLikelihoods(batch).Zip(some.LogLikelihoods(batch)), pair => Assert.True(pair.Second >= pair.First + Math.Log(1 - 0.95 * 0.5) - 1e-12));
    }

    /// <summary>Whoever measures asks the reader on top, and has to be told what the one below wants.</summary>
    [Fact]
    public void What_stands_on_another_reader_passes_on_how_that_one_asks_and_from_what_it_reads()
    {
        using TestDatabases databases = new();
        using ChunkDatabase database = databases.Build(TestDatabases.Documents(3, seed: 2), M);
        foreach (bool earlier in new[] { true, false })
        {
            AskingReader below = new(database, earlier);
            PointerRule rule = new(2, M, 2 * M, new double[PointerRule.LongestRun]);
            PointerReader above = new(below, rule);
            Assert.Equal(
                (2, M, 2 * M, 3, earlier, database, below.Device, 7L),
                (above.Neighbors, above.ChunkLength, above.RetrievedLength, above.QueryLength, above.ReadsEarlierNeighbors, above.Database, above.Device,
                    above.RowBytes(5)));
        }
    }

    [Fact]
    public void Off_on_and_the_rule_keep_the_readers_contract()
    {
        manual_seed(1);
        using RetroModel model = new(s_config, ScalarType.Float64);
        ReadingBatch batch = ReaderContract.Batch(11, 2, (3 * M) + 1, M, 3, 2 * M, seed: 4);
        PointerRule rule = new(3, M, 2 * M, [.. Enumerable.Repeat(0.5, PointerRule.LongestRun)]);
        foreach (IReader reader in new IReader[] { new DecoderReader(model), new RetroReader(model, 3), new PointerReader(new RetroReader(model), rule) })
        {
            ReaderContract.Check(reader, batch, 11);
        }
    }

    [Fact]
    public void A_head_in_slices_gives_what_the_whole_head_gives()
    {
        manual_seed(1);
        using RetroModel model = new(s_config, ScalarType.Float64);
        using DisposeScope scope = NewDisposeScope();
        Tensor tokens = randint(11, [3, 9], dtype: ScalarType.Int64), places = tensor(new long[] { 0, 5, 8, 9, 26 }),
            targets = tensor(new long[] { 1, 2, 3, 4, 10 });
        Tensor whole = model.LogLikelihoodsAt(tokens, places, targets, null, null, long.MaxValue);
        Assert.True(whole.allclose(model.LogLikelihoodsAt(tokens, places, targets, null, null, 1), 0, 1e-12));
        Assert.True(whole.allclose(model.LogLikelihoodsAt(tokens, places, targets, null, null, 2 * 11 * sizeof(float)), 0, 1e-12));
        Assert.Throws<ArgumentException>(() => model.LogLikelihoodsAt(tokens, places, tensor(new long[] { 1, 2, 3, 4, 11 }), null, null, 1));
    }

    [Fact]
    public void Reading_leaves_evaluation_mode_and_no_tensor()
    {
        using RetroModel model = new(s_config);
        model.train();
        RetroReader reader = new(model);
        ReadingBatch batch = Batch();
        reader.LogLikelihoods(batch);
        Assert.False(model.training);
        long before = LiveTensors.Settled();
        reader.LogLikelihoods(batch);
        Assert.Equal(before, Tensor.TotalCount);
    }

    [Fact]
    public void Names_say_what_is_read_and_a_model_that_cannot_is_refused()
    {
        using RetroModel model = new(s_config), plain = new(s_config with { Retrieval = null });
        Assert.Equal(["closed book", "RETRO off", "RETRO", "mine"],
            [new DecoderReader(plain).Name, new DecoderReader(model).Name, new RetroReader(model).Name, new DecoderReader(plain, "mine").Name]);
        Assert.Throws<ArgumentException>(() => new RetroReader(plain));
        Assert.Throws<ArgumentOutOfRangeException>(() => new RetroReader(model, 0));
        ReadingBatch few = new(1, M, M) { Retrieved = new(1, 1, 1, 2 * M) }, longer = new(1, M, M) { Retrieved = new(1, 1, 2, 2 * M + 1) };
        Assert.Throws<ArgumentException>(() => new RetroReader(model).LogLikelihoods(few));
        Assert.Throws<ArgumentException>(() => new RetroReader(model).LogLikelihoods(longer));
        Assert.Throws<ArgumentException>(() => new RetroReader(model).LogLikelihoods(new ReadingBatch(1, 2 * M, 2 * M)));
        Assert.True(new RetroReader(model, 8).RowBytes(512) > new RetroReader(model, 2).RowBytes(512));
        Assert.Equal(new DecoderReader(plain).RowBytes(512), new DecoderReader(model).RowBytes(512));
    }

    private sealed class AskingReader(ChunkDatabase database, bool earlier) : IReader
    {
        public string Name => "asking";

        public int Neighbors => 2;

        public int? ChunkLength => M;

        public int? RetrievedLength => 2 * M;

        public int? QueryLength => 3;

        public bool ReadsEarlierNeighbors => earlier;

        public ChunkDatabase? Database => database;

        public Device Device => CPU;

        public long RowBytes(int length) => length + 2;

        public double[] LogLikelihoods(ReadingBatch batch) => new double[batch.Targets.Length];
    }

    private static ReadingBatch Batch()
    {
        Random random = new(2);
        ReadingBatch batch = new(2, 3 * M + 1, M) { Retrieved = new(2, 3, 3, 2 * M) };
        for (int i = 0; i < batch.Tokens.Length; i++)
        {
            batch.Tokens[i] = random.Next(11);
            batch.Targets[i] = random.Next(3) == 0 ? LogLikelihood.NoTarget : random.Next(11);
        }

        for (int i = 0; i < batch.Retrieved!.Tokens.Length; i++)
        {
            (batch.Retrieved.Tokens[i], batch.Retrieved.Valid[i]) = (random.Next(11), random.Next(5) > 0);
        }

        return batch;
    }

    private static double[] Expected(RetroModel model, ReadingBatch batch, int neighbors)
    {
        using DisposeScope scope = NewDisposeScope();
        (Tensor? tokens, Tensor? valid) = batch.Retrieved!.ToTensors();
        long[] shape = [batch.Rows, batch.Length];
        Tensor logits = neighbors == 0 ? model.call(tensor(batch.Tokens, shape), null, null)
            : model.call(tensor(batch.Tokens, shape), tokens!.narrow(2, 0, neighbors), valid!.narrow(2, 0, neighbors));
        return LogLikelihood.Of(logits, tensor(batch.Targets, shape)).data<double>().ToArray();
    }
}

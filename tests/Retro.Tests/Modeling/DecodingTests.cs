using FsCheck;
using FsCheck.Fluent;
using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

/// <summary>Properties 18 to 21: prefixes, caches, batches of unequal rows.</summary>
public class DecodingTests
{
    private const double Rounding = 1e-10;

    public static IEnumerable<TheoryDataRow<string>> Names => ModelCase.Names;

    [Theory]
    [MemberData(nameof(Names))]
    public void P18_a_prefix_gives_the_first_rows_of_the_whole(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        long length = (3 * config.Retrieval!.ChunkLength) + 2;
        Tensor tokens = ModelCase.Tokens(config, 2, length);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 2, length, 2);
        Tensor whole = model.call(tokens, neighbors, valid);

        for (long t = 1; t <= length; t++)
        {
            long chunks = t / config.Retrieval!.ChunkLength;
            Tensor prefix = model.call(tokens.narrow(1, 0, t), neighbors.narrow(1, 0, chunks), valid.narrow(1, 0, chunks));
            Assert.InRange(ModelCase.Distance(whole.narrow(1, 0, t), prefix), 0, Rounding);
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void P19_decoding_with_caches_equals_the_full_pass_after_a_prefill_of_any_length(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        long length = (3 * config.Retrieval!.ChunkLength) + 2;
        Tensor tokens = ModelCase.Tokens(config, 1, length);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 1, length, 2);
        Tensor whole = model.call(tokens, neighbors, valid);

        for (long start = 0; start <= (2 * config.Retrieval!.ChunkLength) + 1; start++)
        {
            // A small capacity, so that it has to grow on the way.
            using DecodingCache cache = model.NewCache(1, capacity: 2);
            if (start > 0)
            {
                long chunks = start / config.Retrieval!.ChunkLength;
                Tensor logits = model.Prefill(cache, tokens.narrow(1, 0, start), null, neighbors.narrow(1, 0, chunks), valid.narrow(1, 0, chunks));
                Assert.InRange(ModelCase.Distance(whole.select(1, start - 1), logits), 0, Rounding);
            }

            for (long t = start; t < length; t++)
            {
                bool completes = cache.CompletesChunk(0);
                Assert.Equal((t + 1) % config.Retrieval!.ChunkLength == 0, completes);
                long chunk = ((t + 1) / config.Retrieval!.ChunkLength) - 1;
                Tensor logits = completes
                    ? model.Step(cache, tokens.select(1, t), neighbors.select(1, chunk), valid.select(1, chunk))
                    : model.Step(cache, tokens.select(1, t));
                Assert.InRange(ModelCase.Distance(whole.select(1, t), logits), 0, Rounding);
            }

            Assert.Equal(length, cache.Lengths[0]);
        }
    }

    [Fact]
    public void P19_holds_for_generated_models_lengths_masks_and_numbers_of_neighbors()
    {
        Gen<(string Name, int Length, int Start, int Neighbors, int Seed)> cases =
            from name in Gen.Elements(ModelCase.Names.Select(row => row.Data).ToArray())
            from length in Gen.Choose(1, 22)
            from start in Gen.Choose(0, length)
            from neighbors in Gen.Choose(1, 4)
            from seed in Gen.Choose(0, 1_000_000)
            select (name, length, start, neighbors, seed);

        Prop.ForAll(cases.ToArbitrary(), drawn =>
        {
            RetroConfig config = ModelCase.Config(drawn.Name);
            using DisposeScope scope = NewDisposeScope();
            using IDisposable noGrad = no_grad();
            using RetroModel model = ModelCase.Model(config, drawn.Seed);
            Tensor tokens = ModelCase.Tokens(config, 1, drawn.Length);
            (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 1, drawn.Length, drawn.Neighbors);
            Tensor whole = model.call(tokens, neighbors, valid);
            using DecodingCache cache = model.NewCache(1, capacity: 1);
            double largest = 0;
            if (drawn.Start > 0)
            {
                long chunks = drawn.Start / config.Retrieval!.ChunkLength;
                Tensor logits = model.Prefill(cache, tokens.narrow(1, 0, drawn.Start), null, neighbors.narrow(1, 0, chunks), valid.narrow(1, 0, chunks));
                largest = ModelCase.Distance(whole.select(1, drawn.Start - 1), logits);
            }

            for (long t = drawn.Start; t < drawn.Length; t++)
            {
                long chunk = ((t + 1) / config.Retrieval!.ChunkLength) - 1;
                Tensor logits = cache.CompletesChunk(0)
                    ? model.Step(cache, tokens.select(1, t), neighbors.select(1, chunk), valid.select(1, chunk))
                    : model.Step(cache, tokens.select(1, t));
                largest = Math.Max(largest, ModelCase.Distance(whole.select(1, t), logits));
            }

            return largest < Rounding;
        }).Check(FsCheck.Config.QuickThrowOnFailure.WithMaxTest(40));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void P20_rows_of_unequal_prompts_continue_as_if_alone(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        int chunk = config.Retrieval!.ChunkLength, steps = chunk + 3;
        int[] prompts = [1, chunk, (2 * chunk) + 1, chunk + 2];
        int longest = prompts.Max(), length = longest + steps, chunks = length / chunk;
        Tensor tokens = ModelCase.Tokens(config, prompts.Length, length);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, prompts.Length, length, 3);
        Tensor whole = model.call(tokens, neighbors, valid);
        using DecodingCache cache = model.NewCache(prompts.Length, capacity: 3);

        Tensor logits = model.Prefill(
            cache, tokens.narrow(1, 0, longest), prompts, neighbors.narrow(1, 0, longest / chunk), valid.narrow(1, 0, longest / chunk));
        Compare(whole, logits, prompts, 0);
        for (int step = 0; step < steps; step++)
        {
            long[] at = [.. prompts.Select(prompt => (long)prompt + step)];
            Tensor next = tokens.gather(1, tensor(at).view(-1, 1)).view(-1);
            Tensor places = tensor(at.Select(t => Math.Clamp(((t + 1) / chunk) - 1, 0, chunks - 1)).ToArray()).view(-1, 1, 1, 1);
            Tensor now = neighbors.gather(1, places.expand(-1, 1, 3, config.Retrieval!.RetrievedLength)).squeeze(1);
            Tensor nowValid = valid.gather(1, places.expand(-1, 1, 3, config.Retrieval!.RetrievedLength)).squeeze(1);
            Compare(whole, model.Step(cache, next, now, nowValid), prompts, step + 1);
        }

        static void Compare(Tensor whole, Tensor logits, int[] prompts, int step)
        {
            for (int row = 0; row < prompts.Length; row++)
            {
                Assert.InRange(ModelCase.Distance(whole[row, prompts[row] + step - 1], logits[row]), 0, Rounding);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void P21_any_number_of_neighbors_runs_and_may_change_from_chunk_to_chunk(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        long chunk = config.Retrieval!.ChunkLength, length = 5 * chunk;
        Tensor tokens = ModelCase.Tokens(config, 1, length);
        int[] counts = [3, 1, 5, 2, 4];
        Tensor neighbors = ModelCase.Neighbors(config, 1, length, 5).Neighbors;
        Tensor valid = stack(counts.Select(count => arange(5, ScalarType.Int64).lt(count)).ToArray()).view(1, 5, 5, 1).expand(neighbors.shape).contiguous();
        Tensor whole = model.call(tokens, neighbors, valid);
        using DecodingCache cache = model.NewCache(1);

        for (long t = 0; t < length; t++)
        {
            int u = (int)((t + 1) / chunk) - 1;
            Tensor logits = cache.CompletesChunk(0)
                ? model.Step(cache, tokens.select(1, t), neighbors.select(1, u).narrow(1, 0, counts[u]))
                : model.Step(cache, tokens.select(1, t));
            Assert.InRange(ModelCase.Distance(whole.select(1, t), logits), 0, Rounding);
        }
    }

    [Fact]
    public void P21_encoded_neighbors_are_kept_and_not_read_again()
    {
        RetroConfig config = ModelCase.Config("rotary");
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        Tensor tokens = ModelCase.Tokens(config, 1, 7);
        Tensor neighbors = ModelCase.Neighbors(config, 1, 4, 2).Neighbors;
        using DecodingCache cache = model.NewCache(1);
        model.Prefill(cache, tokens.narrow(1, 0, 4), null, neighbors);
        Tensor whole = model.call(tokens, neighbors, null);

        // Once a chunk's neighbors are in the cache, the encoder's weights play no part until the next chunk is complete.
        foreach ((_, TorchSharp.Modules.Parameter parameter) in model.Encoder!.named_parameters())
        {
            parameter.zero_();
        }

        for (long t = 4; t < 7; t++)
        {
            Assert.InRange(ModelCase.Distance(whole.select(1, t), model.Step(cache, tokens.select(1, t))), 0, Rounding);
        }
    }

    [Fact]
    public void Chunks_without_neighbors_read_nothing_not_the_neighbors_before()
    {
        RetroConfig config = ModelCase.Config("rotary");
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        Tensor tokens = ModelCase.Tokens(config, 1, 10);
        Tensor neighbors = ModelCase.Neighbors(config, 1, 4, 2).Neighbors;
        Tensor whole = model.call(tokens, neighbors, null);
        using DecodingCache cache = model.NewCache(1);

        model.Prefill(cache, tokens.narrow(1, 0, 5), null, neighbors);
        for (long t = 5; t < 10; t++)
        {
            Assert.InRange(ModelCase.Distance(whole.select(1, t), model.Step(cache, tokens.select(1, t))), 0, Rounding);
        }
    }

    [Theory]
    [InlineData("transformer-xl")]
    [InlineData("match bias, no encoder layers")]
    public void Rows_can_be_dropped_repeated_and_reordered(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        Tensor tokens = ModelCase.Tokens(config, 3, 12);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 3, 12, 6);
        using DecodingCache cache = model.NewCache(3);
        model.Prefill(cache, tokens.narrow(1, 0, 6), [6, 3, 5], neighbors.narrow(1, 0, 1), valid.narrow(1, 0, 1));

        cache.SelectRows([2, 0, 2]);
        Tensor next = tensor(new long[] { 1, 2, 3 });
        Tensor logits = model.Step(cache, next);

        Assert.Equal([6, 7, 6], cache.Lengths);
        int[] rows = [2, 0, 2], lengths = [5, 6, 5];
        for (int i = 0; i < 3; i++)
        {
            Tensor row = cat([tokens[rows[i]].narrow(0, 0, lengths[i]), next[i].view(1)]).unsqueeze(0);
            Tensor whole = model.call(row, neighbors.narrow(0, rows[i], 1).narrow(1, 0, 1), valid.narrow(0, rows[i], 1).narrow(1, 0, 1));
            Assert.InRange(ModelCase.Distance(whole[0, lengths[i]], logits[i]), 0, Rounding);
        }
    }

    /// <summary>Behind two rows that go on come a longer one, one whose chunks have fewer neighbors, and one of which nothing was read yet.</summary>
    [Theory]
    [MemberData(nameof(Names))]
    public void P20_rows_that_join_others_continue_as_if_alone(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        int chunk = config.Retrieval!.ChunkLength, length = (3 * chunk) + 12;
        Tensor tokens = ModelCase.Tokens(config, 5, length);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 5, length, 3);
        valid[3].narrow(1, 1, 2).fill_(false);
        Tensor whole = model.call(tokens, neighbors, valid);
        List<int> rows = [0, 1];
        int[] read = [1, chunk, (2 * chunk) + 3, chunk + 2, 0];
        using DecodingCache cache = model.NewCache(2, capacity: 3);
        Tensor longest = tokens.narrow(0, 0, 2).narrow(1, 0, chunk);
        model.Prefill(cache, longest, read[..2], neighbors.narrow(0, 0, 2).narrow(1, 0, 1), valid.narrow(0, 0, 2).narrow(1, 0, 1));
        for (int step = 0; step < 4; step++)
        {
            Step();
        }

        foreach (int row in new[] { 2, 3, 4 })
        {
            using DecodingCache other = model.NewCache(1, capacity: 2);
            if (read[row] > 0)
            {
                Tensor own = neighbors[row].narrow(0, 0, read[row] / chunk).unsqueeze(0), holds = valid[row].narrow(0, 0, read[row] / chunk).unsqueeze(0);
                int few = row == 3 ? 1 : 3;
                Tensor logits = model.Prefill(other, tokens[row].narrow(0, 0, read[row]).unsqueeze(0), null, own.narrow(2, 0, few), holds.narrow(2, 0, few));
                Assert.InRange(ModelCase.Distance(whole[row, read[row] - 1], logits[0]), 0, Rounding);
            }

            cache.AppendRows(other);
            rows.Add(row);
            Assert.Equal([read[row]], other.Lengths);
            Assert.Equal(rows.Select(one => (long)read[one]), cache.Lengths);
            Step();
        }

        cache.SelectRows([4, 2, 0, 3]);
        rows = [4, 2, 0, 3];
        while (read[2] < length)
        {
            Step();
        }

        void Step()
        {
            Tensor next = stack([.. rows.Select(row => tokens[row, read[row]])]);
            Tensor[] places = [.. rows.Select(row => tensor(new[] { Math.Clamp(((read[row] + 1L) / chunk) - 1, 0, (length / chunk) - 1) }))];
            Tensor now = stack([.. rows.Select((row, i) => neighbors[row].index_select(0, places[i]).squeeze(0))]);
            Tensor holds = stack([.. rows.Select((row, i) => valid[row].index_select(0, places[i]).squeeze(0))]);
            Tensor logits = model.Step(cache, next, now, holds);
            for (int i = 0; i < rows.Count; i++)
            {
                Assert.InRange(ModelCase.Distance(whole[rows[i], read[rows[i]]], logits[i]), 0, Rounding);
                read[rows[i]]++;
            }
        }
    }

    /// <summary>Else one short text would undo the sliding window of all others, and a long one would take its room for each.</summary>
    [Theory]
    [InlineData("llama")]
    [InlineData("rotary")]
    public void Rows_take_as_much_room_together_as_apart(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using RetroModel model = ModelCase.Model(config);
        long before = LiveTensors.Settled();
        using (DisposeScope scope = NewDisposeScope())
        {
            using DecodingCache cache = model.NewCache(2, capacity: 4), other = model.NewCache(1, capacity: 4);
            model.Prefill(cache, ModelCase.Tokens(config, 2, 100), [100, 7]);
            model.Prefill(other, ModelCase.Tokens(config, 1, 3));
            long apart = cache.ByteLength + other.ByteLength;
            cache.AppendRows(other);
            Assert.Equal(apart, cache.ByteLength);
            for (int step = 0; step < 40; step++)
            {
                model.Step(cache, tensor(new long[] { 1, 2, 3 })).Dispose();
                Assert.InRange(cache.Self[0].Capacity, 0, 2 * Kept());
            }

            // What a long row took that is gone is free.
            cache.SelectRows([2, 1]);
            Assert.Equal([43, 47], cache.Lengths);
            Assert.InRange(cache.Self[0].Capacity, 0, 2 * Kept());

            long Kept() => cache.Lengths.Sum(length => Math.Min(length, config.SlidingWindow ?? length));
        }

        Assert.Equal(before, LiveTensors.Settled());
    }

    /// <summary>As few rows as have products of their own, and more; keys that are shared, and distances.</summary>
    [Theory]
    [InlineData("llama", 3)]
    [InlineData("llama", 11)]
    [InlineData("rotary", 11)]
    [InlineData("transformer-xl", 3)]
    [InlineData("transformer-xl", 11)]
    public void P20_holds_in_float32(string name, int rows)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        model.to(ScalarType.Float32);
        int[] prompts = [.. Enumerable.Range(0, rows).Select(row => 1 + (row * 7 % 23))];
        Tensor tokens = ModelCase.Tokens(config, rows, 30), whole = model.call(tokens, null, null);
        using DecodingCache cache = model.NewCache(rows, capacity: 3);
        model.Prefill(cache, tokens.narrow(1, 0, prompts.Max()), prompts);
        for (int step = 0; step < 30 - prompts.Max(); step++)
        {
            Tensor logits = model.Step(cache, stack([.. prompts.Select((prompt, row) => tokens[row, prompt + step])]));
            for (int row = 0; row < rows; row++)
            {
                Assert.InRange(ModelCase.Distance(whole[row, prompts[row] + step], logits[row]), 0, 1e-4);
            }
        }
    }

    [Fact]
    public void What_a_pass_leaves_behind_that_failed_is_read_by_none()
    {
        RetroConfig config = ModelCase.Config("llama");
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        Tensor tokens = ModelCase.Tokens(config, 2, 30), whole = model.call(tokens, null, null);
        bool fails = true;
        model.Layers[1].FeedForward.register_forward_pre_hook((_, x) => fails ? throw new RetroException("No power.") : x);
        using DecodingCache cache = model.NewCache(2, capacity: 1);
        Assert.Throws<RetroException>(() => model.Prefill(cache, tokens.narrow(1, 0, 3)));
        fails = false;
        int[] lengths = [12, 1];
        model.Prefill(cache, tokens.narrow(1, 0, 5), [5, 1]);
        Tensor piece = stack([tokens[0].narrow(0, 5, 7), tokens[1].narrow(0, 1, 7)]);
        fails = true;
        Assert.Throws<RetroException>(() => model.Prefill(cache, piece));
        fails = false;
        cache.SelectRows([0]); // which has read past a window
        Assert.InRange(ModelCase.Distance(whole.narrow(0, 0, 1).select(1, 11), model.Prefill(cache, piece.narrow(0, 0, 1))), 0, Rounding);
        using DecodingCache second = model.NewCache(1);
        model.Prefill(second, tokens.narrow(0, 1, 1).narrow(1, 0, 1));
        cache.AppendRows(second);
        for (int step = 0; step < 18; step++)
        {
            Tensor next = stack([.. lengths.Select((length, row) => tokens[row, length + step])]);
            fails = true;
            Assert.Throws<RetroException>(() => model.Step(cache, next));
            fails = false;
            Tensor logits = model.Step(cache, next);
            for (int row = 0; row < 2; row++)
            {
                Assert.InRange(ModelCase.Distance(whole[row, lengths[row] + step], logits[row]), 0, Rounding);
            }
        }
    }

    /// <summary>They may act from the last token of their chunk on, which was not read then.</summary>
    [Theory]
    [InlineData("rotary", "decoder.norm", 0)]
    [InlineData("match bias, no encoder layers", "decoder.norm", 0)]
    [InlineData("rotary", "decoder.3.cca.k", 1)]
    public void Neighbors_that_a_pass_has_encoded_that_failed_are_read_by_none(string name, string part, int calls)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        Tensor tokens = ModelCase.Tokens(config, 2, 11), neighbors = ModelCase.Neighbors(config, 2, 11, 2).Neighbors;
        Tensor whole = model.call(tokens, neighbors, null);
        int left = int.MaxValue;
        nn.Module<Tensor, Tensor> failing = (nn.Module<Tensor, Tensor>)model.named_modules().Single(module => module.name == part).module;
        failing.register_forward_pre_hook((_, x) => left-- > 0 ? x : throw new RetroException("No power."));
        foreach (string then in new[] { "a step", "a token", "the same" })
        {
            using DecodingCache cache = model.NewCache(2);
            model.Prefill(cache, tokens.narrow(1, 0, 6), null, neighbors.narrow(1, 0, 1));
            left = calls;
            Assert.Throws<RetroException>(() => Rest(6));
            left = int.MaxValue;
            if (then != "the same")
            {
                Tensor logits = then == "a step" ? model.Step(cache, tokens.select(1, 6)) : model.Prefill(cache, tokens.narrow(1, 6, 1));
                Assert.InRange(ModelCase.Distance(whole.select(1, 6), logits), 0, Rounding);
            }

            Assert.InRange(ModelCase.Distance(whole.select(1, 10), Rest(cache.Lengths[0])), 0, Rounding);

            Tensor Rest(long start) => model.Prefill(cache, tokens.narrow(1, start, 11 - start), null, neighbors.narrow(1, 1, 1));
        }
    }

    /// <summary>One that made room for more than the next one needs.</summary>
    [Theory]
    [InlineData("rotary", 16)]
    [InlineData("llama", 4)]
    [InlineData("gemma", 16)]
    public void Behind_a_pass_that_failed_a_shorter_one_reads_what_was_read_before(string name, int capacity)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        Tensor tokens = ModelCase.Tokens(config, 1, 30), whole = model.call(tokens, null, null);
        bool fails = false;
        model.Layers[1].FeedForward.register_forward_pre_hook((_, x) => fails ? throw new RetroException("No power.") : x);
        foreach (bool pieces in new[] { false, true })
        {
            using DecodingCache cache = model.NewCache(1, capacity);
            model.Prefill(cache, tokens.narrow(1, 0, 3));
            for (int step = 3; step < 10; step++)
            {
                model.Step(cache, tokens.select(1, step));
            }

            fails = true;
            Assert.Throws<RetroException>(() => model.Prefill(cache, tokens.narrow(1, 10, 12)));
            fails = false;
            for (int step = 10; step < 14; step++)
            {
                Tensor logits = pieces ? model.Prefill(cache, tokens.narrow(1, step, 1)) : model.Step(cache, tokens.select(1, step));
                Assert.InRange(ModelCase.Distance(whole.select(1, step), logits), 0, Rounding);
            }
        }
    }

    [Fact]
    public void Memory_grows_by_doubling_and_no_tensor_is_left_behind()
    {
        RetroConfig config = ModelCase.Config("rotary");
        using RetroModel model = ModelCase.Model(config);

        long before = LiveTensors.Settled();
        using (DecodingCache cache = model.NewCache(1, capacity: 16))
        using (Tensor token = tensor(new long[] { 3 }), neighbors = zeros([1, 2, config.Retrieval!.RetrievedLength], ScalarType.Int64))
        {
            long place = 2L * config.Layers * config.Heads * config.HeadSize * sizeof(double);
            model.Step(cache, token, neighbors).Dispose();
            long first = cache.ByteLength;
            HashSet<long> growths = [];
            for (int t = 1; t < 70; t++)
            {
                long bytes = cache.ByteLength, count = Tensor.TotalCount;
                model.Step(cache, token, neighbors).Dispose();
                if (t > config.Retrieval!.ChunkLength)
                {
                    Assert.Equal(count, Tensor.TotalCount);
                    if (cache.ByteLength != bytes)
                    {
                        growths.Add(t);
                        Assert.Equal(t * place, cache.ByteLength - bytes);
                    }
                }
            }

            Assert.Equal([16, 32, 64], growths.Order());
            Assert.True(first >= 16 * place);
        }

        Assert.Equal(before, Tensor.TotalCount);
    }

    [Theory]
    [InlineData("llama", ScalarType.Float64)]
    [InlineData("llama", ScalarType.Float32)]
    [InlineData("transformer-xl, no biases", ScalarType.Float64)]
    [InlineData("transformer-xl, no biases", ScalarType.Float32)]
    public void What_lies_before_a_sliding_window_is_neither_kept_nor_read(string name, ScalarType dtype)
    {
        const int Length = 60;
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(config);
        model.to(dtype);
        using Tensor tokens = ModelCase.Tokens(config, 2, Length), whole = model.forward(tokens);
        int[] lengths = [3, 21];
        using DecodingCache cache = model.NewCache(2, capacity: 4);
        model.Prefill(cache, tokens.narrow(1, 0, 21), lengths).Dispose();
        for (int step = 0; step < Length - 21; step++)
        {
            if (step == 10)
            {
                // The longer one alone: what the shorter one saw is dropped when room is made next.
                cache.SelectRows([1]);
            }

            long[] next = [.. (step < 10 ? lengths : [21]).Select((length, row) => tokens[step < 10 ? row : 1, length + step].item<long>())];
            using Tensor logits = model.Step(cache, tensor(next));
            using Tensor expected = whole.select(0, 1).narrow(0, 21 + step, 1);
            Assert.InRange(ModelCase.Distance(logits.narrow(0, next.Length - 1, 1), expected), 0, dtype == ScalarType.Float64 ? 1e-10 : 1e-4);
        }

        Assert.InRange(cache.Self[0].Capacity, config.SlidingWindow!.Value, 2 * config.SlidingWindow.Value);
    }

    /// <summary>As few rows as have products of their own, and more; what would be cast silently, and what libtorch would refuse.</summary>
    [Theory]
    [InlineData(ScalarType.Float32, ScalarType.BFloat16, 2)]
    [InlineData(ScalarType.BFloat16, ScalarType.Float32, 2)]
    [InlineData(ScalarType.Float32, ScalarType.BFloat16, 11)]
    [InlineData(ScalarType.Float32, ScalarType.Float64, 2)]
    public void A_cache_of_before_the_model_was_cast_is_refused(ScalarType before, ScalarType after, int rows)
    {
        RetroConfig config = ModelCase.Config("rotary");
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(config, dtype: before);
        Tensor tokens = ModelCase.Tokens(config, rows, 3), next = tokens.select(1, 0);
        int[] lengths = [.. Enumerable.Range(0, rows).Select(row => 1 + (row % 3))];
        using DecodingCache cache = model.NewCache(rows), empty = model.NewCache(1), anew = model.NewCache(rows);
        model.Prefill(cache, tokens);
        model.to(after);
        model.Prefill(anew, tokens);
        Refused(() => model.Step(cache, next));
        Refused(() => model.Prefill(cache, tokens));
        Refused(() => model.Prefill(cache, tokens, lengths));
        Refused(() => model.Beginning(cache, 0, tokens.narrow(0, 0, 1), null, null, 8));
        Refused(() => cache.AppendRows(anew));
        Refused(() => anew.AppendRows(cache));
        Refused(() => cache.SelectRows([0]));

        // One that nothing was read into yet is of the model as it is.
        empty.AppendRows(anew);
        Assert.Equal(after, model.Step(empty, cat([next.narrow(0, 0, 1), next])).dtype);
        Assert.Equal([1L, .. Enumerable.Repeat(4L, rows)], empty.Lengths);

        void Refused(Action use)
        {
            string message = Assert.Throws<InvalidOperationException>(use).Message;
            Assert.Contains($"Expected a cache of {after} on cpu, as the model is now, got one of {before} on cpu", message, StringComparison.Ordinal);
            Assert.Contains("NewCache", message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Misuse_is_named()
    {
        RetroConfig config = ModelCase.Config("gpt-2");
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(config), other = ModelCase.Model(config);
        using DecodingCache cache = model.NewCache(2), foreign = other.NewCache(2);
        Tensor tokens = ModelCase.Tokens(config, 2, 8), one = tensor(new long[] { 1, 2 });

        Assert.Throws<ArgumentException>(() => model.Prefill(foreign, tokens));
        Assert.Contains("got one of another model", Assert.Throws<ArgumentException>(() => cache.AppendRows(foreign)).Message, StringComparison.Ordinal);
        Assert.Contains("got this one", Assert.Throws<ArgumentException>(() => cache.AppendRows(cache)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => model.Prefill(cache, tokens, [8]));
        Assert.Throws<ArgumentException>(() => model.Prefill(cache, tokens, [8, 0]));
        Assert.Throws<ArgumentException>(() => model.Prefill(cache, tokens, [8, 9]));
        Assert.Throws<ShapeException>(() => model.Prefill(cache, tokens.narrow(0, 0, 1)));
        model.Prefill(cache, tokens, [8, 3]);
        Tensor neighbors = zeros([2, 2, 1, 8], ScalarType.Int64);
        Assert.Contains("C at most 1, the chunks that these tokens complete", Assert.Throws<ShapeException>(
            () => model.Prefill(cache, tokens.narrow(1, 0, 1), null, neighbors)).Message, StringComparison.Ordinal);
        Tensor many = zeros([2, 33], ScalarType.Int64);
        Assert.Contains("41", Assert.Throws<ArgumentException>(() => model.Prefill(cache, many, [33, 1])).Message, StringComparison.Ordinal);
        Assert.Equal([8, 3], cache.Lengths);
        Assert.Throws<ShapeException>(() => model.Step(cache, tokens));
        Assert.Throws<ShapeException>(() => model.Step(cache, one, zeros([2, 0, 8], ScalarType.Int64)));
        Assert.Throws<ShapeException>(() => model.Step(cache, one, zeros([2, 1, 7], ScalarType.Int64)));
        Assert.Throws<ArgumentException>(() => model.Step(cache, one + 100));
        Assert.Throws<ArgumentException>(() => model.Step(cache, one, null, ones([2, 1, 8], ScalarType.Bool)));
        Assert.Throws<ArgumentException>(() => model.Step(cache, one, tensor(new long[] { 0, -1 }).view(2, 1, 1).expand(2, 1, 8))); // the second is completed
        model.Step(cache, one, tensor(new long[] { -1, 0 }).view(2, 1, 1).expand(2, 1, 8)); // the first's are ignored
        for (int t = 9; t < 40; t++)
        {
            model.Step(cache, one);
        }

        Assert.Contains("41", Assert.Throws<ArgumentException>(() => model.Step(cache, one)).Message, StringComparison.Ordinal);
        cache.Dispose();
        Assert.Throws<ObjectDisposedException>(() => model.Step(cache, one));
        using DecodingCache another = model.NewCache(2);
        Assert.Throws<ObjectDisposedException>(() => another.AppendRows(cache));
    }
}

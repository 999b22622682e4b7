using FsCheck;
using FsCheck.Fluent;
using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

/// <summary>Property 22: a text that is read in pieces is the text, wherever they begin.</summary>
public class PrefillTests
{
    private const double Rounding = 1e-10;

    public static IEnumerable<TheoryDataRow<string>> Names => ModelCase.Names;

    /// <summary>Three rows, each in its own pieces, some of which are single tokens, and then a step of each.</summary>
    [Theory]
    [MemberData(nameof(Names))]
    public void P22_pieces_of_rows_give_what_the_full_pass_gives(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        int chunk = config.Retrieval!.ChunkLength, length = Math.Max(26, (3 * chunk) + 2);
        Text text = new(model, 3, length, 3);
        text.Valid[1].narrow(0, 1, 1).fill_(false);
        using DecodingCache cache = model.NewCache(3, capacity: 2);
        int[][] pieces = [[1, chunk, 3], [chunk - 1, 1, 2], [2, 5, 1], [1, 1, 1], [chunk, 2, 1], [2, 1, (2 * chunk) + 1]];
        Assert.InRange(text.Read(cache, [.. pieces.Select(piece => Array.ConvertAll(piece, count => Math.Max(1, count)))]), 0, Rounding);
        Assert.InRange(text.Step(cache), 0, Rounding);
        Assert.InRange(text.Read(cache, [[1, 2, 1]]), 0, Rounding);
    }

    [Fact]
    public void P22_holds_for_generated_models_texts_neighbors_and_pieces()
    {
        Gen<(string Name, int Rows, int[] Counts, int Neighbors, int Seed)> cases =
            from name in Gen.Elements(ModelCase.Names.Select(row => row.Data).ToArray())
            from rows in Gen.Choose(1, 3)
            from pieces in Gen.Choose(1, 5)
            from counts in Gen.ArrayOf(Gen.Choose(1, 9), rows * pieces)
            from neighbors in Gen.Choose(1, 4)
            from seed in Gen.Choose(0, 1_000_000)
            select (name, rows, counts, neighbors, seed);

        Prop.ForAll(cases.ToArbitrary(), drawn =>
        {
            using DisposeScope scope = NewDisposeScope();
            using IDisposable noGrad = no_grad();
            RetroConfig config = ModelCase.Config(drawn.Name);
            int[][] pieces = [.. drawn.Counts.Chunk(drawn.Rows)];
            int length = 1 + Enumerable.Range(0, drawn.Rows).Max(row => pieces.Sum(piece => piece[row]));
            if (length > config.MaximumLength)
            {
                return true;
            }

            using RetroModel model = ModelCase.Model(config, drawn.Seed);
            Text text = new(model, drawn.Rows, length, drawn.Neighbors);
            using DecodingCache cache = model.NewCache(drawn.Rows, capacity: 1);
            return text.Read(cache, pieces) < Rounding && text.Step(cache) < Rounding;
        }).Check(FsCheck.Config.QuickThrowOnFailure.WithMaxTest(60));
    }

    /// <summary>The row that is nearest to a chunk's end need not be the one that reads the most.</summary>
    [Fact]
    public void Neighbors_of_more_chunks_than_any_row_completes_are_refused_before_anything_is_read()
    {
        RetroConfig config = ModelCase.Config("rotary");
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(config);
        int chunk = config.Retrieval!.ChunkLength;
        Tensor tokens = ModelCase.Tokens(config, 2, (2 * chunk) + 1), begun = ModelCase.Tokens(config, 2, chunk);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 2, 3 * chunk, 3 * chunk);
        using DecodingCache cache = model.NewCache(2);
        model.Prefill(cache, begun, [chunk - 1, chunk]);
        ShapeException refused = Assert.Throws<ShapeException>(() => model.Prefill(cache, tokens, [1, (2 * chunk) + 1], neighbors, valid));
        Assert.Contains("C at most 2, the chunks that these tokens complete", refused.Message, StringComparison.Ordinal);
        Assert.Equal([chunk - 1, chunk], cache.Lengths);
        model.Prefill(cache, tokens, [1, (2 * chunk) + 1], neighbors.narrow(1, 0, 2), valid.narrow(1, 0, 2));
    }

    /// <summary>More and fewer neighbors than before, none for one piece, and rows that come from elsewhere and change places between two pieces.</summary>
    [Theory]
    [InlineData("rotary")]
    [InlineData("transformer-xl")]
    [InlineData("match bias, no encoder layers")]
    [InlineData("llama")]
    public void Neighbors_and_rows_may_change_from_piece_to_piece(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        int chunk = config.Retrieval!.ChunkLength;
        Text text = new(model, 2, (6 * chunk) + 3, 3);
        text.Valid.narrow(1, 1, 1).narrow(2, 1, 2).fill_(false); // of the second chunk the first alone,
        text.Valid.narrow(1, 2, 1).fill_(false);                 // of the third none
        using DecodingCache cache = model.NewCache(1), other = model.NewCache(1);
        Read(cache, 0, chunk + 1, 3);
        Read(other, 1, chunk + 2, 3);
        cache.AppendRows(other);
        cache.SelectRows([1, 0]);
        Assert.InRange(ModelCase.Distance(Read(cache, null, chunk, 1), text.At(cache, [1, 0])), 0, Rounding);
        cache.SelectRows([1, 0]);
        Assert.InRange(ModelCase.Distance(Read(cache, null, chunk, 0), text.At(cache, [0, 1])), 0, Rounding);
        Assert.InRange(ModelCase.Distance(Read(cache, null, 2 * chunk, 3), text.At(cache, [0, 1])), 0, Rounding);

        Tensor Read(DecodingCache to, int? row, int count, int neighbors)
        {
            int[] rows = row is { } one ? [one] : to.Lengths[0] > to.Lengths[1] ? [1, 0] : [0, 1];
            (Tensor tokens, Tensor? retrieved, Tensor? valid) = text.Piece(to, rows, [.. rows.Select(_ => count)]);
            return neighbors == 0 ? model.Prefill(to, tokens)
                : model.Prefill(to, tokens, null, retrieved!.narrow(2, 0, neighbors), valid!.narrow(2, 0, neighbors));
        }
    }

    /// <summary>Neighbors are compared with more tokens than a short chunk has, also with those that none were found for.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void What_was_read_without_neighbors_is_compared_with_those_of_the_next_piece(int chunks)
    {
        RetroConfig config = ModelCase.Config("match bias, no encoder layers");
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        int begun = chunks * config.Retrieval!.ChunkLength;
        Text text = new(model, 2, begun + (2 * config.Retrieval.ChunkLength), 2);
        text.Valid.narrow(1, 0, chunks).fill_(false);
        int run = Math.Min(begun, config.Retrieval.RetrievedLength);
        text.Neighbors.narrow(3, 0, run).copy_(text.Tokens.narrow(1, begun - run, run).unsqueeze(1).unsqueeze(1));
        using DecodingCache cache = model.NewCache(2);
        model.Prefill(cache, text.Tokens.narrow(1, 0, begun));
        Assert.InRange(text.Read(cache, [[config.Retrieval.ChunkLength, config.Retrieval.ChunkLength]]), 0, Rounding);
    }

    /// <summary>What stands for chunks that a row does not have is ignored, whatever it is, and not encoded.</summary>
    [Fact]
    public void Neighbors_of_chunks_that_a_row_does_not_complete_may_be_anything()
    {
        RetroConfig config = ModelCase.Config("rotary");
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        int chunk = config.Retrieval!.ChunkLength;
        Text text = new(model, 2, (3 * chunk) + 1, 2);
        text.Valid.fill_(true);
        text.Compute();
        Tensor neighbors = text.Neighbors.clone();
        neighbors[1].narrow(0, 1, 2).fill_(-1);
        using DecodingCache cache = model.NewCache(2);
        Tensor logits = model.Prefill(cache, text.Tokens.narrow(1, 0, 3 * chunk), [3 * chunk, chunk], neighbors);
        Assert.InRange(ModelCase.Distance(logits, text.At(cache, [0, 1])), 0, Rounding);
        neighbors[0].narrow(0, 2, 1).fill_(-1);
        using DecodingCache other = model.NewCache(2);
        Assert.Throws<ArgumentException>(() => model.Prefill(other, text.Tokens.narrow(1, 0, 3 * chunk), [3 * chunk, chunk], neighbors));
    }

    [Theory]
    [InlineData("rotary")]
    [InlineData("llama")]
    [InlineData("transformer-xl")]
    [InlineData("gpt-2")]
    [InlineData("match bias, transformer-xl")]
    [InlineData("unrotated layers")]
    public void A_long_prompt_is_read_in_pieces(string name)
    {
        const int Longest = 2500;
        RetroConfig config = ModelCase.Config(name) with { Layers = 2, MaximumLength = 2600 };
        config = config.With(retrieval => retrieval with { CrossAttentionLayers = [2] });
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        Text text = new(model, 2, Longest + 1, 1);
        text.Compute();
        List<long> widths = [];
        model.Layers[0].FeedForward.register_forward_pre_hook((_, x) =>
        {
            widths.Add(x.shape[1]);
            return x;
        });
        using DecodingCache cache = model.NewCache(2);
        Assert.InRange(text.Read(cache, [[Longest, 1030]]), 0, Rounding);
        Assert.Equal(3, widths.Count);
        Assert.All(widths, width => Assert.InRange(2 * width, 1, RetroModel.PieceTokens));
        Assert.Equal(Longest, widths.Sum());
        Assert.Equal([Longest, 1030], cache.Lengths);
        Assert.InRange(text.Step(cache), 0, Rounding);
    }

    [Fact]
    public void A_long_prompt_is_stopped_between_two_pieces()
    {
        RetroConfig config = ModelCase.Config("rotary") with { Layers = 2, MaximumLength = 2600 };
        config = config.With(retrieval => retrieval with { CrossAttentionLayers = [2] });
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(config);
        using CancellationTokenSource stop = new();
        model.Layers[0].FeedForward.register_forward_pre_hook((_, x) =>
        {
            stop.Cancel();
            return x;
        });
        using DecodingCache cache = model.NewCache(1);
        Tensor tokens = ModelCase.Tokens(config, 1, 2500);
        Assert.Throws<OperationCanceledException>(() => model.Prefill(cache, tokens, cancellationToken: stop.Token));
        Assert.Equal([RetroModel.PieceTokens], cache.Lengths);
    }

    [Fact]
    public void Of_a_sliding_window_pieces_keep_the_window_and_themselves()
    {
        RetroConfig config = ModelCase.Config("llama");
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        Text text = new(model, 1, 41, 1);
        using DecodingCache cache = model.NewCache(1, capacity: 4);
        foreach (int count in new[] { 3, 20, 2, 1, 7, 5, 2 })
        {
            Assert.InRange(text.Read(cache, [[count]]), 0, Rounding);
            Assert.InRange(cache.Self[0].Capacity, 1, config.SlidingWindow!.Value + Math.Max(count, config.SlidingWindow.Value));
        }
    }

    /// <summary>The layers before the fault have dropped what lies before their window, the others not.</summary>
    [Fact]
    public void Behind_a_pass_that_failed_there_is_no_beginning_that_a_layer_has_dropped()
    {
        RetroConfig config = ModelCase.Config("llama");
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(config);
        Tensor tokens = ModelCase.Tokens(config, 1, 21);
        bool fails = false;
        model.Layers[1].FeedForward.register_forward_pre_hook((_, x) => fails ? throw new RetroException("No power.") : x);
        using DecodingCache cache = model.NewCache(1, capacity: 16);
        model.Prefill(cache, tokens.narrow(1, 0, 3));
        for (int step = 3; step < 9; step++)
        {
            model.Step(cache, tokens.select(1, step));
        }

        Assert.True(cache.HasBeginning(0, 4));
        fails = true;
        Assert.Throws<RetroException>(() => model.Prefill(cache, tokens.narrow(1, 9, 12)));
        Assert.False(cache.HasBeginning(0, 4));
    }

    /// <summary>A text ends in another place than it was read to, and goes on otherwise from there.</summary>
    [Theory]
    [MemberData(nameof(Names))]
    public void A_beginning_of_what_was_read_goes_on_as_if_nothing_else_was(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        int chunk = config.Retrieval!.ChunkLength, length = (3 * chunk) + 2;
        Text text = new(model, 2, length + 6, 2);
        using DecodingCache cache = model.NewCache(2);
        text.Read(cache, [[length, length]]);
        for (int count = 1; count <= length; count++)
        {
            long last = (count / chunk) - 1;
            using DecodingCache? beginning = model.Beginning(
                cache,
                1,
                text.Tokens[1].narrow(0, 0, count).unsqueeze(0),
                last < 0 ? null : text.Neighbors[1].narrow(0, last, 1).unsqueeze(0),
                last < 0 ? null : text.Valid[1].narrow(0, last, 1).unsqueeze(0),
                capacity: count);
            if (config.WidestWindow < length)
            {
                Assert.Null(beginning);
                continue;
            }

            Assert.Equal([count], beginning!.Lengths);
            (Tensor tokens, Tensor? neighbors, Tensor? valid) = text.Piece(beginning, [1], [3]);
            Assert.InRange(ModelCase.Distance(model.Prefill(beginning, tokens, null, neighbors, valid), text.At(beginning, [1])), 0, Rounding);
        }
    }

    /// <summary>Random texts with their neighbors, and what the full pass says of them.</summary>
    private sealed class Text
    {
        private readonly RetroModel _model;
        private readonly int _chunk;
        private Tensor? _whole;

        public Text(RetroModel model, int rows, int length, int neighbors)
        {
            (_model, _chunk) = (model, model.Config.Retrieval!.ChunkLength);
            Tokens = ModelCase.Tokens(model.Config, rows, length);
            (Neighbors, Valid) = ModelCase.Neighbors(model.Config, rows, length, neighbors);
        }

        public Tensor Tokens { get; }

        public Tensor Neighbors { get; }

        public Tensor Valid { get; }

        /// <summary>Computes the full pass, where it is not yet.</summary>
        public void Compute() => _whole ??= _model.call(Tokens, Neighbors, Valid);

        /// <summary>The full pass after what a cache has read of some rows.</summary>
        public Tensor At(DecodingCache cache, int[] rows)
        {
            Compute();
            return stack([.. rows.Select((row, i) => _whole![row, cache.Lengths[i] - 1])]);
        }

        /// <summary>The next tokens of some rows, with the neighbors of the chunks that they complete.</summary>
        public (Tensor Tokens, Tensor? Neighbors, Tensor? Valid) Piece(DecodingCache cache, int[] rows, int[] counts)
        {
            int longest = counts.Max();
            long[] firsts = [.. cache.Lengths.Select(length => length / _chunk)];
            long chunks = Enumerable.Range(0, rows.Length).Max(row => ((cache.Lengths[row] + counts[row]) / _chunk) - firsts[row]);
            Tensor tokens = stack([.. rows.Select((row, i) => Padded(Tokens[row], cache.Lengths[i], counts[i], longest))]);
            return chunks == 0 ? (tokens, null, null) : (tokens, Of(Neighbors), Of(Valid));

            Tensor Of(Tensor all) => stack([.. rows.Select((row, i) => Padded(all[row], firsts[i], Math.Min(chunks, all.shape[1] - firsts[i]), chunks))]);

            static Tensor Padded(Tensor all, long first, long count, long longest)
                => cat([all.narrow(0, first, count), zeros([longest - count, .. all.shape[1..]], all.dtype)]);
        }

        /// <summary>Reads pieces of all rows.</summary>
        /// <returns>The largest distance to the full pass.</returns>
        public double Read(DecodingCache cache, int[][] pieces)
        {
            double largest = 0;
            int[] rows = [.. Enumerable.Range(0, cache.Rows)];
            foreach (int[] counts in pieces)
            {
                (Tensor tokens, Tensor? neighbors, Tensor? valid) = Piece(cache, rows, counts);
                Tensor logits = _model.Prefill(cache, tokens, counts, neighbors, valid);
                largest = Math.Max(largest, ModelCase.Distance(logits, At(cache, rows)));
            }

            return largest;
        }

        /// <summary>Reads one more token of each.</summary>
        /// <returns>The largest distance to the full pass.</returns>
        public double Step(DecodingCache cache)
        {
            int[] rows = [.. Enumerable.Range(0, cache.Rows)];
            (Tensor tokens, Tensor? neighbors, Tensor? valid) = Piece(cache, rows, [.. rows.Select(_ => 1)]);
            return ModelCase.Distance(_model.Step(cache, tokens.squeeze(1), neighbors?.squeeze(1), valid?.squeeze(1)), At(cache, rows));
        }
    }
}

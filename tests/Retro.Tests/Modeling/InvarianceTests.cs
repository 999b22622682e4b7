using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

/// <summary>Properties 11 to 17: what the output does not depend on, and what it does.</summary>
public class InvarianceTests
{
    private const double Rounding = 1e-11;

    public static IEnumerable<TheoryDataRow<string>> Names => ModelCase.Names;

    [Theory]
    [MemberData(nameof(Names))]
    public void P11_the_order_of_neighbors_does_not_matter(string name) => Check(name, 3, (model, tokens, neighbors, valid) =>
    {
        Tensor order = tensor(new long[] { 2, 0, 1 });

        Tensor permuted = model.call(tokens, neighbors.index_select(2, order), valid.index_select(2, order));

        Assert.InRange(ModelCase.Distance(model.call(tokens, neighbors, valid), permuted), 0, Rounding);
    });

    [Theory]
    [MemberData(nameof(Names))]
    public void P12_copies_of_a_neighbor_weigh_as_the_neighbor_alone(string name) => Check(name, 1, (model, tokens, neighbors, valid) =>
    {
        Tensor alone = model.call(tokens, neighbors, valid);
        foreach ((_, TorchSharp.Modules.Parameter away) in model.named_parameters().Where(pair => pair.name.EndsWith(".away", StringComparison.Ordinal)))
        {
            // What a query looks away to stands there once, whatever the number of neighbors; as heavy as four times, it is diluted as they are.
            away.add_(Math.Log(4));
        }

        Tensor copies = model.call(tokens, neighbors.repeat(1, 1, 4, 1), valid.repeat(1, 1, 4, 1));

        Assert.InRange(ModelCase.Distance(alone, copies), 0, Rounding);
    });

    [Theory]
    [MemberData(nameof(Names))]
    public void P13_what_stands_at_padding_does_not_matter(string name) => Check(name, 2, (model, tokens, neighbors, valid) =>
    {
        Tensor before = model.call(tokens, neighbors, valid);
        Tensor others = randint(model.Config.VocabularySize, neighbors.shape, ScalarType.Int64);
        Tensor refilled = neighbors.where(valid, others);
        Tensor nothing = zeros([neighbors.shape[0], neighbors.shape[1], 2, neighbors.shape[3]], ScalarType.Bool);

        Assert.InRange(ModelCase.Distance(before, model.call(tokens, refilled, valid)), 0, Rounding);
        Assert.InRange(ModelCase.Distance(before, model.call(tokens, cat([neighbors, others.narrow(2, 0, 2)], 2), cat([valid, nothing], 2))), 0, Rounding);
    });

    [Theory]
    [MemberData(nameof(Names))]
    public void Padding_that_is_left_out_gives_what_padding_that_is_computed_gives(string name) => Check(name, 2, (model, tokens, neighbors, valid) =>
    {
        // Beside a dozen rows without padding, that of one row is computed.
        (tokens, neighbors) = (tokens.narrow(0, 0, 1), neighbors.narrow(0, 0, 1));
        Tensor some = (arange(neighbors.numel()) % 3).ne(1).view(neighbors.shape);
        Tensor all = cat([some, ones([12, .. some.shape[1..]], ScalarType.Bool)]);
        Assert.NotNull(PackedTokens.Of(some));
        Assert.Null(PackedTokens.Of(all));
        Tensor direction = randn([1, tokens.shape[1], model.Config.VocabularySize], ScalarType.Float64);

        (Tensor logits, IList<Tensor> gradients) = Pass(tokens, neighbors, some);
        (Tensor expected, IList<Tensor> expectedGradients) = Pass(tokens.repeat(13, 1), neighbors.repeat(13, 1, 1, 1), all);

        Assert.InRange(ModelCase.Distance(expected, logits), 0, Rounding);
        Assert.All(gradients.Zip(expectedGradients), pair => Assert.InRange(ModelCase.Distance(pair.Second, pair.First), 0, 100 * Rounding));

        (Tensor, IList<Tensor>) Pass(Tensor text, Tensor read, Tensor holds)
        {
            using IDisposable grad = enable_grad();
            Tensor first = model.call(text, read, holds).narrow(0, 0, 1);
            return (first, autograd.grad([first], [.. model.parameters()], [direction], allow_unused: true)
                .Select((gradient, i) => gradient.IsInvalid ? zeros_like(model.parameters().ElementAt(i)) : gradient)
                .ToList());
        }
    });

    [Theory]
    [MemberData(nameof(Names))]
    public void P14_rows_of_a_batch_do_not_mix(string name) => Check(name, 2, (model, tokens, neighbors, valid) =>
    {
        Tensor together = model.call(tokens, neighbors, valid);
        for (long row = 0; row < tokens.shape[0]; row++)
        {
            Tensor alone = model.call(tokens.narrow(0, row, 1), neighbors.narrow(0, row, 1), valid.narrow(0, row, 1));
            Assert.InRange(ModelCase.Distance(together.narrow(0, row, 1), alone), 0, Rounding);
        }
    });

    [Theory]
    [MemberData(nameof(Names))]
    public void P15_the_order_of_retrieved_tokens_matters_where_there_are_positions(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        manual_seed(2);
        using ChunkedCrossAttention layer = new(config, ScalarType.Float64);
        ModelCase.Randomize(layer);
        long length = 2 * config.Retrieval!.ChunkLength;
        Tensor x = randn([1, length, config.Width], ScalarType.Float64);
        Tensor encoded = randn([1, 2, 2, config.Retrieval!.RetrievedLength, config.Retrieval!.Encoder.Width], ScalarType.Float64);
        Tensor text = ModelCase.Tokens(config, 1, length), retrieved = ModelCase.Neighbors(config, 1, length, 2).Neighbors;
        AttentionPlan plan = AttentionPlan.ChunkedCross(config, length, 2, 2, null, ScalarType.Float64, CPU, text, retrieved);

        double change = ModelCase.Distance(layer.call(x, encoded, plan), layer.call(x, encoded.flip(3), plan));

        bool positioned = config.Retrieval!.RetrievedLength > 1
            && (config.Retrieval!.Positions ?? config.Positions) is not (PositionKind.None or PositionKind.Learned)
            || name is "gpt-2";
        Assert.Equal(positioned, change > 1e-6);
    }

    [Theory]
    [InlineData(0, 0, 63)]
    [InlineData(0, 63, 0)]
    [InlineData(0, 64, -1)]
    [InlineData(0, 127, -64)]
    [InlineData(63, 0, 126)]
    [InlineData(63, 63, 63)]
    [InlineData(63, 127, -1)]
    public void P16_the_distance_of_query_and_retrieved_token_is_the_specifications(int query, int token, int distance)
    {
        const int Chunk = 64, Length = 128;
        using DisposeScope scope = NewDisposeScope();
        long count = RelativePositions.Count(Chunk, Length, causal: false);
        Tensor distances = ((2 * Chunk) - 2 - arange(count, ScalarType.Float64)).expand(1, Chunk, count).contiguous();

        Tensor aligned = RelativePositions.Align(distances, Length);

        Assert.Equal([1, Chunk, Length], aligned.shape);
        Assert.Equal(distance, aligned[0, query, token].ToDouble());
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(5, 5)]
    [InlineData(3, 7)]
    public void P16_causal_distances_count_back_from_the_query(int queries, int keys)
    {
        using DisposeScope scope = NewDisposeScope();
        long count = RelativePositions.Count(queries, keys, causal: true);
        Tensor distances = (keys - 1 - arange(count, ScalarType.Float64)).expand(1, queries, count).contiguous();

        Tensor aligned = RelativePositions.Align(distances, keys);

        for (int a = 0; a < queries; a++)
        {
            for (int b = 0; b <= keys - queries + a; b++)
            {
                Assert.Equal(keys - queries + a - b, aligned[0, a, b].ToDouble());
            }
        }
    }

    [Fact]
    public void P16_rotary_products_depend_on_the_distance_alone()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(4);
        Tensor q = randn([1, 1, 1, 8], ScalarType.Float64), k = randn([1, 1, 1, 8], ScalarType.Float64);
        double[] frequencies = RotaryTable.Frequencies(8, 10_000);
        double Product(double query, double key) => (RotaryTable.Create(tensor(new[] { query }), frequencies, ScalarType.Float64).Rotate(q)
            * RotaryTable.Create(tensor(new[] { key }), frequencies, ScalarType.Float64).Rotate(k)).sum().ToDouble();

        Assert.Equal(Product(10, 3), Product(27, 20), 12);
        Assert.Equal(Product(0, 0), (q * k).sum().ToDouble(), 12);
        Assert.NotEqual(Product(10, 3), Product(11, 3), 6);
    }

    [Theory]
    [InlineData("rotary")]
    [InlineData("transformer-xl")]
    [InlineData("transformer-xl, no biases")]
    [InlineData("gpt-neox")]
    [InlineData("r = m")]
    public void P16_queries_of_the_same_content_at_different_places_read_differently(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        manual_seed(6);
        using ChunkedCrossAttention layer = new(config, ScalarType.Float64);
        ModelCase.Randomize(layer);
        long length = (2 * config.Retrieval!.ChunkLength) - 1;
        Tensor x = randn([1, 1, config.Width], ScalarType.Float64).repeat(1, length, 1);
        Tensor encoded = randn([1, 1, 1, config.Retrieval!.RetrievedLength, config.Retrieval!.Encoder.Width], ScalarType.Float64);

        Tensor output = layer.call(x, encoded, AttentionPlan.ChunkedCross(config, length, 1, 1, null, ScalarType.Float64, CPU));

        for (long a = config.Retrieval!.ChunkLength - 1; a < length; a++)
        {
            for (long b = config.Retrieval!.ChunkLength - 1; b < a; b++)
            {
                Assert.True(ModelCase.Distance(output.select(1, a), output.select(1, b)) > 1e-9, $"{a} and {b}");
            }
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void P17_a_chunks_encoding_does_not_depend_on_other_chunks_neighbors(string name) => Check(name, 2, (model, tokens, neighbors, _) =>
    {
        Tensor before = model.Encode(tokens, neighbors);
        for (long u = 0; u < neighbors.shape[1]; u++)
        {
            Tensor after = model.Encode(tokens, ModelCase.Changed(neighbors, model.Config, 0, u));
            for (long other = 0; other < neighbors.shape[1]; other++)
            {
                Assert.Equal(u != other, ModelCase.BitEqual(before.select(0, 0).select(0, other), after.select(0, 0).select(0, other)));
            }
        }
    });

    private static void Check(string name, long count, Action<RetroModel, Tensor, Tensor, Tensor> body)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        long length = (3 * config.Retrieval!.ChunkLength) + 1;
        Tensor tokens = ModelCase.Tokens(config, 3, length);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 3, length, count);
        body(model, tokens, neighbors, valid);
    }
}

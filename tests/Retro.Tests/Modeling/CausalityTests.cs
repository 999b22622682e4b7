using Retro.Modeling;
using Retro.Search;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

/// <summary>Properties 1 to 6: what an output may depend on.</summary>
public class CausalityTests
{
    public static IEnumerable<TheoryDataRow<string>> Names => ModelCase.Names;

    [Theory]
    [MemberData(nameof(Names))]
    public void P01_neighbors_of_a_chunk_act_from_its_last_token_on(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        long chunk = config.Retrieval!.ChunkLength, length = (4 * chunk) + (chunk / 2);
        Tensor tokens = ModelCase.Tokens(config, 1, length);
        Tensor neighbors = ModelCase.Neighbors(config, 1, length, 2).Neighbors;
        Tensor before = model.call(tokens, neighbors, null);

        for (long u = 0; u < length / chunk; u++)
        {
            Tensor after = model.call(tokens, ModelCase.Changed(neighbors, config, 0, u), null);
            long first = ((u + 1) * chunk) - 1;
            Assert.True(ModelCase.BitEqual(before.narrow(1, 0, first), after.narrow(1, 0, first)), $"chunk {u} acts before {first}");
            Assert.False(ModelCase.BitEqual(before.select(1, first), after.select(1, first)), $"chunk {u} does not act at {first}");
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void P02_a_token_acts_from_its_own_position_on(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        long length = (3 * config.Retrieval!.ChunkLength) + 2;
        Tensor tokens = ModelCase.Tokens(config, 1, length);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 1, length, 2);
        Tensor before = model.call(tokens, neighbors, valid);

        for (long i = 0; i < length; i++)
        {
            Tensor after = model.call(ModelCase.Changed(tokens, config, 0, i), neighbors, valid);
            Assert.True(ModelCase.BitEqual(before.narrow(1, 0, i), after.narrow(1, 0, i)), $"token {i} acts before itself");
            Assert.False(ModelCase.BitEqual(before.select(1, i), after.select(1, i)), $"token {i} does not act at itself");
        }
    }

    [Theory]
    [InlineData("rotary")]
    [InlineData("transformer-xl")]
    [InlineData("shifted keys")]
    [InlineData("r below m")]
    [InlineData("m 1")]
    public void P03_a_token_acts_from_its_own_position_on_when_neighbors_are_retrieved_anew(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        int[][] database = [.. Enumerable.Range(0, 60).Select(_ => ModelCase.Tokens(config, 1, config.Retrieval!.RetrievedLength).data<long>().Select(id => (int)id).ToArray())];
        using Bm25Index index = Bm25Index.Build(database.Length, document => database[document].AsSpan(0, Math.Min(config.Retrieval!.ChunkLength, config.Retrieval!.RetrievedLength)));
        long length = 4 * config.Retrieval!.ChunkLength;
        Tensor tokens = ModelCase.Tokens(config, 1, length);
        Tensor retrieved = Retrieve(index, database, tokens, config);
        Tensor before = model.call(tokens, retrieved, null);
        bool changedNeighbors = false;

        for (long i = 0; i < length; i++)
        {
            Tensor other = ModelCase.Changed(tokens, config, 0, i), anew = Retrieve(index, database, other, config);
            changedNeighbors |= !ModelCase.BitEqual(anew, retrieved);
            Tensor after = model.call(other, anew, null);
            Assert.True(ModelCase.BitEqual(before.narrow(1, 0, i), after.narrow(1, 0, i)), $"token {i} acts before itself");
            Assert.False(ModelCase.BitEqual(before.select(1, i), after.select(1, i)), $"token {i} does not act at itself");
        }

        Assert.True(changedNeighbors, "No change of a token changed the neighbors: the test shows nothing.");
    }

    [Theory]
    [InlineData("rotary")]
    [InlineData("transformer-xl")]
    [InlineData("shifted keys")]
    [InlineData("r below m")]
    public void P04_gradients_flow_where_outputs_may_depend_and_nowhere_else(string name)
    {
        RetroConfig config = ModelCase.Config(name).With(retrieval => retrieval with { Encoder = retrieval.Encoder with { ShareEmbedding = false } });
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(config);
        long chunk = config.Retrieval!.ChunkLength, length = (3 * chunk) + 1;
        Tensor tokens = randperm(config.VocabularySize, ScalarType.Int64).narrow(0, 0, length).view(1, length);
        Tensor neighbors = ModelCase.Neighbors(config, 1, length, 2).Neighbors;
        TorchSharp.Modules.Parameter embedding = model.get_parameter("embedding.weight")!;

        for (long p = 0; p < length; p++)
        {
            model.zero_grad();
            model.call(tokens, neighbors, null).select(1, p).square().sum().backward();
            Tensor rows = embedding.grad!.index_select(0, tokens.view(-1)).abs().amax([1]);
            for (long i = 0; i < length; i++)
            {
                Assert.Equal(i <= p, rows[i].ToDouble() > 0);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void P04_cross_attention_passes_gradients_to_a_chunk_from_its_direct_span_alone(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        manual_seed(3);
        using ChunkedCrossAttention layer = new(config, ScalarType.Float64);
        ModelCase.Randomize(layer);
        long chunk = config.Retrieval!.ChunkLength, length = (3 * chunk) + (chunk / 2), chunks = length / chunk;
        Tensor x = randn([1, length, config.Width], ScalarType.Float64);
        Tensor encoded = randn([1, chunks, 2, config.Retrieval!.RetrievedLength, config.Retrieval!.Encoder.Width], ScalarType.Float64, requires_grad: true);
        AttentionPlan plan = AttentionPlan.ChunkedCross(config, length, chunks, 2, null, ScalarType.Float64, CPU);

        for (long p = 0; p < length; p++)
        {
            encoded.grad?.zero_();
            Tensor output = layer.call(x, encoded, plan).select(1, p);
            if (p < chunk - 1)
            {
                Assert.Equal(0, output.abs().max().ToDouble());
            }

            output.square().sum().backward();
            long own = ((p + 1) / chunk) - 1;
            for (long u = 0; u < chunks; u++)
            {
                Assert.Equal(u == own, encoded.grad!.select(1, u).abs().max().ToDouble() > 0);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void P05_with_cross_attention_in_the_last_layer_alone_a_chunk_acts_on_its_direct_span_alone(string name)
    {
        RetroConfig config = ModelCase.Config(name).With(retrieval => retrieval with { CrossAttentionLayers = [3] });
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        long chunk = config.Retrieval!.ChunkLength, length = 5 * chunk;
        Tensor tokens = ModelCase.Tokens(config, 1, length);
        Tensor neighbors = ModelCase.Neighbors(config, 1, length, 2).Neighbors;
        Tensor before = model.call(tokens, neighbors, null);

        for (long u = 0; u < 5; u++)
        {
            Tensor after = model.call(tokens, ModelCase.Changed(neighbors, config, 0, u), null);
            for (long p = 0; p < length; p++)
            {
                bool direct = p >= ((u + 1) * chunk) - 1 && p <= ((u + 2) * chunk) - 2;
                Assert.Equal(!direct, ModelCase.BitEqual(before.select(1, p), after.select(1, p)));
            }
        }
    }

    private static Tensor Retrieve(Bm25Index index, int[][] database, Tensor tokens, RetroConfig config)
    {
        long[] ids = tokens.data<long>().ToArray();
        List<long> found = [];
        for (int start = 0; start + config.Retrieval!.ChunkLength <= ids.Length; start += config.Retrieval!.ChunkLength)
        {
            long[] documents = new long[2];
            index.Search(ids.AsSpan(start, config.Retrieval!.ChunkLength).ToArray().Select(id => (int)id).ToArray(), documents, new double[2]);
            // A chunk of a single token may be found in fewer than two documents; the first one then stands for what is missing.
            found.AddRange(documents.SelectMany(document => database[Math.Max(document, 0)]).Select(id => (long)id));
        }

        return tensor(found.ToArray()).view(1, -1, 2, config.Retrieval!.RetrievedLength);
    }
}

using Retro.Modeling;
using Retro.Search;
using Retro.Tests.Search;
using Retro.Tests.Vectors;
using Retro.Vectors;
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
    [MemberData(nameof(Searches))]
    public void P03_a_token_acts_from_its_own_position_on_when_neighbors_are_retrieved_anew(string name, string kind)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using RetroModel model = ModelCase.Model(config);
        int[][] database = [.. Enumerable.Range(0, 60).Select(_ => Row(ModelCase.Tokens(config, 1, config.Retrieval!.RetrievedLength)))];
        using Searching search = new(kind, config, database);
        long length = 4 * config.Retrieval!.ChunkLength;
        Tensor tokens = ModelCase.Tokens(config, 1, length);
        (Tensor retrieved, Tensor valid) = search.Retrieve(tokens);
        Tensor before = model.call(tokens, retrieved, valid);
        bool changedNeighbors = false;

        for (long i = 0; i < length; i++)
        {
            Tensor other = ModelCase.Changed(tokens, config, 0, i);
            (Tensor anew, Tensor anewValid) = search.Retrieve(other);
            changedNeighbors |= !ModelCase.BitEqual(anew, retrieved);
            Tensor after = model.call(other, anew, anewValid);
            // Where a neighbor is missing less work is done, in other batches: the same but for rounding in float64.
            Assert.True(i == 0 || ModelCase.Distance(before.narrow(1, 0, i), after.narrow(1, 0, i)) < 1e-12, $"token {i} acts before itself");
            Assert.True(ModelCase.Distance(before.select(1, i), after.select(1, i)) > 1e-9, $"token {i} does not act at itself");
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
    public void P04_an_output_passes_gradients_to_the_encodings_it_may_read_and_to_no_later_one(string name)
    {
        RetroConfig config = ModelCase.Config(name).With(retrieval => retrieval with { Encoder = retrieval.Encoder with { ShareEmbedding = false } });
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(config);
        long chunk = config.Retrieval!.ChunkLength, length = (3 * chunk) + 1, chunks = 3;
        Tensor tokens = ModelCase.Tokens(config, 1, length);
        // The neighbors of chunk u hold the token u alone: what reaches its row of the encoder's embedding came through the encoding of chunk u, and through
        // nothing else.
        Tensor neighbors = arange(chunks, ScalarType.Int64).view(1, chunks, 1, 1).expand(1, chunks, 2, config.Retrieval!.RetrievedLength).contiguous();
        TorchSharp.Modules.Parameter embedding = model.get_parameter("encoder.embedding.weight")!;

        for (long p = 0; p < length; p++)
        {
            model.zero_grad();
            model.call(tokens, neighbors, null).select(1, p).square().sum().backward();
            for (long u = 0; u < chunks; u++)
            {
                double reached = embedding.grad is null ? 0 : embedding.grad[u].abs().max().ToDouble();
                bool direct = p >= ((u + 1) * chunk) - 1 && p <= ((u + 2) * chunk) - 2;
                Assert.True(p >= ((u + 1) * chunk) - 1 || reached == 0, $"output {p} reads the encoding of chunk {u}, which is not complete");
                Assert.True(!direct || reached > 0, $"output {p} does not read the encoding of chunk {u}, in whose direct span it stands");
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
        Tensor text = ModelCase.Tokens(config, 1, length), ids = ModelCase.Neighbors(config, 1, length, 2).Neighbors;
        AttentionPlan plan = AttentionPlan.ChunkedCross(config, length, chunks, 2, null, ScalarType.Float64, CPU, text, ids);

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

    public static IEnumerable<TheoryDataRow<string, string>> Searches()
        => from name in (string[])["rotary", "transformer-xl", "shifted keys", "r below m", "m 1"]
           from kind in (string[])["bm25", "exact", "inverted lists"]
           select new TheoryDataRow<string, string>(name, kind);

    private static int[] Row(Tensor tokens) => [.. tokens.data<long>().Select(id => (int)id)];

    /// <summary>Two neighbors of each chunk, found by a real index of either kind; what is missing is masked.</summary>
    private sealed class Searching : IDisposable
    {
        private const int K = 2, Dimensions = 16;

        private readonly RetroConfig _config;
        private readonly int[][] _database;
        private readonly Bm25Index? _keywords;
        private readonly VectorIndex? _vectors;
        private readonly float[] _tokenVectors;

        public Searching(string kind, RetroConfig config, int[][] database)
        {
            (_config, _database) = (config, database);
            _tokenVectors = TestVectors.Random(config.VocabularySize, Dimensions, seed: 3);
            int keyed = Math.Min(config.Retrieval!.ChunkLength, config.Retrieval!.RetrievedLength);
            if (kind == "bm25")
            {
                _keywords = Bm25Index.Build(database.Length, document => database[document].AsSpan(0, keyed));
                return;
            }

            float[] keys = [.. database.SelectMany(document => Key(document[..keyed]))];
            _vectors = VectorIndex.Create(Dimensions, kind == "exact" ? "Flat" : "IVF4,Flat");
            _vectors.Train(keys);
            _vectors.Add(keys);
        }

        public (Tensor Neighbors, Tensor Valid) Retrieve(Tensor tokens)
        {
            int[] ids = Row(tokens);
            int m = _config.Retrieval!.ChunkLength, r = _config.Retrieval!.RetrievedLength;
            List<long> neighbors = [];
            List<bool> valid = [];
            for (int start = 0; start + m <= ids.Length; start += m)
            {
                long[] found = new long[K];
                int[] chunk = ids[start..(start + m)];
                if (_vectors is not null)
                {
                    _vectors.Search(Key(chunk), K, found, new float[K]);
                }
                else
                {
                    _keywords!.Search(chunk, found, new double[K]);
                }

                foreach (long document in found)
                {
                    neighbors.AddRange(document < 0 ? new long[r] : _database[document].Select(id => (long)id));
                    valid.AddRange(Enumerable.Repeat(document >= 0, r));
                }
            }

            long[] shape = [1, ids.Length / m, K, r];
            return (tensor(neighbors.ToArray(), shape), tensor(valid.ToArray(), shape));
        }

        public void Dispose()
        {
            _keywords?.Dispose();
            _vectors?.Dispose();
        }

        private float[] Key(int[] tokens)
            => [.. Enumerable.Range(0, Dimensions).Select(j => tokens.Sum(token => _tokenVectors[(token * Dimensions) + j]) / tokens.Length)];
    }
}

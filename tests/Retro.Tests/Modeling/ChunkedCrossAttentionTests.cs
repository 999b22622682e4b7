using FsCheck;
using FsCheck.Fluent;
using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

/// <summary>
/// Chunked cross-attention against a literal reading of its definition, position by position, at generated sizes and masks (property 6 and the closed form of
/// any length).
/// </summary>
public class ChunkedCrossAttentionTests(ITestOutputHelper output)
{
    private sealed record Sizes(
        int Chunk,
        int Retrieved,
        int Neighbors,
        int Tokens,
        int MissingChunks,
        PositionKind Positions,
        bool Shifted,
        bool Matched,
        bool Masked,
        bool Gated,
        int? Rank,
        double RotaryBase,
        double RotaryFraction,
        bool Scaled,
        int Seed);

    [Fact]
    public void P06_any_chunk_length_retrieved_length_number_of_neighbors_and_sequence_length()
    {
        Gen<Sizes> sizes =
            from chunk in Gen.Choose(1, 5)
            from retrieved in Gen.Frequency((3, Gen.Choose(1, 7)), (1, Gen.Choose(18, 22)))
            from neighbors in Gen.Choose(1, 3)
            from tokens in Gen.Frequency((3, Gen.Choose(1, 14)), (1, Gen.Choose(20, 26)))
            from missing in Gen.Choose(0, 1)
            from positions in Gen.Elements(PositionKind.Rotary, PositionKind.TransformerXl, PositionKind.None)
            from shifted in Gen.Elements(false, true)
            from matched in Gen.Elements(false, true)
            from masked in Gen.Elements(false, true)
            from gated in Gen.Elements(false, true)
            from rank in Gen.Elements<int?>(null, 3)
            from rotaryBase in Gen.Elements(100.0, 10_000.0, 500_000.0)
            from fraction in Gen.Elements(0.5, 1.0)
            from scaled in Gen.Elements(false, true)
            from seed in Gen.Choose(0, 1_000_000)
            select new Sizes(
                chunk, retrieved, neighbors, tokens, missing, positions, shifted, matched, masked, gated, rank, rotaryBase, fraction, scaled, seed);

        Prop.ForAll(sizes.ToArbitrary(), Agrees).Check(FsCheck.Config.QuickThrowOnFailure.WithMaxTest(60));
    }

    /// <summary>What a fresh model looks at first, which decides how soon it learns.</summary>
    [Fact]
    public void A_fresh_match_bias_weighs_runs_and_the_wish_to_look_away_as_a_run_of_one()
    {
        RetroConfig config = RetroConfig.Tiny with { Retrieval = RetroConfig.Tiny.Retrieval! with { MatchBias = true } };
        using DisposeScope scope = NewDisposeScope();
        using ChunkedCrossAttention layer = new(config);
        float[] weights = [1, 1, 0.5f, 0.5f, 0.1f];
        Assert.Equal(Enumerable.Repeat(weights, config.Heads).SelectMany(row => row), layer.get_parameter("match")!.data<float>().ToArray());
        Assert.Equal(Enumerable.Repeat(weights[0] + weights[1], config.Heads), layer.get_parameter("away")!.data<float>().ToArray());
    }

    [Theory]
    [InlineData(PositionKind.Rotary)]
    [InlineData(PositionKind.TransformerXl)]
    public void Activation_memory_is_linear_in_the_sequence(PositionKind positions)
    {
        MemoryInUse.Require();
        RetroConfig config = RetroConfig.Mini with
        {
            Width = 64,
            Heads = 4,
            HeadSize = 16,
            Retrieval = RetroConfig.Mini.Retrieval! with
            {
                ChunkLength = 32,
                RetrievedLength = 64,
                Positions = positions,
                Encoder = RetroConfig.Mini.Retrieval!.Encoder with { Width = 64 }
            }
        };
        using ChunkedCrossAttention layer = new(config);
        Grown(layer, config, 512);
        double small = Grown(layer, config, 2048), large = Grown(layer, config, 8192);
        output.WriteLine(FormattableString.Invariant($"{positions}: {small / 1e6:F1} MB for 2,048 tokens, {large / 1e6:F1} MB for 8,192"));

        // Logits are [H, T, K·R]: 4 times the tokens, 4 times the memory. Of a square of the sequence it would be 16 times.
        Assert.InRange(large / small, 3, 5);
        Assert.True(
            small > sizeof(float) * 2048.0 * config.Heads * 2 * config.Retrieval!.RetrievedLength,
            "Less memory than the logits take: the test measures nothing.");
    }

    // What the process holds more of while the graph of a forward pass is kept.
    private static double Grown(ChunkedCrossAttention layer, RetroConfig config, long tokens)
    {
        using DisposeScope scope = NewDisposeScope();
        long chunks = tokens / config.Retrieval!.ChunkLength;
        Tensor x = randn(1, tokens, config.Width), encoded = randn(
            [1, chunks, 2, config.Retrieval!.RetrievedLength, config.Retrieval!.Encoder.Width], requires_grad: true);
        AttentionPlan plan = AttentionPlan.ChunkedCross(config, tokens, chunks, 2, null, ScalarType.Float32, CPU);
        LiveTensors.Settled();
        long before = MemoryInUse.Now();
        layer.call(x, encoded, plan);
        return MemoryInUse.Now() - before;
    }

    private static bool Agrees(Sizes sizes)
    {
        RetroConfig config = RetroConfig.Tiny with
        {
            Width = 6,
            Heads = 2,
            HeadSize = 4,
            RotaryBase = sizes.RotaryBase,

            // The decoder's own, which retrieval leaves alone.
            RotaryFraction = sizes.RotaryFraction,
            RotaryScaling = sizes.Scaled ? new() { Factor = 4 } : null,
            Retrieval = RetroConfig.Tiny.Retrieval! with
            {
                ChunkLength = sizes.Chunk,
                RetrievedLength = sizes.Retrieved,
                Positions = sizes.Positions,
                ShiftedKeys = sizes.Shifted,
                MatchBias = sizes.Matched,
                Gate = sizes.Gated,
                CrossAttentionRank = sizes.Rank,
                Encoder = RetroConfig.Tiny.Retrieval!.Encoder with { Width = 8 }
            },
        };
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        manual_seed(sizes.Seed);
        using ChunkedCrossAttention layer = new(config, ScalarType.Float64);
        ModelCase.Randomize(layer);
        long chunks = Math.Max(0, (sizes.Tokens / sizes.Chunk) - sizes.MissingChunks);
        Tensor x = randn([2, sizes.Tokens, config.Width], ScalarType.Float64);
        Tensor encoded = randn([2, chunks, sizes.Neighbors, sizes.Retrieved, config.Retrieval!.Encoder.Width], ScalarType.Float64);
        Tensor? valid = sizes.Masked ? rand([2, chunks, sizes.Neighbors, sizes.Retrieved], ScalarType.Float64).ge(0.5) : null;

        // Two words alone, so that long runs are equal.
        Tensor text = randint(2, [2, sizes.Tokens], ScalarType.Int64), retrieved = randint(2, [2, chunks, sizes.Neighbors, sizes.Retrieved], ScalarType.Int64);
        AttentionPlan plan = AttentionPlan.ChunkedCross(config, sizes.Tokens, chunks, sizes.Neighbors, valid, ScalarType.Float64, CPU, text, retrieved);
        Tensor came = layer.call(x, encoded, plan);

        return ModelCase.Distance(came, Literal(config, layer.state_dict(), x, encoded, text, retrieved, valid)) < 1e-11;
    }

    private static Tensor Literal(
        RetroConfig config, Dictionary<string, Tensor> weights, Tensor x, Tensor encoded, Tensor text, Tensor retrieved, Tensor? valid)
    {
        long chunk = config.Retrieval!.ChunkLength, heads = config.Heads, size = config.HeadSize;
        Tensor output = zeros_like(x);
        Tensor Project(string name, Tensor vector) => Product(name, vector).view(heads, size);
        Tensor Product(string name, Tensor vector) => config.Retrieval!.CrossAttentionRank is null
            ? weights[$"{name}.weight"].matmul(vector)
            : weights[$"{name}.up.weight"].matmul(weights[$"{name}.down.weight"].matmul(vector));
        Tensor normed = x * (x.square().mean([-1], keepdim: true) + config.NormEpsilon).rsqrt() * weights["norm.weight"];
        for (long row = 0; row < x.shape[0]; row++)
        {
            for (long p = chunk - 1; p < x.shape[1]; p++)
            {
                long e = ((p + 1) / chunk) - 1, a = (p + 1) % chunk;
                if (e >= encoded.shape[1])
                {
                    continue;
                }

                Tensor q = Project("q", normed[row, p]);
                List<Tensor> logits = [], values = [];
                for (long j = 0; j < encoded.shape[2]; j++)
                {
                    for (long b = 0; b < config.Retrieval!.RetrievedLength; b++)
                    {
                        if (valid is not null && !valid[row, e, j, b].ToBoolean())
                        {
                            continue;
                        }

                        Tensor token = encoded[row, e, j, b], k = Project("k", token);
                        if (config.Retrieval!.ShiftedKeys && b > 0 && (valid is null || valid[row, e, j, b - 1].ToBoolean()))
                        {
                            k = k + Project("k_shifted", encoded[row, e, j, b - 1]);
                        }

                        Tensor logit = Logit(config, weights, q, k, a, b) / Math.Sqrt(size);
                        logits.Add(config.Retrieval!.MatchBias ? logit + weights["match"].matmul(Features(row, e, j, p, b)) : logit);
                        values.Add(Project("v", token));
                    }
                }

                if (logits.Count > 0)
                {
                    if (config.Retrieval!.MatchBias)
                    {
                        logits.Add(weights["away"]);
                        values.Add(zeros_like(values[0]));
                    }

                    Tensor shares = stack(logits).softmax(0).unsqueeze(-1); // [KR, H, 1]
                    Tensor found = Product("o", (shares * stack(values)).sum(dim: 0).view(-1));
                    output[row, p] = config.Retrieval!.Gate ? found * Math.Tanh(weights["gate"].ToDouble()) : found;
                }
            }
        }

        return output;

        // Counted from the definition: how far back text and neighbor are equal, and at how many of 16 places.
        Tensor Features(long row, long e, long j, long p, long b)
        {
            bool Equal(long u) => p - u >= 0
                && b - 1 - u >= 0
                && (valid is null || valid[row, e, j, b - 1 - u].ToBoolean())
                && text[row, p - u].ToInt64() == retrieved[row, e, j, b - 1 - u].ToInt64();
            bool[] equal = [.. Enumerable.Range(0, 16).Select(u => Equal(u))];
            int run = Math.Min(12, equal.TakeWhile(one => one).Count());
            return tensor([run, run >= 1 ? 1.0 : 0, run >= 2 ? 1 : 0, run >= 4 ? 1 : 0, equal.Count(one => one)]);
        }
    }

    private static Tensor Logit(RetroConfig config, Dictionary<string, Tensor> weights, Tensor q, Tensor k, long a, long b)
    {
        switch (config.Retrieval!.Positions)
        {
            case PositionKind.Rotary:
                return (Turn(q, a + config.Retrieval!.ChunkLength - 1, config.RotaryBase) * Turn(k, b, config.RotaryBase)).sum(-1);
            case PositionKind.TransformerXl:
                double distance = a - b + config.Retrieval!.ChunkLength - 1;
                int half = config.Width / 2;
                double[] sinusoid = [.. Enumerable.Range(0, config.Width)
                    .Select(i => distance * Math.Pow(10_000, -2.0 * (i % half) / config.Width))
                    .Select((angle, i) => i < half ? Math.Sin(angle) : Math.Cos(angle))];
                Tensor position = weights["r.weight"].matmul(tensor(sinusoid)).view(q.shape);
                return ((q + weights["content_bias"]) * k).sum(-1) + ((q + weights["position_bias"]) * position).sum(-1);
            default:
                return (q * k).sum(-1);
        }
    }

    private static Tensor Turn(Tensor x, double position, double rotaryBase)
    {
        double[] values = x.data<double>().ToArray();
        long size = x.shape[1], half = size / 2;
        double[] turned = new double[values.Length];
        for (long head = 0; head < x.shape[0]; head++)
        {
            for (long i = 0; i < half; i++)
            {
                double angle = position * Math.Pow(rotaryBase, -2.0 * i / size), first = values[(head * size) + i], second = values[(head * size) + half + i];
                turned[(head * size) + i] = (first * Math.Cos(angle)) - (second * Math.Sin(angle));
                turned[(head * size) + half + i] = (second * Math.Cos(angle)) + (first * Math.Sin(angle));
            }
        }

        return tensor(turned).view(x.shape);
    }
}

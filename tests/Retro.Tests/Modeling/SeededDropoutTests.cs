using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

/// <summary>What is dropped, how much of it, and what becomes of the rest.</summary>
public class SeededDropoutTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void So_many_become_zero_and_the_others_are_divided_by_the_share_that_is_kept(bool ownNumbers)
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(1);
        using IDisposable? own = ownNumbers ? SeededDropout.Own() : null;
        Tensor x = full(100_000, 2, ScalarType.Float64);

        double[] came = SeededDropout.Of(x, 0.1).data<double>().ToArray();

        Assert.InRange(came.Count(value => value == 0) / (double)came.Length, 0.095, 0.105);
        Assert.All(came.Where(value => value != 0), value => Assert.Equal(2 / 0.9, value, 1e-12));
        Assert.Same(x, SeededDropout.Of(x, 0));
    }

    /// <summary>Decoder and encoder have rates of their own.</summary>
    [Fact]
    public void Every_branch_and_every_embedding_drops_at_the_rate_of_its_side()
    {
        const double DecoderRate = 0.3, EncoderRate = 0.6;
        RetroConfig config = ModelCase.Config("rotary") with { Dropout = DecoderRate };
        config = config.With(retrieval => retrieval with { Encoder = retrieval.Encoder with { Dropout = EncoderRate, FinalNorm = false } });
        RetrievalConfig settings = config.Retrieval!;
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        manual_seed(2);
        long chunk = settings.ChunkLength, length = settings.RetrievedLength, width = settings.Encoder.Width;
        Tensor x = randn([2, 10 * chunk, config.Width], ScalarType.Float64), encoded = randn([2, 10, 3, length, width], ScalarType.Float64);
        AttentionPlan causal = AttentionPlan.Causal(config, 10 * chunk, ScalarType.Float64, CPU);
        AttentionPlan cross = AttentionPlan.ChunkedCross(config, 10 * chunk, 10, 3, null, ScalarType.Float64, CPU);
        foreach (string branch in new[] { "attn.o.weight", "cca.o.weight", "ffw.down.weight" })
        {
            using DecoderLayer layer = new(config, 2, ScalarType.Float64);
            LeaveOne(layer, branch);
            AssertDrops(layer, DecoderRate, () => layer.call(x, causal, encoded, cross) - x);
        }

        Tensor retrieved = encoded.view(20, 3, length, width), states = x.view(20, chunk, config.Width);
        AttentionPlan within = AttentionPlan.Encoder(config, null, ScalarType.Float64, CPU);
        AttentionPlan toChunk = AttentionPlan.EncoderCross(config, 3, ScalarType.Float64, CPU);
        foreach (string branch in new[] { "attn.o.weight", "cross.o.weight", "ffw.down.weight" })
        {
            using EncoderLayer layer = new(config, settings.Encoder.CrossAttentionLayers[0], ScalarType.Float64);
            LeaveOne(layer, branch);
            AssertDrops(layer, EncoderRate, () => layer.call(retrieved, states, within, toChunk) - retrieved);
        }

        using RetroModel model = new(config, ScalarType.Float64);
        Tensor tokens = ModelCase.Tokens(config, 2, 10 * chunk);
        AssertDrops(model, DecoderRate, () => model.Embed(tokens));
        RetroConfig embedded = config.With(retrieval => retrieval with
        {
            Encoder = retrieval.Encoder with { Layers = 0, CrossAttentionLayers = LayerList.Empty },
        });
        using RetrievalEncoder encoder = new(embedded, dtype: ScalarType.Float64);
        Tensor ids = randint(config.VocabularySize, [2, 10, 3, length], ScalarType.Int64);
        AssertDrops(encoder, EncoderRate, () => encoder.call(ids, x, null));
    }

    /// <summary>Makes the other branches give nothing.</summary>
    private static void LeaveOne(nn.Module layer, string output)
    {
        ModelCase.Randomize(layer);
        string[] others = [.. layer.named_parameters().Select(pair => pair.name).Where(name => name.EndsWith(".o.weight", StringComparison.Ordinal)
            || name.EndsWith(".down.weight", StringComparison.Ordinal))];
        Assert.Contains(output, others);
        foreach (string other in others.Where(name => name != output))
        {
            layer.get_parameter(other)!.zero_();
        }
    }

    private static void AssertDrops(nn.Module module, double rate, Func<Tensor> compute)
    {
        module.eval();
        double[] without = compute().contiguous().data<double>().ToArray();
        module.train();
        double[] with = compute().contiguous().data<double>().ToArray();

        // Positions before the first chunk's end get nothing from it, dropped or not.
        double[] ratios = [.. without.Zip(with).Where(pair => Math.Abs(pair.First) > 1e-3).Select(pair => pair.Second / pair.First)];
        Assert.True(ratios.Length > 400);
        Assert.InRange(ratios.Count(ratio => ratio == 0) / (double)ratios.Length, rate - 0.1, rate + 0.1);
        Assert.All(ratios, ratio => Assert.True(ratio == 0 || Math.Abs(ratio - (1 / (1 - rate))) < 1e-6, $"{ratio}"));
    }
}

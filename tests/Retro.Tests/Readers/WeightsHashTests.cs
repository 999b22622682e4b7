using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Readers;
using TorchSharp;

namespace Retro.Tests.Readers;

public class WeightsHashTests
{
    /// <summary>A store of a database's tokens, hours of work, names the model that it was made with by this.</summary>
    [Fact]
    public void A_model_has_the_hash_that_it_always_had()
    {
        const string Config = "RetroConfig { VocabularySize = 7, Width = 4, Layers = 1, Heads = 2, KeyValueHeads = , HeadSize = 2, FeedForwardSize = 8, "
            + "Retrieval = , Positions = Rotary, MaximumLength = , RotaryBase = 10000, RotaryFraction = 1, RotaryScaling = , RelativeBiases = True, "
            + "SlidingWindow = , TieEmbeddings = False, Norm = RmsNorm, NormEpsilon = 1E-06, Activation = Gelu, QueryKeyValueBias = False, "
            + "AttentionOutputBias = False, FeedForwardBias = False, ParallelResidual = False, Dropout = 0, InitialOutputScale = 0.05, HasRetrieval = False }";
        RetroConfig config = new() { VocabularySize = 7, Width = 4, Layers = 1, Heads = 2, HeadSize = 2, FeedForwardSize = 8 };
        using RetroModel model = new(config), normed = new(config with { QueryKeyNorm = true });

        Assert.Equal(TensorHash.Of(Checkpoint.Stored(model).Select(pair => (pair.Key, pair.Value)), Config + " Float32"), WeightsHash.Exact(model));
        Assert.NotEqual(WeightsHash.Exact(model), WeightsHash.Exact(normed));
    }

    /// <summary>Of the same weights.</summary>
    [Fact]
    public void What_computes_otherwise_has_another_hash()
    {
        RetroConfig config = new() { VocabularySize = 7, Width = 4, Layers = 2, Heads = 2, HeadSize = 2, FeedForwardSize = 8, SlidingWindow = 3 };
        RotaryScaling scaling = new() { Kind = RotaryScalingKind.LongRope, PairFactors = [2] };
        RetroConfig[] others =
        [
            config, config with { UnrotatedLayers = [1] }, config with { WindowLayers = [1] }, config with { WindowRotaryBase = 5 },
            config with { EmbeddingScale = 1.5 }, config with { RotaryScaling = scaling }, config with { RotaryScaling = scaling with { PairFactors = [3] } },
        ];
        Assert.Equal(others.Length, others.Select(Hash).Distinct().Count());

        static string Hash(RetroConfig config)
        {
            torch.manual_seed(1);
            using RetroModel model = new(config);
            return WeightsHash.Exact(model);
        }
    }
}

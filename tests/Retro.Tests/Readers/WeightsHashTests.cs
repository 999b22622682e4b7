using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Readers;

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
}

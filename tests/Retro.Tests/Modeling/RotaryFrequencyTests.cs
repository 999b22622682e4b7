using Retro.Modeling;

namespace Retro.Tests.Modeling;

public sealed class RotaryFrequencyTests
{
    [Fact]
    public void An_odd_number_of_features_keeps_its_own_frequencies()
    {
        Assert.Equal([1, Math.Pow(100, -2.0 / 3)], RotaryTable.Frequencies(3, 100));
        Assert.Equal([1, Math.Pow(100, -2.0 / 4)], RotaryTable.Frequencies(4, 100));
        RetroConfig config = new() { VocabularySize = 4, Width = 12, Layers = 1, Heads = 1, HeadSize = 12, FeedForwardSize = 4, RotaryFraction = 0.25 };
        Assert.Same(config, config.Validate());
        Assert.Throws<RetroOptionsException>(() => (config with { HeadSize = 3, RotaryFraction = 1 }).Validate());
        Assert.Throws<RetroOptionsException>(() => (config with { HeadSize = 3, RotaryFraction = 0.3 }).Validate());
    }

    /// <summary>Every number of it is stored, whether its kind reads it or not.</summary>
    [Fact]
    public void No_number_of_a_scaling_is_passed_over()
    {
        RotaryScaling linear = new() { Kind = RotaryScalingKind.Linear, Factor = 2 };
        RetroConfig config = RetroConfig.Tiny with { RotaryScaling = linear };
        Assert.Same(config, config.Validate());
        foreach (RotaryScaling scaling in new[] { linear with { LowFrequencyFactor = double.NaN }, linear with { HighFrequencyFactor = double.NaN } })
        {
            Assert.Throws<RetroOptionsException>(() => (config with { RotaryScaling = scaling }).Validate());
        }
    }
}

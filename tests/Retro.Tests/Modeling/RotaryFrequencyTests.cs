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
}

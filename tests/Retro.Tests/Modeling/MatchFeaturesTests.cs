using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

public class MatchFeaturesTests
{
    /// <summary>What a processor counts along the diagonals, an accelerator counts by comparing everything.</summary>
    [Theory]
    [InlineData(2)]
    [InlineData(5)]
    public void Runs_and_equal_tokens_are_the_same_in_both_ways(int vocabulary)
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(vocabulary);
        Tensor text = randint(vocabulary, [3, MatchFeatures.Compared - 1 + 20], ScalarType.Int64), before = randint(vocabulary, [3, 2, 30], ScalarType.Int64);
        text.select(0, 0).narrow(0, 0, 7).fill_(-1); // the others have tokens before the first one that asks
        before.narrow(2, 26, 3).fill_(-2);
        text.select(0, 1).narrow(0, 10, 25).copy_(before.select(0, 1).select(0, 1).narrow(0, 0, 25)); // a run longer than any that counts

        (Tensor run, Tensor equal) = MatchFeatures.Diagonally(text, before);
        (Tensor runByShifts, Tensor equalByShifts) = MatchFeatures.ByShifts(text, before);

        Assert.Equal([3, 20, 2, 30], run.shape);
        Assert.Equal((MatchFeatures.LongestRun, MatchFeatures.Compared), (run.max().item<int>(), equal.max().item<int>()));
        Assert.True(run.equal(runByShifts).all().item<bool>());
        Assert.True(equal.equal(equalByShifts).all().item<bool>());
    }
}

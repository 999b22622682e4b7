
namespace Retro.Tests;

public class SeededPermutationTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(16)]
    [InlineData(17)]
    [InlineData(1000)]
    public void Every_number_comes_once(int count)
    {
        SeededPermutation order = new(count, seed: 7, purpose: (Purpose)1, place: 3);
        Assert.Equal(Enumerable.Range(0, count).Select(i => (long)i), Enumerable.Range(0, count).Select(i => order.At(i)).Order());
    }

    [Fact]
    public void The_first_place_is_spread_evenly()
    {
        const int count = 10, draws = 5000;
        int[] hits = new int[count];
        for (int place = 0; place < draws; place++)
        {
            hits[new SeededPermutation(count, 1, (Purpose)2, place).At(0)]++;
        }

        // Ten cells of 500 expected: five standard deviations are about 106.
        Assert.All(hits, hit => Assert.InRange(hit, 394, 606));
    }

    [Fact]
    public void Places_outside_are_refused()
    {
        SeededPermutation order = new(5, 0, 0, 0);
        Assert.Throws<ArgumentOutOfRangeException>(() => order.At(5));
        Assert.Throws<ArgumentOutOfRangeException>(() => order.At(-1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new SeededPermutation(0, 0, 0, 0));
    }
}

namespace Retro.Tests;

public sealed class AscendingTests
{
    [Fact]
    public void The_last_of_what_is_at_most_a_value_is_found()
    {
        long[] values = [2, 5, 5, 5, 9];
        Assert.Equal([-1, 0, 0, 3, 3, 4, 4], new long[] { 1, 2, 4, 5, 8, 9, long.MaxValue }.Select(value => Ascending.LastAtMost(values, value)));
        Assert.Equal(-1, Ascending.LastAtMost<int>([], 3));
    }
}

using Retro.Database;

namespace Retro.Tests.Database;

public class WorkShareTests
{
    [Theory]
    [InlineData("1/1", 1, 1)]
    [InlineData("3/8", 3, 8)]
    [InlineData("2147483647/2147483647", int.MaxValue, int.MaxValue)]
    public void A_share_is_read_as_it_is_written(string text, int index, int count)
    {
        WorkShare share = WorkShare.Parse(text);
        Assert.Equal((new WorkShare(index, count), index, count, text), (share, share.Index, share.Count, share.ToString()));
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("3")]
    [InlineData("0/8")]
    [InlineData("9/8")]
    [InlineData("-1/8")]
    [InlineData("1/0")]
    [InlineData("1/2/3")]
    [InlineData(" 1/2")]
    [InlineData("1/99999999999")]
    public void What_is_no_share_is_refused(string? text)
    {
        Assert.False(WorkShare.TryParse(text, out _));
        Assert.Contains("3/8", Assert.Throws<FormatException>(() => WorkShare.Parse(text!)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(3, 2)]
    [InlineData(1, 0)]
    public void There_is_no_share_beyond_the_last(int index, int count) => Assert.Throws<ArgumentOutOfRangeException>(() => new WorkShare(index, count));

    [Theory]
    [InlineData(0, 3)]
    [InlineData(5, 8)]
    [InlineData(100, 7)]
    [InlineData(long.MaxValue, 1000)]
    public void All_shares_together_are_the_whole_and_differ_by_one_part_at_most(long parts, int count)
    {
        long next = 0;
        for (int index = 1; index <= count; index++)
        {
            (long first, long end) = new WorkShare(index, count).Of(parts);
            Assert.Equal(next, first);
            Assert.InRange(end - first, parts / count, parts / count + 1);
            next = end;
        }

        Assert.Equal(parts, next);
        Assert.Equal((0, parts), default(WorkShare).Of(parts));
    }
}

using System.Globalization;

namespace Retro.Tests;

public sealed class AmountTests
{
    [Theory]
    [InlineData(0, "0 bytes")]
    [InlineData(1, "1 byte")]
    [InlineData(999, "999 bytes")]
    [InlineData(1_000, "1.0 KB")]
    [InlineData(999_949, "999.9 KB")]
    [InlineData(999_950, "1.0 MB")]
    [InlineData(999_949_999, "999.9 MB")]
    [InlineData(999_950_000, "1.00 GB")]
    [InlineData(1_234_560_000_000, "1,234.56 GB")]
    public void Sizes_have_the_unit_that_shows_them(long bytes, string expected) => Assert.Equal(expected, InAnotherCulture(() => Amount.OfBytes(bytes)));

    [Theory]
    [InlineData(0, "0.0 seconds")]
    [InlineData(59.9, "59.9 seconds")]
    [InlineData(59.97, "1.0 minutes")]
    [InlineData(150, "2.5 minutes")]
    [InlineData(3599, "1.0 hours")]
    [InlineData(5_400_000, "1,500.0 hours")]
    public void Times_have_the_unit_that_shows_them(double seconds, string expected)
        => Assert.Equal(expected, InAnotherCulture(() => Amount.OfTime(TimeSpan.FromSeconds(seconds))));

    [Theory]
    [InlineData(0, "0 documents")]
    [InlineData(1, "1 document")]
    [InlineData(2000, "2,000 documents")]
    public void One_thing_is_not_several(long count, string expected) => Assert.Equal(expected, InAnotherCulture(() => Amount.Of(count, "document")));

    private static string InAnotherCulture(Func<string> text)
    {
        CultureInfo before = CultureInfo.CurrentCulture, other = (CultureInfo)CultureInfo.InvariantCulture.Clone();
        (other.NumberFormat.NumberDecimalSeparator, other.NumberFormat.NumberGroupSeparator) = (",", ".");
        CultureInfo.CurrentCulture = other;
        try
        {
            return text();
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }
    }
}

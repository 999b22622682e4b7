using Samples;

namespace Retro.Tests.Samples;

public class DurationTests
{
    [Theory]
    [InlineData(0, "0:00")]
    [InlineData(65.9, "1:05")]
    [InlineData(3599, "59:59")]
    [InlineData(3600, "1:00:00")]
    [InlineData(93609, "26:00:09")]
    public void Hours_and_days_are_told(double seconds, string text) => Assert.Equal(text, Duration.Text(TimeSpan.FromSeconds(seconds)));
}

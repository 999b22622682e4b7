using System.Globalization;

namespace Samples;

/// <summary>Spans of time as a person reads them.</summary>
internal static class Duration
{
    /// <summary>Minutes and seconds, with the hours before them where there are any: 1:05, 26:00:09.</summary>
    public static string Text(TimeSpan time)
        => time.TotalHours < 1
            ? string.Create(CultureInfo.InvariantCulture, $"{time.Minutes}:{time.Seconds:00}")
            : string.Create(CultureInfo.InvariantCulture, $"{(long)time.TotalHours}:{time.Minutes:00}:{time.Seconds:00}");
}

using System.Globalization;

namespace Retro;

/// <summary>Amounts as people read them, the same in every culture.</summary>
public static class Amount
{
    /// <summary>A number of things, such as "1 document" and "2,000 documents".</summary>
    /// <param name="count">How many.</param>
    /// <param name="thing">What one of them is called; more have an s behind it.</param>
    public static string Of(long count, string thing) => string.Create(CultureInfo.InvariantCulture, $"{count:#,0} {thing}{(count == 1 ? "" : "s")}");

    /// <summary>A size, such as "36.2 KB", in units of 1,000.</summary>
    /// <param name="bytes">Its bytes.</param>
    public static string OfBytes(long bytes) => bytes switch
    {
        < 1_000 => Of(bytes, "byte"),
        < 999_950 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e3:0.0} KB"),
        < 999_950_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:0.0} MB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e9:#,0.00} GB"),
    };

    /// <summary>A time, such as "2.5 minutes"; below a minute in seconds, from an hour on in hours.</summary>
    /// <param name="time">The time.</param>
    public static string OfTime(TimeSpan time)
    {
        (double amount, string unit) = time.TotalSeconds < 59.95 ? (time.TotalSeconds, "seconds")
            : time.TotalMinutes < 59.95 ? (time.TotalMinutes, "minutes")
            : (time.TotalHours, "hours");
        return string.Create(CultureInfo.InvariantCulture, $"{amount:#,0.0} {unit}");
    }
}

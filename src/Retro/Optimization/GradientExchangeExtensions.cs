using System.Runtime.ExceptionServices;

namespace Retro.Optimization;

/// <summary>What one process does for all of an <see cref="IGradientExchange"/>.</summary>
public static class GradientExchangeExtensions
{
    /// <summary>
    /// Has the first process make what all then open, such as a tokenizer, a database and its indexes, while the others wait: files are written by one process
    /// at a time, and who comes second is refused.
    /// </summary>
    /// <param name="exchange">The processes; each of them calls this.</param>
    /// <param name="make">What the first does.</param>
    /// <exception cref="RetroException">
    /// In the others: the first could not; the message says why. The first throws what <paramref name="make"/> did.
    /// </exception>
    public static void ByFirst(this IGradientExchange exchange, Action make)
    {
        ArgumentNullException.ThrowIfNull(exchange);
        ArgumentNullException.ThrowIfNull(make);
        exchange
            .FaultOf(exchange.Rank == 0 ? make : null, said => new RetroException($"What all processes were to open was not made by {said}"))
            ?.Throw();
    }

    /// <summary>Has processes do something that may fail in one of them, and waits for all.</summary>
    /// <param name="exchange">The processes; each of them calls this.</param>
    /// <param name="work">What this one does; null: nothing.</param>
    /// <param name="elsewhere">What those throw that have not failed where another has; it is given the other's place and what went wrong there.</param>
    /// <returns>What is to be thrown, in one that has failed what it threw itself: every process knows of it by then. Null: the work was done.</returns>
    internal static ExceptionDispatchInfo? FaultOf(this IGradientExchange exchange, Action? work, Func<string, Exception> elsewhere)
    {
        ExceptionDispatchInfo? failed = null;
        try
        {
            work?.Invoke();
        }
        catch (Exception fault)
        {
            failed = ExceptionDispatchInfo.Capture(fault);
        }

        IReadOnlyList<string> all = exchange.Gather(failed is null ? "" : $"{exchange.Place}: {failed.SourceException.Message}");
        return failed ?? (all.FirstOrDefault(one => one.Length > 0) is { } said ? ExceptionDispatchInfo.Capture(elsewhere(said)) : null);
    }
}

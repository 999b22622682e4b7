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
        exchange.FaultOfFirst(make, said => new RetroException($"What all processes were to open was not made by {said}"))?.Throw();
    }

    /// <summary>Has the first process do something while the others wait.</summary>
    /// <param name="exchange">The processes; each of them calls this.</param>
    /// <param name="work">What the first does.</param>
    /// <param name="elsewhere">What the others throw where the first could not; it is given the first's place and what went wrong there.</param>
    /// <returns>What is to be thrown, in the first what it threw itself: every process knows of it by then. Null: the work was done.</returns>
    internal static ExceptionDispatchInfo? FaultOfFirst(this IGradientExchange exchange, Action work, Func<string, Exception> elsewhere)
    {
        ExceptionDispatchInfo? failed = null;
        if (exchange.Rank == 0)
        {
            try
            {
                work();
            }
            catch (Exception fault)
            {
                failed = ExceptionDispatchInfo.Capture(fault);
            }
        }

        string said = exchange.Gather(failed is null ? "" : $"{exchange.Place}: {failed.SourceException.Message}")[0];
        return failed ?? (said.Length > 0 ? ExceptionDispatchInfo.Capture(elsewhere(said)) : null);
    }
}

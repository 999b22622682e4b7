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
    /// <exception cref="TrainingException">A process does something else meanwhile, such as training; all throw it.</exception>
    public static void ByFirst(this IGradientExchange exchange, Action make)
    {
        ArgumentNullException.ThrowIfNull(exchange);
        ArgumentNullException.ThrowIfNull(make);
        exchange
            .FaultOf(
                "makes what all open",
                exchange.Rank == 0 ? make : null,
                said => new RetroException($"What all processes were to open was not made by {said}"))
            ?.Throw();
    }

    /// <summary>Has processes do something that may fail in one of them, and waits for all.</summary>
    /// <param name="exchange">The processes; each of them calls this.</param>
    /// <param name="does">What they do, as a message says it of one of them.</param>
    /// <param name="work">What this one does; null: nothing.</param>
    /// <param name="elsewhere">What those throw that have not failed where another has; it is given the other's place and what went wrong there.</param>
    /// <returns>
    /// What is to be thrown, in one that has failed what it threw itself, and in all where they do not do the same: every process knows of it by then. Null:
    /// the work was done.
    /// </returns>
    internal static ExceptionDispatchInfo? FaultOf(this IGradientExchange exchange, string does, Action? work, Func<string, Exception> elsewhere)
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

        string[] all = exchange.GatherAlike(does, failed is null ? "" : $"{exchange.Place}: {failed.SourceException.Message}", out string? differ);
        return differ is not null
            ? ExceptionDispatchInfo.Capture(new TrainingException(differ, failed?.SourceException))
            : failed ?? (Array.Find(all, one => one.Length > 0) is { } said ? ExceptionDispatchInfo.Capture(elsewhere(said)) : null);
    }

    /// <summary>Gives every process the text of each, and tells whether they do the same: a text of something else is not to be read as one of this.</summary>
    /// <param name="exchange">The processes; each of them calls this, or gathers something else.</param>
    /// <param name="does">What this one does, as a message says it.</param>
    /// <param name="text">Its text.</param>
    /// <param name="differ">What all of them are to throw where they do not do the same, in words; null: they do.</param>
    /// <returns>The texts in the order of the processes.</returns>
    internal static string[] GatherAlike(this IGradientExchange exchange, string does, string text, out string? differ)
    {
        (string Does, string Place, string Text)[] all =
            [.. exchange.Gather($"{does}\n{exchange.Place}\n{text}").Select((gathered, rank) => Parts(gathered, rank))];
        int other = Array.FindIndex(all, one => one.Does != all[0].Does);
        differ = other < 0
            ? null
            : $"The processes do not do the same: {all[0].Place} {all[0].Does}, {all[other].Place} {all[other].Does}. Have all of them do the same, in the "
                + "same order: where one loads a checkpoint, all have to, from a folder that all of them see.";
        return [.. all.Select(one => one.Text)];

        static (string Does, string Place, string Text) Parts(string gathered, int rank) => gathered.Split('\n', 3) is [string doing, string place, string said]
            ? (doing, place, said)
            : ("gathers a text", $"process {rank}", gathered);
    }
}

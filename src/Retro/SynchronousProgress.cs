namespace Retro;

/// <summary>
/// Tells of progress on the thread that reports it, before the work goes on, and so in order. The <see cref="Progress{T}"/> of .NET hands reports to the thread
/// pool where there is no synchronization context, as in a console program: they can come out of order, and after the work has ended.
/// </summary>
/// <typeparam name="T">What is reported, such as <see cref="StageProgress"/>.</typeparam>
/// <remarks>What a handler throws ends the work.</remarks>
public sealed class SynchronousProgress<T> : IProgress<T>
{
    private readonly Action<T> _handler;

    /// <summary>Hands each report to a handler.</summary>
    /// <param name="handler">Receives each report.</param>
    public SynchronousProgress(Action<T> handler)
    {
        ArgumentNullException.ThrowIfNull(handler);
        _handler = handler;
    }

    /// <summary>Hands each report to several, one after the other, such as a file and whoever watches.</summary>
    /// <param name="observers">They stay the caller's; one that is null is left out.</param>
    public SynchronousProgress(params IProgress<T>?[] observers)
    {
        ArgumentNullException.ThrowIfNull(observers);
        IProgress<T>?[] all = [.. observers];
        _handler = value => Array.ForEach(all, observer => observer?.Report(value));
    }

    /// <inheritdoc/>
    public void Report(T value) => _handler(value);
}

namespace Retro;

/// <summary>
/// Tells of progress on the thread that reports it, before the work goes on, and so in order. The <see cref="Progress{T}"/> of .NET hands reports to the thread
/// pool where there is no synchronization context, as in a console program: they can come out of order, and after the work has ended.
/// </summary>
/// <typeparam name="T">What is reported, such as <see cref="StageProgress"/>.</typeparam>
/// <remarks>What is thrown while it is told ends the work.</remarks>
public sealed class SynchronousProgress<T> : IProgress<T>
{
    private readonly Action<T> _told;

    /// <summary>Does something with each report.</summary>
    /// <param name="told">Does it.</param>
    public SynchronousProgress(Action<T> told)
    {
        ArgumentNullException.ThrowIfNull(told);
        _told = told;
    }

    /// <summary>Tells several of each report, one after the other, such as a file and whoever watches.</summary>
    /// <param name="observers">They stay the caller's; of one that is null, nobody is told.</param>
    public SynchronousProgress(params IProgress<T>?[] observers)
    {
        ArgumentNullException.ThrowIfNull(observers);
        IProgress<T>?[] all = [.. observers];
        _told = value => Array.ForEach(all, observer => observer?.Report(value));
    }

    /// <inheritdoc/>
    public void Report(T value) => _told(value);
}

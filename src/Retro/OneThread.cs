namespace Retro;

/// <summary>
/// Lets one thread at a time into a training, whose state is whole only between two steps, and refuses a second one. The thread that is in may come again.
/// </summary>
internal sealed class OneThread
{
    private readonly object _inside = new();

    /// <summary>Goes in; disposing what is returned goes out.</summary>
    /// <exception cref="InvalidOperationException">Another thread is in.</exception>
    public Turn Enter() => Monitor.TryEnter(_inside)
        ? new(_inside)
        : throw new InvalidOperationException(
            "Another thread runs or saves this training, whose state is whole only between two steps: save from what a run reports to, where that is on the "
                + $"run's thread (a {nameof(SynchronousProgress<object>)}), or cancel the run first.");

    /// <summary>The time that a thread is in.</summary>
    public readonly ref struct Turn(object inside)
    {
        /// <summary>Goes out.</summary>
        public void Dispose() => Monitor.Exit(inside);
    }
}

namespace Retro;

/// <summary>
/// Lets one thread at a time into a training, whose state is whole only between two steps, and refuses a second one. The thread that is in may come again.
/// </summary>
internal sealed class OneThread
{
    private readonly object _inside = new();
    private Action? _free;

    /// <summary>Goes in; disposing what is returned goes out.</summary>
    /// <exception cref="InvalidOperationException">Another thread is in.</exception>
    public Turn Enter() => Monitor.TryEnter(_inside)
        ? new(this)
        : throw new InvalidOperationException(
            "Another thread runs or saves this training, whose state is whole only between two steps: save from what a run reports to, where that is on the "
                + $"run's thread (a {nameof(SynchronousProgress<object>)}), or cancel the run first.");

    /// <summary>Frees what a training computes with: at once, or, where a thread is in, when it goes out.</summary>
    public void Free(Action free)
    {
        Interlocked.Exchange(ref _free, free);
        FreeOutside();
    }

    private void FreeOutside()
    {
        if (_free is null || Monitor.IsEntered(_inside) || !Monitor.TryEnter(_inside))
        {
            return; // whoever is in comes here when it goes out
        }

        try
        {
            Interlocked.Exchange(ref _free, null)?.Invoke();
        }
        finally
        {
            Monitor.Exit(_inside);
        }
    }

    /// <summary>The time that a thread is in.</summary>
    public readonly ref struct Turn(OneThread one)
    {
        /// <summary>Goes out.</summary>
        public void Dispose()
        {
            Monitor.Exit(one._inside);
            one.FreeOutside();
        }
    }
}

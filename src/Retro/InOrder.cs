namespace Retro;

/// <summary>Lets pieces that run side by side, and begin in their order, do something in that order.</summary>
internal sealed class InOrder
{
    private readonly object _lock = new();
    private int _next;
    private bool _isOver;

    /// <summary>Does it when all before have; not at all once a piece has failed.</summary>
    public void Take(int number, Action action)
    {
        lock (_lock)
        {
            while (_next != number && !_isOver)
            {
                Monitor.Wait(_lock);
            }

            if (_isOver)
            {
                return;
            }
        }

        action();
        lock (_lock)
        {
            _next++;
            Monitor.PulseAll(_lock);
        }
    }

    /// <summary>A piece has failed, and those behind it need not wait for it.</summary>
    public void End()
    {
        lock (_lock)
        {
            _isOver = true;
            Monitor.PulseAll(_lock);
        }
    }
}

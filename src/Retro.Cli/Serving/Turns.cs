using System.Diagnostics;

namespace Retro.Cli.Serving;

/// <summary>Lets so many requests compute at once and so many wait; others are told to come again.</summary>
internal sealed class Turns(int running, int waiting) : IDisposable
{
    private readonly SemaphoreSlim _free = new(running);
    private int _inside;
    private int _computing;
    private long _served;

    /// <summary>Requests that compute.</summary>
    public int Computing => Volatile.Read(ref _computing);

    /// <summary>Requests that compute or wait.</summary>
    public int Inside => Volatile.Read(ref _inside);

    /// <summary>Requests that had their turn.</summary>
    public long Served => Volatile.Read(ref _served);

    /// <summary>Waits for a turn.</summary>
    /// <param name="cancellationToken">The request that goes away.</param>
    /// <returns>The turn, which ends when it is disposed.</returns>
    /// <exception cref="Fault">Too many wait already.</exception>
    public async Task<IDisposable> TakeAsync(CancellationToken cancellationToken)
    {
        if (Interlocked.Increment(ref _inside) > running + waiting)
        {
            Interlocked.Decrement(ref _inside);
            throw new Fault(429, $"{running + waiting} requests are being answered already; try again in a moment.", "too_many_requests");
        }

        try
        {
            await _free.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            Interlocked.Decrement(ref _inside);
            throw;
        }

        Interlocked.Increment(ref _computing);
        return new Turn(this);
    }

    /// <summary>Waits until nobody computes or waits any more.</summary>
    /// <param name="most">For so long at most.</param>
    /// <returns>Whether nobody does.</returns>
    public async Task<bool> EndAsync(TimeSpan most)
    {
        for (long start = Stopwatch.GetTimestamp(); Inside > 0 && Stopwatch.GetElapsedTime(start) < most;)
        {
            await Task.Delay(20).ConfigureAwait(false);
        }

        return Inside == 0;
    }

    public void Dispose() => _free.Dispose();

    private sealed class Turn(Turns turns) : IDisposable
    {
        private int _ended;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _ended, 1) == 0)
            {
                Interlocked.Decrement(ref turns._computing);
                Interlocked.Decrement(ref turns._inside);
                Interlocked.Increment(ref turns._served);
                turns._free.Release();
            }
        }
    }
}

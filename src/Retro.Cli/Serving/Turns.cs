using System.Diagnostics;

namespace Retro.Cli.Serving;

/// <summary>Lets requests compute so many texts at once, in the order in which they came, and so many requests wait; others are told to come again.</summary>
/// <param name="running">Texts that are computed at once. A request for more of them is answered by itself, in lots.</param>
/// <param name="waiting">Requests that may wait.</param>
internal sealed class Turns(int running, int waiting)
{
    private readonly Lock _lock = new();
    private readonly LinkedList<(int Texts, TaskCompletionSource Begun)> _waiting = [];
    private int _texts; // that are computed
    private int _computing;
    private long _served;

    /// <summary>Requests that compute, that wait, and that had their turn.</summary>
    public (int Computing, int Waiting, long Served) State
    {
        get
        {
            lock (_lock)
            {
                return (_computing, _waiting.Count, _served);
            }
        }
    }

    /// <summary>Waits for a turn.</summary>
    /// <param name="texts">Texts that the request computes.</param>
    /// <param name="cancellationToken">The request that goes away.</param>
    /// <returns>The turn, which ends when it is disposed.</returns>
    /// <exception cref="Fault">Too many wait already.</exception>
    public async Task<IDisposable> TakeAsync(int texts, CancellationToken cancellationToken)
    {
        (int Texts, TaskCompletionSource Begun) request = (Math.Min(texts, running), new(TaskCreationOptions.RunContinuationsAsynchronously));
        LinkedListNode<(int Texts, TaskCompletionSource Begun)> place = new(request);
        lock (_lock)
        {
            _waiting.AddLast(place);
            PassOn();
            if (_waiting.Count > waiting && place.List is not null)
            {
                _waiting.Remove(place);
                throw new Fault(429, $"{_computing + _waiting.Count} requests are being answered already; try again in a moment.", "too_many_requests");
            }
        }

        using (cancellationToken.Register(Leave))
        {
            await request.Begun.Task.ConfigureAwait(false);
        }

        return new Turn(this, request.Texts);

        void Leave()
        {
            lock (_lock)
            {
                if (place.List is not null)
                {
                    _waiting.Remove(place);
                    request.Begun.SetCanceled(cancellationToken);
                    PassOn(); // what waited behind a request for many texts may have room now
                }
            }
        }
    }

    /// <summary>Waits until nobody computes or waits any more.</summary>
    /// <param name="most">For so long at most.</param>
    /// <returns>Whether nobody does.</returns>
    public async Task<bool> EndAsync(TimeSpan most)
    {
        for (long start = Stopwatch.GetTimestamp(); !HasEnded() && Stopwatch.GetElapsedTime(start) < most;)
        {
            await Task.Delay(20).ConfigureAwait(false);
        }

        return HasEnded();

        bool HasEnded() => State is (0, 0, _);
    }

    /// <summary>Lets those begin that there is room for; of the lock.</summary>
    private void PassOn()
    {
        while (_waiting.First is { } first && _texts + first.Value.Texts <= running)
        {
            _waiting.Remove(first);
            _texts += first.Value.Texts;
            _computing++;
            first.Value.Begun.SetResult();
        }
    }

    private void End(int texts)
    {
        lock (_lock)
        {
            _texts -= texts;
            _computing--;
            _served++;
            PassOn();
        }
    }

    private sealed class Turn(Turns turns, int texts) : IDisposable
    {
        private int _ended;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _ended, 1) == 0)
            {
                turns.End(texts);
            }
        }
    }
}

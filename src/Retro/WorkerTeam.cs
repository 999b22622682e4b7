using System.Diagnostics;
using System.Runtime.ExceptionServices;

namespace Retro;

/// <summary>
/// Threads for loops of some microseconds, which follow one another closely: for a while after each they look for the next one, so that it begins at once, and
/// sleep where none comes. Waking a thread for each loop takes longer than many a loop.
/// </summary>
/// <remarks>One loop at a time has the team; where others come meanwhile, whose callers keep the cores busy themselves, each does its own alone.</remarks>
[System.Diagnostics.CodeAnalysis.SuppressMessage("Design", "CA1001", Justification = "There is one, which lasts as long as the process.")]
internal sealed class WorkerTeam
{
    /// <summary>How long a thread looks for the next loop: longer than what decoding does between two of them.</summary>
    private static readonly long s_patience = Stopwatch.Frequency / 5_000; // 200 µs

    private readonly SemaphoreSlim _wake = new(0);
    private volatile Loop? _loop;
    private int _taken;
    private int _threads;
    private int _sleeping;

    private WorkerTeam()
    {
    }

    /// <summary>The process's team.</summary>
    public static WorkerTeam Shared { get; } = new();

    /// <summary>Runs a body for 0 to <paramref name="count"/> - 1; which thread takes which number is not defined.</summary>
    /// <param name="count">How often.</param>
    /// <param name="threads">Most threads, the caller among them.</param>
    /// <param name="body">Receives the number; called by several threads at once. What the first to fail throws comes out when all have come back.</param>
    public void Run(int count, int threads, Action<int> body)
    {
        int helpers = Math.Min(Math.Min(threads, count), Environment.ProcessorCount) - 1;
        if (helpers < 1 || Interlocked.Exchange(ref _taken, 1) == 1)
        {
            for (int i = 0; i < count; i++)
            {
                body(i);
            }

            return;
        }

        Loop loop = new(count, helpers, body);
        try
        {
            for (; _threads < helpers; _threads++)
            {
                new Thread(Help) { IsBackground = true, Name = "Retro team" }.Start();
            }

            _loop = loop;
            Interlocked.MemoryBarrier(); // whoever goes to sleep sees the loop, or is seen here
            if (Math.Min(_sleeping, helpers) is > 0 and int sleeping)
            {
                _wake.Release(sleeping);
            }

            loop.Work();
            loop.Close();
        }
        finally
        {
            _loop = null;
            Volatile.Write(ref _taken, 0);
        }

        loop.Fault?.Throw();
    }

    private void Help()
    {
        Loop? done = null;
        for (long since = Stopwatch.GetTimestamp(); ;)
        {
            Loop? loop = _loop;
            if (loop is not null && loop != done)
            {
                if (loop.TryJoin())
                {
                    loop.Work();
                    loop.Leave();
                }

                done = loop;
                since = Stopwatch.GetTimestamp();
            }
            else if (Stopwatch.GetTimestamp() - since < s_patience)
            {
                Thread.SpinWait(8);
            }
            else
            {
                done = null; // nothing of the last loop is kept
                Interlocked.Increment(ref _sleeping);
                if (_loop is null)
                {
                    _wake.Wait();
                }

                Interlocked.Decrement(ref _sleeping);
                while (_wake.Wait(0))
                {
                    // Called by each loop until it came: once is enough, or it would look for as many loops that are over.
                }

                since = Stopwatch.GetTimestamp();
            }
        }
    }

    private sealed class Loop(int count, int helpers, Action<int> body)
    {
        private const int Closed = 1 << 30;

        private int _next = -1;
        private int _places = helpers;
        private int _joined; // those who work, and whether nobody may join any more
        private ExceptionDispatchInfo? _fault;

        public ExceptionDispatchInfo? Fault => _fault;

        public bool TryJoin()
        {
            if (Interlocked.Increment(ref _joined) < Closed && Interlocked.Decrement(ref _places) >= 0)
            {
                return true;
            }

            Leave();
            return false;
        }

        public void Leave() => Interlocked.Decrement(ref _joined);

        public void Work()
        {
            for (int i; (i = Interlocked.Increment(ref _next)) < count;)
            {
                try
                {
                    body(i);
                }
                catch (Exception exception)
                {
                    // The first one is told, when all have come back; numbers that nobody has begun are left out.
                    Interlocked.CompareExchange(ref _fault, ExceptionDispatchInfo.Capture(exception), null);
                    Volatile.Write(ref _next, count);
                }
            }
        }

        /// <summary>Waits for those who work.</summary>
        public void Close()
        {
            Interlocked.Add(ref _joined, Closed);
            SpinWait wait = default;
            while (Volatile.Read(ref _joined) != Closed)
            {
                wait.SpinOnce(sleep1Threshold: -1);
            }
        }
    }
}

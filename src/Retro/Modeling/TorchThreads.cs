using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>Runs independent pieces of torch work side by side on the processor.</summary>
/// <remarks>
/// One operator at a time over all cores leaves most of them waiting when the matrices are small: it pays to give each core a piece of its own. A piece runs on
/// one thread with that thread's share of <see cref="get_num_threads"/>, so that what it computes does not depend on which thread it met.
/// </remarks>
internal static class TorchThreads
{
    private static readonly ConcurrentStack<Worker> s_idle = new();

    // Of a worker: the process's number of threads, of which it has its share; 0 on other threads.
    [ThreadStatic]
    private static int s_process;

    /// <summary>
    /// How many of <paramref name="count"/> pieces run at once: as many as torch has threads, and one on an accelerator, which is kept busy from one thread.
    /// </summary>
    /// <param name="count">Pieces of work.</param>
    /// <param name="device">Where they compute.</param>
    /// <param name="most">Pieces that may be computed side by side; null: any number.</param>
    /// <returns>At least 1.</returns>
    public static int Workers(int count, Device device, int? most = null)
        => device.type == DeviceType.CPU ? Math.Clamp(Math.Min(get_num_threads(), most ?? count), 1, Math.Max(1, count)) : 1;

    /// <summary>Runs every piece once; which one runs when is not defined. Gradient mode and dispose scopes belong to a thread: a piece sets its own.</summary>
    /// <param name="count">Pieces of work.</param>
    /// <param name="device">Where they compute.</param>
    /// <param name="piece">Does the piece of a number below <paramref name="count"/>.</param>
    /// <param name="oneThreadEach">Whether a piece has one thread however few pieces there are: a small one shares badly, and its threads wait for each other
    /// where the cores have other work.</param>
    /// <param name="most">Pieces that may be computed side by side; null: any number.</param>
    /// <param name="cancellationToken">Ends the run between two pieces.</param>
    /// <exception cref="OperationCanceledException">Canceled.</exception>
    public static void Run(
        int count, Device device, Action<int> piece, bool oneThreadEach = false, int? most = null, CancellationToken cancellationToken = default)
    {
        int workers = Workers(count, device, most), threads = get_num_threads(), next = -1;
        int share = oneThreadEach && device.type == DeviceType.CPU ? 1 : threads / workers;
        if (share == threads)
        {
            for (int i = 0; i < count; i++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                piece(i);
            }

            return;
        }

        bool isWithin = s_process > 0; // a piece of another run
        int process = isWithin ? s_process : threads;
        ExceptionDispatchInfo? fault = null;
        Worker[] team = [.. Enumerable.Range(0, workers).Select(_ => s_idle.TryPop(out Worker? idle) ? idle : new())];
        Worker[] others = [.. team.Where(worker => worker.Threads != share)];
        if (others.Length > 0)
        {
            // The count is a setting of the thread and of the process, which whatever thread meets torch later takes over for life: once each worker has its
            // own, the process's is put back.
            Do(others, worker => worker.SetThreads(share));
            if (isWithin)
            {
                // From another thread, as this one keeps its share.
                Thread other = new(() => set_num_threads(process));
                other.Start();
                other.Join();
            }
            else
            {
                set_num_threads(process);
            }
        }

        Do(team, _ => Work());
        s_idle.PushRange(team);
        fault?.Throw();
        cancellationToken.ThrowIfCancellationRequested();

        void Work()
        {
            s_process = process;
            try
            {
                int i;
                while (fault is null && !cancellationToken.IsCancellationRequested && (i = Interlocked.Increment(ref next)) < count)
                {
                    piece(i);
                }
            }
            catch (Exception exception) when (Interlocked.CompareExchange(ref fault, ExceptionDispatchInfo.Capture(exception), null) is null)
            {
                // Thrown again once every thread has come back.
            }
            catch (Exception)
            {
                // A second fault of the same run; the first one is told.
            }
        }
    }

    /// <summary>Lets each of some workers do something, and waits for all.</summary>
    private static void Do(Worker[] team, Action<Worker> action)
    {
        using CountdownEvent done = new(team.Length);
        ExecutionContext? context = ExecutionContext.Capture();
        foreach (Worker worker in team)
        {
            worker.Begin(() =>
            {
                try
                {
                    if (context is null)
                    {
                        action(worker);
                    }
                    else
                    {
                        ExecutionContext.Run(context, _ => action(worker), null);
                    }
                }
                finally
                {
                    done.Signal();
                }
            });
        }

        done.Wait(CancellationToken.None);
    }

    /// <summary>A thread that lasts as long as the process, with a count of its own, and sleeps between what it is given.</summary>
    [System.Diagnostics.CodeAnalysis.SuppressMessage("Design", "CA1001", Justification = "It lasts as long as the process.")]
    private sealed class Worker
    {
        private readonly SemaphoreSlim _given = new(0);
        private Action? _work;

        public Worker() => new Thread(Live) { IsBackground = true, Name = "Retro worker" }.UnsafeStart();

        /// <summary>How many threads torch has for what it does; 0: it was never said.</summary>
        public int Threads { get; private set; }

        /// <summary>To be called on it.</summary>
        public void SetThreads(int threads)
        {
            _ = get_num_threads(); // a thread takes the process's over when it is first asked, even after its own was set
            set_num_threads(threads);
            Threads = threads;
        }

        public void Begin(Action work)
        {
            _work = work;
            _given.Release();
        }

        private void Live()
        {
            while (true)
            {
                _given.Wait();
                Interlocked.Exchange(ref _work, null)!();
            }
        }
    }
}

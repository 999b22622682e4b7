using System.Runtime.ExceptionServices;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Optimization;

/// <summary>Runs independent pieces of torch work side by side on the processor.</summary>
/// <remarks>
/// One operator at a time over all cores leaves most of them waiting when the matrices are small: it pays to give each core a piece of its own. A piece runs on
/// one thread with that thread's share of <see cref="get_num_threads"/>, so that what it computes does not depend on which thread it met.
/// </remarks>
internal static class TorchThreads
{
    /// <summary>
    /// How many of <paramref name="count"/> pieces run at once: as many as torch has threads, and one on an accelerator, which is kept busy from one thread.
    /// </summary>
    /// <param name="count">Pieces of work.</param>
    /// <param name="device">Where they compute.</param>
    /// <returns>At least 1.</returns>
    public static int Workers(int count, Device device) => device.type == DeviceType.CPU ? Math.Clamp(get_num_threads(), 1, Math.Max(1, count)) : 1;

    /// <summary>Runs every piece once; which one runs when is not defined. Gradient mode and dispose scopes belong to a thread: a piece sets its own.</summary>
    /// <param name="count">Pieces of work.</param>
    /// <param name="device">Where they compute.</param>
    /// <param name="piece">Does the piece of a number below <paramref name="count"/>.</param>
    /// <param name="oneThreadEach">Whether a piece has one thread however few pieces there are: a small one shares badly, and its threads wait for each other
    /// where the cores have other work.</param>
    /// <param name="cancellationToken">Ends the run between two pieces.</param>
    /// <exception cref="OperationCanceledException">Canceled.</exception>
    public static void Run(int count, Device device, Action<int> piece, bool oneThreadEach = false, CancellationToken cancellationToken = default)
    {
        int workers = Workers(count, device), threads = get_num_threads(), next = -1;
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

        ExceptionDispatchInfo? fault = null;
        using Barrier ready = new(workers + 1);
        Thread[] others = new Thread[workers - 1];
        for (int i = 0; i < others.Length; i++)
        {
            others[i] = new Thread(Work) { IsBackground = true, Name = "Retro worker" };
            others[i].Start();
        }

        // The count is a setting of the thread and of the process, which whatever thread meets torch later takes over for life: once each worker has its own,
        // the process's is put back, by a thread that computes nothing.
        Thread keeper = new(() =>
        {
            ready.SignalAndWait(CancellationToken.None);
            set_num_threads(threads);
            ready.SignalAndWait(CancellationToken.None);
        }) { IsBackground = true, Name = "Retro thread count" };
        keeper.Start();
        try
        {
            Work();
            foreach (Thread other in others)
            {
                other.Join();
            }
        }
        finally
        {
            set_num_threads(threads);
        }

        fault?.Throw();
        cancellationToken.ThrowIfCancellationRequested();

        void Work()
        {
            set_num_threads(share);
            _ = get_num_threads(); // a thread takes the process's over when it is first asked, even after its own was set
            ready.SignalAndWait(CancellationToken.None);
            ready.SignalAndWait(CancellationToken.None);
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
}

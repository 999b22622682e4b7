using System.Runtime.ExceptionServices;

namespace Retro;

/// <summary>A loop on all threads.</summary>
internal static class ParallelLoop
{
    /// <summary>
    /// Runs a body for 0 to <paramref name="count"/> - 1. What one of the bodies throws comes out as it is: one fault is as good as another, and a caller
    /// expects the fault itself.
    /// </summary>
    /// <param name="count">How often.</param>
    /// <param name="body">Receives the number; called by several threads at once.</param>
    /// <param name="threads">Most threads; 0 for one per processor.</param>
    /// <param name="cancellationToken">Stops between two numbers.</param>
    /// <exception cref="OperationCanceledException">The work was canceled.</exception>
    public static void For(int count, Action<int> body, int threads = 0, CancellationToken cancellationToken = default)
    {
        try
        {
            Parallel.For(
                0,
                count,
                new ParallelOptions { MaxDegreeOfParallelism = ThreadsOf(threads), CancellationToken = cancellationToken },
                body);
        }
        catch (AggregateException exception)
        {
            ExceptionDispatchInfo.Throw(exception.Flatten().InnerExceptions[0]);
        }
    }

    /// <summary>How many threads an option stands for.</summary>
    /// <param name="threads">Most threads; 0 for one per processor.</param>
    public static int ThreadsOf(int threads) => threads == 0 ? Environment.ProcessorCount : threads;
}

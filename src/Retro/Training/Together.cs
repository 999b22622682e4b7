using Retro.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>The processes that train one model, and what they do as one: count, decide, write and fail. One that trains alone is a group of one.</summary>
/// <param name="exchange">The processes; null, or of one: this one trains alone.</param>
internal sealed class Together(IGradientExchange? exchange = null)
{
    private Exception? _everywhere;

    /// <summary>What joins the processes; null: this one trains alone.</summary>
    public IGradientExchange? Exchange { get; } = exchange is { Size: > 1 } ? exchange : null;

    /// <summary>Number of processes.</summary>
    public int Size => Exchange?.Size ?? 1;

    /// <summary>Whether this process is the one that measures, and that writes files.</summary>
    public bool IsFirst => Exchange is null or { Rank: 0 };

    /// <summary>The number that a batch of this process's part of a step has in the whole step: process r of n has r, r + n, r + 2n and so on.</summary>
    /// <param name="batch">The batch's number in the part.</param>
    public long NumberOf(int batch) => (Exchange?.Rank ?? 0) + ((long)batch * Size);

    /// <summary>Sums whole numbers over the processes.</summary>
    public long[] Sum(params long[] counts)
    {
        if (Exchange is null)
        {
            return counts;
        }

        using Tensor sums = tensor(counts, device: CPU);
        Exchange.Sum(sums);
        return sums.data<long>().ToArray();
    }

    /// <summary>Whether something is so in any process.</summary>
    /// <param name="here">Whether it is in this one.</param>
    public bool IsAnywhere(bool here) => Sum(here ? 1 : 0)[0] > 0;

    /// <summary>The first process's number.</summary>
    public double First(double value)
    {
        if (Exchange is null)
        {
            return value;
        }

        using Tensor one = tensor([value], device: CPU);
        Exchange.Broadcast(one, 0);
        return one.item<double>();
    }

    /// <summary>Has the first process do what concerns files, while the others wait; where it cannot, all throw.</summary>
    /// <exception cref="CheckpointException">In the others: the first process could not. The first throws what <paramref name="write"/> did.</exception>
    /// <exception cref="TrainingException">In all: one does something else.</exception>
    public void ByFirst(Action write) => OrAllThrow("writes", IsFirst ? write : null, "written");

    /// <summary>Has every process read what it then takes over; where one cannot, all throw.</summary>
    /// <exception cref="CheckpointException">In those that could: another could not. Others throw what <paramref name="read"/> did.</exception>
    /// <exception cref="TrainingException">In all: one does something else.</exception>
    public T ByAll<T>(Func<T> read)
    {
        T? came = default;
        OrAllThrow("loads", () => came = read(), "loaded");
        return came!;
    }

    /// <summary>Notes what every process throws, so that none has to be ended.</summary>
    public T Everywhere<T>(T exception)
        where T : Exception
    {
        _everywhere = exception;
        return exception;
    }

    /// <summary>Does what may fail in one process alone, and then ends the others, which would wait for it.</summary>
    public T OrEndOthers<T>(Func<T> work)
    {
        try
        {
            return work();
        }
        catch (Exception exception) when (Exchange is not null && !ReferenceEquals(exception, _everywhere))
        {
            Exchange.Abort(exception.ToString());
            throw;
        }
    }

    private void OrAllThrow(string does, Action? work, string done)
    {
        if (Exchange is null)
        {
            work?.Invoke();
        }
        else if (Exchange.FaultOf($"{does} a checkpoint", work, said => new CheckpointException($"The checkpoint was not {done} by {said}")) is { } failed)
        {
            Everywhere(failed.SourceException);
            failed.Throw();
        }
    }
}

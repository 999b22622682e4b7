using System.Collections.Concurrent;
using Retro.Modeling;
using Retro.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>
/// Processes that are threads of this one. It remembers the sums, and refuses calls of two threads at once, tensors that are not contiguous and those that
/// differ between the processes.
/// </summary>
internal sealed class InProcessExchange : IGradientExchange
{
    private readonly Meeting _meeting;
    private int _inside;

    private InProcessExchange(Meeting meeting, int rank, int size)
    {
        (_meeting, Rank, Size) = (meeting, rank, size);
    }

    public int Rank { get; }

    public int Size { get; }

    public bool IsRemote { get; set; } = true;

    public string Place => $"thread {Rank} of {Size}";

    /// <summary>Called before each sum, on the thread that asks for it.</summary>
    public Action<Tensor> Before { get; set; } = _ => { };

    /// <summary>How many numbers each sum had, and the thread that asked for it.</summary>
    public ConcurrentQueue<(long Count, ScalarType Type, Thread Thread)> Sums { get; } = [];

    public string? Aborted { get; private set; }

    /// <summary>So many processes; each is to have a thread of its own.</summary>
    public static InProcessExchange[] Of(int size)
    {
        Meeting meeting = new(size);
        return [.. Enumerable.Range(0, size).Select(rank => new InProcessExchange(meeting, rank, size))];
    }

    /// <summary>The first of two, the other of which gives zeros to every sum.</summary>
    public static InProcessExchange WithASilentOne() => new(new(1), 0, 2);

    /// <summary>Does something in each of several processes.</summary>
    /// <returns>What each threw; null: nothing.</returns>
    public static Exception?[] Run(InProcessExchange[] processes, Action<InProcessExchange> work)
    {
        Exception?[] thrown = new Exception?[processes.Length];
        Thread[] threads = [.. processes.Select((process, i) => new Thread(() =>
        {
            try
            {
                work(process);
            }
            catch (Exception exception)
            {
                thrown[i] = exception;
            }
        }))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        return thrown;
    }

    public void Sum(Tensor values, int? onlyTo = null) => Alone(() =>
    {
        Sums.Enqueue((values.numel(), values.dtype, Thread.CurrentThread));
        Before(values);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        Tensor[] all = Meet(values);
        if (all.Any(one => one.dtype != values.dtype || !one.shape.SequenceEqual(values.shape)))
        {
            throw new InvalidOperationException("The processes sum different tensors.");
        }

        Tensor sum = all[0].clone();
        foreach (Tensor more in all[1..])
        {
            sum.AddInPlace(more);
        }

        Meet(values);
        values.copy_(onlyTo is null || onlyTo == Rank ? sum : full_like(values, -12345)); // nobody is to read those
        return 0;
    });

    public void Broadcast(Tensor values, int from) => Alone(() =>
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        Tensor[] all = Meet(values);
        if (from != Rank && from < all.Length)
        {
            values.copy_(all[from]);
        }

        return Meet(values);
    });

    public IReadOnlyList<string> Gather(string text) => Alone(() =>
    {
        _meeting.Texts[Rank] = text;
        _meeting.Wait();
        string[] all = [.. Enumerable.Range(0, Size).Select(rank => _meeting.Texts.ElementAtOrDefault(rank) ?? text)];
        _meeting.Wait();
        return all;
    });

    public void Abort(string reason)
    {
        Aborted = reason;
        _meeting.End();
    }

    private Tensor[] Meet(Tensor values)
    {
        if (!values.is_contiguous())
        {
            throw new InvalidOperationException("A tensor that is not contiguous came to be exchanged.");
        }

        _meeting.Tensors[Rank] = values;
        _meeting.Wait();
        return [.. _meeting.Tensors];
    }

    private T Alone<T>(Func<T> work)
    {
        if (Interlocked.Increment(ref _inside) > 1)
        {
            throw new InvalidOperationException("Two threads call at once.");
        }

        T result = work();
        Interlocked.Decrement(ref _inside);
        return result;
    }

    private sealed class Meeting(int size)
    {
        private readonly Barrier _all = new(size);
        private readonly CancellationTokenSource _ended = new();

        public Tensor[] Tensors { get; } = new Tensor[size];

        public string?[] Texts { get; } = new string?[size];

        public void Wait() => _all.SignalAndWait(_ended.Token);

        public void End() => _ended.Cancel();
    }
}

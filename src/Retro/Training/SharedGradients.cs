using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using Retro.Modeling;
using Retro.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>
/// The gradients of a step, summed over the processes: those that are complete on a thread of their own while backward computes others, and what is left when
/// it is done.
/// </summary>
/// <remarks>
/// Complete are gradients once every batch of this process that is computed side by side has done the segment; the others have been added by then. All
/// processes sum the same parameters in the same order: those that can have a gradient in any of them, a process that has none giving zeros.
/// </remarks>
internal sealed class SharedGradients : IDisposable
{
    /// <summary>
    /// Least bytes that are handed over at once: fewer take as long as their way. As many as these are summed as fast as whole buckets
    /// (tests/Retro.Benchmarks/results/distributed.md), and begin earlier.
    /// </summary>
    private const long LeastBytes = 1 << 20;

    private readonly IGradientExchange _exchange;
    private readonly ITrainingOptimizer _optimizer;
    private readonly IList<Tensor> _parameters;
    private readonly List<(int Segment, int[] Parameters)> _groups = [];
    private readonly bool[] _isLate, _isOwn;
    private readonly Tensor?[][] _taken;
    private readonly int[] _done;
    private readonly BlockingCollection<(Tensor Tensor, int? Owner)[]> _queue = [];
    private readonly Thread? _thread;
    private volatile ExceptionDispatchInfo? _fault;
    private int _handedOver;

    /// <summary>Begins a step's sums.</summary>
    /// <param name="exchange">The processes.</param>
    /// <param name="optimizer">Holds the gradients.</param>
    /// <param name="places">Of each parameter, the segment after which it is complete; null: none is summed before backward is done.</param>
    /// <param name="batches">How many batches of this process are computed side by side.</param>
    public SharedGradients(IGradientExchange exchange, ITrainingOptimizer optimizer, IReadOnlyList<int?> places, int batches)
    {
        (_exchange, _optimizer, _parameters) = (exchange, optimizer, optimizer.Parameters);
        _isLate = [.. places.Select(place => place is null)];
        _isOwn = new bool[places.Count];
        _taken = [.. Enumerable.Range(0, batches).Select(_ => new Tensor?[places.Count])];
        _done = [.. Enumerable.Repeat(-1, batches)];

        List<int> some = [];
        int last = places.Max() ?? -1;
        for (int segment = 0; segment <= last; segment++)
        {
            some.AddRange(Enumerable.Range(0, places.Count).Where(i => places[i] == segment));
            if (some.Count > 0 && (segment == last || some.Sum(i => _parameters[i].numel() * sizeof(float)) >= LeastBytes))
            {
                _groups.Add((segment, [.. some]));
                some.Clear();
            }
        }

        if (_groups.Count > 0)
        {
            _thread = new(Work) { IsBackground = true, Name = "Retro exchange" };
            _thread.Start();
        }
    }

    /// <summary>Takes what is complete of a batch, and hands over what is complete of all. Each batch calls it from its own thread.</summary>
    /// <param name="batch">Number of the batch among those that are computed side by side.</param>
    /// <param name="segment">The segment that it has done.</param>
    /// <param name="gradients">Its gradients, of this thread's scopes; what is taken is null afterwards. None, where it has no gradient.</param>
    /// <exception cref="Exception">What the sums threw.</exception>
    public void Add(int batch, int segment, IList<Tensor?> gradients)
    {
        lock (_taken)
        {
            foreach (int i in _groups.Where(group => group.Segment > _done[batch] && group.Segment <= segment).SelectMany(group => group.Parameters))
            {
                if (gradients.Count > 0 && gradients[i] is { IsInvalid: false } gradient)
                {
                    _taken[batch][i] = gradient.DetachFromDisposeScope();
                    gradients[i] = null;
                }
            }

            _done[batch] = segment;
            while (_handedOver < _groups.Count && _groups[_handedOver].Segment <= _done.Min())
            {
                _fault?.Throw();
                _queue.Add(Complete(_groups[_handedOver++].Parameters));
            }
        }
    }

    /// <summary>Waits for the sums, and sums what is left.</summary>
    /// <remarks>A parameter that has a gradient in any process has one in every process then, and one that has none in any has none.</remarks>
    /// <exception cref="Exception">What the sums threw.</exception>
    public void Finish()
    {
        _queue.CompleteAdding();
        _thread?.Join();
        _fault?.Throw();
        using DisposeScope scope = NewDisposeScope();
        IList<Tensor?> own = _optimizer.GradientSums;
        for (int i = 0; i < own.Count; i++)
        {
            _isOwn[i] |= _isLate[i] && own[i] is not null;
        }

        Tensor counts = tensor([.. _isOwn.Select(isOwn => isOwn ? 1L : 0)], device: CPU);
        _exchange.Sum(counts);
        long[] having = [.. counts.data<long>()];
        for (int i = 0; i < own.Count; i++)
        {
            if (!_isLate[i] && having[i] == 0)
            {
                _optimizer.ClearGradient(i); // zeros of all processes
            }
        }

        new ExchangeBuckets(_exchange).Sum(OrZeros([.. Enumerable.Range(0, own.Count).Where(i => _isLate[i] && having[i] > 0)]));
    }

    /// <summary>Ends the sums. Where <see cref="Finish"/> was not come to, what no sum has begun with is left.</summary>
    public void Dispose()
    {
        while (_queue.TryTake(out (Tensor Tensor, int? Owner)[]? left))
        {
            Array.ForEach(left, one => one.Tensor.Dispose());
        }

        _queue.CompleteAdding();

        // Gradients are not to be disposed under a sum. It ends: the others sum in the same order, so that they come to it, or end this process.
        _thread?.Join();
        foreach (Tensor? taken in _taken.SelectMany(taken => taken))
        {
            taken?.Dispose();
        }

        _queue.Dispose();
    }

    /// <summary>Adds what was taken of parameters to the optimizer's, in the order of the batches, and gives the sums, of no scope.</summary>
    private (Tensor Tensor, int? Owner)[] Complete(int[] parameters)
    {
        using DisposeScope scope = NewDisposeScope();
        foreach (Tensor?[] taken in _taken)
        {
            Tensor?[] some = new Tensor?[taken.Length];
            foreach (int i in parameters)
            {
                (some[i], taken[i]) = (taken[i], null);
            }

            _optimizer.AddGradients(some);
        }

        IList<Tensor?> own = _optimizer.GradientSums;
        Array.ForEach(parameters, i => _isOwn[i] = own[i] is not null);
        (Tensor Tensor, int? Owner)[] sums = [.. OrZeros(parameters).Select(one => (one.Tensor.detach(), one.Owner))]; // detached, it is not the optimizer's
        scope.Detach(sums.Select(one => one.Tensor));
        return sums;
    }

    /// <summary>The optimizer's gradients of parameters; those that it has none of become zeros.</summary>
    private IEnumerable<(Tensor Tensor, int? Owner)> OrZeros(int[] parameters)
    {
        IList<Tensor?> own = _optimizer.GradientSums;
        Tensor?[] zeros = new Tensor?[own.Count];
        foreach (int i in parameters.Where(i => own[i] is null))
        {
            zeros[i] = zeros_like(_parameters[i]);
        }

        _optimizer.AddGradients(zeros);
        own = _optimizer.GradientSums;
        IReadOnlyList<int>? owners = _optimizer.Owners;
        return parameters.Select(i => (own[i]!, owners?[i]));
    }

    private void Work()
    {
        try
        {
            ExchangeBuckets buckets = new(_exchange);
            foreach ((Tensor Tensor, int? Owner)[] some in _queue.GetConsumingEnumerable())
            {
                try
                {
                    buckets.Sum(some);
                }
                finally
                {
                    Array.ForEach(some, one => one.Tensor.Dispose());
                }
            }
        }
        catch (Exception exception)
        {
            _fault = ExceptionDispatchInfo.Capture(exception);
        }
    }
}

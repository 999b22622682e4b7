using static TorchSharp.torch;

namespace Retro.Optimization;

/// <summary>The processes that train one model together. Each computes the gradient of its part of a step's batches; this sums them.</summary>
/// <remarks>
/// <see cref="Sum"/>, <see cref="Broadcast"/> and <see cref="Gather"/> are called by every process, in the same order and with tensors of the same shape and
/// type, by one thread at a time, though not always the same: a trainer sums gradients on a thread of its own while it computes others. A sum of the same
/// values by as many processes has the same bits every time, on every process.
/// Retro.Distributed has one over MPI and one over NCCL.
/// </remarks>
public interface IGradientExchange
{
    /// <summary>Number of this process, from 0.</summary>
    int Rank { get; }

    /// <summary>Number of processes.</summary>
    int Size { get; }

    /// <summary>This process in words, such as "rank 1 of 4 on node-b"; what went wrong is reported with it.</summary>
    string Place { get; }

    /// <summary>
    /// Whether the processes are on several machines, so that sums wait for a link while the cores are free: gradients are then summed while backward computes
    /// others, which within one machine would take the cores from it. Default: yes.
    /// </summary>
    bool IsRemote => true;

    /// <summary>Replaces values by their sums over all processes.</summary>
    /// <param name="values">Contiguous; float32, float64 or int64.</param>
    /// <param name="onlyTo">The one process that needs the sums; the values of the others are undefined then. Null: all do.</param>
    void Sum(Tensor values, int? onlyTo = null);

    /// <summary>Replaces values by those of one process.</summary>
    /// <param name="values">Contiguous; of any type.</param>
    /// <param name="from">That process.</param>
    void Broadcast(Tensor values, int from);

    /// <summary>Gives every process the text of each; none goes on before all have come.</summary>
    /// <param name="text">This process's text.</param>
    /// <returns>The texts in the order of the processes.</returns>
    IReadOnlyList<string> Gather(string text);

    /// <summary>Ends all processes at once, this one too, since those that wait for it would wait for ever.</summary>
    /// <param name="reason">What went wrong here; reported together with <see cref="Place"/>.</param>
    void Abort(string reason);
}

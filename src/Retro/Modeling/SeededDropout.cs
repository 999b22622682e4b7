using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// Dropout (Srivastava et al., 2014) that follows from a training's seed: what is kept is divided by the share that is kept. Custom branches use it for
/// dropout, so that a training that was interrupted goes on with the same bits.
/// </summary>
/// <remarks>A trainer gives each batch numbers of its own, so that batches are computed side by side. Outside of a training they are those of TorchSharp's
/// generator.</remarks>
public static class SeededDropout
{
    [ThreadStatic]
    private static Generator? s_numbers;

    /// <summary>Drops.</summary>
    /// <param name="x">What to drop from, of any shape.</param>
    /// <param name="probability">Share of the numbers that become 0, below 1.</param>
    /// <returns>As many, in the current dispose scope; <paramref name="x"/> itself where nothing is to be dropped.</returns>
    public static Tensor Of(Tensor x, double probability)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentOutOfRangeException.ThrowIfNegative(probability);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(probability, 1);
        if (probability == 0)
        {
            return x;
        }

        if (s_numbers is null || x.device_type != DeviceType.CPU)
        {
            return nn.functional.dropout(x, probability, training: true);
        }

        using DisposeScope scope = NewDisposeScope();
        Tensor kept = empty_like(x).bernoulli_(1 - probability, s_numbers).Times(1 / (1 - probability));
        return (x * kept).MoveToOuterDisposeScope();
    }

    /// <summary>Gives this thread numbers of its own until what is returned is disposed. TorchSharp has such generators for the processor alone.</summary>
    internal static IDisposable Own() => new Numbers();

    /// <summary>Where this thread's own numbers begin.</summary>
    internal static void Seed(long seed)
        => (s_numbers ?? throw new InvalidOperationException("This thread has no numbers of its own.")).manual_seed(seed);

    private sealed class Numbers : IDisposable
    {
        private readonly Generator? _outer = s_numbers;

        public Numbers()
        {
            s_numbers = new(0, CPU);
        }

        public void Dispose()
        {
            s_numbers!.Dispose();
            s_numbers = _outer;
        }
    }
}

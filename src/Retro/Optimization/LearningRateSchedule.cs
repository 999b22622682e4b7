namespace Retro.Optimization;

/// <summary>Linear warm-up to a peak, then a cosine down to a final rate (RETRO, arXiv 2112.04426, appendix C.1).</summary>
/// <remarks>
/// With W warm-up steps of S, step s (from 0) gets peak·(s + 1)/W for s &lt; W, else final + (peak - final)/2·(1 + cos(π (s - W)/(S - W))).
/// From step S on the rate stays at the final one.
/// </remarks>
public sealed record LearningRateSchedule
{
    /// <summary>Creates the schedule.</summary>
    /// <param name="peak">Rate at the end of the warm-up; positive.</param>
    /// <param name="final">Rate at the end; from 0 to the peak.</param>
    /// <param name="warmupSteps">Steps of the warm-up; from 0 to <paramref name="steps"/>.</param>
    /// <param name="steps">Steps in all; positive.</param>
    /// <exception cref="ArgumentOutOfRangeException">A value lies outside its range.</exception>
    public LearningRateSchedule(double peak, double final, long warmupSteps, long steps)
    {
        if (!(peak > 0) || !double.IsFinite(peak))
        {
            throw new ArgumentOutOfRangeException(nameof(peak), peak, "The peak rate must be positive and finite.");
        }

        if (!(final >= 0 && final <= peak))
        {
            throw new ArgumentOutOfRangeException(nameof(final), final, $"The final rate must lie between 0 and the peak, {peak}.");
        }

        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(steps);
        if (warmupSteps < 0 || warmupSteps > steps)
        {
            throw new ArgumentOutOfRangeException(nameof(warmupSteps), warmupSteps, $"The warm-up must last between 0 and all {steps} steps.");
        }

        Peak = peak;
        Final = final;
        WarmupSteps = warmupSteps;
        Steps = steps;
    }

    /// <summary>The schedule of what is fitted in few steps: it rises over a twentieth of them and falls to a tenth.</summary>
    internal static LearningRateSchedule Short(double peak, long steps) => new(peak, peak / 10, steps / 20, steps);

    /// <summary>Rate at the end of the warm-up.</summary>
    public double Peak { get; }

    /// <summary>Rate at the end.</summary>
    public double Final { get; }

    /// <summary>Steps of the warm-up.</summary>
    public long WarmupSteps { get; }

    /// <summary>Steps in all.</summary>
    public long Steps { get; }

    /// <summary>The rate of a step.</summary>
    /// <param name="step">Number of the step, from 0; a fraction where the schedule follows the clock.</param>
    /// <returns>The rate.</returns>
    public double Rate(double step)
    {
        if (step < WarmupSteps)
        {
            // A fractional step of the last warm-up step would overshoot the peak.
            return Peak * Math.Min(1, (Math.Max(0, step) + 1) / WarmupSteps);
        }

        double share = step >= Steps ? 1 : (step - WarmupSteps) / (Steps - WarmupSteps);
        return Final + (Peak - Final) / 2 * (1 + Math.Cos(Math.PI * share));
    }

    /// <summary>The rate at a share of the training, for runs that are limited by time and whose number of steps is therefore unknown.</summary>
    /// <param name="progress">Share of the training that is done, from 0 to 1.</param>
    /// <returns>The rate.</returns>
    public double RateAt(double progress) => Rate(Math.Clamp(progress, 0, 1) * Steps);
}

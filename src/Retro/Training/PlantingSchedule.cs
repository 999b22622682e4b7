namespace Retro.Training;

/// <summary>
/// How often, in the first part of training, a neighbor is replaced by the window's own text ("planted"), and how much that text is shifted and damaged.
/// </summary>
/// <remarks>
/// A small RETRO trained plainly never learns to read its neighbors: sharp attention over all their tokens is too hard to find by chance. Aligned copies
/// are found at once; shifting and damaging them more and more carries the attention from position to content. Nothing is planted in evaluation.
/// </remarks>
public sealed record PlantingSchedule
{
    /// <summary>
    /// Share of the training before which nothing is planted, <see cref="TrainingOptions.ClosedBook"/> of one that reads no neighbors until then; the shares
    /// below are of what comes after. Default 0.
    /// </summary>
    public double Begin { get; init; }

    /// <summary>Share of the chunks that get a planted neighbor at the start. It falls linearly to 0 at <see cref="End"/>. Default 0.8.</summary>
    public double Share { get; init; } = 0.8;

    /// <summary>Share of the training after which nothing is planted. Default 0.75.</summary>
    public double End { get; init; } = 0.75;

    /// <summary>
    /// Share of the training during which copies are aligned and whole; from there to <see cref="End"/> shift and damage grow linearly. Default 0.15.
    /// </summary>
    public double AlignedUntil { get; init; } = 0.15;

    /// <summary>Largest shift, in tokens to either side, at the end of the growth. Default 40.</summary>
    public int MaximumShift { get; init; } = 40;

    /// <summary>Largest share of a copy's tokens replaced by others, at the end of the growth. Default 0.4.</summary>
    public double MaximumNoise { get; init; } = 0.4;

    /// <summary>What holds at a point of the training.</summary>
    /// <param name="progress">Share of the training that is done, from 0 to 1.</param>
    /// <returns>Share of chunks with a planted neighbor, largest shift in tokens, largest share of replaced tokens.</returns>
    public (double Share, int Shift, double Noise) At(double progress)
    {
        if (progress < Begin)
        {
            return default;
        }

        progress = Math.Clamp((progress - Begin) / (1 - Begin), 0, 1);
        if (progress >= End)
        {
            return (0, MaximumShift, MaximumNoise);
        }

        double growth = Math.Clamp((progress - AlignedUntil) / (End - AlignedUntil), 0, 1);
        return (Share * (1 - progress / End), (int)Math.Round(MaximumShift * growth), MaximumNoise * growth);
    }

    internal void Check(OptionFaults faults)
    {
        faults.ShareBelowOne(Begin);
        faults.Share(Share);
        faults.Share(End);
        faults.Share(MaximumNoise);
        faults.Require(AlignedUntil >= 0 && AlignedUntil <= End, AlignedUntil, FormattableString.Invariant($"0 to {nameof(End)}, {End}"));
        faults.Between(MaximumShift, 0);
    }
}

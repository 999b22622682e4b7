namespace Retro.Evaluation;

/// <summary>A reader that was measured, for an <see cref="EvaluationTable"/>.</summary>
/// <param name="Reader">Its name in the table; no other entry has the same.</param>
/// <param name="Results">Its measurements, one for each seed that it was trained with, in the same order in every entry.</param>
public sealed record EvaluationEntry(string Reader, IReadOnlyList<BitsPerByteResult> Results)
{
    /// <summary>The source of the neighbors that it was trained with; null: it was trained with none.</summary>
    public string? TrainedWith { get; init; }

    /// <summary>Steps of its training, as a mean over the seeds; null: not known.</summary>
    public double? Steps { get; init; }

    /// <summary>Time of its training, as a mean over the seeds; null: not known.</summary>
    public TimeSpan? Time { get; init; }

    /// <summary>Mean bits per byte over the seeds.</summary>
    public double Value => Results.Average(result => result.Value);
}

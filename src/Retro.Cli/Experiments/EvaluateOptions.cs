namespace Retro.Cli.Experiments;

/// <summary>What is trained and measured at length. The seed is the first of several; the others follow it.</summary>
internal sealed record EvaluateOptions : ExperimentOptions
{
    /// <summary>Takes what every experiment is told.</summary>
    public EvaluateOptions(ExperimentOptions common)
        : base(common)
    {
    }

    /// <summary>How many times everything is trained, each time with another seed.</summary>
    public required int Seeds { get; init; }

    /// <summary>Steps of the closed book, and of larger decoders; what is fitted takes half as many.</summary>
    public required int Steps { get; init; }

    /// <summary>Time to train the closed book; the steps that it was enough for then take the place of <see cref="Steps"/>. Null: by these.</summary>
    public required TimeSpan? Time { get; init; }

    /// <summary>Neighbors that are copied from.</summary>
    public required int Neighbors { get; init; }

    /// <summary>Whether a RETRO is trained too.</summary>
    public required bool Retro { get; init; }

    /// <summary>How many times the parameters larger decoders have, about, that are trained alone for as many steps as the closed book.</summary>
    public required IReadOnlyList<double> Ladder { get; init; }

    /// <summary>Whether nothing is measured; a run that takes what was trained does that.</summary>
    public required bool TrainOnly { get; init; }

    /// <summary>Whether to take what a former run in the same folder has trained.</summary>
    public required bool Resume { get; init; }

    /// <summary>Whether to write what each token costs each reader.</summary>
    public required bool Records { get; init; }
}

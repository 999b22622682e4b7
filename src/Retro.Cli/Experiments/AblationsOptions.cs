namespace Retro.Cli.Experiments;

/// <summary>Which ways to train retrieval are compared, and for how long each is trained.</summary>
internal sealed record AblationsOptions : ExperimentOptions
{
    /// <summary>Takes what every experiment is told.</summary>
    public AblationsOptions(ExperimentOptions common)
        : base(common)
    {
    }

    /// <summary>Steps of each training; what is fitted takes half as many.</summary>
    public required int Steps { get; init; }

    /// <summary>The variants to train; empty: all.</summary>
    public required IReadOnlyList<string> Only { get; init; }

    /// <summary>Whether what a former run has measured in the same folder is taken.</summary>
    public required bool Resume { get; init; }
}

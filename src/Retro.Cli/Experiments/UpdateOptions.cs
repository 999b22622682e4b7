namespace Retro.Cli.Experiments;

/// <summary>Which documents are added, and how long the decoder is trained before.</summary>
internal sealed record UpdateOptions : ExperimentOptions
{
    /// <summary>Takes what every experiment is told.</summary>
    public UpdateOptions(ExperimentOptions common)
        : base(common)
    {
    }

    /// <summary>How the ids of the documents begin that are new; null: chosen.</summary>
    public required string? Subject { get; init; }

    /// <summary>Steps of the decoder's training.</summary>
    public required int Steps { get; init; }
}

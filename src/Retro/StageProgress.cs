namespace Retro;

/// <summary>How far a stage of long work has come.</summary>
/// <param name="Stage">What is being done, such as "embed chunks".</param>
/// <param name="Done">Units done.</param>
/// <param name="Total">Units in all; 0 where it is not known.</param>
/// <param name="Message">A sentence for whoever watches, about a choice that the stage made; most reports have none.</param>
public readonly record struct StageProgress(string Stage, long Done, long Total, string? Message = null)
{
    /// <summary>The loss of the last step in nats, a token's or an example's, where the stage trains; null elsewhere.</summary>
    public double? Loss { get; init; }
}

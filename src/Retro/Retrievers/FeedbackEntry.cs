namespace Retro.Retrievers;

/// <summary>What somebody thought of the passages that a prompt was answered from.</summary>
/// <param name="Time">When.</param>
/// <param name="Prompt">What was asked.</param>
/// <param name="Passages">The passages that are judged.</param>
/// <param name="Accepted">Whether they helped.</param>
public sealed record FeedbackEntry(DateTimeOffset Time, string Prompt, IReadOnlyList<FeedbackPassage> Passages, bool Accepted);

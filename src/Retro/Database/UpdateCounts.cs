namespace Retro.Database;

/// <summary>What came of the documents of a change (<see cref="ChunkDatabaseUpdate"/>).</summary>
/// <param name="New">Documents that were added, and whose ids were not there.</param>
/// <param name="Replaced">Documents that took the place of the one of their id.</param>
/// <param name="Unchanged">Documents that were there as they are.</param>
/// <param name="Repeated">Documents that are left out, since one that stays has their text.</param>
/// <param name="Removed">Documents that were there and went: by their id, without text now, or repeating another.</param>
public sealed record UpdateCounts(long New, long Replaced, long Unchanged, long Repeated, long Removed)
{
    /// <summary>The id of a document that stays and whose text one of the repeated has, such as one whose file was moved; null: none is repeated.</summary>
    public string? RepeatOf { get; init; }
}

namespace Retro.Database;

/// <summary>What a change of a database made (<see cref="ChunkDatabaseUpdate"/>).</summary>
/// <param name="Database">The changed database, open; dispose it.</param>
/// <param name="Counts">What came of the documents.</param>
public sealed record DatabaseChange(ChunkDatabase Database, UpdateCounts Counts);

namespace Retro.Retrievers;

/// <summary>A passage by what stays the same when the database is built anew: its document, that document's content, and its place in it.</summary>
/// <param name="DocumentId">The document's id.</param>
/// <param name="ContentHash">The document's content when it was read (<see cref="Database.DocumentEntry.ContentHash"/>).</param>
/// <param name="ChunkInDocument">The chunk's number in the document, from 0.</param>
public sealed record FeedbackPassage(string DocumentId, string ContentHash, long ChunkInDocument);

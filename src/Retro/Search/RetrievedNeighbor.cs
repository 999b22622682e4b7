namespace Retro.Search;

/// <summary>A neighbor that was found, or that a model read: a chunk of the database and what follows it in its document.</summary>
/// <param name="Chunk">The chunk's number in the database; -1 for a passage that was given, which has no document.</param>
/// <param name="DocumentId">The document's id.</param>
/// <param name="Title">The document's title; may be empty.</param>
/// <param name="Location">Where the document came from, such as a file and line.</param>
/// <param name="ChunkInDocument">The chunk's place in its document, in chunks from 0; of a passage that was given, its place among them.</param>
/// <param name="Text">
/// The chunk's text; of a passage that was given, what the model reads of it. A first or last character that the border cuts is left out by a search; where a
/// model reads, U+FFFD stands for it.
/// </param>
/// <param name="Continuation">
/// The text that follows in the same document: the next chunk's, or as much as the model reads; empty where the document ends.
/// </param>
/// <param name="Score">
/// The neighbor source's score; greater is better. Null where no source was asked: of a passage that was given, and of a chunk, found by the reader itself,
/// that a token was copied from.
/// </param>
public sealed record RetrievedNeighbor(
    long Chunk, string DocumentId, string Title, string Location, long ChunkInDocument, string Text, string Continuation, float? Score);

namespace Retro.Retrievers;

/// <summary>A training pair of a retriever: a prompt, and a chunk that helped with it or did not.</summary>
/// <param name="Prompt">What was asked.</param>
/// <param name="Chunk">The chunk's number in the database as it is now.</param>
/// <param name="Accepted">Whether it helped.</param>
public sealed record FeedbackPair(string Prompt, long Chunk, bool Accepted);

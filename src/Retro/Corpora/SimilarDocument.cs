namespace Retro.Corpora;

/// <summary>A document that was removed from the training part because it resembles a held-out one.</summary>
/// <param name="Id">The removed document.</param>
/// <param name="HeldOutId">The held-out document it resembles most; of more than some dozens, of those that were looked at.</param>
/// <param name="Similarity">Their Jaccard similarity, from 0 to 1.</param>
/// <param name="Containment">The share of the held-out document that it holds, from 0 to 1.</param>
/// <param name="Excerpt">The share of it that stands in the held-out document, from 0 to 1.</param>
/// <param name="Exact">Whether the texts are the same, character for character.</param>
public sealed record SimilarDocument(string Id, string HeldOutId, double Similarity, double Containment, double Excerpt, bool Exact);

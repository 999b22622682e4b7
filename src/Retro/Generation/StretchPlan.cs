namespace Retro.Generation;

/// <summary>When a text asks for neighbors, and for how much.</summary>
/// <param name="Neighbors">K: neighbors for each stretch of text.</param>
/// <param name="RetrievedLength">R: tokens read of each neighbor.</param>
/// <param name="Stride">Tokens of a stretch: whenever one is complete, neighbors are asked for.</param>
/// <param name="QueryLength">Last tokens of the text that are asked with, fewer at its beginning.</param>
internal sealed record StretchPlan(int Neighbors, int RetrievedLength, int Stride, int QueryLength);

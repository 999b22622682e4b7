using Retro.Evaluation;

namespace Retro.Answering;

/// <summary>How a reader takes passages that say what is wrong.</summary>
/// <param name="Passages">Which it was given: "none", "right", "wrong", "right and wrong".</param>
/// <param name="Right">Share of the questions of which the right answer is more likely than the one that the wrong passage gives.</param>
/// <param name="Margin">By how many bits it is more likely, on average.</param>
/// <param name="Questions">
/// Questions that were measured, the same ones whatever was given: those whose passage could be changed so that the reader reads the wrong answer there, and
/// of both passages together both answers.
/// </param>
public sealed record CounterfactualResult(string Passages, MeanInterval Right, MeanInterval Margin, int Questions);

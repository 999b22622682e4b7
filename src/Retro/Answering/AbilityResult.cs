using Retro.Evaluation;

namespace Retro.Answering;

/// <summary>RGB's four abilities of a reader.</summary>
/// <param name="Reader">The reader's name.</param>
/// <param name="NoiseRobustness">
/// Share of the questions of which the right answer is the most likely one, by the passages of noise beside the one with the answer, of which there are no
/// more than the database has.
/// </param>
/// <param name="NegativeRejection">
/// How well the likelihood of the likeliest answer tells that there is a passage with the answer from that all are noise: the area under the curve of true
/// against false positives; 0.5 is chance.
/// </param>
/// <param name="InformationIntegration">
/// Share of the pairs of questions of which both answers, from two passages, are the most likely pair; not a number where the reader reads fewer than two, or
/// no two questions ask the same of two titles.
/// </param>
/// <param name="Counterfactual">
/// The right answer against a wrong one that the passage was changed to, from no passage to the right and the wrong one together.
/// </param>
/// <param name="WrongAnswers">Wrong answers beside the right one, at most.</param>
/// <param name="Questions">
/// Questions that were measured: those are left out that have no wrong answer or less noise than others, or whose passage does not hold the right one as far
/// as the reader reads it, alone and beside others.
/// </param>
/// <param name="Chance">
/// What guessing gives of <paramref name="NoiseRobustness"/>: one divided by the number of answers, in the mean of the questions, since of few values there
/// are fewer wrong ones. Not a number where there is no question.
/// </param>
/// <param name="PairChance">
/// The same of <paramref name="InformationIntegration"/>: a quarter, and half for a pair with no third value to be wrong.
/// </param>
public sealed record AbilityResult(
    string Reader,
    IReadOnlyList<(int Noise, MeanInterval Accuracy)> NoiseRobustness,
    MeanInterval NegativeRejection,
    MeanInterval InformationIntegration,
    IReadOnlyList<CounterfactualResult> Counterfactual,
    int WrongAnswers,
    int Questions,
    double Chance,
    double PairChance);

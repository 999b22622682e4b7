namespace Retro.Answering;

/// <summary>What a reader made of a question.</summary>
/// <param name="Question">The question.</param>
/// <param name="Answer">What it wrote; null where it cannot write.</param>
/// <param name="Bits">Bits of the usual right answer, without its end, which only what was trained to answer expects there.</param>
/// <param name="WasFound">Whether what it read of a passage holds a right answer, as <see cref="QuestionPassages.Holds(long, Question)"/> counts it.</param>
public sealed record AnsweredQuestion(Question Question, string? Answer, double Bits, bool WasFound)
{
    /// <summary>1 where the answer is a right one, else 0, see <see cref="AnswerMatch.Exact"/>; null where there is none.</summary>
    public double? ExactMatch => Answer is null ? null : AnswerMatch.Exact(Answer, Question.Answers);

    /// <summary>Its <see cref="AnswerMatch.F1(string, IEnumerable{string})"/>; null where there is none.</summary>
    public double? F1 => Answer is null ? null : AnswerMatch.F1(Answer, Question.Answers);
}

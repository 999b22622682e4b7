using Retro.Evaluation;

namespace Retro.Answering;

/// <summary>How a reader answers questions.</summary>
/// <param name="Reader">The reader's name.</param>
/// <param name="Passages">Where its passages came from.</param>
/// <param name="Answers">Its answers.</param>
public sealed record AnswerResult(string Reader, string Passages, IReadOnlyList<AnsweredQuestion> Answers)
{
    /// <summary>Its answers.</summary>
    public IReadOnlyList<AnsweredQuestion> Answers { get; } = Answers;

    /// <summary>Share of the answers that are a right one, see <see cref="AnswerMatch.Exact"/>.</summary>
    public MeanInterval ExactMatch { get; } = Mean(Answers.Where(one => one.Answer is not null), one => AnswerMatch.Exact(one.Answer!, one.Question.Answers));

    /// <summary>Mean of <see cref="AnswerMatch.F1(string, IEnumerable{string})"/>.</summary>
    public MeanInterval F1 { get; } = Mean(Answers.Where(one => one.Answer is not null), one => AnswerMatch.F1(one.Answer!, one.Question.Answers));

    /// <summary>Bits of the usual right answer, without its end.</summary>
    public MeanInterval Bits { get; } = Mean(Answers, one => one.Bits);

    /// <summary>Share of the questions of which what was read of a passage holds a right answer: what retrieval alone is worth.</summary>
    public MeanInterval Found { get; } = Mean(Answers, one => one.WasFound ? 1 : 0);

    private static MeanInterval Mean(IEnumerable<AnsweredQuestion> answers, Func<AnsweredQuestion, double> value)
        => MeanInterval.Of(answers.Select(one => (one.Question.DocumentId, value(one))));
}

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
    public MeanInterval ExactMatch { get; } = Mean(Answers, one => one.ExactMatch, 0, 1);

    /// <summary>Mean of <see cref="AnswerMatch.F1(string, IEnumerable{string})"/>.</summary>
    public MeanInterval F1 { get; } = Mean(Answers, one => one.F1, 0, 1);

    /// <summary>Bits of the usual right answer, without its end.</summary>
    public MeanInterval Bits { get; } = Mean(Answers, one => one.Bits);

    /// <summary>Share of the questions of which what was read of a passage holds a right answer: what retrieval alone is worth.</summary>
    public MeanInterval Found { get; } = Mean(Answers, one => one.WasFound ? 1 : 0, 0, 1);

    /// <summary>
    /// By how much the answers differ from another reader's to the same questions: the mean of what each question differs by, whose interval is of the same
    /// documents for both. Two readers can differ for certain whose own intervals overlap.
    /// </summary>
    /// <param name="baseline">The other reader's answers.</param>
    /// <param name="value">
    /// What is compared, such as <see cref="AnsweredQuestion.Bits"/> or <see cref="AnsweredQuestion.ExactMatch"/>; a question of which either has none is left
    /// out.
    /// </param>
    /// <param name="most">The most that a value can be where 0 is the least: 1 of a share. Not given: any.</param>
    /// <returns>These less the baseline's; not a number where no question has both.</returns>
    /// <exception cref="ArgumentException">The baseline answers other questions, by their ids.</exception>
    public MeanInterval Difference(AnswerResult baseline, Func<AnsweredQuestion, double?> value, double most = double.PositiveInfinity)
    {
        ArgumentNullException.ThrowIfNull(baseline);
        ArgumentNullException.ThrowIfNull(value);
        Dictionary<string, AnsweredQuestion> others = new(StringComparer.Ordinal);
        foreach (AnsweredQuestion other in baseline.Answers)
        {
            others[other.Question.Id] = other;
        }

        if (Answers.Count != baseline.Answers.Count || !Answers.All(one => others.ContainsKey(one.Question.Id)))
        {
            throw new ArgumentException(
                $"{Reader} answers {Answers.Count} questions and {baseline.Reader} {baseline.Answers.Count}, not all of them the same; ask both the same.",
                nameof(baseline));
        }

        return Mean(Answers, one => value(one) - value(others[one.Question.Id]), -most, most);
    }

    private static MeanInterval Mean(
        IEnumerable<AnsweredQuestion> answers,
        Func<AnsweredQuestion, double?> value,
        double least = double.NegativeInfinity,
        double most = double.PositiveInfinity)
        => MeanInterval.Of(
            answers.Select(one => (one.Question.DocumentId, Value: value(one))).Where(one => one.Value is not null)
                .Select(one => (one.DocumentId, one.Value!.Value)),
            least: least,
            most: most);
}

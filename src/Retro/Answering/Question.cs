namespace Retro.Answering;

/// <summary>A question whose answer stands, word for word, in a passage.</summary>
/// <param name="Id">Names it within its set.</param>
/// <param name="Prompt">What is read of it, such as "Algeria\nCapital: name:"; the answer goes on behind it, after a space.</param>
/// <param name="Answers">The answers that are right, the usual one first; at least one, none of them empty.</param>
/// <param name="Kind">What is asked for, such as "Capital: name": the answers of questions of one kind can be taken for each other.</param>
/// <param name="DocumentId">The document that it is about. Questions are held out by document, not one by one.</param>
/// <param name="PassageId">The passage that holds the answer, a document of the database of passages.</param>
public sealed record Question(string Id, string Prompt, IReadOnlyList<string> Answers, string Kind, string DocumentId, string PassageId)
{
    /// <summary>The answers that are right, the usual one first; at least one, none of them empty.</summary>
    /// <exception cref="ArgumentException">There is none, or one is empty.</exception>
    public IReadOnlyList<string> Answers { get; init => field = Checked(value); } = Checked(Answers);

    private static IReadOnlyList<string> Checked(IReadOnlyList<string> answers)
    {
        ArgumentNullException.ThrowIfNull(answers);
        return answers.Count > 0 && !answers.Any(string.IsNullOrEmpty)
            ? answers
            : throw new ArgumentException(
                $"A question has {answers.Count} answers{(answers.Count == 0 ? "" : ", one of them empty")}; expected at least one, none of them empty. Leave "
                    + "out questions that have none.",
                nameof(answers));
    }
}

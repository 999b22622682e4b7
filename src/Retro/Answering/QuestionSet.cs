using Retro.Corpora;

namespace Retro.Answering;

/// <summary>Passages, and questions whose answers stand in them.</summary>
/// <param name="Passages">The passages, each a document of its own that begins with the title of the one it was cut from.</param>
/// <param name="Questions">The questions, in the order of the documents.</param>
public sealed record QuestionSet(IReadOnlyList<Document> Passages, IReadOnlyList<Question> Questions)
{
    /// <summary>
    /// Refuses questions about documents that were trained on. What is held out are documents: none of their questions, and none of their passages, may be
    /// trained on. That their passages are in the database that is read from is the task, answering from documents that are new.
    /// </summary>
    /// <param name="measured">The questions that are measured.</param>
    /// <param name="trained">Ids of the documents that were trained on.</param>
    /// <exception cref="ArgumentException">A measured question is about one of them; the first are named.</exception>
    public static void RequireHeldOut(IEnumerable<Question> measured, IReadOnlySet<string> trained)
    {
        ArgumentNullException.ThrowIfNull(measured);
        ArgumentNullException.ThrowIfNull(trained);
        string[] both = [.. measured.Select(question => question.DocumentId).Where(trained.Contains).Distinct()];
        if (both.Length > 0)
        {
            throw new ArgumentException(
                $"Questions about {both.Length} documents that were trained on are to be measured, such as \"{both[0]}\"; measure on questions about others.",
                nameof(measured));
        }
    }
}

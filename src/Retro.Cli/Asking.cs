using Retro.Generation;
using Retro.Search;

namespace Retro.Cli;

/// <summary>How a question is asked of a model that goes on with text: below passages that were found with it.</summary>
internal static class Asking
{
    /// <summary>What ends an answer: the next question, or an empty line.</summary>
    public static readonly string[] Stops = ["\nQuestion:", "\n\n"];

    /// <summary>How a passage was read that stands in the prompt.</summary>
    public const string InPrompt = "in the prompt";

    /// <summary>The passages that a source finds for a question.</summary>
    /// <param name="opened">The model, and what it reads from.</param>
    /// <param name="question">The question.</param>
    /// <param name="count">Passages at most.</param>
    /// <param name="options">Which documents nothing is read of, and which labels may be seen.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    public static IReadOnlyList<RetrievedNeighbor> Find(
        ReadingOptions.Opened opened, string question, int count, GenerationOptions options, CancellationToken cancellationToken)
        => count == 0 || opened.Source?.Database is null
            ? []
            : opened.Source.Search(
                question, opened.Tokenizer, count, options.Labels, opened.Excluded(options.ExcludedDocuments), cancellationToken);

    /// <summary>Of passages that were found as many, the best first, as a prompt has room for.</summary>
    /// <param name="found">The passages.</param>
    /// <param name="count">How many tokens are read of a prompt with some of them.</param>
    /// <param name="most">How many a prompt may have; null: any number.</param>
    public static IReadOnlyList<T> Fitting<T>(IReadOnlyList<T> found, Func<IReadOnlyList<T>, int> count, int? most)
    {
        while (found.Count > 0 && count(found) > most)
        {
            found = [.. found.SkipLast(1)];
        }

        return found;
    }

    /// <summary>The prompt: passages, earlier questions with their answers, and the question.</summary>
    /// <param name="passages">The passages.</param>
    /// <param name="question">The question.</param>
    /// <param name="earlier">What was asked and answered before; null for the question: it was said unasked.</param>
    public static string Prompt(
        IEnumerable<RetrievedNeighbor> passages, string question, IEnumerable<(string? Question, string Answer)>? earlier = null)
        => string.Concat(passages.Select(passage => passage.Text.Trim() + "\n\n"))
            + string.Concat((earlier ?? []).Select(turn
                => (turn.Question is null ? "" : $"Question: {turn.Question.Trim()}\n") + $"Answer: {turn.Answer.Trim()}\n\n"))
            + $"Question: {question.Trim()}\nAnswer:";
}

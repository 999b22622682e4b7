using System.Text.RegularExpressions;
using Retro.Corpora;
using Retro.Tokenizers;

namespace Retro.Answering;

/// <summary>
/// Cuts documents into passages and makes questions of them, by templates and without a model: the data of RAFT (arXiv 2403.10131, section 3), where a large
/// model writes the questions.
/// </summary>
/// <remarks>
/// RAFT's answers are chains of thought that quote the passage; these are what stands there, without a reason. A line that is longer than a passage takes
/// several, and so does a word, such as a long address, or a paragraph of a script that has no spaces. Such words
/// were left out when the tables in this library's documentation were made, which would change for texts that have some, and for no others.
/// </remarks>
public static partial class QuestionBuilder
{
    private const string Label = ": ";
    private const int LongestLabel = 60, LeastQuoted = 20, MostQuoted = 120;

    /// <summary>Cuts passages and makes questions.</summary>
    /// <param name="documents">The documents. One without a title, or with one that others have too, gives passages and no questions.</param>
    /// <param name="tokenizer">Counts the tokens of a passage.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <param name="progress">Receives the number of documents done.</param>
    /// <param name="cancellationToken">Stops between two documents.</param>
    /// <returns>Passages and questions; there may be none of the latter.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range.</exception>
    public static QuestionSet Build(
        IEnumerable<Document> documents,
        RetroTokenizer tokenizer,
        QuestionOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(documents);
        ArgumentNullException.ThrowIfNull(tokenizer);
        options = (options ?? new()).Validate();
        Document[] all = [.. documents];
        Dictionary<string, int> titles = all.CountBy(document => document.Title.Trim()).ToDictionary();
        List<Document> passages = [];
        List<Question> questions = [];
        for (int i = 0; i < all.Length; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            PassageWriter writer = new(all[i], tokenizer, options.PassageTokens);
            List<Question> made = Questions(all[i], writer, options);
            passages.AddRange(writer.Passages);
            string title = all[i].Title.Trim();
            bool isNamed = title.Length > 0 && titles[title] == 1;
            questions.AddRange(isNamed ? made : []);
            progress?.Report(new StageProgress("make questions", i + 1, all.Length));
        }

        // What a document says twice has two answers, and so has what several documents begin with.
        questions = [.. questions.GroupBy(one => one.Prompt).Where(same => same.Count() == 1).SelectMany(same => same)];

        HashSet<string> kinds =
        [
            .. questions.GroupBy(question => question.Kind)
                .Where(kind => kind.DistinctBy(question => question.DocumentId).Count() >= options.LeastOfAKind)
                .Select(kind => kind.Key),
        ];
        return new(passages, [.. questions.Where(question => kinds.Contains(question.Kind))]);
    }

    private static List<Question> Questions(Document document, PassageWriter passages, QuestionOptions options)
    {
        List<Question> questions = [];
        string title = document.Title.Trim();
        string[] lines = [.. document.Text.Split('\n').Select(line => line.Trim())];
        bool asksTitle = options.Templates.HasFlag(QuestionTemplates.Titles) && passages.Title is not null;
        for (int i = 0; i < lines.Length; i++)
        {
            string line = lines[i];
            if (line.Length == 0 || IsTitle(line))
            {
                continue;
            }

            if (HeadingAt(lines, i, title) is { } heading)
            {
                string? begun = passages.Begin(heading);
                int next = lines[i + 1].Length > 0 ? i + 1 : i + 2;
                string below = lines.ElementAtOrDefault(next) ?? "", first = Quote(below);
                bool isText = first.Length >= LeastQuoted && !IsTitle(below) && HeadingAt(lines, next, title) is null;
                if (begun is not null && isText && passages.WouldHold(below))
                {
                    Ask(QuestionTemplates.Sections, "section", $"{title}\n{first}\nSection:", heading, begun);
                }

                continue;
            }

            (string passage, string text, bool whole) = passages.Add(line);
            int end = line.LastIndexOf(Label, StringComparison.Ordinal);
            if (whole && end is > 0 and <= LongestLabel)
            {
                Ask(QuestionTemplates.Fields, line[..end], $"{title}\n{line[..end]}:", line[(end + Label.Length)..], passage);
            }
            else if (Definition().Match(text) is { Success: true } definition)
            {
                string asked = text[..definition.Groups["rest"].Index].TrimEnd();
                Ask(QuestionTemplates.Definitions, "definition", $"{title}\n{asked}", definition.Groups["rest"].Value, passage);
            }

            if (asksTitle && text.Length >= LeastQuoted && !text.Contains(title, StringComparison.OrdinalIgnoreCase))
            {
                Ask(QuestionTemplates.Titles, "title", $"{Quote(text)}\nTitle:", title, passage);
                asksTitle = false;
            }
        }

        passages.End();
        return questions;

        bool IsTitle(string line) => line.TrimStart('#', ' ') == title;

        void Ask(QuestionTemplates template, string kind, string prompt, string answer, string passage)
        {
            if (options.Templates.HasFlag(template) && answer.Length > 0 && answer.Length <= options.LongestAnswer && AnswerMatch.Normalize(answer).Length > 0)
            {
                questions.Add(new($"{document.Id}?{questions.Count}", prompt, [answer], kind, document.Id, passage));
            }
        }
    }

    /// <summary>The heading on a line: of Markdown, or a short one that stands behind an empty line and right before others; null: it is none.</summary>
    private static string? HeadingAt(string[] lines, int i, string title)
    {
        string line = lines[i], plain = line.TrimStart('#').Trim();
        bool isMarked = line[0] == '#', stands = i == 0 || lines[i - 1].Length == 0 || lines[i - 1] == title;
        return plain.Length is > 0 and <= LongestLabel && !plain.Contains(Label, StringComparison.Ordinal) && i + 1 < lines.Length
            && (isMarked || (stands && char.IsLetterOrDigit(line[^1]) && lines[i + 1].Length > 0)) ? plain : null;
    }

    /// <summary>The beginning of a line, up to a word's end; where words are not parted, up to a character's.</summary>
    private static string Quote(string line)
    {
        if (line.Length <= MostQuoted)
        {
            return line;
        }

        int space = line.LastIndexOf(' ', MostQuoted), end = space >= LeastQuoted ? space : MostQuoted;
        return line[..(char.IsHighSurrogate(line[end - 1]) ? end - 1 : end)].TrimEnd();
    }

    [GeneratedRegex(@"^[\p{L}\p{N}][^.,:;!?]{0,60}? (is|are) (?<rest>(a|an|the) [^.!?\n]{6,}?)\.(?= |$)")]
    private static partial Regex Definition();
}

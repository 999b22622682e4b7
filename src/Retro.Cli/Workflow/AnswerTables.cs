using System.Globalization;
using System.Text;
using Retro;
using Retro.Answering;
using Retro.Evaluation;
using Retro.Readers;

namespace Retro.Cli.Workflow;

/// <summary>How readers answer questions, row by row: what they write, and RGB's four abilities.</summary>
/// <param name="data">The passages, and the questions whose answers are taken for wrong ones.</param>
/// <param name="questions">The questions that are asked.</param>
internal sealed class AnswerTables(AnsweringData data, IReadOnlyList<Question> questions)
{
    private readonly List<(string Name, TimeSpan Training, AnswerResult Found, AnswerResult Oracle, AbilityResult Abilities)> _rows = [];

    /// <summary>The columns of what is written.</summary>
    public string[] AnswerHeader =>
    [
        "reader", "exact match", "F1", "bits of the answer", "exact match, given the passage", "F1, given it", "bits, given it",
        $"exact match, against {First}", $"bits, against {First}", $"exact match, given the passage, against {First}", $"bits, given it, against {First}",
        "seconds of training",
    ];

    /// <summary>What is written, by rows.</summary>
    public IEnumerable<string[]> Answers => _rows.Select((row, number) => (string[])
    [
        row.Name, $"{row.Found.ExactMatch}", $"{row.Found.F1}", $"{row.Found.Bits}", $"{row.Oracle.ExactMatch}", $"{row.Oracle.F1}", $"{row.Oracle.Bits}",
        .. number == 0 ? ["-", "-", "-", "-"] : Against(row.Found, _rows[0].Found).Concat(Against(row.Oracle, _rows[0].Oracle)),
        row.Training.TotalSeconds.ToString("0", CultureInfo.InvariantCulture),
    ]);

    /// <summary>The columns of the abilities.</summary>
    public string[] AbilityHeader =>
    [
        "reader", "questions", .. Noises.Select(noise => $"right, {noise} of noise"), "rejection (AUROC)", "integration",
        "questions with a changed passage",
        .. s_given.Select(given => $"right against a wrong answer, given {given}"),
    ];

    /// <summary>The abilities, by rows.</summary>
    public IEnumerable<string[]> Abilities => _rows.Select(row => (string[])
    [
        row.Name,
        $"{row.Abilities.Questions}",
        .. Noises.Select(noise => row.Abilities.NoiseRobustness.Where(one => one.Noise == noise).Select(one => $"{one.Accuracy}").FirstOrDefault("-")),
        $"{row.Abilities.NegativeRejection}",
        $"{row.Abilities.InformationIntegration}",
        row.Abilities.Counterfactual.Select(one => $"{one.Questions}").FirstOrDefault("-"),
        .. s_given.Select(given => row.Abilities.Counterfactual.Where(one => one.Passages == given).Select(one => $"{one.Right}").FirstOrDefault("-")),
    ]);

    private static readonly string[] s_given = ["none", "right", "wrong", "right and wrong"];

    /// <summary>The row that the others are compared with.</summary>
    private string First => _rows.Select(row => row.Name).FirstOrDefault("");

    private int[] Noises => [.. _rows.SelectMany(row => row.Abilities.NoiseRobustness.Select(one => one.Noise)).Distinct().Order()];

    /// <summary>Share of the questions whose answer the source finds, among as many passages as the reader of most reads.</summary>
    public string Found => $"{_rows.MaxBy(row => row.Found.Found.Value).Found.Found}";

    /// <summary>The results as data.</summary>
    public IReadOnlyList<(string Name, AnswerResult Found, AnswerResult Oracle, AbilityResult Abilities)> Rows
        => [.. _rows.Select(row => (row.Name, row.Found, row.Oracle, row.Abilities))];

    /// <summary>Measures a reader.</summary>
    /// <param name="name">The row's name.</param>
    /// <param name="reader">The reader.</param>
    /// <param name="training">Time of its training, its decoder's included.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task MeasureAsync(string name, IReader reader, TimeSpan training, CancellationToken cancellationToken)
    {
        AnswerResult found = await Stages.Run($"answer, {name}", progress => QuestionReader.MeasureAsync(
            reader, questions, data.Passages, progress: progress, cancellationToken: cancellationToken)).ConfigureAwait(false);
        AnswerResult oracle = reader.Neighbors == 0 ? found : await Stages.Run($"answer from the passage, {name}", progress => QuestionReader.MeasureAsync(
            reader, questions, data.Passages, question => [data.Passages.Oracle(question)], "oracle", progress, cancellationToken)).ConfigureAwait(false);
        AbilityResult abilities = Stages.Run($"measure the abilities, {name}", progress => FourAbilities.Measure(
            reader, questions, data.Passages, others: data.Set.Questions, progress: progress, cancellationToken: cancellationToken));
        _rows.Add((name, training, found, oracle, abilities));
    }

    private static IEnumerable<string> Against(AnswerResult one, AnswerResult first)
        => [$"{one.Difference(first, answer => answer.ExactMatch, most: 1)}", $"{one.Difference(first, answer => answer.Bits)}"];

    /// <summary>Both tables as Markdown, with what they say.</summary>
    public string ToMarkdown()
    {
        StringBuilder text = new();
        Add(AnswerHeader, Answers);
        int documents = questions.DistinctBy(question => question.DocumentId).Count();
        text.AppendLine(string.Create(CultureInfo.InvariantCulture, $"""
            {questions.Count:#,0} questions about {documents:#,0} documents that nothing was trained on; their passages stand, among all others, in
            the database that is searched. The first three columns are with what {data.Keyword.Name} finds, among which the answer is for
            {Found} of the questions; the next three with the one passage that holds it. Exact match and F1 as SQuAD has them; - where a reader
            cannot write. The bits are the answer's without its end, which only what was trained to answer expects there. In brackets the 95 % interval of a bootstrap over documents, or of a share where that is wider;
            against {First} it is that of the differences question by question, which tells two readers apart more often than their own two intervals do.

            """));
        Add(AbilityHeader, Abilities);
        int wrong = _rows[0].Abilities.WrongAnswers;
        text.AppendLine(string.Create(CultureInfo.InvariantCulture, $"""
            RGB's four abilities by likelihood: how often the right answer is likelier than up to {wrong} wrong ones beside noise (chance {Chance(result => result.Chance)});
            how well the likelihood tells that no passage holds it (chance 0.50); how often a pair of answers from two passages is likelier than
            up to three wrong pairs (chance {Chance(result => result.PairChance)}; - where no two questions ask the same of two titles); and how often the right answer is likelier than
            the one that a passage was changed to. A reader is not asked the questions that have no wrong answer or less noise than others, or whose
            passage does not hold the right one as far as it reads it, alone and beside others; nor with a changed passage those whose wrong answer
            it does not read there.
            """));
        return text.ToString();

        // Readers are asked different questions, of which some have fewer wrong answers.
        string Chance(Func<AbilityResult, double> of)
        {
            double[] all = [.. _rows.Select(row => of(row.Abilities)).Where(double.IsFinite)];
            string[] ends = all.Length == 0 ? ["-"]
                : [.. new[] { all.Min(), all.Max() }.Select(chance => chance.ToString("0.00", CultureInfo.InvariantCulture)).Distinct()];
            return string.Join(" to ", ends);
        }

        void Add(string[] header, IEnumerable<string[]> rows) => text.AppendLine(MarkdownTable.Of(header, rows));
    }
}

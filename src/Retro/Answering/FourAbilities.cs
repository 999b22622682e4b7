using Retro.Evaluation;
using Retro.Readers;

namespace Retro.Answering;

/// <summary>
/// The four abilities of the RGB benchmark (Chen and others, arXiv 2309.01431), for models too small to be told what to do: noise robustness, negative
/// rejection, information integration and counterfactual robustness, by how likely answers are instead of by what is written, on passages that are controlled.
/// </summary>
/// <remarks>
/// Each question has one passage with its answer, where RGB has several: noise is counted beside it. A reader that reads no passages that it is given, such as
/// a decoder alone, has its row too: what it can tell without. A question whose passage does not hold its answer as far as the reader reads it, alone and
/// beside the others, is left out; so is one for which there is less noise than for others, and of those that are asked with a changed passage one whose wrong
/// answer is not read. Two are asked in one where they ask the same of two titles, as those of fields "label: value" do.
/// </remarks>
public static class FourAbilities
{
    /// <summary>Nats by which an answer has to be likelier: what rounding tells apart is not.</summary>
    private const double Tie = 1e-6;

    /// <summary>Measures a reader.</summary>
    /// <param name="reader">The reader.</param>
    /// <param name="questions">
    /// The questions; about documents that were not trained on, or for what memory is worth against a wrong passage, about such that were.
    /// </param>
    /// <param name="passages">The passages, those of the questions among them.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <param name="others">
    /// Questions whose answers are taken for wrong ones of the same kind, and which are asked together with one, their passages among the others; null: those
    /// that are measured.
    /// </param>
    /// <param name="progress">Receives the number of parts done.</param>
    /// <param name="cancellationToken">Stops between batches.</param>
    /// <returns>What was measured: of no question, where none has another of its kind with another answer and a passage that holds its own as far as it is
    /// read.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range.</exception>
    /// <exception cref="ArgumentException">There is no question.</exception>
    /// <exception cref="RetroException">A log-likelihood is not a number.</exception>
    public static AbilityResult Measure(
        IReader reader,
        IReadOnlyList<Question> questions,
        QuestionPassages passages,
        AbilityOptions? options = null,
        IReadOnlyList<Question>? others = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(questions);
        QuestionReader.RequireSome(questions);
        options = (options ?? new()).Validate();
        QuestionReader asked = new(reader, passages);
        others ??= questions;
        Dictionary<string, string> normalized = questions.Concat(others).SelectMany(one => one.Answers).Distinct()
            .ToDictionary(answer => answer, AnswerMatch.Normalize, StringComparer.Ordinal);
        int most = reader.Neighbors == 0 ? options.Passages : Math.Min(options.Passages, reader.Neighbors), done = 0;
        Item[] all =
            [.. questions.Select((question, number) => Item.Of(question, number, others, passages, asked, options, normalized)).OfType<Item>()];

        // Of a small database no more than there is, and one passage more for where all are noise.
        int there = all.Select(item => item.Noise).DefaultIfEmpty(0).Max();
        int[] noises = [.. new[] { 0, 1, 2, 4, 8, 16 }.Where(noise => noise == 0 || noise < Math.Min(most, there))];
        Item[] items =
        [
            .. all.Where(item => item.Noise >= Math.Min(there, noises[^1] + 1)
                && noises.All(noise => Hold(item.Passages(noise, holds: true), item.Question))),
        ];
        if (items.Length == 0)
        {
            // That a reader gets too little of its passages is a result, as their number says, and no reason to lose those of others.
            MeanInterval none = MeanInterval.Of([]);
            return new(reader.Name, [], none, none, [], options.WrongAnswers, 0, double.NaN, double.NaN);
        }

        Dictionary<(string Prompt, string Answer), double> known = [];
        int parts = 4 + (reader.Neighbors == 1 ? 0 : 1) + (most > 1 ? 1 : 0);
        List<(int, MeanInterval)> robustness = [];
        double[] with = [];
        foreach (int noise in noises)
        {
            double[][] found = Likelihoods(item => item.Passages(noise, holds: true), item => item.Answers);
            robustness.Add((noise, Share(found.Select(one => one[0] > one[1..].Max() + Tie ? 1.0 : 0))));
            with = [.. found.Select(one => one.Max())];
        }

        // What was cut off of a changed passage would be won against without being read.
        Item[] changed =
        [
            .. items.Where(item => item.Wrong is { } wrong && Hold([wrong], item.Counterfeit)
                && (most == 1 || (Hold(item.RightAndWrong, item.Question) && Hold(item.RightAndWrong, item.Counterfeit)))),
        ];

        // As many passages, and none of them with the answer.
        double[] without = [.. Likelihoods(item => item.Passages(noises[^1] + 1, holds: false), item => item.Answers).Select(one => one.Max())];
        MeanInterval rejection = Share(Areas(with, without));
        (MeanInterval integration, double pairChance) = reader.Neighbors == 1 ? (MeanInterval.Of([]), double.NaN) : Integration();
        List<CounterfactualResult> counterfactual =
        [
            Wrong("none", _ => []),
            Wrong("right", item => [item.Right]),
            Wrong("wrong", item => [item.Wrong!]),
        ];
        if (most > 1)
        {
            counterfactual.Add(Wrong("right and wrong", item => item.RightAndWrong));
        }

        double chance = items.Average(item => 1.0 / item.Answers.Length);
        return new(reader.Name, robustness, rejection, integration, counterfactual, options.WrongAnswers, items.Length, chance, pairChance);

        double[][] Likelihoods(
            Func<Item, IReadOnlyList<long[]>> read, Func<Item, IReadOnlyList<string>> answers, Item[]? of = null, Func<Item, Question>? question = null)
        {
            (string Prompt, IReadOnlyList<(long[] Tokens, float Score)> Passages, IReadOnlyList<string> Answers)[] each =
                [.. (of ?? items).Select(item => ((question?.Invoke(item) ?? item.Question).Prompt, Alike(read(item)), answers(item)))];
            if (reader.Neighbors == 0)
            {
                // Whatever stands beside, an answer is as likely: it is read once.
                var more = each.SelectMany(one => one.Answers, (one, answer) => (one.Prompt, one.Passages, Answers: (IReadOnlyList<string>)[answer]))
                    .DistinctBy(one => (one.Prompt, one.Answers[0])).Where(one => !known.ContainsKey((one.Prompt, one.Answers[0]))).ToArray();
                foreach ((var one, double[] likelihood) in more.Zip(asked.LogLikelihoods(more, true, cancellationToken)))
                {
                    known.Add((one.Prompt, one.Answers[0]), likelihood[0]);
                }
            }

            double[][] found = reader.Neighbors > 0 ? asked.LogLikelihoods(each, true, cancellationToken)
                : [.. each.Select(one => one.Answers.Select(answer => known[(one.Prompt, answer)]).ToArray())];
            done++;
            progress?.Report(new StageProgress($"measure the abilities of {reader.Name}", done, noises.Length + parts));
            return found;
        }

        bool Hold(IReadOnlyList<long[]> read, Question question) => asked.Holds(Alike(read), question);

        // In what order they stand is drawn: it says nothing of what one is worth.
        static IReadOnlyList<(long[] Tokens, float Score)> Alike(IReadOnlyList<long[]> passages) => [.. passages.Select(tokens => (tokens, 0f))];

        MeanInterval Share(IEnumerable<double> values, Item[]? of = null)
            => MeanInterval.Of((of ?? items).Zip(values, (item, value) => (item.Question.DocumentId, value)), least: 0, most: 1);

        // Two questions that ask the same of two titles in one: both answers are right, in their order, or only one of them, or they stand the wrong way round.
        (MeanInterval, double) Integration()
        {
            Item[] pairs =
            [
                .. items.Where(item => item.Partner is { Other: var other } && new[] { item.Question, other }.All(one => Hold(item.Both(most), one))),
            ];
            double[][] found = Likelihoods(item => item.Both(most), item => item.Pairs, pairs, item => item.Partner!.Both);
            return (
                Share(found.Select(one => one[0] > one[1..].Max() + Tie ? 1.0 : 0), pairs),
                pairs.Select(item => 1.0 / item.Pairs.Count).DefaultIfEmpty(double.NaN).Average());
        }

        CounterfactualResult Wrong(string name, Func<Item, IReadOnlyList<long[]>> read)
        {
            double[][] found = Likelihoods(read, item => [item.Answers[0], item.Answers[1]], changed);
            return new(
                name,
                Share(found.Select(one => one[0] > one[1] + Tie ? 1.0 : 0), changed),
                MeanInterval.Of(changed.Zip(found, (item, one) => (item.Question.DocumentId, (one[0] - one[1]) / Math.Log(2)))),
                changed.Length);
        }
    }

    /// <summary>
    /// What each question has of the area under the curve by which values with the answer stand above those without. It has one of either, and with both to
    /// be drawn, both are counted: how often the one stands above the others, and those of others above the other, less what it is usually.
    /// </summary>
    internal static IEnumerable<double> Areas(double[] with, double[] without)
    {
        double[] above = [.. with.Select(one => without.Average(other => Over(one, other)))];
        double[] below = [.. without.Select(other => with.Average(one => Over(one, other)))];
        double area = above.Average();
        return above.Zip(below, (one, other) => one + other - area);

        static double Over(double one, double other) => one > other ? 1 : one < other ? 0 : 0.5;
    }

    /// <summary>A question with everything that it is asked with.</summary>
    private sealed class Item
    {
        private readonly long[][] _noise;
        private readonly int _number;
        private readonly double _place;

        private Item(Question question, int number, long[] right, long[]? wrong, long[][] noise, string[] answers, double place, Pair? partner)
            => (Question, _number, Right, Wrong, _noise, Answers, _place, Partner) = (question, number, right, wrong, noise, answers, place, partner);

        public Question Question { get; }

        /// <summary>The same with the wrong answer that the changed passage gives in the place of the right one.</summary>
        public Question Counterfeit => Question with { Answers = [Answers[1]] };

        /// <summary>How many passages of noise there are.</summary>
        public int Noise => _noise.Length;

        /// <summary>The passage with the answer and the changed one; either stands first in half of the questions.</summary>
        public long[][] RightAndWrong => _number % 2 == 0 ? [Right, Wrong!] : [Wrong!, Right];

        /// <summary>A question that asks the same of another title, to be asked with it in one; null: there is none.</summary>
        public Pair? Partner { get; }

        /// <summary>Both answers in their order, the other way round, and with a wrong one in the place of either.</summary>
        public IReadOnlyList<string> Pairs
        {
            get
            {
                (string one, string other) = (Answers[0], Partner!.Other.Answers[0]);
                string? wrong = Answers.FirstOrDefault(answer
                    => AnswerMatch.Normalize(answer) != AnswerMatch.Normalize(one) && AnswerMatch.Normalize(answer) != AnswerMatch.Normalize(other));
                return [$"{one} and {other}", $"{other} and {one}", .. wrong is null ? [] : new[] { $"{one} and {wrong}", $"{wrong} and {other}" }];
            }
        }

        /// <summary>The right answer, and behind it wrong ones.</summary>
        public string[] Answers { get; }

        /// <summary>The passage that holds the answer.</summary>
        public long[] Right { get; }

        /// <summary>The same with the first wrong answer in its place; null where it does not stand there word for word.</summary>
        public long[]? Wrong { get; }

        public static Item? Of(
            Question question,
            int number,
            IReadOnlyList<Question> all,
            QuestionPassages passages,
            QuestionReader asked,
            AbilityOptions options,
            Dictionary<string, string> normalized)
        {
            int length = asked.RetrievedLength;
            long oracle = passages.Oracle(question);
            long[] held = passages.Tokens(oracle, length);
            IReadOnlyList<long> noise = passages.Distractors(question, options.Passages, options.HardShare, options.Seed, number);
            SeededRandom random = new(options.Seed, Purpose.Abilities, number);

            // What the noise says of the same kind first, since that is what is confused.
            HashSet<string> right = [.. question.Answers.Select(answer => normalized[answer])];
            Question[] others = [.. all.Where(one => one.Kind == question.Kind && !right.Contains(normalized[one.Answers[0]]))];
            HashSet<string> said = [.. noise.Select(chunk => passages.Database.Documents[passages.Database.DocumentOf(chunk)].Id)];
            List<string> answers = [question.Answers[0]];
            foreach (Question other in others.Where(one => said.Contains(one.PassageId)).Concat(Shuffled(others)))
            {
                if (answers.Count <= options.WrongAnswers && answers.All(answer => normalized[answer] != normalized[other.Answers[0]]))
                {
                    answers.Add(other.Answers[0]);
                }
            }

            if (answers.Count == 1 || normalized[question.Answers[0]].Length == 0)
            {
                return null;
            }

            string title = TitleOf(question, passages);
            return new(
                question,
                number,
                held,
                passages.Changed(oracle, question, answers[1], length),
                [.. noise.Select(chunk => passages.Tokens(chunk, length))],
                [.. answers],
                random.NextDouble(),
                PartnerOf());

            Pair? PartnerOf()
            {
                // Behind both titles stands what is asked of either; a line that one of them quotes would ask nothing of the other.
                string behind = question.Prompt[title.Length..];
                Question? partner = title.Length == 0 ? null
                    : Shuffled(others).FirstOrDefault(one => TitleOf(one, passages) is { Length: > 0 } theirs && theirs != title
                        && one.Prompt[theirs.Length..] == behind && asked.Holds([(passages.Tokens(passages.Oracle(one), length), 0)], one));
                return partner is null ? null : new(
                    question with { Prompt = $"{title} and {TitleOf(partner, passages)}{behind}" },
                    partner,
                    passages.Tokens(passages.Oracle(partner), length),
                    random.NextDouble());
            }

            IEnumerable<Question> Shuffled(Question[] some)
            {
                Question[] order = [.. some];
                for (int i = order.Length - 1; i > 0; i--)
                {
                    int other = random.Below(i + 1);
                    (order[i], order[other]) = (order[other], order[i]);
                }

                return order;
            }
        }

        /// <summary>Passages of noise, and where asked for the one with the answer somewhere among them.</summary>
        public List<long[]> Passages(int noise, bool holds)
        {
            List<long[]> all = [.. _noise.Take(noise)];
            if (holds)
            {
                Insert(all, Right, _place);
            }

            return all;
        }

        /// <summary>
        /// The passages of both questions, somewhere among noise up to so many, each once: the order of the titles is not theirs.
        /// </summary>
        public List<long[]> Both(int most)
        {
            List<long[]> all = [.. _noise.Where(noise => !noise.AsSpan().SequenceEqual(Partner!.Passage)).Take(Math.Max(0, most - 2))];
            Insert(all, Right, _place);
            Insert(all, Partner!.Passage, Partner.Place);
            return all;
        }

        // Each place as often, whatever the number.
        private static void Insert(List<long[]> all, long[] passage, double place) => all.Insert((int)(place * (all.Count + 1)), passage);

        /// <summary>The title that a prompt begins with; empty where it begins with none.</summary>
        private static string TitleOf(Question question, QuestionPassages passages)
        {
            string title = passages.Database.Documents[passages.Database.DocumentOf(passages.Oracle(question))].Title.Trim();
            return title.Length > 0 && question.Prompt.StartsWith(title, StringComparison.Ordinal) ? title : "";
        }
    }

    /// <summary>Two questions in one.</summary>
    /// <param name="Both">What is asked.</param>
    /// <param name="Other">The other question.</param>
    /// <param name="Passage">The other question's passage.</param>
    /// <param name="Place">Where it stands among the others, from 0 to 1.</param>
    private sealed record Pair(Question Both, Question Other, long[] Passage, double Place);
}

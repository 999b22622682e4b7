using Retro.Answering;
using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using Retro.Tests.Readers;
using static TorchSharp.torch;

namespace Retro.Tests.Answering;

public sealed class FourAbilitiesTests : IDisposable
{
    private readonly Towns _towns = new(40);

    public void Dispose() => _towns.Dispose();

    [Fact]
    public void A_reader_that_holds_to_its_passages_is_right_with_right_ones_and_wrong_with_wrong_ones()
    {
        AbilityResult found = FourAbilities.Measure(new HoldingReader(5), _towns.Set.Questions, _towns.Passages);
        Assert.Equal([0, 1, 2, 4], found.NoiseRobustness.Select(one => one.Noise));
        double alone = found.NoiseRobustness[0].Accuracy.Value, noisy = found.NoiseRobustness[^1].Accuracy.Value;
        Assert.InRange(alone, 0.4, 1); // some wrong answers have the same tokens in another order
        Assert.InRange(noisy, 0, alone - 0.1);
        Assert.InRange(found.NegativeRejection.Value, 0.4, 1); // what the noise says of other towns is among the wrong answers, and as likely to it
        Dictionary<string, CounterfactualResult> wrong = found.Counterfactual.ToDictionary(one => one.Passages);
        Assert.Equal(["none", "right", "wrong", "right and wrong"], wrong.Keys);
        Assert.InRange(wrong["right"].Right.Value, 0.8, 1);
        Assert.InRange(wrong["wrong"].Right.Value, 0, 0.1);
        Assert.True(wrong["right"].Margin.Value > 1 && wrong["wrong"].Margin.Value < -1);

        // It knows no order, so that it takes the two answers the wrong way round as readily.
        Assert.Equal(0, found.InformationIntegration.Value);
        Assert.True(found.NegativeRejection.HasInterval);
    }

    /// <summary>By how many bits, and not nats, the right answer is likelier than the only other one.</summary>
    [Fact]
    public void A_margin_is_in_bits()
    {
        HoldingReader reader = new(1);
        QuestionReader answers = new(reader, _towns.Passages);
        Question[] mayors = [.. _towns.Set.Questions.Where(one => one.Kind == "Mayor")];
        (Question one, Question other) = mayors.Zip(mayors.Skip(1)).First(pair => Bits(pair.First, pair.Second) + Bits(pair.Second, pair.First) > 2);
        CounterfactualResult right = FourAbilities.Measure(reader, [one, other], _towns.Passages).Counterfactual.Single(row => row.Passages == "right");
        Assert.Equal(2, right.Questions);
        Assert.Equal((Bits(one, other) + Bits(other, one)) / 2, right.Margin.Value, 1e-9);

        double Bits(Question asked, Question wrong)
        {
            double[] found = answers.LogLikelihoods(asked, [_towns.Passages.Oracle(asked)], [asked.Answers[0], wrong.Answers[0]]);
            return (found[0] - found[1]) / Math.Log(2);
        }
    }

    /// <summary>Passages are those that the reader reads; a right one that does not hold its answer that far is none.</summary>
    [Fact]
    public async Task Passages_are_as_long_as_the_reader_reads_them()
    {
        const int M = 8;
        using TemporaryFolder folder = new();
        using ChunkDatabase chunks = ChunkDatabaseBuilder.Build(folder["chunks"], _towns.Set.Passages, _towns.Tokenizer, new() { ChunkLength = M });
        QuestionPassages passages = new(chunks, _towns.Tokenizer);
        HoldingReader whole = new(1, retrievedLength: 4 * M), cut = new(1, retrievedLength: M);
        AbilityResult expected = FourAbilities.Measure(new HoldingReader(1), _towns.Set.Questions, _towns.Passages);
        AbilityResult found = FourAbilities.Measure(whole, _towns.Set.Questions, passages);
        Assert.Equal(expected.NoiseRobustness, found.NoiseRobustness);
        Assert.Equal(expected.Counterfactual, found.Counterfactual);
        Assert.Equal(_towns.Set.Questions.Count, found.Questions);

        // That nothing can be asked is told as such, and takes nothing from what was measured before.
        AbilityResult nothing = FourAbilities.Measure(cut, _towns.Set.Questions, passages);
        Assert.Equal(0, nothing.Questions);
        Assert.Equal(("-", "-"), ($"{nothing.NegativeRejection}", $"{nothing.InformationIntegration}"));
        Assert.Empty(nothing.NoiseRobustness);

        Question[] questions = [.. _towns.Set.Questions.Take(10)];
        async Task<double> Found(HoldingReader reader)
            => (await QuestionReader.MeasureAsync(reader, questions, passages, one => [passages.Oracle(one)])).Found.Value;
        Assert.Equal((1, 0), (await Found(whole), await Found(cut)));
    }

    /// <summary>What prefers a place among its passages would else have an advantage with one number of noise and none with another.</summary>
    [Fact]
    public void The_right_passage_stands_in_each_place_as_often()
    {
        using Towns many = new(160);
        PlacesReader reader = new(many, passages: 3);
        FourAbilities.Measure(reader, many.Set.Questions, many.Passages);
        Assert.InRange(reader.Places.Values.Sum(), 300, many.Set.Questions.Count);
        Assert.All(reader.Places.Values, count => Assert.Equal(1.0 / 3, (double)count / reader.Places.Values.Sum(), 0.07)); // three standard deviations
    }

    /// <summary>A prompt that has no room for the whole of a passage reads its beginning alone, whatever the reader is given.</summary>
    [Fact]
    public async Task What_a_prompt_has_no_room_for_holds_no_answer()
    {
        manual_seed(2);
        using RetroModel model = new(TinyRetro.Config with { VocabularySize = _towns.Tokenizer.VocabularySize, Retrieval = null });
        InContextReader whole = new(model, _towns.Tokenizer, new() { Neighbors = 1 });
        InContextReader cut = new(model, _towns.Tokenizer, whole.Options with { PrefixLength = 20 });
        Assert.Equal(_towns.Set.Questions.Count, FourAbilities.Measure(whole, _towns.Set.Questions, _towns.Passages).Questions);
        int asked = FourAbilities.Measure(cut, _towns.Set.Questions, _towns.Passages).Questions;
        Assert.InRange(asked, 2, _towns.Set.Questions.Count - 2);

        async Task<double> Found(IReader reader) => (await QuestionReader.MeasureAsync(
            reader, _towns.Set.Questions, _towns.Passages, one => [_towns.Passages.Oracle(one)])).Found.Value;
        Assert.Equal(1, await Found(whole));
        Assert.Equal((double)asked / _towns.Set.Questions.Count, await Found(cut), 1e-9);
    }

    /// <summary>Of three passages a prompt may have room for the beginnings alone, where it has room for one of them.</summary>
    [Fact]
    public void What_has_no_room_beside_noise_holds_no_answer()
    {
        using RetroModel model = new(TinyRetro.Config with { VocabularySize = _towns.Tokenizer.VocabularySize, Retrieval = null });
        InContextReader reader = new(model, _towns.Tokenizer, new() { Neighbors = 3, PrefixLength = 60 });
        AbilityResult alone = FourAbilities.Measure(reader, _towns.Set.Questions, _towns.Passages, new() { Passages = 1 }),
            beside = FourAbilities.Measure(reader, _towns.Set.Questions, _towns.Passages, new() { Passages = 3 });
        Assert.Equal(_towns.Set.Questions.Count, alone.Questions);
        Assert.InRange(beside.Questions, 2, _towns.Set.Questions.Count - 2);
    }

    /// <summary>What is cut off of a changed passage would be won against without being read.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(5)]
    public void A_passage_whose_wrong_answer_is_not_read_is_no_changed_one(int neighbors)
    {
        Question[] asked =
        [
            .. _towns.Set.Questions.Where(one => one.Kind == "Roof color").Take(3), .. _towns.Set.Questions.Where(one => one.Kind == "Mayor").Take(4),
        ];
        string longer = string.Join(' ', Enumerable.Repeat("gray", 4 * Towns.M)); // more tokens than are read of a passage
        Question[] others = [.. asked.Select(one => one.Kind == "Mayor" ? one : one with { Answers = [longer] })];
        AbilityResult found = FourAbilities.Measure(new HoldingReader(neighbors), asked, _towns.Passages, others: others);
        Assert.Equal(7, found.Questions);
        Assert.All(found.Counterfactual, one => Assert.Equal((4, 4), (one.Questions, one.Right.Documents)));
    }

    /// <summary>Of three passages two are noise, of which one stands beside the right one and both where all are noise.</summary>
    [Fact]
    public void Noise_is_no_more_than_there_is_and_no_passage_is_read_twice()
    {
        using TemporaryFolder folder = new();
        Question[] asked = [.. _towns.Set.Questions.Where(one => one.Kind == "Mayor").Take(3)];
        using ChunkDatabase few = ChunkDatabaseBuilder.Build(
            folder["few"],
            _towns.Set.Passages.Where(passage => asked.Any(one => one.PassageId == passage.Id)),
            _towns.Tokenizer,
            new() { ChunkLength = Towns.M });
        List<string[]> read = [];
        TextsReader reader = new(_towns.Tokenizer, 5, (_, passages, _) =>
        {
            lock (read)
            {
                read.Add(passages);
            }

            return -1;
        });
        AbilityResult found = FourAbilities.Measure(reader, asked, new(few, _towns.Tokenizer));
        Assert.Equal([0, 1], found.NoiseRobustness.Select(one => one.Noise));
        Assert.Equal((3, 3), (found.Questions, found.InformationIntegration.Documents));
        Assert.All(read, passages => Assert.Equal(passages.Length, passages.Distinct().Count()));
        Assert.Equal([0, 1, 2, 3], read.Select(passages => passages.Length).Distinct().Order()); // three where two questions are asked in one

        // One whose answer stands in every passage has no noise, and takes none from the others.
        AbilityResult more = FourAbilities.Measure(reader, [.. asked, asked[0] with { Answers = ["Roof"] }], new(few, _towns.Tokenizer));
        Assert.Equal([0, 1], more.NoiseRobustness.Select(one => one.Noise));
        Assert.Equal(3, more.Questions);
    }

    /// <summary>Prompts and passages begin with a title as it is without the spaces around it.</summary>
    [Fact]
    public void Titles_with_spaces_around_them_are_asked_for_together_too()
    {
        using TemporaryFolder folder = new();
        QuestionSet set = QuestionBuilder.Build(
            Towns.Make(12, 1).Select(town => town with { Title = $" {town.Title} " }),
            _towns.Tokenizer,
            new() { PassageTokens = Towns.M - 2, LeastOfAKind = 2, Templates = QuestionTemplates.Fields });
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(folder["spaces"], set.Passages, _towns.Tokenizer, new() { ChunkLength = Towns.M });
        Question[] asked = [.. set.Questions.Where(one => one.Kind == "Mayor").Take(4)];
        AbilityResult found = FourAbilities.Measure(new HoldingReader(5), asked, new(database, _towns.Tokenizer));
        Assert.Equal((4, 4), (found.Questions, found.InformationIntegration.Documents));
    }

    /// <summary>Both sides of the area under the curve are drawn: where one side alone varies, either way round, so does the area.</summary>
    [Theory]
    [InlineData(new[] { 1.0, 1.0 }, new[] { 0.0, 2.0 }, new[] { 1.0, 0.0 })]
    [InlineData(new[] { 0.0, 2.0 }, new[] { 1.0, 1.0 }, new[] { 0.0, 1.0 })]
    [InlineData(new[] { 1.0, 1.0, 1.0 }, new[] { 1.0, 1.0, 1.0 }, new[] { 0.5, 0.5, 0.5 })]
    [InlineData(new[] { 3.0, 2.0 }, new[] { 1.0, 0.0 }, new[] { 1.0, 1.0 })]
    public void Each_question_has_its_part_of_the_area_from_both_sides(double[] with, double[] without, double[] expected)
        => Assert.Equal(expected, FourAbilities.Areas(with, without));

    /// <summary>Behind "Barton and Dalham" there stands what is asked of both: a line that one of them quotes says nothing of the other.</summary>
    [Fact]
    public void Questions_are_asked_together_where_they_ask_the_same_of_two_titles()
    {
        Question[] mayors = [.. _towns.Set.Questions.Where(one => one.Kind == "Mayor").Take(6)];
        Question[] asked = [.. mayors.Select((one, i) => i < 4 ? one : one with { Prompt = one.Prompt.Replace("Mayor:", $"In {i} hill:") })];
        Assert.Equal(4, FourAbilities.Measure(new HoldingReader(5), asked, _towns.Passages).InformationIntegration.Documents);
        AbilityResult apart = FourAbilities.Measure(new HoldingReader(5), asked[3..], _towns.Passages);
        Assert.Equal((3, "-"), (apart.Questions, $"{apart.InformationIntegration}"));
    }

    /// <summary>Behind "Barton and Dalham" Barton's answer comes first: what finds both and says them the wrong way round integrates nothing.</summary>
    [Theory]
    [InlineData(false, 1)]
    [InlineData(true, 0)]
    public void Two_answers_are_right_in_the_order_of_their_titles(bool turned, double expected)
    {
        TextsReader reader = new(_towns.Tokenizer, 5, (prompt, passages, answer) => answer == Said(prompt, passages) ? -1 : -2);
        AbilityResult found = FourAbilities.Measure(reader, _towns.Set.Questions, _towns.Passages);
        Assert.Equal(1, found.NoiseRobustness[^1].Accuracy.Value); // of one title, there is no order
        Assert.Equal(expected, found.InformationIntegration.Value);

        string Said(string prompt, string[] passages)
        {
            string[] lines = prompt.Split('\n'), titles = lines[0].Split(" and ");
            string label = $"{lines[1]} ";
            IEnumerable<string> said = titles.Select(title => passages.Where(passage => passage.StartsWith($"{title}\n", StringComparison.Ordinal))
                .SelectMany(passage => passage.Split('\n')).Where(line => line.StartsWith(label, StringComparison.Ordinal))
                .Select(line => line[label.Length..]).FirstOrDefault(""));
            return string.Join(" and ", turned ? said.Reverse() : said);
        }
    }

    /// <summary>The order of the titles is not the order of the passages: what says the values as they stand is right in half of the pairs.</summary>
    [Fact]
    public void Two_passages_stand_in_either_order()
    {
        TextsReader reader = new(_towns.Tokenizer, 5, (prompt, passages, answer) => answer == Said(prompt, passages) ? -1 : -2);
        AbilityResult found = FourAbilities.Measure(reader, _towns.Set.Questions, _towns.Passages);
        Assert.InRange(found.InformationIntegration.Value, 0.35, 0.65);

        static string Said(string prompt, string[] passages)
        {
            string[] lines = prompt.Split('\n'), titles = lines[0].Split(" and ");
            string label = $"{lines[1]} ";
            return string.Join(" and ", passages.Where(passage => titles.Contains(passage.Split('\n')[0]))
                .SelectMany(passage => passage.Split('\n'))
                .Where(line => line.StartsWith(label, StringComparison.Ordinal))
                .Select(line => line[label.Length..]));
        }
    }

    [Fact]
    public void Chance_is_higher_where_there_are_few_values()
    {
        AbilityResult Found(Question[] questions) => FourAbilities.Measure(new HoldingReader(5), questions, _towns.Passages);
        AbilityResult many = Found([.. _towns.Set.Questions.Where(one => one.Kind == "Mayor")]);
        Assert.Equal(0.2, many.Chance, 1e-9);
        Assert.Equal(0.25, many.PairChance, 1e-9);

        string[] two = [.. _towns.Set.Questions.Where(one => one.Kind == "Roof color").Select(one => one.Answers[0]).Distinct().Take(2)];
        AbilityResult few = Found([.. _towns.Set.Questions.Where(one => one.Kind == "Roof color" && two.Contains(one.Answers[0]))]);
        Assert.Equal(0.5, few.Chance, 1e-9);
        Assert.Equal(0.5, few.PairChance, 1e-9);
        Assert.Equal(double.NaN, FourAbilities.Measure(new HoldingReader(1), _towns.Set.Questions, _towns.Passages).PairChance);
    }

    /// <summary>Of noise that the source finds nothing is drawn; the wrong answers and the place of the right passage are, whatever the noise.</summary>
    [Fact]
    public void Noise_is_found_or_drawn_and_what_is_drawn_follows_from_the_seed()
    {
        using Towns towns = new(40, search: true);
        Question[] questions = [.. towns.Set.Questions.Take(12)];
        string[] hard =
        [
            .. questions.SelectMany(one => towns.Passages.Found(one, 10).Where(chunk => !towns.Passages.Holds(chunk, one)).Take(3))
                .Select(chunk => Text(towns.Database.Documents[towns.Database.DocumentOf(chunk)].Id)),
        ];
        (string[] Noise, string[] Answers, int[] Places) found = Read(1, 0), again = Read(1, 5), drawn = Read(0, 0), other = Read(0, 5);
        Assert.Equal(hard, found.Noise);
        Assert.Equal(hard, again.Noise);
        Assert.NotEqual(found.Answers, again.Answers);
        Assert.NotEqual(found.Places, again.Places);
        Assert.NotEqual(hard, drawn.Noise);
        Assert.NotEqual(drawn.Noise, other.Noise);

        string Text(string passage) => towns.Set.Passages.Single(one => one.Id == passage).Text;

        // Where as many passages are read as can be: the noise alone with the answers that are asked for, and the place of the right passage among it.
        (string[] Noise, string[] Answers, int[] Places) Read(double hardShare, long seed)
        {
            List<(string Prompt, string[] Passages, string Answer)> rows = [];
            TextsReader reader = new(towns.Tokenizer, 3, (prompt, passages, answer) =>
            {
                lock (rows)
                {
                    rows.Add((prompt, passages, answer));
                }

                return -1;
            });
            FourAbilities.Measure(
                reader, questions, towns.Passages, new() { Passages = 3, HardShare = hardShare, Seed = seed }, towns.Set.Questions);
            List<string> noise = [], answers = [];
            List<int> places = [];
            foreach (Question question in questions)
            {
                string right = Text(question.PassageId);
                var full = rows.Where(row => row.Prompt == question.Prompt && row.Passages.Length == 3).ToLookup(row => row.Passages.Contains(right));
                noise.AddRange(full[false].First().Passages);
                answers.AddRange(full[false].Select(row => row.Answer).Order(StringComparer.Ordinal));
                places.Add(Array.IndexOf(full[true].First().Passages, right));
            }

            return ([.. noise], [.. answers], [.. places]);
        }
    }

    [Fact]
    public void A_reader_that_reads_nothing_is_the_same_with_any_passages()
    {
        AbilityResult found = FourAbilities.Measure(new ToyReader(_towns.Tokenizer.VocabularySize), _towns.Set.Questions, _towns.Passages);
        Assert.Single(found.NoiseRobustness.Select(one => one.Accuracy.Value).Distinct());
        Assert.Equal(0.5, found.NegativeRejection.Value, 0.01);
        Assert.Single(found.Counterfactual.Select(one => one.Margin.Value).Distinct());
    }

    /// <summary>Of each question the right answer, four wrong ones, and the four pairs with another's: with whatever passages, one row each.</summary>
    [Fact]
    public void What_reads_no_passages_reads_each_answer_once()
    {
        int rows = 0;
        HoldingReader holding = new(0, told: count => Interlocked.Add(ref rows, count));
        AbilityResult found = FourAbilities.Measure(holding, _towns.Set.Questions, _towns.Passages);
        Assert.InRange(rows, found.Questions * 5, found.Questions * (5 + 4));
        AbilityResult counted = FourAbilities.Measure(new ToyReader(_towns.Tokenizer.VocabularySize), _towns.Set.Questions, _towns.Passages);
        Assert.Equal((counted.Questions, counted.InformationIntegration.Documents), (found.Questions, found.InformationIntegration.Documents));
    }

    [Fact]
    public void A_reader_of_one_passage_integrates_nothing_and_has_no_noise_beside_it()
    {
        List<StageProgress> told = [];
        AbilityResult found = FourAbilities.Measure(
            new HoldingReader(1), _towns.Set.Questions, _towns.Passages, new() { WrongAnswers = 1 }, progress: new Reports<StageProgress>(told.Add));
        Assert.Equal((5, 5), (told[^1].Done, told[^1].Total));
        Assert.Equal([0], found.NoiseRobustness.Select(one => one.Noise));
        Assert.InRange(found.NegativeRejection.Value, 0.6, 1);
        Assert.True(double.IsNaN(found.InformationIntegration.Value));
        Assert.Equal(["none", "right", "wrong"], found.Counterfactual.Select(one => one.Passages));
        Assert.Equal(1, found.WrongAnswers);
    }

    [Fact]
    public void The_same_seed_gives_the_same_and_what_cannot_be_is_refused()
    {
        AbilityResult one = FourAbilities.Measure(new HoldingReader(3), _towns.Set.Questions, _towns.Passages, new() { Seed = 5 });
        AbilityResult same = FourAbilities.Measure(new HoldingReader(3), _towns.Set.Questions, _towns.Passages, new() { Seed = 5 });
        Assert.Equal(one.NoiseRobustness, same.NoiseRobustness);
        Assert.Equal(one.Counterfactual, same.Counterfactual);
        RetroOptionsException fault = Assert.Throws<RetroOptionsException>(
            () => new AbilityOptions { Passages = 0, WrongAnswers = 0, HardShare = 2 }.Validate());
        Assert.All(
            ["Passages is 0", "WrongAnswers is 0", "HardShare is 2"], part => Assert.Contains(part, fault.Message, StringComparison.Ordinal));
        Assert.Equal(0, FourAbilities.Measure(new HoldingReader(3), [_towns.Set.Questions[0]], _towns.Passages).Questions);
        Assert.Contains(
            "no question",
            Assert.Throws<ArgumentException>(() => FourAbilities.Measure(new HoldingReader(3), [], _towns.Passages)).Message,
            StringComparison.Ordinal);
    }

    /// <summary>Else a reader that gives no numbers would have an area of 0.5, which is chance, and a share of 0.</summary>
    [Fact]
    public void What_is_not_a_number_is_no_ability()
        => Assert.Contains(
            "not a number",
            Assert.Throws<RetroException>(() => FourAbilities.Measure(new HoldingReader(3, double.NaN), _towns.Set.Questions, _towns.Passages)).Message,
            StringComparison.Ordinal);

    [Fact]
    public void A_question_has_an_answer()
    {
        Question question = _towns.Set.Questions[0];
        Assert.Contains("0 answers", Assert.Throws<ArgumentException>(() => question with { Answers = [] }).Message, StringComparison.Ordinal);
        Assert.Contains(
            "one of them empty", Assert.Throws<ArgumentException>(() => new Question("q", "", ["a", ""], "", "", "")).Message, StringComparison.Ordinal);
    }
}

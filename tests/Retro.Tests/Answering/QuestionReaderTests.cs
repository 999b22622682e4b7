using Retro.Answering;
using Retro.Database;
using Retro.Generation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Readers;
using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Answering;

public sealed class QuestionReaderTests(ITestOutputHelper output)
{
    private const int M = Towns.M;

    /// <summary>Trained on towns that know nothing of the measured ones, a RETRO answers about these from their passages, and without cannot.</summary>
    [Fact]
    public async Task A_retro_that_is_trained_among_distractors_answers_about_documents_that_are_new()
    {
        using Towns all = new(120, search: true);
        HashSet<string> trained = [.. all.Documents.Take(96).Select(document => document.Id)];
        Question[] training = [.. all.Set.Questions.Where(one => trained.Contains(one.DocumentId))];
        Question[] measured = [.. all.Set.Questions.Where(one => !trained.Contains(one.DocumentId))];
        QuestionSet.RequireHeldOut(measured, trained);
        RetroConfig decoder = new()
        {
            VocabularySize = all.Tokenizer.VocabularySize, Width = 64, Layers = 2, Heads = 4, HeadSize = 16, FeedForwardSize = 128, TieEmbeddings = true,
        };
        using TemporaryFolder folder = new();
        using ChunkDatabase known = ChunkDatabaseBuilder.Build(
            folder["known"],
            all.Set.Passages.Where(passage => trained.Contains(passage.Id.Split('#')[0])),
            all.Tokenizer,
            new() { ChunkLength = M });
        manual_seed(1);
        using RetroModel model = new(decoder with
        {
            Retrieval = RetrievalConfig.Matching(decoder) with { ChunkLength = M, RetrievedLength = 2 * M, Neighbors = 2 },
        });
        using (Trainer trainer = new(model, TrainingOptions.SmallModel with { Steps = 150, WarmupSteps = 10, Accumulation = 2 }))
        {
            trainer.Run(new QuestionSampler(training, new(known, all.Tokenizer), new() { Neighbors = 2, BatchSize = 8, WithoutOracle = 0.2 }));
        }

        RetroReader reader = new(model, 2);
        AnswerResult oracle = await QuestionReader.MeasureAsync(reader, measured, all.Passages, one => [all.Passages.Oracle(one)], "oracle");
        AnswerResult found = await QuestionReader.MeasureAsync(reader, measured, all.Passages);
        AnswerResult wrong = await QuestionReader.MeasureAsync(reader, measured, all.Passages, one => all.Passages.Distractors(one, 2), "distractors");
        AnswerResult closed = await QuestionReader.MeasureAsync(new DecoderReader(model), measured, all.Passages);
        foreach (AnswerResult one in new[] { oracle, found, wrong, closed })
        {
            output.WriteLine($"{one.Reader}, {one.Passages}: found {one.Found}, EM {one.ExactMatch}, F1 {one.F1}, bits {one.Bits}");
        }

        Assert.Equal(("oracle", "bm25", "none", 1, 0), (oracle.Passages, found.Passages, closed.Passages, oracle.Found.Value, wrong.Found.Value));
        Assert.InRange(oracle.ExactMatch.Value, 0.5, 1);
        Assert.True(oracle.ExactMatch.Value > wrong.ExactMatch.Value + 0.2);
        Assert.True(oracle.Bits.Value < closed.Bits.Value - 2);
        Assert.True(oracle.F1.Value >= oracle.ExactMatch.Value);
    }

    [Fact]
    public async Task Every_reader_answers_or_says_that_it_cannot()
    {
        using Towns towns = new(12, search: true);
        RetroConfig config = TinyRetro.Config with
        {
            VocabularySize = towns.Tokenizer.VocabularySize,
            Retrieval = TinyRetro.Config.Retrieval! with { ChunkLength = M, RetrievedLength = 2 * M },
        };
        manual_seed(1);
        using RetroModel model = new(config);
        InContextOptions context = new() { Neighbors = 2, PrefixLength = 100, WindowLength = 300 };
        using CopyReader copying = CopyReader.Fit(
            model, towns.Database, towns.Keyword!, new() { Steps = 1, Neighbors = 3, Stride = 8, WindowLength = M, RetrievedLength = 2 * M });
        using DecoupledReader own = DecoupledReader.Fit(model, towns.Database, towns.Keyword!, new() { Steps = 1, WindowLength = M });
        PointerRule rule = new(2, M, 2 * M, [.. Enumerable.Repeat(0.5, PointerRule.LongestRun)]);
        IReader[] readers =
        [
            new DecoderReader(model), new RetroReader(model), new InContextReader(model, towns.Tokenizer, context),
            new EnsembleReader(model, towns.Tokenizer, context), new RetroInContextReader(model, towns.Tokenizer, context), copying, own,
            new PointerReader(new DecoderReader(model), rule),
        ];
        Question[] questions = [.. towns.Set.Questions.Take(3)];
        foreach (IReader reader in readers)
        {
            AnswerResult result = await QuestionReader.MeasureAsync(reader, questions, towns.Passages);
            Assert.Equal(reader is PointerReader, result.Answers.All(one => one.Answer is null));
            Assert.All(result.Answers, one => Assert.InRange(one.Bits, 0.01, 1000));
            AbilityResult abilities = FourAbilities.Measure(reader, towns.Set.Questions, towns.Passages, new() { Passages = 2, WrongAnswers = 2 });
            Assert.All(abilities.NoiseRobustness, one => Assert.InRange(one.Accuracy.Value, 0, 1));
        }

        Assert.Contains(
            "no question", (await Assert.ThrowsAsync<ArgumentException>(() => QuestionReader.MeasureAsync(readers[0], [], towns.Passages))).Message);
        using RetroModel shorter = new(config with { MaximumLength = M });
        Question longer = questions[0] with { Prompt = string.Concat(Enumerable.Repeat(questions[0].Prompt, 10)) };
        Assert.Contains(
            $"longer than the {M} that",
            Assert.Throws<ArgumentException>(() => new QuestionReader(new DecoderReader(shorter), towns.Passages).LogLikelihoods(longer, [], ["a"])).Message);
    }

    /// <summary>Others' decoders like to begin with an empty line, in which nothing is answered.</summary>
    [Fact]
    public async Task An_answer_is_the_first_line_that_says_something()
    {
        using Towns towns = new(12);
        using RetroModel model = new(TinyRetro.Config with { VocabularySize = towns.Tokenizer.VocabularySize, Retrieval = null });
        Generation.ChainModel.Write(model, towns.Tokenizer.EndOfText, [.. "\n A".Select(letter => towns.Tokenizer.Encode($"{letter}").Single())]);
        Assert.Equal("A", await new QuestionReader(new DecoderReader(model), towns.Passages).AnswerAsync(towns.Set.Questions[0], []));
    }

    /// <summary>REPLUG weighs passages by what the source says of them, and not by their rank.</summary>
    [Fact]
    public async Task An_ensemble_weighs_passages_by_the_sources_scores()
    {
        using Towns towns = new(12);
        manual_seed(2);
        using RetroModel model = new(TinyRetro.Config with { VocabularySize = towns.Tokenizer.VocabularySize, Retrieval = null }, ScalarType.Float64);
        InContextOptions context = new() { Neighbors = 2, PrefixLength = 100, WindowLength = 300 };
        EnsembleReader ensemble = new(model, towns.Tokenizer, context);
        Question[] questions = [towns.Set.Questions[4]];
        long[] passages = [towns.Passages.Oracle(questions[0]), towns.Passages.Oracle(towns.Set.Questions[9])];
        async Task<AnsweredQuestion> Measured(IReader reader, float first, float second)
        {
            QuestionPassages scored = new(
                towns.Database, towns.Tokenizer, GivenNeighborSource.WithScores(towns.Database, [(passages[0], first), (passages[1], second)]));
            return (await QuestionReader.MeasureAsync(reader, questions, scored)).Answers[0];
        }

        async Task<double> Alone(int passage)
            => (await QuestionReader.MeasureAsync(ensemble, questions, towns.Passages, _ => [passages[passage]])).Answers[0].Bits;

        AnsweredQuestion best = await Measured(ensemble, 50, 0), worst = await Measured(ensemble, 0, 50), alike = await Measured(ensemble, 3, 3);
        Assert.NotEqual(await Alone(0), await Alone(1), 1e-3);
        Assert.Equal(await Alone(0), best.Bits, 1e-9);
        Assert.Equal(await Alone(1), worst.Bits, 1e-9);
        EnsembleReader equal = new(model, towns.Tokenizer, context, double.PositiveInfinity);
        Assert.Equal((await Measured(equal, 1, 2)).Bits, alike.Bits, 1e-9);
        Assert.Equal((await Measured(equal, 1, 2)).Answer, alike.Answer);
    }

    /// <summary>Where it would copy from is not where the passages are, so that it writes nothing; what an answer costs it is known all the same.</summary>
    [Fact]
    public async Task What_copies_from_anywhere_in_another_database_is_measured_and_writes_nothing()
    {
        using Towns towns = new(12, search: true);
        using TemporaryFolder folder = new();
        using ChunkDatabase again = ChunkDatabaseBuilder.Build(folder["again"], towns.Set.Passages, towns.Tokenizer, new() { ChunkLength = M });
        using ChunkDatabase other = ChunkDatabaseBuilder.Build(folder["other"], towns.Set.Passages.Skip(1), towns.Tokenizer, new() { ChunkLength = M });
        manual_seed(2);
        using RetroModel model = new(TinyRetro.Config with { VocabularySize = towns.Tokenizer.VocabularySize, Retrieval = null });
        CopyReaderOptions options = new() { Steps = 1, Neighbors = 3, Stride = 8, WindowLength = M, RetrievedLength = 2 * M };
        Question[] questions = [.. towns.Set.Questions.Take(2)];
        using CopyReader own = CopyReader.Fit(model, towns.Database, towns.Keyword!, options, TokenIndex.Build(again)),
            foreign = CopyReader.Fit(model, towns.Database, towns.Keyword!, options, TokenIndex.Build(other));
        AnswerResult result = await QuestionReader.MeasureAsync(foreign, questions, towns.Passages);
        Assert.All(result.Answers, one => Assert.True(one.Answer is null && one.Bits > 0));
        Assert.All((await QuestionReader.MeasureAsync(own, questions, towns.Passages)).Answers, one => Assert.NotNull(one.Answer));

        // Without a passage it looks up all the same, in what it writes as in what its likelihoods are of.
        using CopyReader trained = CopyReader.Fit(model, towns.Database, towns.Keyword!, options with { Steps = 60 }, TokenIndex.Build(again));
        QuestionReader asked = new(trained, towns.Passages);
        QuestionReader decoder = new(new DecoderReader(model), towns.Passages);
        List<(string? Copied, string? Alone)> written = [];
        foreach (Question question in towns.Set.Questions)
        {
            written.Add((await asked.AnswerAsync(question, []), await decoder.AnswerAsync(question, [])));
        }

        Assert.Contains(written, one => one.Copied != one.Alone);
    }

    /// <summary>What has learned from text alone has never seen a run of begin-of-text tokens, and there is none where nothing has to be filled up.</summary>
    [Fact]
    public async Task A_decoder_reads_a_question_behind_one_begin_of_text_token_or_right_behind_its_passages()
    {
        using Towns towns = new(12, search: true);
        manual_seed(2);
        using RetroModel model = new(TinyRetro.Config with { VocabularySize = towns.Tokenizer.VocabularySize, Retrieval = null }, ScalarType.Float64);
        InContextOptions options = new() { Neighbors = 2, PrefixLength = 100, WindowLength = 300 };
        Question question = towns.Set.Questions[4];
        long[] passages = [towns.Passages.Oracle(question), towns.Passages.Oracle(towns.Set.Questions[9])];
        long[] asked = [.. towns.Tokenizer.Encode(question.Prompt).Select(token => (long)token)], alone = [towns.Tokenizer.BeginOfText, .. asked];
        long[] answer = [.. QuestionText.Answer(towns.Tokenizer, question.Prompt, question.Answers[0]).Select(token => (long)token)];
        long[] line = [.. towns.Tokenizer.Encode("\n").Select(token => (long)token)], before = [towns.Tokenizer.BeginOfText];
        foreach (long chunk in passages.Reverse())
        {
            // Of a passage its text alone, the best one last; in its database a document is parted from others.
            string id = towns.Database.Documents[towns.Database.DocumentOf(chunk)].Id, text = towns.Set.Passages.Single(one => one.Id == id).Text;
            long[] said = [.. towns.Tokenizer.Encode(text).Select(token => (long)token)];
            Assert.Equal([towns.Tokenizer.BeginOfText, .. said, towns.Tokenizer.EndOfText], towns.Passages.Tokens(chunk, 2 * M));
            before = [.. before, .. said, .. line];
        }

        using CopyReader copying = CopyReader.Fit(
            model, towns.Database, towns.Keyword!, new() { Steps = 1, Neighbors = 3, Stride = 8, WindowLength = M, RetrievedLength = 2 * M });
        DecoderReader decoder = new(model);
        InContextReader context = new(model, towns.Tokenizer, options);
        await Check(decoder, passages, alone);
        await Check(context, passages, [.. before, .. asked]);
        await Check(context, [passages[0], passages[0], passages[1]], [.. before, .. asked]); // what is given twice is read once, whatever is asked
        await Check(context, [], alone);
        await Check(new EnsembleReader(model, towns.Tokenizer, options), [], alone);

        // What retrieves every eight tokens reads behind the question, wherever it ends, and without neighbors is the decoder.
        await Check(copying, [], alone);

        async Task Check(IReader reader, long[] read, long[] prompt)
        {
            QuestionReader questions = new(reader, towns.Passages);
            Assert.Equal(prompt.Length, questions.CountTokens(question.Prompt, read));
            double[][] all = LogProbabilities(model, [.. prompt, .. answer]);
            double expected = answer.Select((token, i) => all[prompt.Length - 1 + i][token]).Sum();
            double tolerance = reader is CopyReader ? 1e-6 * answer.Length : 1e-9; // a mixture's tokens are each of float32
            Assert.Equal(expected, questions.LogLikelihoods(question, read, question.Answers)[0], tolerance);
            int likeliest = Array.IndexOf(all[prompt.Length - 1], all[prompt.Length - 1].Max());
            Assert.Equal(towns.Tokenizer.DecodeWithin([likeliest]).Trim(), await questions.AnswerAsync(question, read, longest: 1));
        }
    }

    /// <summary>Of a text that goes on nothing tells that an answer ends, so that it is no part of what the answer costs.</summary>
    [Fact]
    public async Task The_bits_of_an_answer_are_those_of_its_own_tokens()
    {
        using Towns towns = new(12);
        manual_seed(2);
        using RetroModel model = new(TinyRetro.Config with { VocabularySize = towns.Tokenizer.VocabularySize, Retrieval = null }, ScalarType.Float64);
        Question question = towns.Set.Questions[4];
        long[] prompt = [towns.Tokenizer.BeginOfText, .. towns.Tokenizer.Encode(question.Prompt).Select(token => (long)token)];
        long[] answer = [.. QuestionText.Answer(towns.Tokenizer, question.Prompt, question.Answers[0])[..^1].Select(token => (long)token)];
        double[][] all = LogProbabilities(model, [.. prompt, .. answer]);
        double expected = -answer.Select((token, i) => all[prompt.Length - 1 + i][token]).Sum() / Math.Log(2), end = all[^1][towns.Tokenizer.EndOfText];
        DecoderReader decoder = new(model);
        Assert.Equal(expected, (await QuestionReader.MeasureAsync(decoder, [question], towns.Passages)).Answers[0].Bits, 1e-9);
        Assert.Equal(
            end - (expected * Math.Log(2)), new QuestionReader(decoder, towns.Passages).LogLikelihoods(question, [], question.Answers)[0], 1e-9);
    }

    /// <summary>What it writes first is the token that it takes for the likeliest with these passages, laid out as in training.</summary>
    [Fact]
    public async Task An_answer_begins_with_the_likeliest_token_given_the_passages()
    {
        using Towns towns = new(12);
        manual_seed(2);
        RetroConfig config = TinyRetro.Config with
        {
            VocabularySize = towns.Tokenizer.VocabularySize,
            Retrieval = TinyRetro.Config.Retrieval! with { ChunkLength = M, RetrievedLength = 2 * M },
        };
        using RetroModel model = new(config, ScalarType.Float64);
        RetroReader retro = new(model);
        QuestionReader reader = new(retro, towns.Passages);
        Assert.Throws<ArgumentOutOfRangeException>(() => new QuestionReader(retro, towns.Passages) { TextsAtOnce = 0 });
        Question question = towns.Set.Questions[4];
        long[] passages = [towns.Passages.Oracle(question), towns.Passages.Oracle(towns.Set.Questions[9])];
        int[] prompt = QuestionText.Prompt(towns.Tokenizer, question.Prompt, M);
        Assert.Equal(prompt.Length, reader.CountTokens(question.Prompt, passages)); // neighbors are none of the text
        int vocabulary = towns.Tokenizer.VocabularySize;
        ReadingBatch batch = new(vocabulary, prompt.Length, M) { Retrieved = new(vocabulary, prompt.Length / M, 2, 2 * M) };
        for (int token = 0; token < vocabulary; token++)
        {
            Array.ConvertAll(prompt, one => (long)one).CopyTo(batch.Tokens, token * prompt.Length);
            batch.Targets[((token + 1) * prompt.Length) - 1] = token;
            for (int chunk = 0; chunk < prompt.Length / M; chunk++)
            {
                batch.Retrieved.Take(token, chunk, towns.Database, passages);
            }
        }

        double[] likelihoods = retro.LogLikelihoods(batch);
        int likeliest = Enumerable.Range(0, vocabulary).MaxBy(token => likelihoods[((token + 1) * prompt.Length) - 1]);
        Assert.Equal(towns.Tokenizer.DecodeWithin([likeliest]).Trim(), await reader.AnswerAsync(question, passages, longest: 1));

        // What is given is read, and nothing that the options say besides.
        foreach ((GenerationOptions options, string named) in new (GenerationOptions, string)[]
            {
                (new() { Passages = ["another"] }, "Passages is 1; expected none"), (new() { Neighbors = 1 }, "Neighbors is 1"),
                (new() { ExcludedDocuments = ["d"] }, "ExcludedDocuments is 1"), (new() { RetrievalStride = 1 }, "RetrievalStride is 1"),
            })
        {
            Assert.Contains(
                named, Assert.Throws<RetroOptionsException>(() => reader.WriteAsync(question.Prompt, passages, options)).Message, StringComparison.Ordinal);
        }

        // What is read makes the difference.
        double Of(params long[] read) => reader.LogLikelihoods(question, read, ["red"])[0];
        Assert.NotEqual(Of(passages), Of(), 1e-9);
        Assert.NotEqual(Of(passages), Of(passages[0]), 1e-9);
    }

    /// <summary>
    /// A reader without stretches of its own reads passages behind the prompt, which begins with one token, as the texts did that its decoder learned from:
    /// without passages it is the closed book, and what it writes first is the token that it takes for the likeliest so.
    /// </summary>
    [Fact]
    public async Task A_question_is_not_filled_up_for_what_reads_anywhere()
    {
        using Towns towns = new(12);
        manual_seed(2);
        int vocabulary = towns.Tokenizer.VocabularySize;
        using RetroModel model = new(TinyRetro.Config with { VocabularySize = vocabulary, Retrieval = null }, ScalarType.Float64);
        using DecoupledReader own = DecoupledReader.Fresh(model, new() { Neighbors = 2 }, 2 * M);
        using (no_grad())
        {
            foreach (TorchSharp.Modules.Parameter parameter in own.Weights.ByName.Values)
            {
                parameter.normal_(0, 0.3);
            }
        }

        QuestionReader reader = new(own, towns.Passages);
        Question question = towns.Set.Questions[4];
        long[] passages = [towns.Passages.Oracle(question), towns.Passages.Oracle(towns.Set.Questions[9])];
        double closed = new QuestionReader(new DecoderReader(model), towns.Passages).LogLikelihoods(question, [], question.Answers)[0];
        Assert.Equal(closed, reader.LogLikelihoods(question, [], question.Answers)[0], 1e-9);

        // A rule whose runs have no mass adds nothing; how often its neighbors are asked for does not matter here.
        PointerReader rule = new(new DecoderReader(model), new PointerRule(2, M / 4, 2 * M, new double[PointerRule.LongestRun]));
        Assert.Equal(
            closed, new QuestionReader(rule, towns.Passages).LogLikelihoods(question, [towns.Passages.Oracle(question)], question.Answers)[0], 1e-9);

        int[] prompt = [towns.Tokenizer.BeginOfText, .. towns.Tokenizer.Encode(question.Prompt)];
        ReadingBatch batch = new(vocabulary, prompt.Length, prompt.Length) { Retrieved = new(vocabulary, 1, 2, 2 * M) };
        for (int token = 0; token < vocabulary; token++)
        {
            Array.ConvertAll(prompt, one => (long)one).CopyTo(batch.Tokens, token * prompt.Length);
            batch.Targets[((token + 1) * prompt.Length) - 1] = token;
            batch.Retrieved.Take(token, 0, towns.Database, passages);
        }

        double[] likelihoods = own.LogLikelihoods(batch);
        int likeliest = Enumerable.Range(0, vocabulary).MaxBy(token => likelihoods[((token + 1) * prompt.Length) - 1]);
        Assert.Equal(towns.Tokenizer.DecodeWithin([likeliest]).Trim(), await reader.AnswerAsync(question, passages, longest: 1));
        Assert.NotEqual(closed, reader.LogLikelihoods(question, passages, question.Answers)[0], 1e-3);

        // A prompt that is longer than a chunk is several stretches of equal length, for which it is filled up by a token or two.
        Question longer = question with { Prompt = string.Join(' ', Enumerable.Repeat(question.Prompt, 9)) };
        int tokens = 1 + towns.Tokenizer.Encode(longer.Prompt).Length, count = (tokens + M - 1) / M;
        int[] filled = QuestionText.Prompt(towns.Tokenizer, longer.Prompt, (tokens + count - 1) / count);
        Assert.InRange(filled.Length - tokens, 0, count - 1);
        ReadingBatch one = new(1, filled.Length, filled.Length / count) { Retrieved = new(1, count, 2, 2 * M) };
        Array.ConvertAll(filled, token => (long)token).CopyTo(one.Tokens, 0);
        one.Targets[^1] = QuestionText.Answer(towns.Tokenizer, longer.Prompt, question.Answers[0])[0];
        for (int stretch = 0; stretch < count; stretch++)
        {
            one.Retrieved.Take(0, stretch, towns.Database, passages);
        }

        string first = towns.Tokenizer.DecodeWithin([(int)one.Targets[^1]]);
        Assert.Equal(own.LogLikelihoods(one)[^1], reader.LogLikelihoods([(longer.Prompt, Texts(), [first.Trim()])], false, default)[0][0], 1e-9);

        List<(long[] Tokens, float Score)> Texts() => [.. passages.Select(chunk => (towns.Passages.Tokens(chunk, 2 * M), 0f))];
    }

    // [T, V]. Not where something is awaited: gradients are off for a thread, which is then another one.
    private static double[][] LogProbabilities(RetroModel model, long[] text)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable none = no_grad();
        Tensor all = nn.functional.log_softmax(model.call(tensor(text, [1, text.Length]), null, null)[0], 1);
        return [.. all.data<double>().ToArray().Chunk((int)all.shape[1])];
    }
}

using Retro.Answering;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Readers;
using Retro.Tests.Readers;
using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Answering;

public sealed class QuestionSamplerTests : IDisposable
{
    private const int M = Towns.M;

    private readonly Towns _towns = new(20, search: true);

    public void Dispose() => _towns.Dispose();

    [Fact]
    public void Only_answers_are_targets_and_passages_are_there_for_their_first_token()
    {
        QuestionSampler sampler = Sampler(new() { Neighbors = 3, WithoutOracle = 0, BatchSize = 6 });
        TokenBatch batch = sampler.Batch(2, 0);
        for (int row = 0; row < 6; row++)
        {
            (Question question, long[] passages) = sampler.Draw(12 + row);
            int[] targets = [.. Enumerable.Range(row * batch.Length, batch.Length).Where(at => batch.LossMask[at])];
            int start = targets[0] - (row * batch.Length);
            Assert.Equal(0, start % M);
            Assert.Equal(" " + question.Answers[0], _towns.Tokenizer.Decode([.. targets[..^1].Select(at => (int)batch.Tokens[at])]));
            Assert.Equal(_towns.Tokenizer.EndOfText, batch.Tokens[targets[^1]]);
            Assert.Equal(
                Enumerable.Range(targets[^1] + 1, ((row + 1) * batch.Length) - targets[^1] - 1),
                Enumerable.Range(row * batch.Length, batch.Length).Where(at => batch.Padding[at]));
            int[] prompt = [.. batch.Tokens.AsSpan(row * batch.Length, start).ToArray().Select(token => (int)token)];
            Assert.Equal(question.Prompt, _towns.Tokenizer.Decode(prompt.SkipWhile(token => token == _towns.Tokenizer.BeginOfText).ToArray()));
            Assert.Equal(_towns.Tokenizer.BeginOfText, prompt[0]);

            // What is retrieved for the stretch before the answer.
            Assert.Equal(3, passages.Length);
            Assert.Contains(_towns.Passages.Oracle(question), passages);
            for (int k = 0; k < 3; k++)
            {
                int at = batch.Retrieved!.Offset(row, (start / M) - 1, k);
                long[] read = [.. Enumerable.Range(at, 2 * M).Where(i => batch.Retrieved.Valid[i]).Select(i => batch.Retrieved.Tokens[i])];
                Assert.Equal(_towns.Passages.Tokens(passages[k], 2 * M), read);
            }
        }
    }

    [Fact]
    public void Distractors_never_hold_the_answer_and_the_shares_are_kept()
    {
        const int Examples = 600;
        QuestionSampler sampler = Sampler(new() { Neighbors = 4, WithoutOracle = 0.3, WithoutPassages = 0.1, HardShare = 0.5 });
        int with = 0, none = 0;
        HashSet<int> places = [];
        for (int example = 0; example < Examples; example++)
        {
            (Question question, long[] passages) = sampler.Draw(example);
            long oracle = _towns.Passages.Oracle(question);
            Assert.Equal(passages.Length, passages.Distinct().Count());
            Assert.DoesNotContain(passages, chunk => chunk != oracle && _towns.Passages.Holds(chunk, question));
            Assert.Contains(passages.Length, new[] { 0, 4 });
            with += passages.Contains(oracle) ? 1 : 0;
            none += passages.Length == 0 ? 1 : 0;
            places.Add(Array.IndexOf(passages, oracle));
        }

        Assert.InRange(none / (double)Examples, 0.06, 0.14); // three standard deviations of 0.1
        Assert.InRange(with / (double)(Examples - none), 0.64, 0.76);
        Assert.Equal([-1, 0, 1, 2, 3], places.Order());

        // Every question once in an epoch.
        Assert.Equal(sampler.Count, Enumerable.Range(0, sampler.Count).Select(example => sampler.Draw(example).Question.Id).Distinct().Count());

        // Those that the source finds are not what chance finds.
        Question one = _towns.Set.Questions[0];
        IReadOnlyList<long> hard = _towns.Passages.Distractors(one, 3, 1), easy = _towns.Passages.Distractors(one, 3);
        Assert.Equal(_towns.Passages.Found(one, 10).Where(chunk => !_towns.Passages.Holds(chunk, one)).Take(3), hard);
        Assert.NotEqual(hard, easy);
    }

    /// <summary>Else one passage of noise would nearly always be one that the source finds, and the fifth nearly never.</summary>
    [Theory]
    [InlineData(0.5)]
    [InlineData(0.2)]
    public void The_hard_share_is_that_of_every_place(double share)
    {
        const int Places = 5, Draws = 600;
        using Towns many = new(160, search: true);
        int[] hard = new int[Places];
        for (int draw = 0; draw < Draws; draw++)
        {
            Question question = many.Set.Questions[draw % many.Set.Questions.Count];
            IReadOnlyList<long> drawn = many.Passages.Distractors(question, Places, share, place: draw);
            Assert.Equal(Places, drawn.Distinct().Count());
            long[] found = [.. many.Passages.Found(question, 2 * Places).Where(chunk => !many.Passages.Holds(chunk, question)).Take(Places)];
            for (int i = 0; i < Places; i++)
            {
                hard[i] += found.Contains(drawn[i]) ? 1 : 0;
            }
        }

        Assert.All(hard, count => Assert.Equal(share, (double)count / Draws, 0.08)); // three standard deviations, and one in forty that chance finds too
    }

    /// <summary>What training minimizes is what evaluation measures, whichever way passages are read.</summary>
    [Theory]
    [InlineData(true, 3, 2)]
    [InlineData(true, 3, 1)]
    [InlineData(true, 0, 2)]
    [InlineData(false, 3, 2)]
    [InlineData(false, 3, 3)]
    [InlineData(false, 1, 2)]
    public void The_loss_of_a_batch_is_the_mean_log_likelihood_of_its_answers(bool inContext, int neighbors, int chunksRead)
    {
        manual_seed(1);
        RetroConfig config = TinyRetro.Config with
        {
            VocabularySize = _towns.Tokenizer.VocabularySize,
            Retrieval = TinyRetro.Config.Retrieval! with { ChunkLength = M, RetrievedLength = chunksRead * M },
        };
        using RetroModel model = new(config, ScalarType.Float64);
        InContextOptions context = new() { Neighbors = Math.Max(1, neighbors), PrefixLength = 150, WindowLength = 300, RetrievedLength = chunksRead * M };
        QuestionSampler sampler = Sampler(new()
        {
            Neighbors = neighbors,
            InContext = inContext ? context : null,
            RetrievedLength = inContext ? null : chunksRead * M,
            WithoutOracle = 0.5,
            WithoutPassages = 0.3,
            BatchSize = 5,
        });
        IReader reader = neighbors == 0 ? new DecoderReader(model)
            : inContext ? new InContextReader(model, _towns.Tokenizer, context)
            : new RetroReader(model, neighbors);
        QuestionReader questions = new(reader, _towns.Passages);
        double sum = 0;
        for (int example = 0; example < 5; example++)
        {
            (Question question, long[] passages) = sampler.Draw(example);
            sum += questions.LogLikelihoods(question, passages, question.Answers)[0];
        }

        using TrainingBatch batch = sampler.Batch(0, 0).ToTensors();
        using DisposeScope scope = NewDisposeScope();
        using (no_grad())
        {
            Tensor likelihoods = LogLikelihood.Of(model, batch.Tokens, batch.Neighbors, batch.Valid, batch.LossMask);
            Assert.Equal(sum, likelihoods.sum().item<double>(), 1e-9);
        }

        using RetroOptimizer optimizer = new(model);
        (Tensor loss, long targets, _) = new StepGradients(model, optimizer, new(), 0).Add([StepBatch.Of(model, batch)], 0, FinalizerGate.IsNeededFor(model));
        Assert.Equal(sum, -loss.item<double>() * targets, 1e-9);
    }

    [Fact]
    public void Batches_follow_from_their_number_and_name_what_they_are_drawn_from()
    {
        QuestionSamplerOptions options = new() { Seed = 3 };
        QuestionSampler one = Sampler(options), same = Sampler(options), other = Sampler(options with { Seed = 4 });
        Assert.Equal(one.Batch(7, 0).Tokens, same.Batch(7, 1).Tokens);
        Assert.NotEqual(one.Batch(7, 0).Tokens, other.Batch(7, 0).Tokens);
        Assert.Equal(one.Identity, same.Identity);
        Assert.Equal(options.BatchSize, new StoredTraining(1, default, default, one.Identity).BatchSize);
        Assert.NotEqual(one.Identity, other.Identity);
        Assert.NotEqual(one.Identity, new QuestionSampler([.. _towns.Set.Questions.Skip(1)], _towns.Passages, options).Identity);

        // The rule of which passages distract has changed once: a training that was begun by the former one does not go on by it.
        Assert.Contains("distractors without the answer's words", one.Identity, StringComparison.Ordinal);
        Assert.DoesNotContain("distractors without", Sampler(options with { Neighbors = 0 }).Identity, StringComparison.Ordinal);
    }

    [Fact]
    public void One_passage_is_the_one_with_the_answer_or_one_that_distracts()
    {
        QuestionSampler sampler = Sampler(new() { Neighbors = 1, WithoutOracle = 0.5 });
        (Question Question, long[] Passages)[] drawn = [.. Enumerable.Range(0, 40).Select(example => sampler.Draw(example))];
        Assert.All(drawn, one => Assert.Single(one.Passages));
        Assert.Contains(drawn, one => one.Passages[0] == _towns.Passages.Oracle(one.Question));
        Assert.Contains(drawn, one => !_towns.Passages.Holds(one.Passages[0], one.Question));
    }

    /// <summary>A model reads no more tokens than its longest window.</summary>
    [Theory]
    [InlineData(0, false)]
    [InlineData(2, false)]
    [InlineData(2, true)]
    public void No_example_is_longer_than_the_window_and_one_that_fills_it_is_taken(int neighbors, bool inContext)
    {
        // Without stretches to fill up, questions of every length stand in front of their answers.
        Question[] questions =
        [
            .. Enumerable.Range(1, 24).Select(words => _towns.Set.Questions[0] with { Prompt = string.Join(' ', Enumerable.Repeat("roof", words)) }),
        ];
        int filled = 0;
        for (int window = inContext ? 72 : 8; window <= (inContext ? 140 : 110); window++)
        {
            InContextOptions? context = inContext ? new() { PrefixLength = 40, WindowLength = window, RetrievedLength = M } : null;
            QuestionSampler sampler;
            try
            {
                sampler = new(
                    questions,
                    _towns.Passages,
                    new() { Neighbors = neighbors, InContext = context, WindowLength = window, BatchSize = questions.Length, WithoutPassages = 0.3 });
            }
            catch (TrainingException)
            {
                continue; // none fits
            }

            for (int batch = 0; batch < 4; batch++)
            {
                int length = sampler.Batch(batch, 0).Length;
                Assert.InRange(length, 1, window);
                filled += length == window ? 1 : 0;
            }
        }

        Assert.True(filled > 0 || inContext); // passages rarely take all of their room
    }

    [Fact]
    public void What_cannot_be_is_refused_in_one_sentence()
    {
        RetroOptionsException fault = Assert.Throws<RetroOptionsException>(
            () => new QuestionSamplerOptions { Neighbors = -1, WithoutOracle = 2, HardShare = -1, BatchSize = 0, WindowLength = 1 }.Validate());
        Assert.All(
            ["Neighbors is -1", "WithoutOracle is 2", "HardShare is -1", "BatchSize is 0", "WindowLength is 1"],
            part => Assert.Contains(part, fault.Message, StringComparison.Ordinal));
        Assert.Contains(
            "fits, with its answer, the 40 tokens",
            Assert.Throws<TrainingException>(() => Sampler(new() { WindowLength = 300, InContext = new() { PrefixLength = 260 } }, repeated: 9)).Message,
            StringComparison.Ordinal);
        Assert.Contains("no question", Assert.Throws<TrainingException>(() => new QuestionSampler([], _towns.Passages)).Message, StringComparison.Ordinal);
        InContextOptions narrow = new() { PrefixLength = 260, WindowLength = 260 + M - 1 };
        Assert.Contains(
            $"no room is left for a chunk of {M}",
            Assert.Throws<ArgumentException>(() => Sampler(new() { InContext = narrow })).Message,
            StringComparison.Ordinal);
        Question strange = _towns.Set.Questions[0] with { PassageId = "nowhere#0" };
        Assert.Contains("\"nowhere#0\"", Assert.Throws<ArgumentException>(() => _towns.Passages.Oracle(strange)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => new QuestionSampler([strange], _towns.Passages));
        Assert.Equal(1, new QuestionSampler([strange], _towns.Passages, new() { Neighbors = 0 }).Count);
        QuestionPassages without = new(_towns.Database, _towns.Tokenizer);
        Assert.Throws<InvalidOperationException>(() => without.Found(strange, 1));
        using Towns others = new(4, seed: 2);
        Assert.Throws<ArgumentException>(() => new QuestionPassages(_towns.Database, _towns.Tokenizer, new Retro.Search.RandomNeighborSource(others.Database)));
    }

    private QuestionSampler Sampler(QuestionSamplerOptions options, int repeated = 1) => new(
        [.. _towns.Set.Questions.Select(one => one with { Prompt = string.Concat(Enumerable.Repeat(one.Prompt, repeated)) })], _towns.Passages, options);
}

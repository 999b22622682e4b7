using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tests.Embedders;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Readers;

/// <summary>Passages in front of the text, in one prompt and in several whose distributions are mixed.</summary>
public sealed class PromptReaderTests
{
    private const int M = TinyRetro.M, V = 11, Begin = 10, End = 0;

    private static readonly int[] s_before = [1, 2], s_between = [3], s_after = [4];

    [Theory]
    [InlineData(60, 512, true)]
    [InlineData(60, 512, false)]
    [InlineData(13, 512, false)]
    [InlineData(13, 17, true)]
    [InlineData(7, 12, true)]
    public void In_context_is_the_decoder_behind_the_passages_of_the_chunk_before(int budget, int window, bool begins)
    {
        InContextOptions options = new() { Neighbors = 2, PrefixLength = budget, WindowLength = window };
        using RetroModel model = Model();
        ReadingBatch batch = Batch(begins);
        double[] found = new InContextReader(model, Prompt(options), options).LogLikelihoods(batch);
        for (int row = 0; row < batch.Rows; row++)
        {
            for (int place = 0; place < batch.Length; place++)
            {
                int at = (row * batch.Length) + place;
                Assert.Equal(LogDistribution(model, Sequence(batch, row, place, options, [0, 1]))[batch.Targets[at]], found[at], 1e-9);
            }
        }
    }

    [Theory]
    [InlineData(1.0)]
    [InlineData(0.2)]
    [InlineData(double.PositiveInfinity)]
    public void An_ensemble_is_the_sum_over_passages_weighed_by_their_scores(double temperature)
    {
        InContextOptions options = new() { Neighbors = 3, PrefixLength = 15 };
        using RetroModel model = Model();
        ReadingBatch batch = Batch(true);
        double[] found = new EnsembleReader(model, Prompt(options), options, temperature).LogLikelihoods(batch);
        for (int at = 0; at < found.Length; at++)
        {
            int row = at / batch.Length, place = at % batch.Length, chunk = ((place + 1) / M) - 1;
            int[] there = chunk < 0 ? [] : [.. Enumerable.Range(0, 3).Where(k => Text(batch, row, chunk, k).Length > 0)];
            double expected;
            if (there.Length == 0)
            {
                expected = Math.Exp(LogDistribution(model, Sequence(batch, row, place, options, []))[batch.Targets[at]]);
            }
            else
            {
                double[] weights = [.. there.Select(k => double.IsInfinity(temperature) ? 1 : Math.Exp(Score(batch, row, chunk, k) / temperature))];
                double[] ofEach = [.. there.Select(k => Math.Exp(LogDistribution(model, Sequence(batch, row, place, options, [k]))[batch.Targets[at]]))];
                expected = weights.Zip(ofEach, (weight, one) => weight * one).Sum() / weights.Sum();
            }

            Assert.Equal(Math.Log(expected), found[at], 1e-9);
        }
    }

    /// <summary>RETRO++, with windows that hold the whole text, and with one that begins later and later.</summary>
    [Theory]
    [InlineData(512, true)]
    [InlineData(512, false)]
    [InlineData(9 + (3 * M) - 2, true)]
    public void The_best_in_context_and_the_rest_by_cross_attention_is_the_retro_behind_a_prefix_of_whole_chunks(int window, bool begins)
    {
        InContextOptions options = new() { Neighbors = 3, PrefixLength = 9, WindowLength = window };
        using RetroModel model = Model();
        ReadingBatch batch = Batch(begins);
        RetroInContextReader reader = new(model, Prompt(options), options);
        double[] found = reader.LogLikelihoods(batch);
        for (int at = 0; at < found.Length; at++)
        {
            int row = at / batch.Length, place = at % batch.Length, chunk = ((place + 1) / M) - 1;
            long[] text = batch.Tokens[(row * batch.Length)..(at + 1)];
            long[] passage = chunk < 0 ? [] : Text(batch, row, chunk, 0);
            List<long> sequence = [];
            int first = 0, read = 0; // the text's chunk that is read first, and the first one whose neighbors are
            if (passage.Length > 0)
            {
                // With the template of four tokens a chunk and some more, of which the rest is cut where that leaves any.
                int cut = Math.Min(5, passage.Length) / M * M;
                sequence = [Begin, 1, 2, .. passage.Take(cut > 0 ? cut : 5), 4];

                // The text from the first chunk on with which all fits.
                while (Filled(sequence.Count, first == 0 && text[0] == Begin ? 1 : 0) + ((chunk + 2) * M) - 1 - (first * M) > window)
                {
                    first++;
                }

                bool own = first == 0 && text[0] == Begin;
                while ((sequence.Count - (own ? 1 : 0)) % M != 0)
                {
                    sequence.Insert(0, Begin);
                }

                text = own ? text[1..] : text[(first * M)..];
                read = Math.Max(0, first - 1);
                first -= (sequence.Count - (own ? 1 : 0)) / M;
            }
            else
            {
                while (((chunk + 2) * M) - 1 - (first * M) > window)
                {
                    first++;
                }

                text = text[(first * M)..];
                read = first;
            }

            sequence.AddRange(text);
            int chunks = sequence.Count / M;
            long[] neighbors = new long[chunks * 2 * 2 * M];
            bool[] valid = new bool[neighbors.Length];
            for (int c = read - first; c < chunks; c++)
            {
                int from = batch.Retrieved!.Offset(row, c + first, 1);
                Array.Copy(batch.Retrieved.Tokens, from, neighbors, c * 4 * M, 4 * M);
                Array.Copy(batch.Retrieved.Valid, from, valid, c * 4 * M, 4 * M);
            }

            using DisposeScope scope = NewDisposeScope();
            using IDisposable none = no_grad();
            long[] shape = [1, chunks, 2, 2 * M];
            Tensor logits = chunks == 0 ? model.call(tensor(sequence.ToArray(), [1, sequence.Count]), null, null)
                : model.call(tensor(sequence.ToArray(), [1, sequence.Count]), tensor(neighbors, shape), tensor(valid, shape));
            double[] last = logits.select(1, sequence.Count - 1).data<double>().ToArray();
            Assert.Equal(last[batch.Targets[at]] - Math.Log(last.Sum(Math.Exp)), found[at], 1e-9);
        }

        // What a prefix takes of the window, in whole chunks but for a token of the text whose place it takes.
        static int Filled(int length, int own) => (length - own + M - 1) / M * M;

        ReaderContract.Check(reader, batch, V);
        InContextOptions one = options with { Neighbors = 1 };
        Assert.Contains(
            "at least 2", Assert.Throws<RetroOptionsException>(() => new RetroInContextReader(model, Prompt(one), one)).Message, StringComparison.Ordinal);
        using RetroModel plain = new(TinyRetro.Config with { VocabularySize = V, Retrieval = null });
        Assert.Throws<ArgumentException>(() => new RetroInContextReader(plain, Prompt(options), options));
        InContextOptions tight = options with { WindowLength = 9 + (3 * M) - 3 };
        Assert.Contains(
            "no room is left",
            Assert.Throws<ArgumentException>(() => new RetroInContextReader(model, Prompt(tight), tight).LogLikelihoods(batch)).Message,
            StringComparison.Ordinal);
    }

    /// <summary>A run of begin-of-text tokens costs a RETRO more than a few of a passage's are worth.</summary>
    [Theory]
    [InlineData(160, 128, 124)]
    [InlineData(128, 128, 124)]
    [InlineData(129, 128, 124)]
    [InlineData(127, 128, 60)]
    [InlineData(160, 60, 60)]
    [InlineData(160, 59, 59)]
    [InlineData(40, 128, 36)]
    public void A_passage_of_a_chunk_and_more_is_cut_so_that_its_prefix_is_whole_chunks(int budget, int length, int read)
    {
        const int Chunk = 64;
        PassagePrompt prompt = Prompt(new() { Neighbors = 2, PrefixLength = budget }).OfWholeChunks(Chunk);
        long[] passage = [.. Enumerable.Repeat(7L, length)], prefix = prompt.Prefix([passage]), text = [Begin, .. Enumerable.Repeat(5L, 99)];
        Assert.Equal(read, prefix.Count(token => token == 7));
        Assert.Equal(0..read, prompt.Fit([passage])[0]);

        // Behind it the text without its own begin-of-text token, or where it has none, all of it.
        int fills = read == 59 ? 1 : read == 36 ? 24 : 0;
        foreach (int own in new[] { 0, 1 })
        {
            (long[] filled, int from) = prompt.InWholeChunks(prefix, text.AsSpan(1 - own, 64), 127, Chunk);
            Assert.Equal(own, from);
            Assert.Equal([.. Enumerable.Repeat((long)Begin, fills + own), .. prefix], filled);
            Assert.Equal(0, (filled.Length - from) % Chunk);
        }
    }

    /// <summary>Two passages of two chunks of 64, in a window of 512.</summary>
    [Fact]
    public void The_default_settings_read_chunks_of_the_default_length()
    {
        const int Default = 64;
        using RetroModel model = new(TinyRetro.Config with
        {
            VocabularySize = V, Retrieval = TinyRetro.Config.Retrieval! with { ChunkLength = Default, RetrievedLength = 2 * Default },
        });
        InContextOptions options = new();
        ReadingBatch batch = ReaderContract.Batch(V, 1, 9 * Default, Default, 2, 2 * Default, seed: 5);
        Array.Fill(batch.Targets, LogLikelihood.NoTarget, 0, batch.Targets.Length - Default);
        double[] found = new RetroInContextReader(model, Prompt(options), options).LogLikelihoods(batch);
        Assert.All(found[^Default..], likelihood => Assert.InRange(likelihood, -50, 0));
    }

    [Fact]
    public void Both_keep_the_readers_contract()
    {
        using RetroModel model = Model();
        ReadingBatch batch = Batch(true);
        InContextOptions wide = new() { Neighbors = 3, PrefixLength = 40 };
        InContextOptions narrow = new() { Neighbors = 2, PrefixLength = 9, WindowLength = 14 };
        foreach (InContextOptions options in new[] { wide, narrow })
        {
            ReaderContract.Check(new InContextReader(model, Prompt(options), options), batch, V);
            ReaderContract.Check(new EnsembleReader(model, Prompt(options), options, 0.7), batch, V);
        }
    }

    [Fact]
    public void Without_passages_both_are_the_decoder_and_one_passage_makes_them_the_same()
    {
        using RetroModel model = Model();
        ReadingBatch batch = Batch(true);
        InContextOptions one = new() { Neighbors = 1, PrefixLength = 20 };
        InContextReader context = new(model, Prompt(one), one);
        EnsembleReader ensemble = new(model, Prompt(one), one, 1);
        Assert.Equal(context.LogLikelihoods(batch), ensemble.LogLikelihoods(batch));
        Assert.NotEqual(new DecoderReader(model).LogLikelihoods(batch), context.LogLikelihoods(batch));

        // One alone weighs 1, also where no score says how much.
        Array.Fill(batch.Retrieved!.Scores, float.NaN);
        Assert.Equal(context.LogLikelihoods(batch), ensemble.LogLikelihoods(batch));

        batch.Retrieved = null;
        Assert.Equal(new DecoderReader(model).LogLikelihoods(batch), context.LogLikelihoods(batch));
        Assert.Equal(new DecoderReader(model).LogLikelihoods(batch), ensemble.LogLikelihoods(batch));
    }

    [Fact]
    public void Infinite_scores_are_a_limit_equal_ones_share_and_unknown_ones_are_refused()
    {
        using RetroModel model = Model();
        InContextOptions options = new() { Neighbors = 3, PrefixLength = 20 };
        ReadingBatch batch = Batch(true);
        Array.Fill(batch.Retrieved!.Valid, true);
        EnsembleReader reader = new(model, Prompt(options), options, 1);
        double[] Weights(params float[] scores)
        {
            for (int i = 0; i < batch.Retrieved!.Scores.Length; i++)
            {
                batch.Retrieved.Scores[i] = scores[i % 3];
            }

            PromptReader prompts = reader;
            return [.. scores.Any(float.IsNaN) ? [] : prompts.Prefixes(batch.Retrieved, 0, 0).Select(one => Math.Exp(one.LogWeight))];
        }

        Assert.Equal([1 / 3.0, 1 / 3.0, 1 / 3.0], Weights(5, 5, 5), (a, b) => Math.Abs(a - b) < 1e-12);
        Assert.Equal([0.5, 0.5], Weights(float.PositiveInfinity, 3, float.PositiveInfinity), (a, b) => Math.Abs(a - b) < 1e-12);
        Assert.Equal([1], Weights(float.NegativeInfinity, 3, float.NegativeInfinity), (a, b) => Math.Abs(a - b) < 1e-12);
        float none = float.NegativeInfinity;
        Assert.Equal([1 / 3.0, 1 / 3.0, 1 / 3.0], Weights(none, none, none), (a, b) => Math.Abs(a - b) < 1e-12);
        Weights(1, float.NaN, 2);
        Assert.Contains("a table holds no scores", Assert.Throws<ArgumentException>(() => reader.LogLikelihoods(batch)).Message, StringComparison.Ordinal);
        Assert.All(
            new EnsembleReader(model, Prompt(options), options, double.PositiveInfinity).LogLikelihoods(batch), value => Assert.True(double.IsFinite(value)));
        Assert.Throws<ArgumentOutOfRangeException>(() => new EnsembleReader(model, Prompt(options), options, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new EnsembleReader(model, Prompt(options), options, double.NaN));
    }

    [Fact]
    public void A_budget_cuts_the_ends_of_passages_and_the_best_stands_last()
    {
        long[] best = [5, 6, 7, 8], second = [9, 9], third = [7];
        long[] Of(int budget, params long[][] passages) => Prompt(new() { PrefixLength = budget }).Prefix(passages);

        Assert.Equal([10, 1, 2, 9, 9, 3, 5, 6, 7, 8, 4], Of(20, best, [], second));

        // Four for the template leave 5, of which one parts the passages.
        Assert.Equal([10, 1, 2, 9, 9, 3, 5, 6, 4], Of(9, best, second));
        Assert.Equal([10, 1, 2, 9, 3, 5, 4], Of(8, best, second, third)); // a third has no token of its own
        Assert.Equal([10, 1, 2, 5, 4], Of(5, best, second));
        Assert.Empty(Of(9, [], []));
    }

    /// <summary>To a decoder that has learned from documents, one after the other, they say that what stands before is of no use.</summary>
    [Fact]
    public void A_prompt_holds_what_its_passages_say_and_not_where_their_documents_begin_and_end()
    {
        long[][] plain = [[5, 6, 7], [8, 9], [6]];
        long[][] marked = [[Begin, 5, 6, 7, End], [8, 9, End], [Begin, End], [End], [Begin], [Begin, 6]];
        Range[] texts = [1..4, 0..2, default, default, default, 1..2];
        PassagePrompt wide = Prompt(new() { PrefixLength = 20 });
        Assert.Equal([10, 1, 2, 6, 3, 8, 9, 3, 5, 6, 7, 4], wide.Prefix(marked));
        Assert.Equal(wide.Prefix(plain), wide.Prefix(marked));
        Assert.Equal(texts, wide.Fit(marked));
        Assert.Empty(wide.Prefix(marked[2..5]));

        // What is cut is the text: two tokens of each.
        PassagePrompt narrow = Prompt(new() { PrefixLength = 9 });
        Assert.Equal([1..3, 0..2], narrow.Fit(marked[..2]));
        Assert.Equal(narrow.Prefix(plain[..2]), narrow.Prefix(marked[..2]));

        // One token can be both, and alone it is one of them.
        PassagePrompt one = new(new() { PrefixLength = 20 }, Begin, Begin, [], [], [], null);
        Assert.Equal([Begin, 7, 6, 5], one.Prefix([[Begin, 5, Begin], [Begin], [Begin, Begin], [6, Begin], [Begin, 7]]));
    }

    /// <summary>Of 16 tokens of room with two separators, 14 are the passages'.</summary>
    [Theory]
    [InlineData(new[] { 10, 2, 2 }, new[] { 10, 2, 2 })]
    [InlineData(new[] { 20, 2, 3 }, new[] { 9, 2, 3 })]
    [InlineData(new[] { 2, 20, 9 }, new[] { 2, 6, 6 })]
    [InlineData(new[] { 20, 5, 20 }, new[] { 4, 4, 4 })]
    [InlineData(new[] { 0, 20, 3 }, new[] { 0, 12, 3 })]
    public void What_short_passages_leave_of_their_shares_is_the_longer_ones(int[] lengths, int[] read)
        => Assert.Equal(
            read,
            Prompt(new() { PrefixLength = 20 }).Fit([.. lengths.Select(length => Enumerable.Repeat(7L, length).ToArray())])
                .Select(range => range.End.Value - range.Start.Value));

    /// <summary>What is told to be read of each passage is what the prompts hold, whatever is cut.</summary>
    [Theory]
    [InlineData(9)]
    [InlineData(12)]
    [InlineData(60)]
    public void What_is_read_is_what_stands_in_the_prompts(int budget)
    {
        InContextOptions options = new() { Neighbors = 3, PrefixLength = budget };
        using RetroModel model = Model();
        RetrievedTokens retrieved = Batch(true).Retrieved!;
        retrieved.Scores[^1] = float.NegativeInfinity; // which weighs nothing
        PromptReader context = new InContextReader(model, Prompt(options), options), ensemble = new EnsembleReader(model, Prompt(options), options, 1),
            best = new RetroInContextReader(model, Prompt(options), options);
        for (int at = 0; at < retrieved.Rows * retrieved.Chunks; at++)
        {
            (int row, int chunk) = (at / retrieved.Chunks, at % retrieved.Chunks);
            long[][] passages = [.. Enumerable.Range(0, 3).Select(k => retrieved.Passage(row, chunk, k))];
            Assert.Equal(InPrompts(context), Read(context) is { Length: > 0 } some ? [Framed([.. some.Reverse()])] : []);
            Assert.Equal(InPrompts(ensemble), Read(ensemble).Select(part => Framed(part)));
            bool first = Text(passages[0]).Length > 0;
            Assert.Equal(InPrompts(best), first ? [Framed(Read(best)[0])] : []);
            Assert.Equal(passages[1..].Where(passage => passage.Length > 0), Read(best)[(first ? 1 : 0)..]); // to its encoder they are as in training

            IEnumerable<long[]> InPrompts(PromptReader reader) => reader.Prefixes(retrieved, row, chunk).Select(one => one.Prefix);

            long[][] Read(PromptReader reader)
                => [.. passages.Zip(reader.ReadOf(retrieved, row, chunk), (passage, part) => passage[part]).Where(part => part.Length > 0)];
        }

        static long[] Framed(params long[][] parts)
            => [Begin, 1, 2, .. parts.Skip(1).Aggregate<long[], IEnumerable<long>>(parts[0], (all, next) => [.. all, 3, .. next]), 4];
    }

    [Fact]
    public void What_cannot_be_is_refused_in_one_sentence()
    {
        static string Message(Action action) => Assert.ThrowsAny<Exception>(action).Message;
        Assert.Contains("Template is \"\"; expected a text with {passages} once", Message(() => new InContextOptions { Template = "" }.Validate()));
        Assert.Contains("Template is", Message(() => new InContextOptions { Template = "{passages}{passages}" }.Validate()));
        Assert.Contains("Neighbors is 0", Message(() => new InContextOptions { Neighbors = 0 }.Validate()));
        Assert.Contains(
            "WindowLength is 100; expected more than PrefixLength, 100",
            Message(() => new InContextOptions { PrefixLength = 100, WindowLength = 100 }.Validate()));
        Assert.Contains("PrefixLength is 4; expected more than 4", Message(() => Prompt(new() { PrefixLength = 4 })));
        Assert.Contains("less than 16", Message(() => _ = new PassagePrompt(new() { PrefixLength = 16 }, Begin, End, [], [], [], 16)));
        Assert.Equal(16, new PassagePrompt(new() { PrefixLength = 8 }, Begin, End, [], [], [], 16).WindowLength);

        using RetroModel model = Model();
        InContextOptions tight = new() { PrefixLength = 9, WindowLength = 9 + M - 1 };
        Assert.Contains("no room is left for a chunk of 4", Message(() => new InContextReader(model, Prompt(tight), tight).LogLikelihoods(Batch(true))));
        InContextOptions four = new() { Neighbors = 4, PrefixLength = 20 };
        Assert.Contains("reads 4 neighbors", Message(() => new InContextReader(model, Prompt(four), four).LogLikelihoods(Batch(true))));
        Assert.Equal("in context, k = 4", new InContextReader(model, Prompt(four), four).Name);
        Assert.True(new InContextReader(model, Prompt(four), four).RowBytes(64) > new DecoderReader(model).RowBytes(64));
    }

    [Fact]
    public void A_template_is_encoded_around_the_passages()
    {
        InContextOptions options = new() { Template = "Read: {passages}\nText: ", Separator = " | " };
        long[] passage = [.. EmbeddingInputs.Tokenizer.Encode("the rock").Select(id => (long)id)];
        long[] prefix = options.PromptFor(EmbeddingInputs.Tokenizer, null).Prefix([passage]);
        Assert.Equal(EmbeddingInputs.Tokenizer.BeginOfText, prefix[0]);
        Assert.Equal("Read: the rock\nText: ", EmbeddingInputs.Tokenizer.Decode(prefix[1..].Select(id => (int)id).ToArray()));
    }

    /// <summary>Scores come from the source that is asked while reading; a table has none.</summary>
    [Fact]
    public void Evaluation_gives_an_ensemble_the_sources_scores()
    {
        using TestDatabases databases = new();
        List<Document> twins = CopyReaderTests.Twins(12, 60, seed: 3);
        List<Document> held = [.. twins.Where(document => document.Id.StartsWith('a')).Take(3)];
        using ChunkDatabase database = databases.Build(twins.Except(held), 8, "database"), heldOut = databases.Build(held, 8, "held-out");
        using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        using NeighborTable table = NeighborTable.Build(heldOut, source, 2, excludeOwnDocument: false);
        manual_seed(1);
        using RetroModel model = new(TinyRetro.Config with { Retrieval = null }, ScalarType.Float64);
        InContextOptions options = new() { Neighbors = 2, PrefixLength = 40 };
        PassagePrompt prompt = new(options, TestDatabases.EndOfText, TestDatabases.EndOfText, [], [], ['\n'], null);

        double context = BitsPerByte.Measure(new InContextReader(model, prompt, options), heldOut, source).Value;
        Assert.Equal(context, BitsPerByte.Measure(new InContextReader(model, prompt, options), heldOut, table).Value, 1e-9);
        EnsembleReader weighed = new(model, prompt, options, 1), equal = new(model, prompt, options, double.PositiveInfinity);
        Assert.Throws<ArgumentException>(() => BitsPerByte.Measure(weighed, heldOut, table));
        double byScore = BitsPerByte.Measure(weighed, heldOut, source).Value;
        Assert.NotEqual(BitsPerByte.Measure(equal, heldOut, source).Value, byScore, 1e-9);
        Assert.True(double.IsFinite(byScore));

        // Where nothing is to be told apart all passages count alike.
        using ChunkDatabase shorter = databases.Build([TestDatabases.Document("s", "short.")], 8, "short");
        Assert.Equal(double.PositiveInfinity, equal.BestTemperature(shorter, source));

        // The temperature that is fitted is the best: no other one gives these documents fewer bits.
        double fitted = equal.BestTemperature(heldOut, source);
        double best = BitsPerByte.Measure(new EnsembleReader(model, prompt, options, fitted), heldOut, source).Value;
        Assert.All(
            [0.1, 0.5, 1, 2, 8, 50, double.PositiveInfinity],
            temperature => Assert.InRange(
                BitsPerByte.Measure(new EnsembleReader(model, prompt, options, temperature), heldOut, source).Value, best - 1e-4, double.PositiveInfinity));
    }

    private static RetroModel Model()
    {
        manual_seed(1);
        return new RetroModel(TinyRetro.Config with { VocabularySize = V }, ScalarType.Float64);
    }

    private static PassagePrompt Prompt(InContextOptions options) => new(options, Begin, End, s_before, s_between, s_after, null);

    /// <summary>Some passages begin their documents, some end them, some do both, and some say nothing beside.</summary>
    private static ReadingBatch Batch(bool begins)
    {
        ReadingBatch batch = ReaderContract.Batch(V, 2, (4 * M) + 2, M, 3, 2 * M, seed: 5);
        RetrievedTokens retrieved = batch.Retrieved!;
        for (int neighbor = 0; neighbor < retrieved.Scores.Length; neighbor++)
        {
            int start = neighbor * retrieved.Length, count = Enumerable.Range(start, retrieved.Length).Count(i => retrieved.Valid[i]);
            if (count > 0 && neighbor % 3 != 1)
            {
                retrieved.Tokens[start + count - 1] = End;
            }

            if (count > 0 && neighbor % 2 == 0)
            {
                retrieved.Tokens[start] = Begin;
            }
        }

        batch.Tokens[0] = begins ? Begin : 0;
        batch.Tokens[batch.Length] = begins ? Begin : 0;
        return batch;
    }

    private static double Score(ReadingBatch batch, int row, int chunk, int k) => batch.Retrieved!.Scores[(((row * batch.Retrieved.Chunks) + chunk) * 3) + k];

    /// <summary>What a neighbor says, without the tokens that begin and end its document.</summary>
    private static long[] Text(ReadingBatch batch, int row, int chunk, int k) => Text(batch.Retrieved!.Passage(row, chunk, k));

    private static long[] Text(long[] passage)
    {
        long[] begun = passage is [Begin, ..] ? passage[1..] : passage;
        return begun is [.., End] ? begun[..^1] : begun;
    }

    /// <summary>What the decoder reads for a place, written out: passages cut at their ends to equal shares, then the text.</summary>
    private static long[] Sequence(ReadingBatch batch, int row, int place, InContextOptions options, int[] neighbors)
    {
        long[] text = batch.Tokens[(row * batch.Length)..((row * batch.Length) + place + 1)];
        int chunk = ((place + 1) / M) - 1;
        List<long[]> passages = [];
        foreach (int k in chunk < 0 ? [] : neighbors)
        {
            long[] passage = Text(batch, row, chunk, k);
            if (passage.Length > 0)
            {
                passages.Add(passage);
            }
        }

        if (passages.Count == 0)
        {
            return text;
        }

        int room = options.PrefixLength - 1 - 2 - 1 - (passages.Count - 1);
        int share = Enumerable.Range(0, room + 1).Last(most => passages.Sum(passage => Math.Min(most, passage.Length)) <= room); // the most that all can have
        passages = [.. passages.Select(passage => passage[..Math.Min(share, passage.Length)])];
        passages.Reverse();
        long[] prefix = [Begin, 1, 2, .. passages.Skip(1).Aggregate<long[], IEnumerable<long>>(passages[0], (all, next) => [.. all, 3, .. next]), 4];
        long[] rest = text[0] == Begin ? text[1..] : text;

        // Room is kept for what is still missing of the chunk, so that all of its targets see the text from the same place on.
        int missing = ((chunk + 2) * M) - 2 - place, left = options.WindowLength - prefix.Length - missing;
        return [.. prefix, .. rest[^Math.Min(left, rest.Length)..]];
    }

    private static double[] LogDistribution(RetroModel model, long[] sequence)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable none = no_grad();
        double[] logits = model.call(tensor(sequence, [1, sequence.Length]), null, null).select(1, sequence.Length - 1).data<double>().ToArray();
        double all = Math.Log(logits.Sum(Math.Exp));
        return [.. logits.Select(logit => logit - all)];
    }
}

using Retro.Database;
using Retro.Generation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using TorchSharp;
using static Retro.Tests.Generation.Pieces;
using static TorchSharp.torch;

namespace Retro.Tests.Generation;

/// <summary>Beams: what they find is the best there is where they are many, and greedy where there is one.</summary>
public sealed class BeamSearchTests : WritingTests
{
    public BeamSearchTests()
        : base(outputScale: 3, seed: 12)
    {
    }

    /// <summary>Each beam of each step may take one.</summary>
    [Fact]
    public void A_fork_of_a_long_text_costs_its_numbers_alone()
    {
        const int Tokens = 2000;
        GenerationOptions options = new() { MaximumNewTokens = 2 * Tokens, Stop = ["nowhere"], BannedStrings = ["never"] };
        GenerationSequence text = new(s_tokenizer, null, options, [s_tokenizer.BeginOfText], int.MaxValue);
        text.Take(new float[s_tokenizer.VocabularySize]);
        int token = s_tokenizer.Encode("a")[0];
        for (int i = 0; i < Tokens; i++)
        {
            text.Go(token, default);
        }

        text.Fork();
        long before = GC.GetAllocatedBytesForCurrentThread();
        GenerationSequence fork = text.Fork();
        long cost = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.InRange(cost, Tokens * sizeof(int), (Tokens * sizeof(int)) + 4096);
        Assert.Equal(text.Tokens, fork.Tokens);
        Assert.Equal(Tokens, fork.NewTokens);
    }

    /// <summary>What a step needs is as large as the vocabulary, and is kept from one to the next.</summary>
    [Fact]
    public async Task A_token_allocates_no_room_for_its_logits()
    {
        const int Vocabulary = 50_000;
        using RetroModel model = new(RetroConfig.Tiny with { VocabularySize = Vocabulary, Retrieval = null });
        model.eval();
        using BatchDecoding decoding = new(model);
        GenerationSequence[] texts =
        [
            .. Enumerable.Range(0, 2).Select(_ => new GenerationSequence(s_tokenizer, null, new(), [s_tokenizer.BeginOfText], int.MaxValue)),
        ];
        decoding.Begin(texts);
        decoding.Go(texts, [0, 1]);
        long before = GC.GetAllocatedBytesForCurrentThread();
        decoding.Go(texts, [0, 1]);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, Vocabulary);

        RetroGenerator generator = new(model, s_tokenizer);
        await using IAsyncEnumerator<GeneratedPiece> pieces = generator.GenerateAsync("a", new() { Temperature = 0 }).GetAsyncEnumerator();
        Assert.True(await pieces.MoveNextAsync());
        Assert.True(await pieces.MoveNextAsync());
        before = GC.GetAllocatedBytesForCurrentThread();
        ValueTask<bool> next = pieces.MoveNextAsync();
        long cost = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(next.IsCompletedSuccessfully); // by this thread, whose allocations were counted
        Assert.True(await next);
        Assert.InRange(cost, 0, Vocabulary);
    }

    [Theory]
    [InlineData(true, 0)]
    [InlineData(false, 0)]
    [InlineData(true, 1)]
    [InlineData(false, 2.5)]
    public async Task With_enough_beams_the_best_of_all_texts_is_found(bool retrieval, double penalty)
    {
        const int Longest = 4;
        int[] letters = [.. new[] { " the", "a", "e" }.Select(text => s_tokenizer.Encode(text)[0])];
        Assert.Equal(3, letters.Distinct().Count());
        int[] others = [.. Enumerable.Range(0, s_tokenizer.VocabularySize).Where(token => token != s_tokenizer.EndOfText && !letters.Contains(token))];
        string prompt = Prompt(ChunkLength - 3); // a chunk is completed after the second new token
        GenerationOptions options = new()
        {
            Temperature = 0, MaximumNewTokens = Longest, BannedTokens = others, Beams = 200, LengthPenalty = penalty, Retrieval = retrieval,
        };

        List<GeneratedPiece> found = await Collect(_generator.GenerateAsync(prompt, options));

        int[] begun = [s_tokenizer.BeginOfText, .. s_tokenizer.Encode(prompt)];
        List<(int[] Tokens, double Score)> all = [];
        Enumerate([]);
        all.Sort((one, other) => other.Score.CompareTo(one.Score));
        Assert.Equal(1 + 3 + 9 + 27 + 81, all.Count);
        int[] came = [.. found.Where(piece => piece.Token is not null).Select(piece => piece.Token!.Value)];
        bool ended = found[^1].End == GenerationEnd.EndOfText;
        Assert.Equal(all[0].Tokens, ended ? [.. came, s_tokenizer.EndOfText] : came);
        Assert.True(all[0].Score > all[1].Score + 1e-6, "the best is no draw");

        void Enumerate(int[] tokens)
        {
            if (tokens.Length == Longest || (tokens.Length > 0 && tokens[^1] == s_tokenizer.EndOfText))
            {
                all.Add((tokens, LogProbabilities([.. begun, .. tokens], retrieval)[(begun.Length - 1)..].Sum() / Math.Pow(tokens.Length, penalty)));
                return;
            }

            foreach (int next in letters.Append(s_tokenizer.EndOfText))
            {
                Enumerate([.. tokens, next]);
            }
        }
    }

    [Fact]
    public async Task A_long_prompt_is_stopped_between_two_pieces()
    {
        using CancellationTokenSource stop = new();
        List<long> passes = [];
        _model.Layers[0].FeedForward.register_forward_pre_hook((_, x) =>
        {
            passes.Add(x.shape[1]);
            stop.Cancel();
            return x;
        });
        int[] prompt = [.. Enumerable.Repeat(s_tokenizer.Encode("a")[0], (2 * (int)RetroModel.PieceTokens) + 100)];
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 2, Beams = 2, Retrieval = false };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Collect(_generator.GenerateAsync(prompt.AsMemory(), options, stop.Token)));
        Assert.Equal([RetroModel.PieceTokens], passes);
    }

    [Fact]
    public void One_beam_is_greedy()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 30 };
        int[][] prompts = [.. s_texts.Append("").Select(text => (int[])[s_tokenizer.BeginOfText, .. s_tokenizer.Encode(text)])];
        StretchRetriever retriever = new(s_tokenizer, _database, _source, new(2, 2 * ChunkLength, ChunkLength, ChunkLength), [], options);
        IReadOnlyList<GeneratedPiece>[] beams = new BeamSearch(_model, s_tokenizer, retriever, options, int.MaxValue).Run(prompts, default);
        Assert.All(s_texts.Append("").Zip(beams), pair =>
            AssertSame(_generator.GenerateAsync(pair.First, options).ToBlockingEnumerable(TestContext.Current.CancellationToken), pair.Second));
    }

    [Fact]
    public async Task Prompts_at_once_give_what_each_gives_alone_with_the_sources_of_the_text_that_was_taken()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 21, Beams = 4, Alternatives = 2 };
        Dictionary<int, List<GeneratedPiece>> together = [];
        await foreach ((int prompt, GeneratedPiece piece) in _generator.GenerateAsync(s_texts, options))
        {
            together.TryAdd(prompt, []);
            together[prompt].Add(piece);
        }

        bool differs = false;
        for (int i = 0; i < s_texts.Length; i++)
        {
            List<GeneratedPiece> alone = await Collect(_generator.GenerateAsync(s_texts[i], options));
            AssertSame(alone, together[i]);
            Assert.NotNull(alone[^1].End);
            Assert.All(alone.SkipLast(1), piece => Assert.Null(piece.End));

            // Every complete chunk of the whole text was asked with, and what the tokens are said to cost is what they cost after that.
            int[] prompt = [s_tokenizer.BeginOfText, .. s_tokenizer.Encode(s_texts[i])];
            GeneratedPiece[] tokens = [.. alone.Where(piece => piece.Token is not null)];
            int[] text = [.. prompt, .. tokens.Select(piece => piece.Token!.Value)];
            RetrievedNeighbors[] read = [.. alone.Select(piece => piece.Retrieved).OfType<RetrievedNeighbors>()];
            int chunks = (text.Length - (alone[^1].End == GenerationEnd.EndOfText ? 0 : 1)) / ChunkLength;
            Assert.Equal(Enumerable.Range(0, chunks), read.Select(one => one.Chunk));
            Assert.True(chunks > prompt.Length / ChunkLength, "a chunk was completed while writing");
            Assert.All(read.Skip(1), one => Assert.Equal(
                s_tokenizer.DecodePart(text[(one.Chunk * ChunkLength)..((one.Chunk + 1) * ChunkLength)], begins: false, ends: false), one.Query));
            double[] expected = LogProbabilities(text, retrieval: true)[(prompt.Length - 1)..];
            Assert.All(expected.Zip(tokens), pair => Assert.Equal(pair.First, pair.Second.LogProbability!.Value, 1e-4));
            List<GeneratedPiece> greedy = await Collect(_generator.GenerateAsync(s_texts[i], options with { Beams = 1 }));
            differs |= !greedy.Select(piece => piece.Token).SequenceEqual(alone.Select(piece => piece.Token));
        }

        Assert.True(differs, "beams find other texts than greedy choice");
    }

    [Fact]
    public async Task Bans_stop_strings_and_least_lengths_hold_for_beams_and_no_tensor_stays()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 24, Beams = 3 };
        List<(int Prompt, GeneratedPiece Piece)> free = await Collect(_generator.GenerateAsync(s_texts, options));
        (int prompt, string word) = free.Select(piece => (piece.Prompt, piece.Piece.Text))
            .First(piece => piece.Text.Length > 0 && !piece.Text.Contains('\uFFFD'));
        long before = LiveTensors.Settled();
        List<(int Prompt, GeneratedPiece Piece)> texts = await Collect(
            _generator.GenerateAsync([s_texts[prompt], s_texts[1]], options with { BannedStrings = [word], MinimumNewTokens = 24 }));
        Assert.Equal(before, LiveTensors.Settled());
        Assert.Equal(48, texts.Count(piece => piece.Piece.Token is not null));
        Assert.DoesNotContain(word, Text(texts.Select(piece => piece.Piece)), StringComparison.Ordinal);
        List<GeneratedPiece> stopped = await Collect(_generator.GenerateAsync(s_texts[prompt], options with { Stop = [word], Beams = 2 }));
        Assert.DoesNotContain(word, Text(stopped), StringComparison.Ordinal);
        Assert.Equal(GenerationEnd.MaximumNewTokens, (await Collect(_generator.GenerateAsync("", options with { MaximumNewTokens = 0 }))).Single().End);
        Assert.Empty(await Collect(_generator.GenerateAsync(Array.Empty<string>(), options)));
        RetroOptionsException fault = await Assert.ThrowsAsync<RetroOptionsException>(() => Collect(_generator.GenerateAsync(
            "", options with { BannedTokens = [.. Enumerable.Range(0, s_tokenizer.VocabularySize)] })));
        Assert.Contains("what is banned leaves none", fault.Message, StringComparison.Ordinal);
    }

    /// <summary>Beams draw nothing, so that the usual temperature is none of theirs.</summary>
    [Fact]
    public async Task Beams_need_no_temperature()
    {
        GenerationOptions options = new() { MaximumNewTokens = 12, Beams = 3 };
        AssertSame(
            await Collect(_generator.GenerateAsync(s_texts[0], options with { Temperature = 0 })),
            await Collect(_generator.GenerateAsync(s_texts[0], options)));
    }

    /// <summary>Which constructor was taken decides nothing: beams, several prompts at once, and neighbors found anew within a chunk are the model's.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_model_s_own_reader_is_the_model(bool retrieval)
    {
        RetroGenerator own = retrieval ? new(new RetroReader(_model), s_tokenizer, _source) : new(new DecoderReader(_model), s_tokenizer);
        GenerationOptions greedy = new() { Temperature = 0, MaximumNewTokens = 12, Retrieval = retrieval };
        foreach (GenerationOptions options in new[] { greedy with { Beams = 3 }, greedy with { RetrievalStride = retrieval ? ChunkLength / 2 : null } })
        {
            AssertSame(await Collect(_generator.GenerateAsync(s_texts[0], options)), await Collect(own.GenerateAsync(s_texts[0], options)));
        }

        string[] prompts = [s_texts[0], s_texts[1]];
        Assert.Equal(await Order(_generator), await Order(own));

        async Task<List<int>> Order(RetroGenerator generator)
        {
            List<int> order = [];
            await foreach ((int prompt, _) in generator.GenerateAsync(prompts, greedy, TestContext.Current.CancellationToken))
            {
                order.Add(prompt);
            }

            return order;
        }
    }

    /// <summary>
    /// As in transformers, an end that is not among as many of the likeliest as there are beams is none of the ends that the search waits for.
    /// </summary>
    [Fact]
    public async Task An_end_that_is_not_among_as_many_of_the_likeliest_as_there_are_beams_ends_no_search()
    {
        int end = s_tokenizer.EndOfText, a = Letter('a'), b = Letter('b'), c = Letter('c'), d = Letter('d');
        using RetroModel model = Chain(
            (s_tokenizer.BeginOfText, [(a, 0.55), (b, 0.45)]),
            (a, [(c, 0.55), (end, 0.45)]),
            (b, [(end, 0.52), (d, 0.48)]), // its end is the third likeliest, before the second text that goes on
            (c, [(end, 0.9), (a, 0.1)]),
            (d, [(end, 1)]));
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 3, Beams = 2, LengthPenalty = 0 };

        Assert.Equal("ac", Text(await Collect(new RetroGenerator(model, s_tokenizer).GenerateAsync("", options))));
    }

    [Fact]
    public async Task No_beam_ends_within_a_character_that_was_not_to_be_completed_as_what_is_banned()
    {
        int first = Byte(0xC3), banned = Byte(0xA9), other = Byte(0xA8), end = s_tokenizer.EndOfText;
        using RetroModel model = Chain(
            (s_tokenizer.BeginOfText, [(first, 0.9), (Letter('a'), 0.1)]),
            (first, [(end, 0.5), (banned, 0.4), (other, 0.1)]),
            (other, [(end, 1)]),
            (Letter('a'), [(Letter('a'), 0.9), (end, 0.1)]));
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 4, Beams = 2, LengthPenalty = 0 };
        RetroGenerator generator = new(model, s_tokenizer);

        Assert.Equal("\uFFFD", Text(await Collect(generator.GenerateAsync("", options))));
        Assert.Equal("\u00E8", Text(await Collect(generator.GenerateAsync("", options with { BannedStrings = ["\u00E9"] }))));

        static int Byte(byte value)
            => Enumerable.Range(0, s_tokenizer.VocabularySize).Single(token => s_tokenizer.TokenBytes(token).SequenceEqual(new[] { value }));
    }

    [Fact]
    public async Task More_beams_than_there_are_tokens_follow_all_of_them()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 1 };
        AssertSame(
            await Collect(_generator.GenerateAsync("", options with { Beams = s_tokenizer.VocabularySize })),
            await Collect(_generator.GenerateAsync("", options with { Beams = int.MaxValue })));
    }

    /// <summary>Where nothing is found anew within a chunk, no text is read anew.</summary>
    [Theory]
    [InlineData(true, ChunkLength)]
    [InlineData(false, ChunkLength / 2)]
    public async Task A_stride_that_finds_nothing_anew_changes_no_beam(bool retrieval, int stride)
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 12, Beams = 3, Retrieval = retrieval };
        AssertSame(
            await Collect(_generator.GenerateAsync(s_texts[0], options)),
            await Collect(_generator.GenerateAsync(s_texts[0], options with { RetrievalStride = stride })));
    }

    [Fact]
    public void What_beams_cannot_be_combined_with_is_said_in_a_sentence()
    {
        Refused(
            "Beams is 4; expected Temperature 0, RepetitionPenalty 1 and nothing else that changes logits beside it: beams look for the",
            _generator,
            new() { Beams = 4, Temperature = 0.8 });
        foreach (GenerationOptions changing in new GenerationOptions[]
            {
                new() { RepetitionPenalty = 1.2 }, new() { FrequencyPenalty = 0.1 }, new() { PresencePenalty = -1 }, new() { LogitsProcessor = (_, _) => { } },
                new() { LogitBias = new Dictionary<int, double> { [5] = 1 } },
            })
        {
            Refused("Beams is 4; expected Temperature 0, RepetitionPenalty 1", _generator, changing with { Beams = 4 });
        }

        Refused("Beams is 0; expected at least 1", _generator, new() { Beams = 0 });
        Refused("LengthPenalty is -1; expected a finite number of at least 0", _generator, new() { LengthPenalty = -1 });
        Refused("which reads one text anew each time", _generator, new() { Beams = 2, Temperature = 0, RetrievalStride = 4 });
        Refused(
            "goes on with one text at a time", new RetroGenerator(new InContextReader(_model, s_tokenizer), s_tokenizer, _source), new() { Beams = 2 });

        static void Refused(string message, RetroGenerator generator, GenerationOptions options)
            => Assert.Contains(message, Assert.Throws<RetroOptionsException>(() => generator.GenerateAsync("", options)).Message, StringComparison.Ordinal);
    }

    private static int Letter(char letter) => s_tokenizer.Encode($"{letter}").Single();

    /// <summary>A model whose next token is decided by the last one alone.</summary>
    private RetroModel Chain(params (int Last, (int Token, double Probability)[] Next)[] links)
    {
        RetroModel model = new(_model.Config with { Retrieval = null, TieEmbeddings = false }, ScalarType.Float64);
        model.eval();
        using IDisposable none = no_grad();
        using DisposeScope scope = NewDisposeScope();
        Dictionary<string, TorchSharp.Modules.Parameter> weights = model.named_parameters().ToDictionary(pair => pair.name, pair => pair.parameter);
        foreach ((string name, TorchSharp.Modules.Parameter parameter) in weights)
        {
            parameter.fill_(name.Contains("norm", StringComparison.Ordinal) ? 1 : 0);
        }

        // Each has one number of the states to itself, which the last norm makes as large as the square root of their width.
        double size = Math.Sqrt(model.Config.Width);
        weights["head.weight"].fill_(-50 / size);
        for (int link = 0; link < links.Length; link++)
        {
            weights["embedding.weight"][links[link].Last, link] = 1;
            foreach ((int token, double probability) in links[link].Next)
            {
                weights["head.weight"][token, link] = Math.Log(probability) / size;
            }
        }

        return model;
    }

    /// <summary>A text of so many tokens, the one before it not among them.</summary>
    private static string Prompt(int tokens)
    {
        string text = s_tokenizer.Decode(s_tokenizer.Encode(s_texts[2]).AsSpan(0, tokens));
        Assert.Equal(tokens, s_tokenizer.Encode(text).Length);
        return text;
    }

    /// <summary>What each token of a text costs after those before it and what is found for their complete chunks, from the second on.</summary>
    private double[] LogProbabilities(int[] tokens, bool retrieval)
    {
        ReadingBatch batch = new(1, tokens.Length - 1, ChunkLength);
        for (int i = 1; i < tokens.Length; i++)
        {
            (batch.Tokens[i - 1], batch.Targets[i - 1]) = (tokens[i - 1], tokens[i]);
        }

        int[][] chunks = [.. tokens[..^1].Chunk(ChunkLength).Where(chunk => chunk.Length == ChunkLength)];
        if (!retrieval || chunks.Length == 0)
        {
            return new DecoderReader(_model).LogLikelihoods(batch);
        }

        long[] found = new long[chunks.Length * 2];
        _source.Find([.. chunks.Select(chunk => new NeighborQuery(chunk, []))], 2, found, new float[found.Length]);
        batch.Retrieved = new(1, chunks.Length, 2, 2 * ChunkLength);
        for (int c = 0; c < chunks.Length; c++)
        {
            batch.Retrieved.Take(0, c, _database, found.AsSpan(c * 2, 2));
        }

        return new RetroReader(_model).LogLikelihoods(batch);
    }

    private static void AssertSame(IEnumerable<GeneratedPiece> expected, IEnumerable<GeneratedPiece> came)
    {
        (GeneratedPiece[] one, GeneratedPiece[] other) = ([.. expected], [.. came]);
        Assert.Equal(one.Select(piece => (piece.Text, piece.Token, piece.End)), other.Select(piece => (piece.Text, piece.Token, piece.End)));
        Assert.Equal(
            one.Select(piece => string.Join(',', piece.Retrieved?.Neighbors.Select(neighbor => neighbor.Chunk) ?? [])),
            other.Select(piece => string.Join(',', piece.Retrieved?.Neighbors.Select(neighbor => neighbor.Chunk) ?? [])));
        Assert.All(one.Zip(other), pair => Assert.Equal(pair.First.LogProbability ?? 0, pair.Second.LogProbability ?? 0, 1e-6));
    }

    private static string Text(IEnumerable<GeneratedPiece> pieces) => string.Concat(pieces.Select(piece => piece.Text));
}

using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.AI;
using Retro.Database;
using Retro.Generation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using TorchSharp;
using static Retro.Tests.Generation.Pieces;
using static TorchSharp.torch;

namespace Retro.Tests.Generation;

/// <summary>What a text may hold, what it reads and how often, what is told of its tokens, many at once, and as a chat.</summary>
public sealed class GenerationChoicesTests : WritingTests
{
    public GenerationChoicesTests()
        : base(outputScale: 1, seed: 11)
    {
    }

    [Fact]
    public async Task Log_probabilities_are_the_models_own_and_alternatives_stand_in_their_order()
    {
        GenerationOptions options = new() { Temperature = 1.5, TopK = 5, RepetitionPenalty = 1.3, MaximumNewTokens = 20, Alternatives = 3, Seed = 2 };
        GeneratedPiece[] pieces = [.. (await Collect(_generator, s_texts[0], options)).Where(piece => piece.Token is not null)];

        int[] tokens = [s_tokenizer.BeginOfText, .. s_tokenizer.Encode(s_texts[0]), .. pieces.Select(piece => piece.Token!.Value)];
        ReadingBatch batch = new(1, tokens.Length - 1, ChunkLength);
        for (int i = 1; i < tokens.Length; i++)
        {
            (batch.Tokens[i - 1], batch.Targets[i - 1]) = (tokens[i - 1], tokens[i]);
        }

        IEnumerable<int[]> whole = tokens[..^1].Chunk(ChunkLength).Where(chunk => chunk.Length == ChunkLength);
        NeighborQuery[] queries = [.. whole.Select(chunk => new NeighborQuery(chunk, []))];
        long[] found = new long[queries.Length * 2];
        _source.Find(queries, 2, found, new float[found.Length]);
        RetrievedTokens retrieved = new(1, queries.Length, 2, 2 * ChunkLength);
        for (int c = 0; c < queries.Length; c++)
        {
            retrieved.Take(0, c, _database, found.AsSpan(c * 2, 2));
        }

        batch.Retrieved = retrieved;
        double[] expected = new RetroReader(_model).LogLikelihoods(batch)[^pieces.Length..];
        for (int i = 0; i < pieces.Length; i++)
        {
            Assert.Equal(expected[i], pieces[i].LogProbability!.Value, 1e-4);
            Assert.Equal(3, pieces[i].Alternatives.Count);
            Assert.Equal(pieces[i].Alternatives.OrderByDescending(other => other.LogProbability), pieces[i].Alternatives);
        }

        Assert.Contains(pieces, piece => piece.Alternatives[0].Token != piece.Token);
    }

    /// <summary>What a grammar or a tool of one's own rules out, or wants, of the tokens of a text.</summary>
    [Fact]
    public async Task A_processor_has_the_last_word_on_what_comes_next()
    {
        int[] written = s_tokenizer.Encode("tea");
        int prompt = 1 + s_tokenizer.Encode(s_texts[0]).Length;
        List<int[]> seen = [];
        GenerationOptions options = new()
        {
            Temperature = 1, MaximumNewTokens = 40, Samples = 2, BannedTokens = [9], LogitBias = new Dictionary<int, double> { [8] = 1e300 },
            LogitsProcessor = (tokens, logits) =>
            {
                seen.Add(tokens.ToArray());
                Assert.Equal(s_tokenizer.VocabularySize, logits.Length);
                Assert.Equal((float.MaxValue, float.NegativeInfinity), (logits[8], logits[9]));
                logits.Fill(float.NegativeInfinity);
                (logits[9], logits[tokens.Length == prompt + written.Length ? s_tokenizer.EndOfText : written[tokens.Length - prompt]]) = (3, -700);
            },
        };

        (int Text, GeneratedPiece Piece)[] all = [.. await Collect(_generator.GenerateAsync([s_texts[0]], options))];

        Assert.All(new[] { 0, 1 }, text => Assert.Equal("tea", Text(all.Where(one => one.Text == text).Select(one => one.Piece))));
        Assert.All(all.Where(one => one.Piece.Token is not null), one => Assert.InRange(one.Piece.LogProbability!.Value, -100, 0)); // the model's own
        Assert.Equal(2 * (written.Length + 1), seen.Count);
        int[] begun = [s_tokenizer.BeginOfText, .. s_tokenizer.Encode(s_texts[0]), .. written];
        Assert.All(seen, tokens => Assert.Equal(begun[..tokens.Length], tokens));
    }

    [Theory]
    [InlineData(float.NaN, "The LogitsProcessor makes the logit of token 3 NaN; expected a number, or minus infinity.")]
    [InlineData(float.PositiveInfinity, "The LogitsProcessor makes the logit of token 3 Infinity; expected a number, or minus infinity.")]
    [InlineData(float.NegativeInfinity, "The LogitsProcessor rules out every token after 2; leave one that may come, such as an end of the text.")]
    public async Task A_processor_that_leaves_nothing_to_choose_from_is_named(float logit, string said)
    {
        GenerationOptions options = new()
        {
            LogitsProcessor = (_, logits) =>
            {
                logits.Fill(float.IsNegativeInfinity(logit) ? logit : 0);
                logits[3] = logit;
            },
        };
        int[] prompt = [5];
        RetroException fault = await Assert.ThrowsAsync<RetroException>(async () => await Collect(_generator.GenerateAsync(prompt.AsMemory(), options)));
        Assert.Equal(said, fault.Message);
    }

    [Fact]
    public void A_bias_for_a_token_that_there_is_not_is_refused()
    {
        GenerationOptions options = new() { LogitBias = new Dictionary<int, double> { [s_tokenizer.VocabularySize] = 1 } };
        RetroOptionsException fault = Assert.Throws<RetroOptionsException>(() => _generator.GenerateAsync("", options));
        Assert.Equal([$"LogitBias holds {s_tokenizer.VocabularySize}; the tokenizer has {s_tokenizer.VocabularySize} tokens."], fault.Faults);
    }

    /// <summary>What the prompt holds is repeated by no token that comes.</summary>
    [Fact]
    public async Task Frequency_and_presence_count_what_was_generated_and_each_text_its_own()
    {
        int[] letters = [.. "ab".Select(letter => s_tokenizer.Encode($"{letter}").Single())];
        GenerationOptions options = new()
        {
            Temperature = 0, MaximumNewTokens = 5, Samples = 2,
            LogitBias = new Dictionary<int, double> { [letters[0]] = 1e6, [letters[1]] = 1e6 - 100 },
        };
        foreach ((double frequency, double presence, string expected) in new[] { (0.0, 150.0, "abaaa"), (70, 0, "aabab"), (-70, 150, "aaaaa") })
        {
            GenerationOptions penalizing = options with { FrequencyPenalty = frequency, PresencePenalty = presence };
            (int Text, GeneratedPiece Piece)[] all = [.. await Collect(_generator.GenerateAsync(["aaab"], penalizing))];
            Assert.All(new[] { 0, 1 }, text => Assert.Equal(expected, Text(all.Where(one => one.Text == text).Select(one => one.Piece))));
        }
    }

    /// <summary>A text is read for its scores as it is read while it is written, whether in one pass or token by token.</summary>
    [Theory]
    [InlineData(null, true)]
    [InlineData(null, false)]
    [InlineData(ChunkLength / 2, true)]
    public async Task A_text_scores_what_its_tokens_had_when_they_came(int? stride, bool retrieval)
    {
        GenerationOptions options = new()
        {
            Temperature = 1, TopP = 1, MaximumNewTokens = 20, MinimumNewTokens = 20, Alternatives = 3, Seed = 2, RetrievalStride = stride,
            Retrieval = retrieval,
        };
        GeneratedPiece[] pieces = [.. (await Collect(_generator, s_texts[0], options)).Where(piece => piece.Token is not null)];
        int[] text = [.. s_tokenizer.Encode(s_texts[0]), .. pieces.Select(piece => piece.Token!.Value)];
        IReadOnlyList<ScoredToken> scored = await _generator.ScoreAsync(text, options, TestContext.Current.CancellationToken);
        Assert.Equal(text, scored.Select(token => token.Token));
        Assert.Equal(s_tokenizer.Decode(text), string.Concat(scored.Select(token => token.Text)));
        Assert.All(scored, token => Assert.True(token.LogProbability < 0 && token.Alternatives.Count == 3));
        Assert.All(pieces.Zip(scored.Skip(text.Length - pieces.Length)), pair =>
        {
            Assert.Equal(pair.First.LogProbability!.Value, pair.Second.LogProbability!.Value, 1e-4);
            Assert.Equal(pair.First.Alternatives.Select(other => other.Token), pair.Second.Alternatives.Select(other => other.Token));
        });

        // What a text begins with by itself nothing predicts, and what follows is the same as where it is put in front.
        IReadOnlyList<ScoredToken> begun = await _generator.ScoreAsync(
            (int[])[s_tokenizer.BeginOfText, .. text], options, TestContext.Current.CancellationToken);
        Assert.Null(begun[0].LogProbability);
        Assert.Equal(scored.Select(token => token.LogProbability), begun.Skip(1).Select(token => token.LogProbability));
        Assert.Empty(await _generator.ScoreAsync(ReadOnlyMemory<int>.Empty, options, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task More_alternatives_than_there_are_tokens_are_all_of_them()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 1, Alternatives = int.MaxValue };
        IReadOnlyList<TokenAlternative> all = (await Collect(_generator, "tea", options)).Single(piece => piece.Token is not null).Alternatives;
        Assert.Equal(s_tokenizer.VocabularySize, all.Count);
        Assert.Equal(1, all.Sum(one => Math.Exp(one.LogProbability)), 1e-6);
    }

    [Fact]
    public async Task What_is_banned_does_not_come()
    {
        GenerationOptions options = new() { Temperature = 1, TopP = 1, MaximumNewTokens = 120, Seed = 3 };
        List<GeneratedPiece> free = await Collect(_generator, "", options);
        int banned = free.First(piece => piece.Token is not null).Token!.Value;
        string text = Text(free), word = text.Where(char.IsAsciiLetter).GroupBy(letter => letter).MaxBy(letters => letters.Count())!.Key.ToString();

        List<GeneratedPiece> pieces = await Collect(_generator, "", options with { BannedTokens = [banned], BannedStrings = [word, "ab"] });

        Assert.Contains(word, text, StringComparison.Ordinal);
        Assert.DoesNotContain(word, Text(pieces), StringComparison.Ordinal);
        Assert.DoesNotContain(pieces, piece => piece.Token == banned);
        Assert.Equal(120, pieces.Count(piece => piece.Token is not null));
    }

    /// <summary>A draw goes through the vocabulary, of which nearly all tokens can hold what is banned.</summary>
    [Fact]
    public void Strings_that_most_tokens_hold_take_few_draws()
    {
        int letter = s_tokenizer.Encode("e").Single();
        GenerationOptions options = new()
        {
            Temperature = 1, TopP = 1, MaximumNewTokens = 9, BannedStrings = [.. Enumerable.Range(' ', 95).Select(character => $"{(char)character}")],
            StopTokens = [letter], Seed = 3,
        };

        // What holds none is far less probable than what does, and what ends the text, which holds one, is between them.
        float[] logits =
        [
            .. Enumerable.Range(0, s_tokenizer.VocabularySize).Select(id => s_tokenizer.DecodeWithin([id]).Any(IsBanned) ? 0 : -60f),
        ];
        Assert.InRange(logits.Count(logit => logit == 0), 100, logits.Length);
        logits[letter] = -30;
        TokenSampler sampler = new(options);
        sampler.Next(logits);
        long before = GC.GetAllocatedBytesForCurrentThread();
        sampler.Next(logits);
        long draw = GC.GetAllocatedBytesForCurrentThread() - before;

        Assert.Equal(letter, Begun(options).Next(default).EndToken);
        GenerationSequence text = Begun(options with { MinimumNewTokens = 9 });
        for (int i = 0; i < 9; i++)
        {
            before = GC.GetAllocatedBytesForCurrentThread();
            GeneratedPiece piece = text.Next(default);
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 64 * draw);
            Assert.DoesNotContain(piece.TokenText, IsBanned);
            text.Take(logits);
        }

        using CancellationTokenSource canceled = new();
        canceled.Cancel();
        Assert.Throws<OperationCanceledException>(() => Begun(options).Next(canceled.Token));

        static bool IsBanned(char character) => character is >= ' ' and <= '~';

        GenerationSequence Begun(GenerationOptions how)
        {
            GenerationSequence begun = new(s_tokenizer, null, how, [s_tokenizer.BeginOfText], int.MaxValue);
            begun.Take(logits);
            return begun;
        }
    }

    /// <summary>Of the best ones that are drawn from, what holds a banned string is one until it is drawn, be it refused with few others or many.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_is_drawn_does_not_depend_on_how_many_were_refused_for_the_tokens_before(bool refusesMany)
    {
        const int Texts = 1000;
        int first = Token('x'), second = Token('b');
        float[] before = Unlikely(), logits = Unlikely();
        before[first] = -30;
        int banned = 0;
        for (int id = 0; refusesMany && id < before.Length; id++)
        {
            if (s_tokenizer.DecodeWithin([id]).Any(char.IsAsciiLetterUpper))
            {
                before[id] = 0;
                banned++;
            }
        }

        Assert.True(!refusesMany || banned > 20);
        (logits[Token('A')], logits[second], logits[Token('c')]) = (MathF.Log(0.5f), MathF.Log(0.3f), MathF.Log(0.2f));
        int drawn = 0;
        for (int seed = -Texts; seed < 0; seed++)
        {
            GenerationOptions options = new()
            {
                Temperature = 1, TopK = 2, TopP = 1, MaximumNewTokens = 2, Seed = seed,
                BannedStrings = [.. Enumerable.Range('A', 26).Select(character => $"{(char)character}")],
            };
            GenerationSequence text = new(s_tokenizer, null, options, [s_tokenizer.BeginOfText, first], int.MaxValue);
            text.Take(before);
            Assert.Equal(first, text.Next(default).Token);
            text.Take(logits);
            drawn += text.Next(default).Token == second ? 1 : 0;
        }

        // 0.3 of 0.8 at once, and where the other is drawn, 0.3 of 0.5.
        Assert.InRange((double)drawn / Texts, 0.7, 0.8);

        static float[] Unlikely() => [.. Enumerable.Repeat(-60f, s_tokenizer.VocabularySize)];

        static int Token(char character)
            => Enumerable.Range(0, s_tokenizer.VocabularySize).First(id => s_tokenizer.TokenBytes(id).SequenceEqual([(byte)character]));
    }

    [Fact]
    public async Task A_string_is_banned_over_the_borders_of_tokens_too()
    {
        GenerationOptions options = new() { Temperature = 1, TopP = 1, MaximumNewTokens = 60, Seed = 5 };
        List<GeneratedPiece> free = await Collect(_generator, "", options);
        GeneratedPiece[] tokens = [.. free.Where(piece => piece.Token is not null && piece.Text.Length > 0 && piece.Text.All(char.IsAscii))];
        (GeneratedPiece first, GeneratedPiece second) = tokens.Zip(tokens.Skip(1)).First(pair =>
            Text(free).Contains(pair.First.Text + pair.Second.Text, StringComparison.Ordinal));
        string both = $"{first.Text[^1]}{second.Text[0]}";

        Assert.Contains(both, Text(free), StringComparison.Ordinal);
        Assert.DoesNotContain(both, Text(await Collect(_generator, "", options with { BannedStrings = [both] })), StringComparison.Ordinal);
    }

    /// <summary>Also where the text is cut off within a character.</summary>
    [Fact]
    public async Task Nothing_that_is_no_character_comes_where_that_is_banned()
    {
        bool came = false;
        for (int length = 1; length <= 12; length++)
        {
            GenerationOptions options = new() { Temperature = 100, TopP = 1, MaximumNewTokens = length, MinimumNewTokens = length, Seed = length };
            came |= Text(await Collect(_generator, "", options)).Contains('\uFFFD', StringComparison.Ordinal);
            List<GeneratedPiece> pieces = await Collect(_generator, "", options with { BannedStrings = ["\uFFFD"] });
            Assert.DoesNotContain("\uFFFD", Text(pieces), StringComparison.Ordinal);
            Assert.Equal(length, pieces.Count(piece => piece.Token is not null));
        }

        Assert.True(came);
    }

    [Fact]
    public void A_character_that_would_become_what_is_banned_becomes_another_one()
    {
        BannedStrings banned = new(["né", "ü"], s_tokenizer, atBeginning: false);
        int Token(byte value) => Enumerable.Range(0, s_tokenizer.VocabularySize).First(id => s_tokenizer.TokenBytes(id).SequenceEqual([value]));
        (byte first, byte second) = (0xC3, 0xA9);
        Assert.False(banned.Completes(Token(first)) || banned.IsOpen);
        banned.Add(Token((byte)'n'));
        Assert.False(banned.Completes(Token(first)) || banned.IsOpen);
        banned.Add(Token(first));
        Assert.True(banned.IsOpen); // what begins é begins others
        Assert.True(banned.Completes(Token(second)));
        Assert.True(banned.Completes(Token(0xBC))); // of ü
        Assert.True(banned.Completes(Token((byte)'n')));
        Assert.True(banned.Completes(s_tokenizer.EndOfText));
        Assert.False(banned.Completes(Token(0xA8)));
        banned.Add(Token(0xA8));
        Assert.False(banned.IsOpen || banned.Completes(Token((byte)'n')));

        // Where all that it could become is banned, it does not begin.
        banned = new([.. Enumerable.Range(0x400, 64).Select(char.ConvertFromUtf32)], s_tokenizer, atBeginning: false);
        Assert.True(banned.Completes(Token(0xD0)));
        Assert.False(banned.Completes(Token(0xD1)));

        // Bytes that are no character become one that may be banned.
        banned = new(["n\uFFFD"], s_tokenizer, atBeginning: false);
        Assert.False(banned.Completes(Token(0x80)));
        banned.Add(Token((byte)'n'));
        Assert.True(banned.Completes(Token(0x80)) && banned.Completes(Token(0xFF)));
        Assert.False(banned.IsOpen || banned.Completes(Token(0xE0)));
        banned.Add(Token(0xE0));
        Assert.True(banned.IsOpen && banned.Completes(Token((byte)'n')) && banned.Completes(s_tokenizer.EndOfText));
        Assert.True(banned.Completes(Token(0x80))); // which would say in three bytes what one says
        Assert.False(banned.Completes(Token(0xA0)));
        banned.Add(Token(0xA0));
        Assert.True(banned.IsOpen && banned.Completes("\uFFFD"));
        banned.Add(Token(0x80));
        Assert.False(banned.IsOpen || banned.Completes(Token(0x80)));
    }

    [Fact]
    public async Task A_text_is_as_long_as_asked_at_least_unless_nothing_may_follow()
    {
        int[] all = [.. Enumerable.Range(0, s_tokenizer.VocabularySize)];
        int letter = s_tokenizer.Encode("a")[0];
        int[] others = [.. all.Where(token => token != s_tokenizer.EndOfText && token != letter)];
        GenerationOptions endsAtOnce = new() { MaximumNewTokens = 9, BannedTokens = others };
        Assert.Equal(9, (await Collect(_generator, "", endsAtOnce with { MinimumNewTokens = 9 })).Count(piece => piece.Token == letter));

        RetroOptionsException fault = await Assert.ThrowsAsync<RetroOptionsException>(() => Collect(_generator, "", new() { BannedTokens = all }));
        Assert.Contains("what is banned leaves none", fault.Message, StringComparison.Ordinal);
        Assert.Contains(
            "BannedTokens holds 100000",
            Assert.Throws<RetroOptionsException>(() => _generator.GenerateAsync("", new() { BannedTokens = [100_000] })).Message,
            StringComparison.Ordinal);
    }

    /// <summary>A token of one's own ends a text as the tokenizer's do, and is no part of it.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task A_stop_token_ends_the_text(int beams)
    {
        int letter = s_tokenizer.Encode("a")[0], stop = s_tokenizer.Encode("e")[0];
        int[] others = [.. Enumerable.Range(0, s_tokenizer.VocabularySize).Where(token => token != letter && token != stop)];
        GenerationOptions options = new()
        {
            Temperature = 0, Beams = beams, MinimumNewTokens = 3, MaximumNewTokens = 9, BannedTokens = others, StopTokens = [stop], LengthPenalty = 0,
        };
        List<GeneratedPiece> pieces = await Collect(_generator, "", options);
        Assert.Equal("aaa", Text(pieces)[..3]);
        Assert.DoesNotContain(pieces, piece => piece.Token == stop);
        List<GeneratedPiece> ended = await Collect(_generator, "", options with { BannedTokens = [.. others, letter], MinimumNewTokens = 0 });
        Assert.Equal(("", GenerationEnd.EndOfText, stop), (Text(ended), ended[^1].End, ended[^1].EndToken));
        Assert.Contains(
            "StopTokens holds 100000",
            Assert.Throws<RetroOptionsException>(() => _generator.GenerateAsync("", new() { StopTokens = [100_000] })).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_passages_are_read_like_neighbors_that_were_found()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 20 };
        long[] chunks = [_database.Documents[1].FirstChunk, _database.Documents[2].FirstChunk];
        RetroGenerator found = new(_model, s_tokenizer, new GivenNeighborSource(_database, chunks));
        int[][] tokens = [.. chunks.Select(chunk =>
        {
            long[] read = new long[2 * ChunkLength];
            bool[] valid = new bool[read.Length];
            _database.CopyRetrieved(chunk, read, valid);
            return read.Skip(1).Select(token => (int)token).ToArray(); // without the document's begin-of-text token
        })];
        string[] passages = [.. tokens.Select(one => s_tokenizer.Decode(one))];
        RetroGenerator alone = new(_model, s_tokenizer);

        List<GeneratedPiece> given = await Collect(alone, s_texts[0], options with { Passages = passages });

        Assert.Equal(passages, given.First(piece => piece.Retrieved is not null).Retrieved!.Neighbors.Select(neighbor => neighbor.Text));
        Assert.NotEqual(Text(await Collect(alone, s_texts[0], options)), Text(given));
        Assert.Equal(Text(given), Text(await Collect(_generator, s_texts[0], options with { Passages = passages })));
        Assert.Equal(
            (await Collect(found, s_texts[0], options)).Count(piece => piece.Retrieved is not null), given.Count(piece => piece.Retrieved is not null));
        RetroConfig decoder = _model.Config with { Retrieval = null };
        using RetroModel reads = new(decoder);
        Assert.Throws<RetroOptionsException>(() => new RetroGenerator(reads, s_tokenizer).GenerateAsync("", options with { Passages = passages }));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public async Task Neighbors_found_anew_within_a_chunk_are_those_of_a_text_whose_chunks_end_there(int stride)
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 21, RetrievalStride = stride };
        foreach (string prompt in new[] { "", "tea", s_texts[0] })
        {
            List<int> tokens = [s_tokenizer.BeginOfText, .. s_tokenizer.Encode(prompt)];
            GeneratedPiece[] pieces = [.. (await Collect(_generator, prompt, options)).Where(piece => piece.Token is not null)];
            Assert.NotEmpty(pieces);
            foreach (GeneratedPiece piece in pieces)
            {
                // Filled up so that the last place where neighbors are asked for is a chunk's end, the whole text is read at once.
                int last = tokens.Count / stride * stride, missing = (ChunkLength - (last % ChunkLength)) % ChunkLength;
                int[] text = [.. Enumerable.Repeat(s_tokenizer.BeginOfText, last == 0 ? 0 : missing), .. tokens];
                Assert.Equal(Best(text, last == 0 ? 0 : missing), piece.Token);
                tokens.Add(piece.Token!.Value);
            }
        }

        Assert.Throws<RetroOptionsException>(() => _generator.GenerateAsync("", options with { RetrievalStride = 3 }));
    }

    /// <summary>A base model likes to begin with an empty line, where its answer does not end.</summary>
    [Fact]
    public async Task An_answer_begins_with_its_first_word()
    {
        using RetroModel model = new(_model.Config with { Retrieval = null, TieEmbeddings = false });
        ChainModel.Write(model, s_tokenizer.EndOfText, [.. "\n A".Select(letter => s_tokenizer.Encode($"{letter}").Single())]);
        RetroGenerator generator = new(model, s_tokenizer);
        GenerationOptions options = new() { Temperature = 0, Stop = ["\n"] };
        Assert.Equal("", Text(await Collect(generator, "Capital?", options)));
        Assert.Equal("A", Text(await Collect(generator, "Capital?", options with { SkipsLeadingSpace = true })));
        Assert.Equal("A", Text(await Collect(generator, "Capital?", options with { SkipsLeadingSpace = true, Beams = 2 })));
        using RetroChatClient client = new(generator, defaults: options);
        Assert.Equal("A", (await client.GetResponseAsync("Capital?", null, TestContext.Current.CancellationToken)).Text);
    }

    /// <summary>What the model's own end cannot do, a stop string cannot either.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task A_stop_string_ends_no_text_that_is_too_short(int beams)
    {
        using RetroModel model = new(_model.Config with { Retrieval = null, TieEmbeddings = false });
        ChainModel.Write(model, s_tokenizer.EndOfText, [.. "A\nB".Select(letter => s_tokenizer.Encode($"{letter}").Single())]);
        RetroGenerator generator = new(model, s_tokenizer);
        GenerationOptions options = new() { Temperature = 0, Stop = ["\n"], Beams = beams };
        Assert.Equal("A", Text(await Collect(generator, "", options with { MinimumNewTokens = 2 })));
        Assert.Equal("A\nB", Text(await Collect(generator, "", options with { MinimumNewTokens = 3 })));

        // Of one over several tokens the last counts.
        Assert.Equal("A", Text(await Collect(generator, "", options with { MinimumNewTokens = 3, Stop = ["\nB"] })));
        string longer = Text(await Collect(generator, "", options with { MinimumNewTokens = 4, Stop = ["\nB"] }));
        Assert.StartsWith("A\nB", longer, StringComparison.Ordinal);
    }

    /// <summary>Whoever asks a client knows nothing of the beams of its defaults, and often sends a temperature.</summary>
    [Fact]
    public async Task A_chat_client_s_beams_are_for_requests_that_draw_nothing()
    {
        GenerationOptions defaults = new() { Temperature = 0, MaximumNewTokens = 20 };
        RetroChatClient single = new(_generator, defaults: defaults), beams = new(_generator, defaults: defaults with { Beams = 3 });
        Assert.NotEqual(await Answer(single, null), await Answer(beams, null));
        foreach (ChatOptions options in new ChatOptions[]
            {
                new() { Temperature = 0.7f }, new() { AdditionalProperties = new() { ["repetition_penalty"] = 1.2 } },
                new() { FrequencyPenalty = 0.5f }, new() { PresencePenalty = -1 },
            })
        {
            Assert.Equal(await Answer(single, options), await Answer(beams, options));
        }

        // A response is one text, and a request may want less than the defaults give at least.
        Assert.Throws<RetroOptionsException>(() => new RetroChatClient(_generator, defaults: defaults with { Samples = 2 }));
        RetroChatClient least = new(_generator, defaults: defaults with { MinimumNewTokens = 10 });
        ChatResponse few = await least.GetResponseAsync("Where?", new() { MaxOutputTokens = 5 }, TestContext.Current.CancellationToken);
        Assert.Equal(5, few.Usage!.OutputTokenCount);
        await Assert.ThrowsAsync<ArgumentException>(() => least.GetResponseAsync([null!]));

        static async Task<string> Answer(RetroChatClient client, ChatOptions? options)
            => (await client.GetResponseAsync("Where is the lighthouse?", options, TestContext.Current.CancellationToken)).Text;
    }

    /// <summary>Only what reads its text anew within a chunk fills it up at its beginning.</summary>
    [Fact]
    public async Task A_text_is_as_long_as_the_model_reads_where_nothing_is_found_anew_within_a_chunk()
    {
        const int Longest = 40;
        using RetroModel model = new((_model.Config with { Positions = PositionKind.Learned, MaximumLength = Longest }).Validate());
        RetroGenerator generator = new(model, s_tokenizer, _source);
        GenerationOptions whole = new() { Temperature = 0, MaximumNewTokens = 99, MinimumNewTokens = 99, RetrievalStride = ChunkLength };
        string[] prompts = ["tea", s_tokenizer.Decode(s_tokenizer.Encode(s_texts[0] + s_texts[0]).AsSpan(0, Longest - 1))];
        foreach (GenerationOptions options in new[] { whole, whole with { Retrieval = false, RetrievalStride = 2 }, whole with { RetrievalStride = null } })
        {
            foreach (string prompt in prompts)
            {
                int tokens = (await Collect(generator, prompt, options)).Count(piece => piece.Token is not null);
                Assert.Equal(Longest + 1, generator.CountTokens(prompt) + tokens);
            }
        }

        Assert.Contains(
            $"at most {Longest - ChunkLength + 1}",
            Assert.Throws<ArgumentException>(() => generator.GenerateAsync(prompts[1], whole with { RetrievalStride = 2 })).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task Found_anew_after_each_chunk_is_what_is_done_anyway()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 30 };
        Assert.Equal(
            Text(await Collect(_generator, s_texts[0], options)), Text(await Collect(_generator, s_texts[0], options with { RetrievalStride = ChunkLength })));
    }

    [Fact]
    public async Task The_best_passage_can_stand_in_the_prompt_and_the_others_be_read_by_cross_attention()
    {
        RetroGenerator generator = new(new RetroInContextReader(_model, s_tokenizer), s_tokenizer, _source);
        List<GeneratedPiece> pieces = await Collect(generator, s_texts[0], new() { Temperature = 0, MaximumNewTokens = 20 });
        Assert.NotEqual(Text(await Collect(_generator, s_texts[0], new() { Temperature = 0, MaximumNewTokens = 20 })), Text(pieces));
        Assert.Throws<RetroOptionsException>(() => generator.GenerateAsync("", new() { RetrievalStride = 4 }));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Prompts_at_once_give_what_each_gives_alone(bool retrieval)
    {
        GenerationOptions options = new() { Temperature = 1, TopP = 1, MaximumNewTokens = 25, Seed = 5, Retrieval = retrieval, Stop = ["e"] };
        string[] prompts = ["", .. s_texts, "tea"];
        List<GeneratedPiece>[] came = [.. prompts.Select(_ => new List<GeneratedPiece>())];
        await foreach ((int prompt, GeneratedPiece piece) in _generator.GenerateAsync(prompts, options, TestContext.Current.CancellationToken))
        {
            came[prompt].Add(piece);
        }

        for (int i = 0; i < prompts.Length; i++)
        {
            List<GeneratedPiece> alone = await Collect(_generator, prompts[i], options.OfText(i));
            Assert.Equal(alone.Select(piece => (piece.Token, piece.Text, piece.End)), came[i].Select(piece => (piece.Token, piece.Text, piece.End)));
            Assert.Equal(
                alone.SelectMany(piece => piece.Retrieved?.Neighbors ?? []).Select(neighbor => neighbor.Chunk),
                came[i].SelectMany(piece => piece.Retrieved?.Neighbors ?? []).Select(neighbor => neighbor.Chunk));
        }

        Assert.True(came.Select(pieces => pieces.Count).Distinct().Count() > 1, "they end at different times");
        await foreach ((int Prompt, GeneratedPiece Piece) any in _generator.GenerateAsync((string[])[], options, TestContext.Current.CancellationToken))
        {
            Assert.Fail($"There is no prompt, and {any} came.");
        }
    }

    /// <summary>What is drawn for one text says nothing of another, and the first is what it is by itself.</summary>
    [Theory]
    [InlineData(null)]
    [InlineData(ChunkLength / 2)] // one text after the other
    public async Task Samples_of_a_prompt_are_drawn_independently_of_each_other(int? stride)
    {
        GenerationOptions options = new() { Temperature = 1, TopP = 1, MaximumNewTokens = ChunkLength + 3, Seed = 5, RetrievalStride = stride };
        string[] alike = [s_texts[0], s_texts[0], s_texts[0], "tea", "tea", "tea"];
        List<GeneratedPiece>[] expected = await All(_generator.GenerateAsync(alike, options, TestContext.Current.CancellationToken));
        Assert.Equal(alike.Length, expected.Select(Text).Distinct().Count());
        Assert.Equal(Text(await Collect(_generator, s_texts[0], options)), Text(expected[0]));

        ReadOnlyMemory<int>[] prompts = [s_tokenizer.Encode(s_texts[0]), s_tokenizer.Encode("tea")];
        List<GeneratedPiece>[] came = await All(_generator.GenerateAsync(prompts, options with { Samples = 3 }, TestContext.Current.CancellationToken));
        Assert.All(expected.Zip(came), pair =>
        {
            Assert.Equal(pair.First.Select(piece => (piece.Token, piece.Text, piece.End)), pair.Second.Select(piece => (piece.Token, piece.Text, piece.End)));
            Assert.Equal(Read(pair.First), Read(pair.Second));
        });
        Assert.NotEmpty(Read(came[2]));
        Assert.Contains(
            "Samples is 2; expected 1 for a single prompt",
            Assert.Throws<RetroOptionsException>(() => _generator.GenerateAsync("", options with { Samples = 2 })).Message,
            StringComparison.Ordinal);

        static IEnumerable<long> Read(List<GeneratedPiece> pieces)
            => pieces.SelectMany(piece => piece.Retrieved?.Neighbors ?? []).Select(neighbor => neighbor.Chunk);

        static async Task<List<GeneratedPiece>[]> All(IAsyncEnumerable<(int Text, GeneratedPiece Piece)> pieces)
        {
            List<(int Text, GeneratedPiece Piece)> all = await Collect(pieces);
            return [.. all.GroupBy(one => one.Text).OrderBy(text => text.Key).Select(text => text.Select(one => one.Piece).ToList())];
        }
    }

    /// <summary>A prompt costs once what it costs, however many texts go on from it.</summary>
    [Fact]
    public async Task A_prompt_is_read_once_for_all_its_samples()
    {
        long rows = 0;
        using RetroModel model = new(_model.Config, ScalarType.Float64, layers: new()
        {
            FeedForward = (config, dtype, device) => new RowCounting(config, dtype, device, read => rows += read),
        });
        GenerationOptions options = new() { Temperature = 1, MaximumNewTokens = 2, MinimumNewTokens = 2, Samples = 4, Retrieval = false };
        string[] prompts = [s_texts[0], s_texts[1]];
        Assert.Equal(
            8 * 3, // two tokens each, and the end
            (await Collect(new RetroGenerator(model, s_tokenizer).GenerateAsync(prompts, options, TestContext.Current.CancellationToken))).Count);
        Assert.Equal((2 + 8) * model.Config.Layers, rows);
    }

    [Fact]
    public async Task A_chat_client_streams_counts_and_names_its_sources()
    {
        RetroChatClient client = new(_generator, defaults: new() { Temperature = 0, MaximumNewTokens = 12 }, modelId: "tiny");
        ChatMessage[] messages = [new(ChatRole.System, "Be brief."), new(ChatRole.User, "Where is the lighthouse? ")];
        string prompt = "System: Be brief.\nUser: Where is the lighthouse?\nAssistant:";
        GenerationOptions same = new() { Temperature = 0, MaximumNewTokens = 12, Stop = ["\nUser:", "\nSystem:"] };
        List<GeneratedPiece> pieces = await Collect(_generator, prompt, same);

        List<ChatResponseUpdate> updates = [];
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(messages, null, TestContext.Current.CancellationToken))
        {
            updates.Add(update);
        }

        ChatResponse response = await client.GetResponseAsync(messages, null, TestContext.Current.CancellationToken);
        Assert.Equal(Text(pieces).TrimStart(), response.Text);
        Assert.Equal(response.Text, string.Concat(updates.Select(update => update.Text)));
        Assert.Equal(("tiny", ChatFinishReason.Length), (response.ModelId, response.FinishReason));
        Assert.Equal(
            (1 + s_tokenizer.Encode(prompt).Length, 12, 13 + s_tokenizer.Encode(prompt).Length),
            ((int)response.Usage!.InputTokenCount!, (int)response.Usage.OutputTokenCount!, (int)response.Usage.TotalTokenCount!));
        IReadOnlyList<RetrievedNeighbor> sources = (IReadOnlyList<RetrievedNeighbor>)response.AdditionalProperties![RetroChatClient.SourcesKey]!;
        Assert.Equal(
            pieces.SelectMany(piece => piece.Retrieved?.Neighbors ?? []).Select(neighbor => neighbor.Chunk).Distinct(), sources.Select(source => source.Chunk));
        Assert.Contains(updates[..^1], update => update.AdditionalProperties?[RetroChatClient.SourcesKey] is not null);
        Assert.Equal(sources, updates.ToChatResponse().Messages[0].AdditionalProperties![RetroChatClient.SourcesKey]);
        Assert.Equal(sources, response.Messages[0].AdditionalProperties![RetroChatClient.SourcesKey]);

        ChatOptions options = new() { ModelId = "huge", MaxOutputTokens = 3, StopSequences = ["never"], Instructions = "Be brief." };
        ChatResponse shorter = await client.GetResponseAsync(messages[1..], options, TestContext.Current.CancellationToken);
        Assert.StartsWith(shorter.Text, response.Text, StringComparison.Ordinal);
        Assert.Equal("tiny", shorter.ModelId); // the one that answers
        Assert.Equal(3, shorter.Usage!.OutputTokenCount);
        Assert.Throws<NotSupportedException>(() => client.GetStreamingResponseAsync(messages, new() { ResponseFormat = ChatResponseFormat.Json }));

        // However the number comes, also as options hold it that were read of JSON.
        List<string> penalized = [];
        foreach (object penalty in new object[] { 5.0, 5f, 5, JsonDocument.Parse("5").RootElement, JsonValue.Create(5) })
        {
            ChatOptions penalizing = new() { AdditionalProperties = new() { ["repetition_penalty"] = penalty } };
            penalized.Add((await client.GetResponseAsync(messages, penalizing, TestContext.Current.CancellationToken)).Text);
        }

        Assert.NotEqual(response.Text, Assert.Single(penalized.Distinct()));
        foreach (object none in new object[] { "abc", true, JsonDocument.Parse("\"5\"").RootElement, new JsonArray(5) })
        {
            ChatOptions wrong = new() { AdditionalProperties = new() { ["min_p"] = none } };
            string message = Assert.Throws<ArgumentException>(() => client.GetStreamingResponseAsync(messages, wrong)).Message;
            Assert.Contains("\"min_p\" has to be a number", message, StringComparison.Ordinal);
        }

        ChatOptions[] others =
            [new() { FrequencyPenalty = 2 }, new() { PresencePenalty = 2 }, new() { Temperature = 9, AdditionalProperties = new() { ["min_p"] = 1 } }];
        string[] texts = [.. await Task.WhenAll(others.Select(async other
            => (await client.GetResponseAsync(messages, other, TestContext.Current.CancellationToken)).Text))];
        Assert.DoesNotContain(response.Text, texts[..2]);
        Assert.Equal(response.Text, texts[2]); // the best token alone
        Assert.Same(_generator, client.GetService(typeof(RetroGenerator)));
        Assert.Equal("tiny", ((ChatClientMetadata)client.GetService(typeof(ChatClientMetadata))!).DefaultModelId);
    }

    /// <summary>The most probable token after a text of which the chunks from the first on are read with their neighbors.</summary>
    private int Best(int[] text, int missing)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        _model.eval();
        int chunks = text.Length / ChunkLength;
        RetrievedTokens retrieved = new(1, Math.Max(1, chunks), 2, 2 * ChunkLength);
        for (int c = 0; c < chunks; c++)
        {
            int[] query = text[Math.Max(missing, c * ChunkLength)..((c + 1) * ChunkLength)];
            long[] found = new long[2];
            _source.Find([new NeighborQuery(query, [])], 2, found, new float[2]);
            retrieved.Take(0, c, _database, found);
        }

        (Tensor? neighbors, Tensor? valid) = chunks == 0 ? default : retrieved.ToTensors();
        Tensor logits = _model.call(tensor(text.Select(token => (long)token).ToArray(), [1, text.Length]), neighbors, valid);
        return (int)logits[0, -1].argmax().item<long>();
    }

    private static string Text(IEnumerable<GeneratedPiece> pieces) => string.Concat(pieces.Select(piece => piece.Text));

    /// <summary>Tells of how many rows each call is.</summary>
    private sealed class RowCounting(RetroConfig config, ScalarType dtype, Device? device, Action<long> called)
        : FeedForward(config, encoder: false, dtype, device)
    {
        public override Tensor forward(Tensor x)
        {
            called(x.shape[0]);
            return base.forward(x);
        }
    }
}

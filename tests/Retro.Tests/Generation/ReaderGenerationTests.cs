using Microsoft.Extensions.AI;
using Retro.Corpora;
using Retro.Database;
using Retro.Generation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Embedders;
using Retro.Tests.Modeling;
using Retro.Tests.Readers;
using Retro.Tokenizers;
using TorchSharp;
using static Retro.Tests.Generation.Pieces;
using static TorchSharp.torch;

namespace Retro.Tests.Generation;

/// <summary>Text of every reader but the copying one: what is kept from token to token changes nothing.</summary>
public sealed class ReaderGenerationTests : IDisposable
{
    private const int M = 8, K = 3;

    private static readonly RetroTokenizer s_tokenizer = EmbeddingInputs.Tokenizer;

    private readonly TemporaryFolder _folder = new();
    private readonly List<Document> _heldOut;
    private readonly ChunkDatabase _database;
    private readonly KeywordNeighborSource _source;
    private readonly RetroModel _model;
    private readonly TokenStore _states;
    private readonly DecoupledReader _decoupled;

    public ReaderGenerationTests()
    {
        List<Document> all = CopyReaderTests.Twins(30, 120, seed: 3);
        _heldOut = [.. all.Where(document => document.Id.StartsWith('a')).Take(3)];
        _database = ChunkDatabaseBuilder.Build(
            Path.Combine(_folder.Path, "database"), all.Except(_heldOut), s_tokenizer, new ChunkDatabaseOptions { ChunkLength = M });
        _source = KeywordNeighborSource.Build(_database);
        manual_seed(11);
        _model = new RetroModel(
            new RetroConfig
            {
                VocabularySize = s_tokenizer.VocabularySize + 4, Width = 16, Layers = 2, Heads = 2, HeadSize = 8, FeedForwardSize = 32, InitialOutputScale = 1,
                Retrieval = new()
                {
                    ChunkLength = M, RetrievedLength = 2 * M, CrossAttentionLayers = [1, 2],
                    Encoder = SmallModel.Encoder,
                },
            },
            ScalarType.Float64);
        _states = TokenStore.Build(_model, _database);
        _decoupled = DecoupledReader.Fresh(_model, new() { Neighbors = K }, 2 * M);
        using IDisposable none = no_grad();
        using DisposeScope scope = NewDisposeScope();
        foreach (TorchSharp.Modules.Parameter parameter in _decoupled.Weights.ByName.Values)
        {
            parameter.add_(randn_like(parameter) * 0.2);
        }
    }

    public void Dispose()
    {
        _decoupled.Dispose();
        _states.Dispose();
        _model.Dispose();
        _source.Dispose();
        _database.Dispose();
        _folder.Dispose();
    }

    /// <summary>Prompts that are empty, shorter than a chunk, and of every length modulo the chunk; the window is full in the later ones.</summary>
    [Theory]
    [InlineData("in context", 512)]
    [InlineData("in context", 80)]
    [InlineData("ensemble", 512)]
    [InlineData("ensemble", 80)]
    [InlineData("best in context", 512)]
    [InlineData("best in context", 80)]
    [InlineData("own attention", 512)]
    [InlineData("nearest states", 512)]
    [InlineData("RETRO", 512)]
    [InlineData("closed book", 512)]
    public async Task Cached_generation_equals_reading_everything_anew_for_every_token(string kind, int window)
    {
        IReader reader = Reader(kind, window);
        RetroGenerator generator = Generator(reader);
        ReadingAnew anew = new(s_tokenizer, tokens => Best(reader, tokens), Batch);
        int all = await anew.WritesTheSame(generator, reader, _heldOut[0].Text, Enumerable.Range(0, M + 2).Append(5 * M), (2 * M) + 3, 1e-9);
        Assert.True(all > 4 * M, $"{all} tokens");
    }

    /// <summary>A reader that writes passages in front of the text reads windows of it, so that a text may be longer than the model reads at once.</summary>
    [Fact]
    public async Task A_text_may_be_longer_than_a_model_of_limited_length_where_windows_of_it_are_read()
    {
        const int Longest = 80;
        manual_seed(12);
        using RetroModel model = new(_model.Config with { Positions = PositionKind.Learned, MaximumLength = Longest, Retrieval = null }, ScalarType.Float64);
        string prompt = string.Concat(Enumerable.Repeat(_heldOut[0].Text, 3));
        int[] tokens = [s_tokenizer.BeginOfText, .. s_tokenizer.Encode(prompt)];
        Assert.InRange(tokens.Length, Longest + 1, int.MaxValue);
        InContextReader reader = new(model, s_tokenizer, new() { Neighbors = 1, WindowLength = Longest, PrefixLength = 40 });
        RetroGenerator generator = new(reader, s_tokenizer, _source);
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = M + 3 };

        List<GeneratedPiece> pieces = await Collect(generator, prompt, options);

        Assert.NotEqual(GenerationEnd.MaximumLength, pieces[^1].End);
        Assert.InRange(pieces.Count(piece => piece.Token is not null), 1, M + 3);
        Assert.Throws<ArgumentException>(() => generator.GenerateAsync(prompt, options with { Retrieval = false }));
        Assert.Equal((null, Longest), (generator.LongestPrompt(options), generator.LongestPrompt(options with { Retrieval = false })));
    }

    [Fact]
    public async Task Without_retrieval_it_is_the_models_text_and_no_tensor_stays()
    {
        string prompt = _heldOut[0].Text[..40];
        GenerationOptions drawn = new() { MaximumNewTokens = 30, Seed = 2 };
        RetroGenerator plain = new(_model, s_tokenizer);
        foreach (string kind in new[] { "in context", "ensemble", "best in context", "own attention", "nearest states" })
        {
            RetroGenerator generator = Generator(Reader(kind, 512));
            Assert.Equal(await Collect(plain, prompt, drawn), await Collect(generator, prompt, drawn with { Retrieval = false }));
            Assert.NotEqual(
                (await Collect(plain, prompt, drawn)).Select(piece => piece.Token), (await Collect(generator, prompt, drawn)).Select(piece => piece.Token));
            await Collect(generator, prompt, drawn with { Neighbors = 1 });
            await Collect(generator, prompt, drawn with { Stop = ["a", "b", "c", "e"] });
            long before = LiveTensors.Settled();
            await Collect(generator, prompt, drawn);
            Assert.Equal(before, Tensor.TotalCount);
        }
    }

    [Fact]
    public void A_reader_that_cannot_go_on_is_refused_and_so_is_a_source_without_a_database()
    {
        PointerReader rule = new(new DecoderReader(_model), new PointerRule(K, M, 2 * M, new double[PointerRule.LongestRun]));
        Assert.Contains(
            "cannot go on token by token",
            Assert.Throws<ArgumentException>(() => new RetroGenerator(rule, s_tokenizer, _source)).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "no database to read from",
            Assert.Throws<ArgumentException>(() => new RetroGenerator(Reader("ensemble", 512), s_tokenizer, new NoNeighborSource())).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "give a source",
            Assert.Throws<ArgumentException>(() => new RetroGenerator(_decoupled, s_tokenizer)).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "give no source",
            Assert.Throws<ArgumentException>(() => new RetroGenerator(Reader("nearest states", 512), s_tokenizer, _source)).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "no room is left for a chunk",
            Assert.Throws<ArgumentException>(() => new RetroGenerator(Reader("in context", 41), s_tokenizer, _source)).Message,
            StringComparison.Ordinal);
    }

    /// <summary>Of passages that are given the order is known, and an ensemble weighs them by it.</summary>
    [Fact]
    public async Task An_ensemble_weighs_given_passages_by_their_order()
    {
        string[] passages = ["What stands in one passage.", "And in another one."];
        IReader reader = Reader("ensemble", 512);
        List<GeneratedPiece> pieces = await Collect(
            Generator(reader), _heldOut[0].Text[..40], new() { Temperature = 0, MaximumNewTokens = M + 2, Alternatives = 2, Passages = passages });

        List<int> tokens = [s_tokenizer.BeginOfText, .. s_tokenizer.Encode(_heldOut[0].Text[..40])];
        foreach (GeneratedPiece piece in pieces.Where(piece => piece.Token is not null))
        {
            ReadingBatch batch = new(1, tokens.Count, M) { Retrieved = new(1, tokens.Count / M, K, 2 * M) };
            tokens.Select(token => (long)token).ToArray().CopyTo(batch.Tokens, 0);
            for (int place = 0; place < tokens.Count / M * K; place++)
            {
                (int k, int at) = (place % K, place * 2 * M);
                long[] read = k < passages.Length ? [.. s_tokenizer.Encode(passages[k]).Take(2 * M).Select(token => (long)token)] : [];
                read.CopyTo(batch.Retrieved.Tokens, at);
                batch.Retrieved.Valid.AsSpan(at, read.Length).Fill(true);
                batch.Retrieved.Scores[place] = -k;
            }

            // How much likelier the first is than the second, since ids that the tokenizer does not have count for the reader alone.
            Assert.Equal(
                Of(piece.Alternatives[0].Token) - Of(piece.Alternatives[1].Token),
                piece.Alternatives[0].LogProbability - piece.Alternatives[1].LogProbability,
                1e-5);
            tokens.Add(piece.Token!.Value);

            double Of(int token)
            {
                batch.Targets[^1] = token;
                return reader.LogLikelihoods(batch)[^1];
            }
        }
    }

    /// <summary>Of three passages a prompt of 5 has room for a token of two.</summary>
    [Fact]
    public async Task What_has_no_room_in_the_prompt_is_no_source()
    {
        InContextOptions options = new() { Neighbors = K, PrefixLength = 5, WindowLength = 80 };
        GenerationOptions asked = new() { Temperature = 0, MaximumNewTokens = M };
        foreach (string[] passages in new string[][] { [], [.. Enumerable.Repeat("What stands in a passage that is longer than it.", K)] })
        {
            RetrievedNeighbor[] read = await Sources(new InContextReader(_model, s_tokenizer, options)),
                all = await Sources(new EnsembleReader(_model, s_tokenizer, options, double.PositiveInfinity));
            Assert.Equal((2, K), (read.Length, all.Length));
            Assert.Equal(all[..2].Select(one => passages.Length == 0 ? one : one with { Text = "W" }), read);
            if (passages.Length > 0)
            {
                RetroChatClient client = new(
                    Generator(new EnsembleReader(_model, s_tokenizer, options)), defaults: asked with { Passages = passages });
                ChatResponse response = await client.GetResponseAsync(_heldOut[0].Text[..40], null, TestContext.Current.CancellationToken);
                Assert.Equal(all, response.AdditionalProperties![RetroChatClient.SourcesKey]); // each is one, though they are the same
            }

            async Task<RetrievedNeighbor[]> Sources(PromptReader reader)
                => [.. (await Collect(Generator(reader), _heldOut[0].Text[..40], asked with { Passages = passages }))
                    .First(piece => piece.Retrieved is not null).Retrieved!.Neighbors];
        }
    }

    /// <summary>In front of the text stands the best neighbor of its last chunk alone, and those of the chunks before are read by nothing.</summary>
    [Fact]
    public async Task The_best_neighbor_of_an_earlier_chunk_of_the_prompt_is_no_source()
    {
        GenerationOptions asked = new() { Temperature = 0, MaximumNewTokens = M + 1 };
        string prompt = s_tokenizer.Decode(s_tokenizer.Encode(_heldOut[0].Text).AsSpan(0, (3 * M) - 1));
        foreach (string[] passages in new string[][] { [], ["One passage.", "Another one.", "And a third."] })
        {
            RetrievedNeighbors[] all = await Read("RETRO"), read = await Read("best in context");
            Assert.Equal((4, 4), (all.Length, read.Length)); // three chunks of the prompt, and one more
            for (int chunk = 0; chunk < 3; chunk++)
            {
                Assert.Equal(K, all[chunk].Neighbors.Count);
                Assert.Equal(all[chunk].Neighbors.Skip(1), read[chunk].Neighbors.Skip(chunk < 2 ? 0 : 1));
            }

            // Of the one in front of the text as much is read as makes whole chunks with the begin-of-text token and the end of a line.
            RetrievedNeighbor best = read[2].Neighbors[0], whole = all[2].Neighbors[0];
            string shown = best.Text + best.Continuation, there = whole.Text + whole.Continuation;
            Assert.Equal(whole, best with { Text = whole.Text, Continuation = whole.Continuation });
            Assert.StartsWith(shown, there, StringComparison.Ordinal);
            Assert.Equal((s_tokenizer.Encode(there).Length + 2) / M * M, s_tokenizer.Encode(shown).Length + 2);

            // Where nothing is given, there may be nothing.
            Assert.Equal(passages.Skip(1), read[3].Neighbors.Select(neighbor => neighbor.Text).Take(passages.Length).Skip(1));

            async Task<RetrievedNeighbors[]> Read(string kind)
                =>
                [
                    .. (await Collect(Generator(Reader(kind, 512)), prompt, asked with { Passages = passages }))
                        .Select(piece => piece.Retrieved).OfType<RetrievedNeighbors>(),
                ];
        }
    }

    /// <summary>A passage begins where it is read, so that no space stands before its first word.</summary>
    [Fact]
    public void What_is_read_of_a_passage_is_text_from_its_beginning()
    {
        RetroTokenizer tokenizer = RetroTokenizer.Load(Fixtures.SentencePiece("bpe-byte-fallback"));
        using RetroModel model = new(_model.Config with { VocabularySize = tokenizer.VocabularySize, Retrieval = null });
        const string Passage = "What stands in a passage that is longer than it.";
        int[] tokens = tokenizer.Encode(Passage);
        List<string> read = [];
        for (int room = 1; room <= tokens.Length; room++)
        {
            InContextReader reader = new(
                model, tokenizer, new() { Neighbors = 1, Template = InContextOptions.Place, PrefixLength = 1 + room });
            StretchRetriever retriever = new(tokenizer, null, null, new(1, 2 * tokens.Length, M, M), [], new() { Passages = [Passage] }, reader);
            read.Add(Assert.Single(retriever.Find(new int[M], 0, 1, TestContext.Current.CancellationToken).PerStretch[0].Neighbors).Text);
        }

        Assert.Equal(Passage, read[^1]);
        Assert.All(read, text => Assert.StartsWith(text, Passage, StringComparison.Ordinal));
    }

    /// <summary>A stretch has to have room behind the passages, or its tokens would be asked for before there is any text to predict them from.</summary>
    [Fact]
    public async Task A_stretch_is_as_long_as_there_is_room_behind_passages_and_no_longer()
    {
        foreach (string kind in new[] { "in context", "ensemble" })
        {
            RetroGenerator generator = Generator(Reader(kind, 80)); // of which 40 stand in front of the text
            GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 90, RetrievalStride = 40 };
            foreach (string prompt in new[] { "", _heldOut[0].Text[..60] })
            {
                Assert.Equal(90, (await Collect(generator, prompt, options)).Count(piece => piece.Token is not null));
            }

            Assert.Contains(
                "RetrievalStride is 41; expected at most 40",
                Assert.Throws<RetroOptionsException>(() => generator.GenerateAsync("", options with { RetrievalStride = 41 })).Message,
                StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_default_device_of_torchs_changes_nothing_for_nearest_states_on_the_processor()
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        NearestNeighborReader reader = new(_model, _states, 0.4, 1, 8);
        (Tensor keys, Tensor states) = _model.KeysAndStatesAt(
            tensor(new long[] { 5, 6, 7 }, [1, 3], device: CPU), tensor(new long[] { 2 }, device: CPU));
        Tensor expected = reader.Logits(keys, states, among: null);
        try
        {
            set_default_device(META);
            Assert.True(reader.Logits(keys, states, among: null).Equals(expected));
        }
        finally
        {
            set_default_device(CPU);
        }
    }

    /// <summary>Nothing is read of what is excluded: neither states nor neighbors.</summary>
    [Fact]
    public async Task Nearest_states_of_excluded_documents_are_passed_over()
    {
        Document document = CopyReaderTests.Twins(30, 120, seed: 3).First(twin => twin.Id == "b3-20"); // in the database
        (string prompt, string rest) = (document.Text[..50], document.Text[50..]);
        RetroGenerator generator = Generator(new NearestNeighborReader(_model, _states, 0.99, 0.01, 4));
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 10 };
        string all = string.Concat((await Collect(generator, prompt, options)).Select(piece => piece.Text));
        string others = string.Concat((await Collect(generator, prompt, options with { ExcludedDocuments = [document.Id] })).Select(piece => piece.Text));
        Assert.StartsWith(all[..3], rest, StringComparison.Ordinal);
        Assert.NotEqual(all[..3], others[..3]);
    }

    /// <summary>A reader that looks into the layers reads a prompt in one piece, as a text is read that is scored.</summary>
    /// <param name="kind">The reader.</param>
    /// <param name="pass">The pass in which it is stopped: of what reads by its own attention the first is that of the neighbors.</param>
    /// <param name="scores">Whether the text is scored, and not gone on with.</param>
    [Theory]
    [InlineData("own attention", 1)]
    [InlineData("own attention", 2)]
    [InlineData("nearest states", 1)]
    [InlineData("closed book", 1, true)]
    public async Task What_is_read_in_one_piece_is_stopped_between_two_layers(string kind, int pass, bool scores = false)
    {
        RetroGenerator generator = Generator(Reader(kind, 512));
        int[] text = s_tokenizer.Encode(_heldOut[0].Text);
        using CancellationTokenSource stop = new();
        int first = 0, second = 0;
        _model.Layers[0].FeedForward.register_forward_pre_hook((_, x) =>
        {
            if (++first == pass)
            {
                stop.Cancel();
            }

            return x;
        });
        _model.Layers[1].FeedForward.register_forward_pre_hook((_, x) =>
        {
            second++;
            return x;
        });

        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            if (scores)
            {
                await generator.ScoreAsync(text, null, stop.Token);
                return;
            }

            await Collect(generator.GenerateAsync(text.AsMemory(), new() { Temperature = 0 }, stop.Token));
        });
        Assert.Equal((pass, pass - 1), (first, second));
    }

    /// <summary>As readers do, so that a loop that trains and writes in turn drops nothing while it writes.</summary>
    [Fact]
    public async Task A_model_in_training_writes_what_it_writes_in_evaluation()
    {
        using RetroModel model = new(_model.Config with { Dropout = 0.5, Retrieval = null }, ScalarType.Float64);
        RetroGenerator generator = new(model, s_tokenizer);
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 10 };
        model.eval();
        string expected = (await generator.GenerateTextAsync("The", options, TestContext.Current.CancellationToken)).Text;
        model.train();
        Assert.Equal(expected, (await generator.GenerateTextAsync("The", options, TestContext.Current.CancellationToken)).Text);
        Assert.False(model.training);
    }

    /// <summary>A penalty divides what is above 0 and multiplies what is below: a mixture's logits are on the scale of the model's.</summary>
    [Fact]
    public async Task A_repetition_penalty_does_to_a_mixture_that_gives_nothing_what_it_does_to_the_decoder()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 30, RepetitionPenalty = 1.5 };
        string prompt = _heldOut[0].Text[..60], alone = await Text(new DecoderReader(_model), options);
        Assert.NotEqual(alone, await Text(new DecoderReader(_model), options with { RepetitionPenalty = 1 }));
        Assert.Equal(alone, await Text(new NearestNeighborReader(_model, _states, 0, 1, 8), options));
        Assert.Equal(alone, await Text(new NearestNeighborReader(_model, _states, 1e-12, 1, 8), options));

        // Two passages that are the same are one.
        GenerationOptions two = options with { Passages = ["the same", "the same"] };
        InContextOptions ofOne = new() { Neighbors = 1, PrefixLength = 40 }, ofTwo = ofOne with { Neighbors = 2 };
        Assert.Equal(
            await Text(new InContextReader(_model, s_tokenizer, ofOne), two with { Passages = ["the same"] }),
            await Text(new EnsembleReader(_model, s_tokenizer, ofTwo, 5), two));
        RetroOptionsException refused = await Assert.ThrowsAsync<RetroOptionsException>(() => Text(new InContextReader(_model, s_tokenizer, ofOne), two));
        Assert.Contains("Passages is 2; expected at most 1, as many as the reader reads", refused.Message, StringComparison.Ordinal);

        async Task<string> Text(IReader reader, GenerationOptions how)
            => string.Concat((await Collect(Generator(reader), prompt, how)).Select(piece => piece.Text));
    }

    private RetroGenerator Generator(IReader reader) => new(reader, s_tokenizer, reader.Neighbors > 0 ? _source : null);

    private IReader Reader(string kind, int window)
    {
        InContextOptions options = new() { Neighbors = K, PrefixLength = 40, WindowLength = window };
        return kind switch
        {
            "in context" => new InContextReader(_model, s_tokenizer, options),
            "ensemble" => new EnsembleReader(_model, s_tokenizer, options, 5),
            "best in context" => new RetroInContextReader(_model, s_tokenizer, options),
            "own attention" => _decoupled,
            "RETRO" => new RetroReader(_model, K),
            "closed book" => new DecoderReader(_model),
            _ => new NearestNeighborReader(_model, _states, 0.4, 1, 8),
        };
    }

    private ReadingBatch Batch(List<int> tokens)
    {
        ReadingBatch batch = new(1, tokens.Count, M);
        tokens.Select(token => (long)token).ToArray().CopyTo(batch.Tokens, 0);
        if (tokens.Count >= M)
        {
            batch.Retrieved = new RetrievedTokens(1, tokens.Count / M, K, 2 * M);
            for (int chunk = 0; chunk < tokens.Count / M; chunk++)
            {
                (long[] found, float[] scores) = (new long[K], new float[K]);
                _source.Find([new NeighborQuery(tokens.GetRange(chunk * M, M).ToArray(), [])], K, found, scores);
                batch.Retrieved.Take(0, chunk, _database, found, scores);
            }
        }

        return batch;
    }

    /// <summary>The most probable next token of a text, with nothing kept from before.</summary>
    private (int Token, double LogP) Best(IReader reader, List<int> tokens)
    {
        using IDisposable guard = no_grad();
        using DisposeScope scope = NewDisposeScope();
        ReadingBatch batch = Batch(tokens);
        Tensor text = tensor(batch.Tokens, [1, tokens.Count]), last = tensor(new long[] { tokens.Count - 1 });
        Tensor all; // [1, V]
        switch (reader)
        {
            case DecoupledReader own:
                all = nn.functional.log_softmax(
                    _model.Head(_model.StatesAt(text, last, tap: batch.Retrieved is { } retrieved ? own.Reading(retrieved, M) : null)), 1);
                break;
            case RetroReader or DecoderReader:
                (Tensor? found, Tensor? valid) = reader is RetroReader ? batch.Retrieved?.ToTensors() ?? default : default;
                all = nn.functional.log_softmax(_model.call(text, found, valid).select(1, tokens.Count - 1), 1);
                break;
            case NearestNeighborReader nearest:
                (Tensor keys, Tensor states) = _model.KeysAndStatesAt(text, last);
                all = nn.functional.log_softmax(nearest.Logits(keys, states, among: null), 1);
                break;
            default:
                all = OfPrompts((PromptReader)reader, batch);
                break;
        }

        double[] p = all.select(0, 0).slice(0, 0, s_tokenizer.VocabularySize, 1).data<double>().ToArray();
        int best = Array.IndexOf(p, p.Max());
        return (best, p[best]);
    }

    private Tensor OfPrompts(PromptReader reader, ReadingBatch batch)
    {
        int chunk = (batch.Length / M) - 1, windowEnd = ((chunk + 2) * M) - 1;
        IReadOnlyList<(long[] Prefix, double LogWeight)> prefixes = chunk >= 0 ? reader.Prefixes(batch.Retrieved!, 0, chunk) : [];
        Tensor sum = zeros(1, _model.Config.VocabularySize, dtype: ScalarType.Float64);
        foreach ((long[] passages, double logWeight) in prefixes.Count > 0 ? prefixes : [([], 0)])
        {
            (long[] prefix, int from) = reader.CrossAttended == 0
                ? (passages, reader.Prompt.TextStart(passages.Length, batch.Tokens, windowEnd))
                : reader.Prompt.InWholeChunks(passages, batch.Tokens, windowEnd, M);
            long[] row = [.. prefix, .. batch.Tokens[from..]];
            Tensor? neighbors = null, valid = null;
            if (reader.CrossAttended > 0 && batch.Retrieved is not null && row.Length >= M)
            {
                RetrievedTokens read = new(1, row.Length / M, reader.CrossAttended, 2 * M);
                PromptReading.CopyCrossAttended(reader, batch.Retrieved, 0, read, 0, row.Length / M, (prefix.Length - from) / M, from / M);
                (neighbors, valid) = read.ToTensors();
            }

            sum = sum + (nn.functional.softmax(_model.call(tensor(row, [1, row.Length]), neighbors, valid).select(1, row.Length - 1), 1) * Math.Exp(logWeight));
        }

        return sum.log();
    }
}

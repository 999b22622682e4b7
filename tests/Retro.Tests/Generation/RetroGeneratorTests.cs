using System.Text.Json;
using Microsoft.Extensions.AI;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Generation;
using Retro.Modeling;
using Retro.Pretrained;
using Retro.Search;
using Retro.Tests.Embedders;
using Retro.Tests.Modeling;
using Retro.Tests.Search;
using Retro.Tokenizers;
using TorchSharp;
using TorchSharp.Modules;
using static Retro.Tests.Generation.Pieces;
using static TorchSharp.torch;

namespace Retro.Tests.Generation;

public sealed class RetroGeneratorTests : IDisposable
{
    private const int ChunkLength = 8;

    private static readonly RetroTokenizer s_tokenizer = EmbeddingInputs.Tokenizer;

    private static readonly RetroConfig s_config = (RetroConfig.Tiny with
    {
        VocabularySize = s_tokenizer.VocabularySize + 4, // padded, as many are
        Width = 16, Heads = 2, HeadSize = 8, FeedForwardSize = 32, TieEmbeddings = false, InitialOutputScale = 1,
        Retrieval = RetroConfig.Tiny.Retrieval! with
        {
            ChunkLength = ChunkLength, RetrievedLength = 2 * ChunkLength, Encoder = SmallModel.Encoder,
        },
    }).Validate();

    private static readonly string[] s_texts =
    [
        "The lighthouse stands on the northern cape, the lighthouse on the rock.", "Green tea is brewed below boiling heat; black tea is not.",
        "naïve café 日本語 👩‍👧", "short",
    ];

    private readonly TemporaryFolder _folder = new();
    private readonly ChunkDatabase _database;
    private readonly ChunkKeyer _keyer = new(s_tokenizer, new HashingEmbedder(32));
    private readonly NearestKey _source;
    private readonly RetroModel _model;
    private readonly RetroGenerator _generator;

    public RetroGeneratorTests()
    {
        _database = ChunkDatabaseBuilder.Build(
            Path.Combine(_folder.Path, "db"),
            s_texts.Select((text, i) => new Document($"d{i}", $"Title {i}", text, $"file{i}.txt")),
            s_tokenizer,
            new ChunkDatabaseOptions { ChunkLength = ChunkLength });
        _source = new NearestKey(_database, _keyer);
        torch.manual_seed(11);
        _model = new RetroModel(s_config, ScalarType.Float64);
        _generator = new RetroGenerator(_model, s_tokenizer, _source);
    }

    public void Dispose()
    {
        _model.Dispose();
        _database.Dispose();
        _folder.Dispose();
    }

    /// <summary>Where the database's texts were brought into one form, prompts are.</summary>
    [Theory]
    [InlineData("unicode, exact duplicates", true)]
    [InlineData("none", false)]
    public async Task A_prompt_is_read_in_the_form_of_the_databases_texts(string cleaning, bool isSame)
    {
        const string Composed = "na\u00EFve caf\u00E9 au lait, na\u00EFve", Decomposed = "nai\u0308ve cafe\u0301 au lait, nai\u0308ve";
        Assert.NotEqual(s_tokenizer.Encode(Composed), s_tokenizer.Encode(Decomposed));
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(
            Path.Combine(_folder.Path, "cleaned"),
            s_texts.Select((text, i) => new Document($"d{i}", $"Title {i}", text, $"file{i}.txt")),
            s_tokenizer,
            new ChunkDatabaseOptions { ChunkLength = ChunkLength, Cleaning = cleaning });
        RetroGenerator generator = new(_model, s_tokenizer, new NearestKey(database, _keyer));
        Assert.Equal(isSame ? Composed : Decomposed, database.AsCleaned(Decomposed));
        Assert.Equal(isSame, generator.CountTokens(Composed) == generator.CountTokens(Decomposed));
        Assert.Equal(isSame, await Read(Composed) == await Read(Decomposed));

        // What the cleaning takes out does not make a special token of a message's characters.
        RetroChatClient client = new(generator, messages => messages[0].Text, new() { MaximumNewTokens = 1 });
        ChatMessage message = new(ChatRole.User, "a<\u0001|endoftext|>b");
        ChatResponse response = await client.GetResponseAsync([message], null, TestContext.Current.CancellationToken);
        Assert.Equal(1 + s_tokenizer.Encode(isSame ? "a<|endoftext|>b" : message.Text).Length, response.Usage!.InputTokenCount);

        async Task<string> Read(string prompt)
        {
            List<string> read = [];
            CancellationToken cancel = TestContext.Current.CancellationToken;
            await foreach (GeneratedPiece piece in generator.GenerateAsync(prompt, new() { MaximumNewTokens = 12, Temperature = 0 }, cancel))
            {
                read.Add($"{piece.Text}{string.Concat(piece.Retrieved?.Neighbors.Select(neighbor => $" {neighbor.Chunk} {neighbor.Score}") ?? [])}");
            }

            return string.Concat(read);
        }
    }

    /// <summary>Prompts shorter than a chunk, of every length modulo the chunk, and longer than several.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Cached_generation_equals_computing_everything_anew_for_every_token(bool retrieval)
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 2 * ChunkLength + 3, Retrieval = retrieval };
        int tokens = 0;
        for (int length = 0; length <= 2 * ChunkLength + 1; length++)
        {
            string prompt = s_tokenizer.Decode(s_tokenizer.Encode(s_texts[0]).AsSpan(0, length));

            List<GeneratedPiece> pieces = await Collect(_generator, prompt, options);

            List<int> expected = Recompute(prompt, options);
            Assert.Equal(expected, pieces.Where(piece => piece.Token is not null).Select(piece => piece.Token!.Value));
            tokens += expected.Count;
        }

        Assert.True(tokens > 10 * ChunkLength, $"{tokens} tokens");
    }

    [Theory]
    [InlineData(0.0)]
    [InlineData(1.0)]
    public async Task P20_prompts_of_unequal_lengths_side_by_side_give_what_each_gives_alone(double temperature)
    {
        GenerationOptions options = new() { Temperature = temperature, TopP = 1, MaximumNewTokens = 2 * ChunkLength + 1, Seed = 5 };
        int[] text = s_tokenizer.Encode(s_texts[0]);
        string[] prompts = [.. new[]
        {
            0,
            1,
            ChunkLength - 1,
            ChunkLength + 2,
            2 * ChunkLength + 5
        }.Select(length => s_tokenizer.Decode(text.AsSpan(0, length)))];
        List<GeneratedPiece[]> alone = [];
        foreach (string prompt in prompts)
        {
            alone.Add([.. await Collect(_generator, prompt, options)]);
        }

        // A piece of each in turn, so that all caches are alive and at different places in a chunk.
        IAsyncEnumerator<GeneratedPiece>[] running = [.. prompts.Select(prompt =>
            _generator.GenerateAsync(prompt, options, TestContext.Current.CancellationToken).GetAsyncEnumerator())];
        List<GeneratedPiece>[] came = [.. prompts.Select(_ => new List<GeneratedPiece>())];
        bool[] ended = new bool[prompts.Length];
        while (ended.Contains(false))
        {
            for (int i = 0; i < prompts.Length; i++)
            {
                if (!ended[i] && await running[i].MoveNextAsync())
                {
                    came[i].Add(running[i].Current);
                }
                else
                {
                    ended[i] = true;
                }
            }
        }

        for (int i = 0; i < prompts.Length; i++)
        {
            await running[i].DisposeAsync();
            Assert.Equal(alone[i].Select(piece => (piece.Token, piece.Text, piece.End)), came[i].Select(piece => (piece.Token, piece.Text, piece.End)));
            Assert.Equal(
                alone[i].SelectMany(piece => piece.Retrieved?.Neighbors ?? []).Select(neighbor => neighbor.Chunk),
                came[i].SelectMany(piece => piece.Retrieved?.Neighbors ?? []).Select(neighbor => neighbor.Chunk));
        }

        Assert.Equal(prompts.Length, alone.Select(Text).Distinct().Count());
    }

    [Fact]
    public async Task Neighbors_change_what_is_generated()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 40 };

        List<GeneratedPiece> on = await Collect(_generator, s_texts[0], options);
        List<GeneratedPiece> off = await Collect(_generator, s_texts[0], options with { Retrieval = false });
        List<GeneratedPiece> without = await Collect(new RetroGenerator(_model, s_tokenizer), s_texts[0], options);

        Assert.NotEqual(Text(on), Text(off));
        Assert.Equal(Text(off), Text(without));
        Assert.All(off, piece => Assert.Null(piece.Retrieved));
    }

    [Fact]
    public async Task Sources_are_named_for_every_completed_chunk_of_prompt_and_text()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 3 * ChunkLength, Neighbors = 3 };
        int[] prompt = [s_tokenizer.EndOfText, .. s_tokenizer.Encode(s_texts[1])];

        List<GeneratedPiece> pieces = await Collect(_generator, s_texts[1], options);

        int[] tokens = [.. prompt, .. pieces.Where(piece => piece.Token is not null).Select(piece => piece.Token!.Value)];
        RetrievedNeighbors[] sources = pieces.Where(piece => piece.Retrieved is not null).Select(piece => piece.Retrieved!).ToArray();
        Assert.Equal(Enumerable.Range(0, (tokens.Length - 1) / ChunkLength), sources.Select(found => found.Chunk));
        Assert.Equal(prompt.Length / ChunkLength, pieces.TakeWhile(piece => piece.Token is null).Count());
        foreach (RetrievedNeighbors found in sources)
        {
            int[] chunk = tokens[(found.Chunk * ChunkLength)..((found.Chunk + 1) * ChunkLength)];
            long[] numbers = new long[3];
            float[] scores = new float[3];
            _source.Find([new NeighborQuery(chunk, [])], 3, numbers, scores);
            Assert.Equal(s_tokenizer.DecodePart(chunk, begins: found.Chunk == 0, ends: false), found.Query);
            Assert.Equal(found.Query.TrimEnd('\ufffd'), found.Query); // what a border cuts is not shown
            Assert.Equal(numbers, found.Neighbors.Select(source => source.Chunk));
            Assert.Equal(numbers.Select(number => _database.Text(number, s_tokenizer)), found.Neighbors.Select(source => source.Text));
            Assert.Equal(scores, found.Neighbors.Select(source => source.Score!.Value));
        }

        // The first chunk of the prompt is in the database: nothing is excluded, and it finds itself.
        RetrievedNeighbor own = sources[0].Neighbors[0];
        DocumentEntry document = _database.Documents[1];
        Assert.Equal((document.FirstChunk, "d1", "Title 1", "file1.txt", 0L), (own.Chunk, own.DocumentId, own.Title, own.Location, own.ChunkInDocument));
        Assert.Equal(s_tokenizer.Decode(prompt.AsSpan(0, ChunkLength)), own.Text);
        Assert.Equal(s_tokenizer.Decode(prompt.AsSpan(ChunkLength, ChunkLength)), own.Continuation);
    }

    [Fact]
    public async Task The_last_chunk_of_a_document_has_no_continuation_and_a_missing_neighbor_is_no_source()
    {
        long last = _database.Documents[0].FirstChunk + _database.Documents[0].ChunkCount - 1;
        RetroGenerator generator = new(_model, s_tokenizer, new GivenNeighborSource(_database, [last]));

        List<GeneratedPiece> pieces = await Collect(generator, s_texts[1], new() { MaximumNewTokens = 1, Neighbors = 2 });

        RetrievedNeighbor only = Assert.Single(pieces[0].Retrieved!.Neighbors);
        Assert.Equal(("", _database.Documents[0].ChunkCount - 1L), (only.Continuation, only.ChunkInDocument));
        Assert.EndsWith(only.Text, s_texts[0], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Neither_an_excluded_document_nor_a_copy_of_it_is_read()
    {
        string text = s_texts[0];
        Document[] documents =
        [
            new("original", "Original", text, ""), new("copy", "Copy", text, ""),
            .. s_texts[1..].Select((other, i) => new Document($"other{i}", "Other", other, "")), new("again", "Again", text, ""),
        ];
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(
            Path.Combine(_folder.Path, "copies"), documents, s_tokenizer, new ChunkDatabaseOptions { ChunkLength = ChunkLength });
        KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        RetroGenerator generator = new(_model, s_tokenizer, source);
        GenerationOptions options = new() { MaximumNewTokens = 3 * ChunkLength, Neighbors = 6 };

        async Task<HashSet<string>> Titles(GenerationOptions with)
        {
            List<GeneratedPiece> pieces = await Collect(generator, text, with);
            Assert.Contains(pieces, piece => piece is { Token: not null, Retrieved: not null });
            return [.. pieces.SelectMany(piece => piece.Retrieved?.Neighbors ?? []).Select(neighbor => neighbor.Title)];
        }

        string[] everything = ["Again", "Copy", "Original", "Other"];
        Assert.Equal(everything, (await Titles(options)).Order());
        Assert.Equal(["Other"], await Titles(options with { ExcludedDocuments = ["original"] }));
        Assert.Equal(["Other"], await Titles(options with { ExcludedDocuments = ["nowhere", "again"] }));
        Assert.Equal(everything, (await Titles(options with { ExcludedDocuments = ["nowhere"] })).Order());
    }

    [Fact]
    public async Task What_the_callers_labels_hide_is_not_read_whatever_the_prompt_says()
    {
        string text = s_texts[0];
        Document[] documents =
        [
            new("secret", "Secret", text, "") { Labels = ["secret"] }, new("internal", "Internal", text, "") { Labels = ["internal", "secret"] },
            .. s_texts[1..].Select((other, i) => new Document($"other{i}", "Other", other, "")),
        ];
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(
            Path.Combine(_folder.Path, "labels"), documents, s_tokenizer, new ChunkDatabaseOptions { ChunkLength = ChunkLength });
        RetroGenerator generator = new(_model, s_tokenizer, KeywordNeighborSource.Build(database));
        GenerationOptions options = new() { MaximumNewTokens = 3 * ChunkLength, Neighbors = 6 };

        Assert.Equal(["Internal", "Other", "Secret"], await Titles(null));
        Assert.Equal(["Other", "Secret"], await Titles(["secret"]));
        Assert.Equal(["Other"], await Titles(["internal"]));
        Assert.Equal(["Other"], await Titles([]));

        // A source of one's own that forgets the labels shows nothing either.
        generator = new(_model, s_tokenizer, new HeedlessSource(KeywordNeighborSource.Build(database)));
        Assert.Equal(["Internal", "Other", "Secret"], await Titles(null));
        Assert.Contains("source heedless", (await Assert.ThrowsAsync<DatabaseException>(() => Titles([]))).Message, StringComparison.Ordinal);

        async Task<IEnumerable<string>> Titles(string[]? labels)
        {
            List<GeneratedPiece> pieces = await Collect(generator, text, options with { Labels = labels });
            Assert.Contains(pieces, piece => piece is { Token: not null, Retrieved: not null });
            return pieces.SelectMany(piece => piece.Retrieved?.Neighbors ?? []).Select(neighbor => neighbor.Title).Distinct().Order();
        }
    }

    [Fact]
    public void Pieces_that_are_printed_print_the_text_whatever_was_read()
    {
        RetrievedNeighbor neighbor = new(0, "d1", "Title 1", "", 0, "", "", 0);
        Assert.Equal("tea and", string.Concat(new GeneratedPiece("tea"), new GeneratedPiece(" and", 1, new(0, "", [neighbor]))));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task A_whole_text_is_that_of_its_pieces_with_each_source_once(int beams)
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 3 * ChunkLength, Beams = beams };
        List<GeneratedPiece> pieces = await Collect(_generator, s_texts[1], options);
        GeneratedText whole = await _generator.GenerateTextAsync(s_texts[1], options, TestContext.Current.CancellationToken);
        Assert.Equal(Text(pieces), whole.Text);
        Assert.Equal(whole.Text, $"{whole}");
        IEnumerable<string> titles = whole.Neighbors.Select(neighbor => neighbor.Title).Distinct();
        Assert.Equal($"{whole.Text} [{string.Join("] [", titles)}]", whole.WithSources());
        Assert.Equal(pieces[^1].End, whole.End);
        RetrievedNeighbor[] read = [.. pieces.SelectMany(piece => piece.Retrieved?.Neighbors ?? [])];
        Assert.Equal(read.Select(neighbor => neighbor.Chunk).Distinct(), whole.Neighbors.Select(neighbor => neighbor.Chunk));
        Assert.True(read.Length > whole.Neighbors.Count && whole.Neighbors.Count > 0);

        options = options with { Passages = ["Tea is hot.", "Coffee too."] };
        whole = await _generator.GenerateTextAsync(s_texts[1], options, TestContext.Current.CancellationToken);
        Assert.Equal(options.Passages, whole.Neighbors.Select(neighbor => neighbor.Text));
        Assert.Equal(whole.Text, whole.WithSources());
        Assert.Equal(whole.Neighbors, JsonSerializer.Deserialize<GeneratedText>(JsonSerializer.Serialize(whole))!.Neighbors);
        await Assert.ThrowsAsync<RetroOptionsException>(() => _generator.GenerateTextAsync("tea", new() { MaximumNewTokens = -1 }));

        // A RETRO reads as many as there are, a reader no more than it does, and nobody loses one without a word.
        string[] five = ["Tea is hot.", "Coffee too.", "Water is not.", "Ice is cold.", "Snow as well."];
        whole = await _generator.GenerateTextAsync(s_texts[1], options with { Passages = five }, TestContext.Current.CancellationToken);
        Assert.Equal(five, whole.Neighbors.Select(neighbor => neighbor.Text));
        RetroOptionsException refused = await Assert.ThrowsAsync<RetroOptionsException>(
            () => _generator.GenerateTextAsync(s_texts[1], options with { Passages = five, Neighbors = 4 }));
        Assert.Contains("Passages is 5; expected at most 4", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_chunk_without_neighbors_reads_nothing()
    {
        RetroGenerator none = new(_model, s_tokenizer, new GivenNeighborSource(_database, _ => []));
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 20 };

        List<GeneratedPiece> pieces = await Collect(none, s_texts[0], options);

        Assert.Equal(Text(await Collect(_generator, s_texts[0], options with { Retrieval = false })), Text(pieces));
        Assert.All(pieces.Where(piece => piece.Retrieved is not null), piece => Assert.Empty(piece.Retrieved!.Neighbors));
    }

    [Fact]
    public async Task The_same_seed_gives_the_same_text_whoever_draws_beside_it()
    {
        GenerationOptions options = new() { Temperature = 1, TopP = 1, MaximumNewTokens = 30, Seed = 4 };
        string first = Text(await Collect(_generator, "tea", options));
        torch.manual_seed(99);

        Assert.Equal(first, Text(await Collect(_generator, "tea", options)));
        Assert.NotEqual(first, Text(await Collect(_generator, "tea", options with { Seed = 5 })));
    }

    /// <summary>All tokens are equally probable to this model: bytes come without any sense, and the end of text comes at last.</summary>
    [Fact]
    public async Task Text_is_that_of_the_tokens_bytes_until_the_end_of_text()
    {
        SetHeadToZero();
        int ended = 0;
        for (int seed = 0; seed < 3; seed++)
        {
            List<GeneratedPiece> pieces = await Collect(_generator, "", new() { Temperature = 1, TopP = 1, MaximumNewTokens = 300, Seed = seed });

            byte[] bytes = pieces.Where(piece => piece.Token is not null).SelectMany(piece => s_tokenizer.TokenBytes(piece.Token!.Value).ToArray()).ToArray();
            Assert.Equal(System.Text.Encoding.UTF8.GetString(bytes), Text(pieces));
            Assert.DoesNotContain(pieces, piece => piece.Token == s_tokenizer.EndOfText || piece.Token >= s_tokenizer.VocabularySize);
            Assert.All(pieces.SkipLast(1), piece => Assert.Null(piece.End));
            Assert.NotNull(pieces[^1].End);
            Assert.Equal(pieces[^1].End == GenerationEnd.MaximumNewTokens, pieces.Count(piece => piece.Token is not null) == 300);
            ended += pieces[^1].End == GenerationEnd.EndOfText ? 1 : 0;
        }

        Assert.InRange(ended, 1, 3);
    }

    [Fact]
    public async Task Stop_strings_end_the_text_and_are_no_part_of_it()
    {
        SetHeadToZero();
        GenerationOptions options = new() { Temperature = 1, TopP = 1, MaximumNewTokens = 250, Seed = 3 };
        string free = Text(await Collect(_generator, "", options));
        string stop = free[20..23];

        List<GeneratedPiece> pieces = await Collect(_generator, "", options with { Stop = ["never to be seen", stop] });

        Assert.Equal(free[..free.IndexOf(stop, StringComparison.Ordinal)], Text(pieces));
        Assert.Equal(GenerationEnd.StopString, pieces[^1].End);
    }

    [Fact]
    public async Task No_new_tokens_are_none()
    {
        List<GeneratedPiece> pieces = await Collect(_generator, s_texts[0], new() { MaximumNewTokens = 0 });

        Assert.Equal("", Text(pieces));
        Assert.Equal(GenerationEnd.MaximumNewTokens, pieces[^1].End);
        Assert.NotNull(pieces[0].Retrieved);
    }

    [Fact]
    public async Task A_model_of_limited_length_ends_there()
    {
        using RetroModel model = new((s_config with { Positions = PositionKind.Learned, MaximumLength = 12 }).Validate());
        RetroGenerator generator = new(model, s_tokenizer, _source);

        List<GeneratedPiece> pieces = await Collect(generator, "tea", new() { Temperature = 0, MinimumNewTokens = 50, MaximumNewTokens = 50 });

        // Twelve positions: the end-of-text token, the prompt, and what follows; the last token needs no position of its own.
        Assert.Equal(GenerationEnd.MaximumLength, pieces[^1].End);
        Assert.Equal(13, 1 + s_tokenizer.Encode("tea").Length + pieces.Count(piece => piece.Token is not null));
        Assert.Contains(
            "takes at most 12", Assert.Throws<ArgumentException>(() => generator.GenerateAsync(s_texts[0] + s_texts[1])).Message, StringComparison.Ordinal);

        // A prompt may be as long as leaves room for what is to follow at least, and no longer.
        Assert.Null(_generator.LongestPrompt());
        Assert.Equal(12, generator.LongestPrompt());
        Assert.Equal(12, generator.LongestPrompt(new() { MinimumNewTokens = 1 }));
        int longest = generator.LongestPrompt(new() { MinimumNewTokens = 5 })!.Value;
        Assert.Equal(8, longest);
        int[] prompt = s_tokenizer.Encode(s_texts[0])[..(longest - 1)];
        Assert.Equal(5, (await Pieces.Collect(generator.GenerateAsync(prompt.AsMemory(), new() { MinimumNewTokens = 5 })))
            .Count(piece => piece.Token is not null));

        // So is a text scored that is as long.
        GeneratedPiece[] came = [.. pieces.Where(piece => piece.Token is not null)];
        int[] text = [.. s_tokenizer.Encode("tea"), .. came.Select(piece => piece.Token!.Value)];
        IReadOnlyList<ScoredToken> scored = await generator.ScoreAsync(text, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(came[^1].LogProbability!.Value, scored[^1].LogProbability!.Value, 1e-4);
        await Assert.ThrowsAsync<ArgumentException>(
            () => generator.ScoreAsync((int[])[.. text, text[0]], cancellationToken: TestContext.Current.CancellationToken));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task A_token_is_handed_out_before_the_model_reads_it(int prompts)
    {
        int read = 0;
        using RetroModel model = new(s_config, ScalarType.Float64, layers: new()
        {
            FeedForward = (config, dtype, device) => new Counting(config, dtype, device, () => read++),
        });
        RetroGenerator generator = new(model, s_tokenizer, _source);
        List<int> readBefore = [];
        await foreach ((int prompt, GeneratedPiece piece) in generator.GenerateAsync(
            [.. Enumerable.Repeat(s_texts[0], prompts)], new() { Temperature = 0, MaximumNewTokens = 4, MinimumNewTokens = 4 }))
        {
            if (prompt == 0)
            {
                readBefore.Add(read / s_config.Layers);
            }
        }

        // What was found for the prompt, which nothing has read yet; then the prompt, and each token but the last, which nobody goes on from.
        int found = readBefore.Count(times => times == 0);
        Assert.NotEqual(0, found);
        int prefills = readBefore[found];
        Assert.Equal([prefills, prefills + 1, prefills + 2, prefills + 3, prefills + 3], readBefore[found..]);
    }

    [Fact]
    public async Task It_can_be_canceled_between_tokens()
    {
        using CancellationTokenSource source = new();
        int count = 0;

        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (GeneratedPiece piece in _generator.GenerateAsync("", new() { Temperature = 0, MaximumNewTokens = 1000 }, source.Token))
            {
                if (++count == 5)
                {
                    await source.CancelAsync();
                }
            }
        });

        Assert.Equal(5, count);
    }

    [Fact]
    public async Task Generating_leaves_no_tensor_behind_even_when_it_is_left_early()
    {
        async Task Run()
        {
            await foreach (GeneratedPiece piece in _generator.GenerateAsync(s_texts[0], new() { MaximumNewTokens = 30 }))
            {
                if (piece.Token is not null)
                {
                    break;
                }
            }

            await Collect(_generator, s_texts[0], new() { MaximumNewTokens = 20 });
        }

        await Run();
        long before = LiveTensors.Settled();

        await Run();

        Assert.Equal(before, Tensor.TotalCount);
    }

    /// <summary>A thread of the pool goes on by itself, which is faster; one that a window or a page waits for is left alone.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Tokens_are_computed_where_the_caller_is_only_on_a_thread_of_the_pool(bool bound)
    {
        HashSet<int> computing = [];
        nn.Module<Tensor, Tensor> observed = _model.Layers[0].FeedForward;
        observed.register_forward_pre_hook((_, x) =>
        {
            computing.Add(Environment.CurrentManagedThreadId);
            return x;
        });
        bool? same = await Task.Run(() =>
        {
            SynchronizationContext? before = SynchronizationContext.Current;
            if (bound)
            {
                SynchronizationContext.SetSynchronizationContext(new());
            }

            try
            {
                IAsyncEnumerator<GeneratedPiece> pieces =
                    _generator.GenerateAsync(s_texts[0], new() { MaximumNewTokens = 3, MinimumNewTokens = 3 }).GetAsyncEnumerator();
                while (pieces.MoveNextAsync().AsTask().GetAwaiter().GetResult() && pieces.Current.Token is null)
                {
                    // What was found for the prompt.
                }

                computing.Clear();
                pieces.MoveNextAsync().AsTask().GetAwaiter().GetResult();
                pieces.DisposeAsync().AsTask().GetAwaiter().GetResult();
                return computing.Count == 1 ? computing.Contains(Environment.CurrentManagedThreadId) : (bool?)null;
            }
            finally
            {
                SynchronizationContext.SetSynchronizationContext(before);
            }
        });
        Assert.Equal(!bound, same);
    }

    [Fact]
    public async Task Tensors_that_the_caller_makes_between_pieces_are_the_callers()
    {
        List<Tensor> made = [];
        await foreach (GeneratedPiece piece in _generator.GenerateAsync("tea", new() { MaximumNewTokens = 5 }))
        {
            made.Add(torch.ones(2));
        }

        Assert.All(made, tensor => Assert.Equal(2, tensor.sum().item<float>()));
        made.ForEach(tensor => tensor.Dispose());
    }

    [Fact]
    public void What_does_not_belong_together_is_refused()
    {
        using ChunkDatabase other = ChunkDatabaseBuilder.Build(
            Path.Combine(_folder.Path, "other"), [new Document("d", "", s_texts[0], "")], s_tokenizer, new ChunkDatabaseOptions { ChunkLength = 4 });
        using RetroModel small = new((s_config with { VocabularySize = 200 }).Validate());

        Assert.Contains(
            "The source none has no database to read from",
            Assert.Throws<ArgumentException>(() => new RetroGenerator(_model, s_tokenizer, new NoNeighborSource())).Message,
            StringComparison.Ordinal);
        Assert.Throws<DatabaseException>(() => new RetroGenerator(_model, s_tokenizer, new GivenNeighborSource(other, _ => [])));
        Assert.Contains(
            $"The tokenizer has {s_tokenizer.VocabularySize} tokens, the model 200",
            Assert.Throws<RetroException>(() => new RetroGenerator(small, s_tokenizer)).Message,
            StringComparison.Ordinal);
        Assert.Throws<RetroOptionsException>(() => _generator.GenerateAsync("", new() { TopP = 2 }));
    }

    /// <summary>Llama 2 was published so: the model never meets its token for padding, and is never asked for it.</summary>
    [Fact]
    public async Task A_special_token_without_a_row_is_no_hindrance_and_refused_in_a_prompt()
    {
        _folder.File(
            "tokenizer.json",
            "{\"added_tokens\": [{\"id\": 3, \"content\": \"</s>\", \"special\": true}, {\"id\": 4, \"content\": \"<pad>\", \"special\": true}], "
                + "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2}, \"merges\": []}}");
        RetroTokenizer tokenizer = RetroTokenizer.Load(_folder.Path);
        using RetroModel model = new((s_config with { VocabularySize = 4, Retrieval = null }).Validate());
        RetroGenerator generator = new(model, tokenizer);
        GenerationOptions options = new() { MaximumNewTokens = 9, MinimumNewTokens = 9, Alternatives = 4, BannedTokens = [4] };
        Assert.Equal(9, (await Collect(generator, "abc", options)).Count(piece => piece.Token is not null));
        RetroException fault = await Assert.ThrowsAsync<RetroException>(
            async () => await Collect(generator.GenerateAsync((int[])[0, 4], options, TestContext.Current.CancellationToken)));
        Assert.Contains("special token \"<pad>\" (4)", fault.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public Task Four_threads_generate_the_same_while_another_collects(bool hooked) => GenerateWhileCollecting(hooked, 1, 60);

    [Theory]
    [Trait("Category", "Long")]
    [InlineData(false)]
    [InlineData(true)]
    public Task Four_threads_generate_the_same_for_long_while_another_collects(bool hooked) => GenerateWhileCollecting(hooked, 25, 500);

    private async Task GenerateWhileCollecting(bool hooked, int textsOfEach, int tokens)
    {
        if (hooked)
        {
            _model.Layers[0].FeedForward.register_forward_hook((_, x, y) => (y * 1.5) + x + 1e-6);
        }

        async Task<string[]> Texts(int thread)
        {
            string[] texts = new string[textsOfEach];
            for (int i = 0; i < textsOfEach; i++)
            {
                texts[i] = Text(await Collect(_generator, "the lighthouse", new() { MaximumNewTokens = tokens, Seed = (thread * textsOfEach) + i }));
            }

            return texts;
        }

        List<string[]> expected = [];
        for (int thread = 0; thread < 4; thread++)
        {
            expected.Add(await Texts(thread));
        }

        using Collector collector = new();
        string[][] came = await Task.WhenAll(Enumerable.Range(0, 4).Select(thread => Task.Run(() => Texts(thread))));

        Assert.Equal(expected, came);
        Assert.Equal(4, expected.Select(texts => texts[0]).Distinct().Count());
    }

    /// <summary>More texts than threads: each has a token before one of them is done.</summary>
    [Fact]
    public async Task Texts_take_turns_on_the_threads_of_the_pool()
    {
        const int Tokens = 500;
        int texts = Math.Max(ThreadPool.ThreadCount, Environment.ProcessorCount) + 2, done = 0;
        int[] doneBefore = await Task.WhenAll(Enumerable.Range(0, texts).Select(_ => Task.Run(async () =>
        {
            int before = -1, tokens = 0;
            GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = Tokens, Retrieval = false };
            await foreach (GeneratedPiece piece in _generator.GenerateAsync("the lighthouse", options))
            {
                tokens += piece.Token is null ? 0 : 1;
                before = before < 0 ? Volatile.Read(ref done) : before;
            }

            Assert.Equal(Tokens, tokens);
            Interlocked.Increment(ref done);
            return before;
        })));
        Assert.Equal(new int[texts], doneBefore);
    }

    /// <summary>A model that can say one thing: after the beginning " Once", " upon", " a", " time", ".", and the end.</summary>
    [Theory]
    [InlineData("", "Once upon a time.")]
    [InlineData("Once", " upon a time.")]
    public async Task What_is_generated_from_nothing_begins_without_a_space_and_what_goes_on_keeps_it(string prompt, string expected)
    {
        string folder = Path.Combine(Fixtures.Own, "cases", "27-llama2c-leading-space"), model = Path.Combine(_folder.Path, "model.bin");
        using (FileStream packed = File.OpenRead(Path.Combine(folder, "model.bin.gz")), unpacked = File.Create(model))
        using (System.IO.Compression.GZipStream content = new(packed, System.IO.Compression.CompressionMode.Decompress))
        {
            content.CopyTo(unpacked);
        }

        using PretrainedDecoder decoder = PretrainedDecoder.Load(model);
        RetroTokenizer tokenizer = Llama2CTokenizer.Load(Path.Combine(folder, "tok.bin"));
        RetroGenerator generator = new(decoder.Model, tokenizer);
        Assert.Equal(expected, Text(await Collect(generator, prompt, new() { Temperature = 0, MaximumNewTokens = 20 })));

        // The space that it loses is none that could be banned.
        string first = Text(await Collect(generator, prompt, new() { Temperature = 0, MaximumNewTokens = 1, BannedStrings = [" "] }));
        Assert.Equal(prompt.Length == 0, first == "Once");
        Assert.DoesNotContain(' ', first);
    }

    private static string Text(IEnumerable<GeneratedPiece> pieces) => string.Concat(pieces.Select(piece => piece.Text));

    /// <summary>Greedy generation without any cache: all neighbors found and all tokens computed again for each new one.</summary>
    private List<int> Recompute(string prompt, GenerationOptions options)
    {
        List<int> tokens = [s_tokenizer.EndOfText, .. s_tokenizer.Encode(prompt)];
        List<int> generated = [];
        while (generated.Count < options.MaximumNewTokens)
        {
            using IDisposable guard = no_grad();
            using DisposeScope scope = NewDisposeScope();
            int chunks = options.Retrieval ? tokens.Count / ChunkLength : 0;
            int neighbors = s_config.Retrieval!.Neighbors, length = s_config.Retrieval!.RetrievedLength;
            long[] found = new long[chunks * neighbors];
            long[] ids = new long[found.Length * length];
            bool[] valid = new bool[ids.Length];
            for (int u = 0; u < chunks; u++)
            {
                _source.Find(
                    [new NeighborQuery(tokens.Skip(u * ChunkLength).Take(ChunkLength).ToArray(), [])],
                    neighbors,
                    found.AsSpan(u * neighbors, neighbors),
                    new float[neighbors]);
            }

            for (int i = 0; i < found.Length; i++)
            {
                _database.CopyRetrieved(found[i], ids.AsSpan(i * length, length), valid.AsSpan(i * length, length));
            }

            Tensor logits = _model.forward(
                torch.tensor(tokens.Select(token => (long)token).ToArray(), [1, tokens.Count], ScalarType.Int64),
                chunks == 0 ? null : torch.tensor(ids, [1, chunks, neighbors, length], ScalarType.Int64),
                chunks == 0 ? null : torch.tensor(valid, [1, chunks, neighbors, length]));
            int next = (int)logits.select(1, -1).slice(1, 0, s_tokenizer.VocabularySize, 1).argmax().item<long>();
            if (next == s_tokenizer.EndOfText)
            {
                break;
            }

            tokens.Add(next);
            generated.Add(next);
        }

        return generated;
    }

    private void SetHeadToZero()
    {
        using IDisposable guard = no_grad();
        foreach ((string name, Parameter parameter) in _model.named_parameters())
        {
            if (name == "head.weight")
            {
                parameter.zero_();
            }
        }
    }

    private sealed class Counting(RetroConfig config, ScalarType dtype, Device? device, Action called) : FeedForward(config, encoder: false, dtype, device)
    {
        public override Tensor forward(Tensor x)
        {
            called();
            return base.forward(x);
        }
    }

    /// <summary>The nearest keys, by the keyer and brute force.</summary>
    private sealed class NearestKey(ChunkDatabase database, ChunkKeyer keyer) : INeighborSource
    {
        private readonly float[][] _keys = Enumerable.Range(0, (int)database.ChunkCount)
            .Select(chunk => keyer.KeyOfText(s_tokenizer.Decode(database.Tokens(chunk))))
            .ToArray();

        public string Name => "nearest";

        public string Identity => $"{Name} {keyer.Identity} {database.Manifest.TokensHash}";

        public ChunkDatabase Database => database;

        public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
        {
            float[] keys = new float[queries.Count * keyer.Dimensions];
            keyer.Keys(queries.Select(query => query.Tokens).ToArray(), keys, cancellationToken);
            for (int q = 0; q < queries.Count; q++)
            {
                float[] key = keys.AsSpan(q * keyer.Dimensions, keyer.Dimensions).ToArray();
                (int Chunk, float Score)[] best = _keys.Select((other, chunk) => (chunk, key.Zip(other, (x, y) => x * y).Sum()))
                    .OrderByDescending(found => found.Item2)
                    .ThenBy(found => found.chunk)
                    .Take(count)
                    .ToArray();
                for (int i = 0; i < count; i++)
                {
                    (chunks[q * count + i], scores[q * count + i]) = best[i];
                }
            }
        }
    }
}

using System.Runtime.CompilerServices;
using Retro.Database;
using Retro.Generation;
using Retro.Modeling;
using Retro.Search;
using TorchSharp;
using static Retro.Tests.Generation.Pieces;
using static TorchSharp.torch;

namespace Retro.Tests.Generation;

/// <summary>Calls that run at the same time and are computed as one batch: each is what it is alone, whatever comes and goes beside it.</summary>
public sealed class SharedBatchTests : WritingTests
{
    private readonly RetroGenerator _batching;

    public SharedBatchTests()
        : base(outputScale: 1, seed: 11)
    {
        _batching = new(_model, s_tokenizer, _source) { BatchesCalls = true };
    }

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>Ways to write that have nothing in common, of which the sixth is two texts.</summary>
    private static (string Prompt, GenerationOptions Options)[] Ways =>
    [
        ("", new() { Temperature = 1, TopP = 1, MaximumNewTokens = 25, Seed = 5 }),
        (s_texts[0], new() { Temperature = 0, MaximumNewTokens = 30, Neighbors = 1 }),
        (s_texts[1], new() { Temperature = 1.5, TopK = 20, MaximumNewTokens = 20, Seed = 6, Retrieval = false, Alternatives = 2 }),
        ("tea", new() { Temperature = 1, TopP = 1, MaximumNewTokens = 40, Seed = 7, Stop = ["e"] }),
        (s_texts[2], new() { Temperature = 0.7, MaximumNewTokens = 12, Seed = 8, RepetitionPenalty = 1.3, Passages = [s_texts[0]] }),
        (s_texts[0], new()
        {
            Temperature = 1, TopP = 1, MaximumNewTokens = 15, Seed = 9, Samples = 2, FrequencyPenalty = 0.7, PresencePenalty = 0.3, MinP = 0.01,
            ExcludedDocuments = ["d0"],
        }),
        ("tea", new() { MaximumNewTokens = 0 }),
        (s_texts[0], new() { Temperature = 0, MaximumNewTokens = 10, Beams = 3 }),
        (s_texts[0], new() { Temperature = 1, MaximumNewTokens = 10, Seed = 10, RetrievalStride = ChunkLength / 2 }),
    ];

    [Fact]
    public async Task Calls_that_come_one_after_the_other_give_what_each_gives_alone()
    {
        List<string[][]> alone = await Alone();
        Assert.Equal(Ways.Length, alone.Select(one => string.Concat(one.SelectMany(text => text))).Distinct().Count());

        // A piece of each in turn, and after each round another one more.
        List<IAsyncEnumerator<(int Text, GeneratedPiece Piece)>> running = [];
        List<(int Text, GeneratedPiece Piece)>[] came = [.. Ways.Select(_ => new List<(int Text, GeneratedPiece Piece)>())];
        HashSet<int> ended = [];
        while (ended.Count < Ways.Length)
        {
            if (running.Count < Ways.Length)
            {
                running.Add(Begin(_batching, running.Count, Cancel).GetAsyncEnumerator(Cancel));
            }

            for (int i = 0; i < running.Count; i++)
            {
                if (!ended.Contains(i) && await running[i].MoveNextAsync())
                {
                    came[i].Add(running[i].Current);
                }
                else if (ended.Add(i))
                {
                    await running[i].DisposeAsync();
                }
            }
        }

        Assert.Equal(alone, came.Select(Said));
    }

    [Fact]
    public async Task Calls_at_once_give_what_each_gives_alone_though_some_are_given_up()
    {
        List<string[][]> alone = await Alone();
        await Run();
        long before = LiveTensors.Settled();
        await Run();
        Assert.Equal(before, LiveTensors.Settled());

        Task Run() => Task.WhenAll(Enumerable.Range(0, 3 * Ways.Length).Select(i => Task.Run(() => Call(i % Ways.Length, givesUp: i / Ways.Length == 1))));

        async Task Call(int way, bool givesUp)
        {
            List<(int Text, GeneratedPiece Piece)> came = [];
            using CancellationTokenSource canceling = new();
            try
            {
                await foreach ((int Text, GeneratedPiece Piece) piece in Begin(_batching, way, canceling.Token))
                {
                    came.Add(piece);
                    if (givesUp && came.Count == 5)
                    {
                        if (way % 2 == 0)
                        {
                            break;
                        }

                        await canceling.CancelAsync();
                    }
                }
            }
            catch (OperationCanceledException) when (givesUp)
            {
            }

            string[][] said = Said(came);
            Assert.Equal(givesUp ? alone[way].Zip(said, (all, some) => all[..some.Length]) : alone[way], said);
        }
    }

    [Fact]
    public async Task A_text_joins_at_the_next_token_and_leaves_when_it_ends_or_is_given_up()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 100, MinimumNewTokens = 100, Retrieval = false };
        List<(long Rows, long Tokens)> passes = Watch();
        int[] prompt = s_tokenizer.Encode(s_texts[0]);
        long first = 1 + prompt.Length, second = 1 + 3;
        await using IAsyncEnumerator<GeneratedPiece> one = _batching.GenerateAsync(prompt, options, Cancel).GetAsyncEnumerator(Cancel);
        await one.MoveNextAsync();
        await one.MoveNextAsync();
        Assert.Equal([(1, first), (1, 1)], passes);

        passes.Clear();
        IAsyncEnumerator<GeneratedPiece> other =
            _batching.GenerateAsync(prompt.AsMemory(0, 3), options with { MaximumNewTokens = 3, MinimumNewTokens = 3 }, Cancel).GetAsyncEnumerator(Cancel);
        await other.MoveNextAsync();
        Assert.Equal([(1, 1), (1, second)], passes);

        // A token of both for whoever asks first; the other finds it there.
        passes.Clear();
        await one.MoveNextAsync();
        Assert.Empty(passes);
        await one.MoveNextAsync();
        await other.MoveNextAsync();
        await other.MoveNextAsync();
        Assert.Equal([(2, 1), (2, 1)], passes);
        Assert.True(await other.MoveNextAsync());
        Assert.Equal(GenerationEnd.MaximumNewTokens, other.Current.End);
        Assert.False(await other.MoveNextAsync());
        await one.MoveNextAsync();
        await one.MoveNextAsync();
        Assert.Equal([(2, 1), (2, 1), (1, 1)], passes);

        // Two samples are read once, and given up before their end.
        passes.Clear();
        IAsyncEnumerator<(int Text, GeneratedPiece Piece)> two =
            _batching.GenerateAsync([prompt.AsMemory(0, 3)], options with { Samples = 2 }, Cancel).GetAsyncEnumerator(Cancel);
        await two.MoveNextAsync();
        await two.MoveNextAsync();
        await two.MoveNextAsync();
        Assert.Equal([(1, 1), (1, second), (3, 1)], passes);
        await two.DisposeAsync();
        passes.Clear();
        await one.MoveNextAsync();
        await one.MoveNextAsync();
        await one.MoveNextAsync();
        Assert.Equal([(1, 1)], passes);
    }

    /// <summary>Of prompts that wait, so many are read between two tokens of a text as do not keep it long, and a longer one by itself.</summary>
    [Fact]
    public async Task Prompts_that_wait_are_read_together_and_long_ones_alone()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 50, MinimumNewTokens = 50 };
        int letter = s_tokenizer.Encode("a")[0];
        using ManualResetEventSlim begun = new(), free = new();
        List<(long Rows, long Tokens)> passes = Watch(() =>
        {
            begun.Set();
            free.Wait(Cancel);
        });
        SharedBatch batch = new(_model);
        Task<int> running = Task.Run(() => Write(2), Cancel);
        begun.Wait(Cancel);
        Task<int>[] waiting = [.. new[] { 10, 30, 20, 200, 60, 60, 60 }.Select(Write)];
        free.Set();
        Assert.All(await Task.WhenAll([running, .. waiting]), pieces => Assert.Equal(51, pieces));
        Assert.Equal([(1, 2), (1, 1), (3, 30), (4, 1), (1, 200), (5, 1), (2, 60), (7, 1), (1, 60), (8, 1)], passes.Take(10));
        Assert.All(passes.Skip(10), pass => Assert.Equal(1, pass.Tokens));

        async Task<int> Write(int length)
        {
            GenerationSequence text = new(s_tokenizer, null, options, [s_tokenizer.BeginOfText, .. Enumerable.Repeat(letter, length - 1)], int.MaxValue);
            return (await Collect(batch.ContinueAsync([(text, 0, 1)], options, Cancel))).Count;
        }
    }

    [Fact]
    public async Task A_long_prompt_is_given_up_between_two_pieces_and_the_others_go_on()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 12, MinimumNewTokens = 12, Retrieval = false };
        List<int?> one = await Tokens(_generator, s_texts[0]), other = await Tokens(_generator, s_texts[1]);
        int[] prompt = [.. Enumerable.Repeat(s_tokenizer.Encode("a")[0], (2 * (int)RetroModel.PieceTokens) + 100)];
        await using IAsyncEnumerator<GeneratedPiece> going = _batching.GenerateAsync(s_texts[0], options, Cancel).GetAsyncEnumerator(Cancel);
        List<int?> came = [];
        await MoveNext();
        await MoveNext();

        using CancellationTokenSource canceling = new();
        List<(long Rows, long Tokens)> passes = Watch();
        _model.Layers[0].FeedForward.register_forward_pre_hook((_, x) =>
        {
            if (x.shape[1] == RetroModel.PieceTokens)
            {
                canceling.Cancel();
            }

            return x;
        });
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Collect(_batching.GenerateAsync(prompt.AsMemory(), options, canceling.Token)));
        Assert.Equal([(1, 1), (1, RetroModel.PieceTokens)], passes);
        while (came.Count < one.Count)
        {
            await MoveNext();
        }

        Assert.Equal(one, came);
        Assert.Equal(other, await Tokens(_batching, s_texts[1]));

        async Task MoveNext()
        {
            Assert.True(await going.MoveNextAsync());
            came.Add(going.Current.Token);
        }

        async Task<List<int?>> Tokens(RetroGenerator generator, string text)
            => [.. (await Collect(generator, text, options)).Select(piece => piece.Token)];
    }

    /// <summary>As one rectangle a long prompt would make each of the others as long as itself.</summary>
    [Fact]
    public async Task Prompts_of_a_call_are_read_with_those_of_like_length_and_each_goes_on_as_alone()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 20, MinimumNewTokens = 20 };
        int[] all = s_tokenizer.Encode(string.Join(' ', Enumerable.Repeat(string.Join(' ', s_texts), 9)));
        ReadOnlyMemory<int>[] prompts = [.. new[] { 5, 199, 7, 180, 70 }.Select(length => all.AsMemory(0, length - 1))];
        int?[][] alone = new int?[prompts.Length][];
        for (int i = 0; i < prompts.Length; i++)
        {
            alone[i] = [.. (await Collect(_generator.GenerateAsync(prompts[i], options, Cancel))).Select(piece => piece.Token)];
        }

        List<(long Rows, long Tokens)> passes = Watch();
        List<(int Text, GeneratedPiece Piece)> came = await Collect(_generator.GenerateAsync(prompts, options, Cancel));
        Assert.Equal(alone, came.GroupBy(one => one.Text, one => one.Piece.Token).OrderBy(text => text.Key).Select(text => text.ToArray()));
        Assert.Equal([(2, 199), (1, 70), (2, 7)], passes.Take(3));
        Assert.All(passes.Skip(3), pass => Assert.Equal((5, 1), pass));
        foreach (bool searches in new[] { false, true })
        {
            passes.Clear();
            GenerationOptions some = options with { Beams = searches ? 2 : 1, Samples = searches ? 1 : 2 };
            await Collect(_generator.GenerateAsync(prompts, some, Cancel));
            Assert.Equal([(2, 199), (1, 70), (2, 7), (10, 1)], passes.Take(4));
        }
    }

    [Theory]
    [InlineData("40 40 40 40", "0 1 2 3")]
    [InlineData("1 30 2 29", "0 1 2 3")] // few tokens
    [InlineData("50 1000 50 50", "1, 0 2 3")]
    [InlineData("10 1000 900 800 400 350", "1 2 3, 4 5, 0")] // a quarter more at most
    [InlineData("7", "0")]
    public void Texts_are_read_together_whose_padding_is_little(string lengths, string passes)
    {
        List<List<int>> together = BatchDecoding.OfLikeLength([.. lengths.Split(' ').Select(int.Parse)]);
        Assert.Equal(passes, string.Join(", ", together.Select(some => string.Join(' ', some))));
    }

    [Fact]
    public async Task What_is_wrong_with_a_call_is_no_others_affair()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 40, MinimumNewTokens = 40 };
        Damaged source = new(_source);
        RetroGenerator batching = new(_model, s_tokenizer, source) { BatchesCalls = true };
        List<GeneratedPiece> alone = await Collect(_generator, s_texts[0], options);
        await using IAsyncEnumerator<GeneratedPiece> wrong =
            batching.GenerateAsync("tea", options with { Labels = ["damaged"] }, Cancel).GetAsyncEnumerator(Cancel);
        await wrong.MoveNextAsync();
        Assert.Equal(alone.Select(piece => piece.Token), (await Collect(batching, s_texts[0], options)).Select(piece => piece.Token));
        int came = 1;
        RetroException fault = await Assert.ThrowsAsync<RetroException>(async () =>
        {
            while (await wrong.MoveNextAsync())
            {
                came++;
            }
        });
        Assert.Equal(("Damaged.", ChunkLength - 1 - s_tokenizer.Encode("tea").Length - 1), (fault.Message, came));
    }

    /// <summary>The pass is of all; those that come later are not of it.</summary>
    [Fact]
    public async Task What_is_wrong_with_the_model_is_said_to_all_and_later_ones_begin_anew()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 20, MinimumNewTokens = 20 };
        List<GeneratedPiece> alone = await Collect(_generator, s_texts[0], options);
        bool fails = false;
        Watch(() =>
        {
            if (fails)
            {
                throw new RetroException("No power.");
            }
        });
        IAsyncEnumerator<GeneratedPiece>[] all =
            [.. Enumerable.Range(0, 3).Select(_ => _batching.GenerateAsync("tea", options, Cancel).GetAsyncEnumerator(Cancel))];
        foreach (IAsyncEnumerator<GeneratedPiece> one in all)
        {
            await one.MoveNextAsync();
        }

        fails = true;
        foreach (IAsyncEnumerator<GeneratedPiece> one in all)
        {
            await Assert.ThrowsAsync<RetroException>(async () =>
            {
                while (await one.MoveNextAsync())
                {
                    // What came before.
                }
            });
        }

        fails = false;
        Assert.Equal(alone.Select(piece => piece.Token), (await Collect(_batching, s_texts[0], options)).Select(piece => piece.Token));
    }

    /// <summary>What those that went on had is lost then; those that were to join them have lost nothing.</summary>
    [Fact]
    public async Task Where_texts_cannot_join_those_that_go_on_end_with_the_fault_and_the_others_are_read()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 20, MinimumNewTokens = 20 };
        SharedBatch batch = new(_model);
        int?[][] alone = [await Write("tea"), await Write("the rock")];
        using ManualResetEventSlim begun = new(), free = new();
        bool joins = false;
        Watch(() =>
        {
            begun.Set();
            free.Wait(Cancel);
        });
        _model.Layers[0].FeedForward.register_forward_pre_hook((_, x) =>
        {
            if (x.shape[0] == 2 && x.shape[1] > 1)
            {
                joins = true;
                Cache(Decoding(batch)!)!.Dispose();
            }

            return x;
        });
        Task<int?[]> running = Task.Run(() => Write(s_texts[0]), Cancel);
        begun.Wait(Cancel);
        Task<int?[]>[] waiting = [Write("tea"), Write("the rock")];
        free.Set();
        Assert.Equal(alone, await Task.WhenAll(waiting));
        Assert.Contains(nameof(DecodingCache), (await Assert.ThrowsAsync<ObjectDisposedException>(() => running)).Message, StringComparison.Ordinal);
        Assert.True(joins);

        async Task<int?[]> Write(string prompt)
        {
            GenerationSequence text = new(s_tokenizer, null, options, [s_tokenizer.BeginOfText, .. s_tokenizer.Encode(prompt)], int.MaxValue);
            return [.. (await Collect(batch.ContinueAsync([(text, 0, 1)], options, Cancel))).Select(one => one.Piece.Token)];
        }
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 1)]
    [InlineData(4, 1)]
    [InlineData(2, 2)]
    public async Task A_call_computes_as_many_texts_at_once_as_it_may_and_each_is_what_it_is_beside_all(int most, int beams)
    {
        GenerationOptions options = new() { Temperature = beams > 1 ? 0 : 1, MaximumNewTokens = 12, Seed = 5, Samples = beams > 1 ? 1 : 3, Beams = beams };
        string[] prompts = [s_texts[0], "tea", s_texts[1]];
        string[][] all = Said(await Collect(_generator.GenerateAsync(prompts, options, Cancel)));
        RetroGenerator bounded = new(_model, s_tokenizer, _source) { TextsAtOnce = most };
        List<(long Rows, long Tokens)> passes = Watch();
        Assert.Equal(all, Said(await Collect(bounded.GenerateAsync(prompts, options, Cancel))));
        Assert.Equal(most * beams, passes.Max(pass => pass.Rows));
        Assert.Throws<ArgumentOutOfRangeException>(() => new RetroGenerator(_model, s_tokenizer, _source) { TextsAtOnce = 0 });
    }

    /// <summary>What the passes through the model read: rows, and tokens of each.</summary>
    private List<(long Rows, long Tokens)> Watch(Action? called = null)
    {
        List<(long Rows, long Tokens)> passes = [];
        nn.Module<Tensor, Tensor> observed = _model.Layers[0].FeedForward;
        observed.register_forward_pre_hook((_, x) =>
        {
            passes.Add((x.shape[0], x.shape[1]));
            called?.Invoke();
            return x;
        });
        return passes;
    }

    [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "_decoding")]
    private static extern ref BatchDecoding? Decoding(SharedBatch batch);

    [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "_cache")]
    private static extern ref DecodingCache? Cache(BatchDecoding decoding);

    private async Task<List<string[][]>> Alone()
    {
        List<string[][]> alone = [];
        for (int way = 0; way < Ways.Length; way++)
        {
            alone.Add(Said(await Collect(Begin(_generator, way, Cancel))));
        }

        return alone;
    }

    private static IAsyncEnumerable<(int Text, GeneratedPiece Piece)> Begin(RetroGenerator generator, int way, CancellationToken cancellationToken)
        => generator.GenerateAsync([Ways[way].Prompt], Ways[way].Options, cancellationToken);

    /// <summary>All that is said of the pieces of each text.</summary>
    private static string[][] Said(IEnumerable<(int Text, GeneratedPiece Piece)> pieces)
        =>
        [
            .. pieces.GroupBy(one => one.Text, one => one.Piece).OrderBy(text => text.Key).Select(text => text.Select(piece => string.Join(
                ' ',
                [
                    $"{piece.Token} '{piece.Text}' {piece.End}", .. piece.Alternatives.Select(other => $"{other.Token}"),
                    .. piece.Retrieved?.Neighbors.Select(neighbor => neighbor.Text) ?? [],
                ])).ToArray()),
        ];

    /// <summary>Finds nothing for whoever may see the label "damaged", and fails.</summary>
    private sealed class Damaged(INeighborSource source) : INeighborSource
    {
        public string Name => source.Name;

        public string Identity => source.Identity;

        public ChunkDatabase? Database => source.Database;

        public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
        {
            if (queries.Any(query => query.Labels is ["damaged"]))
            {
                throw new RetroException("Damaged.");
            }

            source.Find(queries, count, chunks, scores, cancellationToken);
        }
    }
}

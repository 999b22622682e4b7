using Retro.Corpora;
using Retro.Database;
using Retro.Generation;
using Retro.Modeling;
using Retro.Search;
using TorchSharp;
using static Retro.Tests.Generation.Pieces;
using static TorchSharp.torch;

namespace Retro.Tests.Generation;

/// <summary>Texts that begin as one that was read before go on from there, and are what they are without.</summary>
public sealed class PrefixCacheTests() : WritingTests(outputScale: 1, seed: 11)
{
    private static readonly GenerationOptions s_greedy = new() { Temperature = 0, MaximumNewTokens = 12, MinimumNewTokens = 12, Alternatives = 1 };

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task The_next_turn_of_a_conversation_reads_what_is_new(bool batches)
    {
        using PrefixCache prefixes = new(1 << 30);
        List<long> widths = [];
        int made = 0;
        using RetroModel model = new(
            _model.Config,
            ScalarType.Float64,
            layers: new() { FeedForward = (config, dtype, device) => new Told(config, dtype, device, ++made == 3 ? widths : []) });
        model.load_state_dict(_model.state_dict());
        model.eval();
        RetroGenerator generator = new(model, s_tokenizer, _source) { Prefixes = prefixes, BatchesCalls = batches };
        int[] said = [s_tokenizer.BeginOfText, .. s_tokenizer.Encode(s_texts[0])];
        long reused = 0;
        for (int turn = 0; turn < 4; turn++)
        {
            List<GeneratedPiece> expected = await Collect(_generator.GenerateAsync(said.AsMemory(), s_greedy, Cancel));
            widths.Clear();
            List<GeneratedPiece> pieces = await Collect(generator.GenerateAsync(said.AsMemory(), s_greedy, Cancel));
            Assert.Equal(said.Length - (prefixes.ReusedTokens - reused), widths[0]);
            Assert.Equal(expected.Count(piece => piece.Retrieved is not null), pieces.Count(piece => piece.Retrieved is not null));
            AssertSame(expected, pieces);
            Assert.Equal(turn == 0 ? 0 : said.Length - 5, prefixes.ReusedTokens - reused); // the last answer's last token was not read
            reused = prefixes.ReusedTokens;
            said = [.. said, .. pieces.Select(piece => piece.Token).OfType<int>(), .. s_tokenizer.Encode(s_texts[1]).Take(4)];
        }
    }

    /// <summary>Whatever was asked before, and in which way.</summary>
    [Fact]
    public async Task Texts_of_any_beginnings_and_options_are_what_they_are_alone()
    {
        using PrefixCache prefixes = new(1 << 22);
        RetroGenerator generator = new(_model, s_tokenizer, _source) { Prefixes = prefixes };
        int[] all = [s_tokenizer.BeginOfText, .. s_texts.SelectMany(text => s_tokenizer.Encode(text))];
        GenerationOptions[] ways =
        [
            s_greedy, s_greedy with { Retrieval = false }, s_greedy with { Neighbors = 1 }, s_greedy with { ExcludedDocuments = ["d0"] },
            s_greedy with { Passages = [s_texts[1]] }, s_greedy with { MaximumNewTokens = 3, MinimumNewTokens = 0 },
        ];
        Random random = new(7);
        List<int[]> texts = [all];
        for (int i = 0; i < 60; i++)
        {
            // A beginning of a text that was written, and then another end.
            int[] from = texts[random.Next(texts.Count)];
            int[] prompt = [.. from.Take(random.Next(1, Math.Min(from.Length, 150) + 1)), .. all.Skip(random.Next(all.Length)).Take(random.Next(20))];
            GenerationOptions options = ways[random.Next(ways.Length)];
            List<GeneratedPiece> pieces = await Collect(generator.GenerateAsync(prompt.AsMemory(), options, Cancel));
            AssertSame(await Collect(_generator.GenerateAsync(prompt.AsMemory(), options, Cancel)), pieces);
            texts.Add([.. prompt, .. pieces.Select(piece => piece.Token).OfType<int>()]);
        }

        Assert.True(prefixes.ReusedTokens > 500, $"{prefixes.ReusedTokens} tokens");
        Assert.InRange(prefixes.ByteLength, 1, prefixes.MaximumBytes);
    }

    /// <summary>What one caller may see is in no text of another's, though both begin alike.</summary>
    [Fact]
    public async Task What_was_read_for_somebody_who_may_see_more_is_not_gone_on_from()
    {
        Document[] documents =
        [
            .. s_texts.Select((text, i) => new Document($"d{i}", "", text, "")),
            new("secret", "", "The lighthouse on the rock hides the gold of the cape, all of it.", "") { Labels = ["secret"] },
        ];
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(_folder["labels"], documents, s_tokenizer, new() { ChunkLength = ChunkLength });
        KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        using PrefixCache prefixes = new(1 << 30);
        RetroGenerator generator = new(_model, s_tokenizer, source) { Prefixes = prefixes }, alone = new(_model, s_tokenizer, source);
        int[] prompt = s_tokenizer.Encode("Green tea is brewed below boiling heat; the lighthouse on the rock, the gold of the cape and all of it.");
        GenerationOptions sees = s_greedy with { Labels = ["secret"] }, seesNot = s_greedy with { Labels = [] };
        List<GeneratedPiece> secret = await Collect(generator.GenerateAsync(prompt.AsMemory(), sees, Cancel));
        Assert.Contains(secret, piece => piece.Retrieved?.Neighbors.Any(neighbor => neighbor.DocumentId == "secret") == true);
        int first = secret.FindIndex(piece => piece.Retrieved?.Neighbors.Any(neighbor => neighbor.DocumentId == "secret") == true);
        List<GeneratedPiece> expected = await Collect(alone.GenerateAsync(prompt.AsMemory(), seesNot, Cancel));
        Assert.NotEqual(Last(expected), Last(secret), 1e-6);
        AssertSame(expected, await Collect(generator.GenerateAsync(prompt.AsMemory(), seesNot, Cancel)));
        Assert.Equal(((first + 1) * ChunkLength) - 1, prefixes.ReusedTokens); // up to the last token before the first that read it
        AssertSame(secret, await Collect(generator.GenerateAsync(prompt.AsMemory(), sees, Cancel)));

        static double Last(List<GeneratedPiece> pieces) => pieces.Last(piece => piece.Token is not null).LogProbability!.Value;
    }

    /// <summary>Calls that run at the same time are one batch, in which some begin in the middle.</summary>
    [Fact]
    public async Task Calls_of_one_batch_go_on_from_what_others_have_read()
    {
        using PrefixCache prefixes = new(1 << 30);
        RetroGenerator generator = new(_model, s_tokenizer, _source) { Prefixes = prefixes, BatchesCalls = true };
        string[] prompts = [s_texts[0], s_texts[0] + " " + s_texts[1], s_texts[2], "tea", s_texts[0] + " The light."];
        GenerationOptions options = s_greedy with { Samples = 2, Temperature = 1, Seed = 3 };
        var expected = (await Collect(_generator.GenerateAsync(prompts, options, Cancel))).ToLookup(one => one.Text, one => one.Piece);
        await Collect(generator.GenerateAsync(prompts[..1], options, Cancel));
        for (int round = 0; round < 2; round++)
        {
            var came = (await Collect(generator.GenerateAsync(prompts, options, Cancel))).ToLookup(one => one.Text, one => one.Piece);
            Assert.All(Enumerable.Range(0, 10), text => AssertSame([.. expected[text]], [.. came[text]]));
        }

        Assert.True(prefixes.ReusedTokens > 100, $"{prefixes.ReusedTokens} tokens");
        Assert.Single(await Collect(generator.GenerateAsync(prompts[3], s_greedy with { MaximumNewTokens = 0, MinimumNewTokens = 0 }, Cancel)));
    }

    [Fact]
    public async Task It_takes_no_more_memory_than_it_may_and_gives_it_back()
    {
        await Collect(_generator, s_texts[0], s_greedy); // what is made once
        long before = LiveTensors.Settled();
        using (PrefixCache prefixes = new(1 << 30))
        {
            RetroGenerator generator = new(_model, s_tokenizer, _source) { Prefixes = prefixes };
            await Collect(generator, s_texts[0], s_greedy);
            long one = prefixes.ByteLength;
            Assert.InRange(one, 1, prefixes.MaximumBytes);
            await Collect(generator, s_texts[0], s_greedy); // the same once more takes nothing
            Assert.Equal(one, prefixes.ByteLength);
            await Collect(generator, s_texts[1], s_greedy);
            await Collect(generator, s_texts[2], s_greedy);

            // Of three there is room for two.
            using PrefixCache small = new(prefixes.ByteLength - (one / 2)), least = new(100);
            RetroGenerator bounded = new(_model, s_tokenizer, _source) { Prefixes = small }, none = new(_model, s_tokenizer, _source) { Prefixes = least };
            foreach (string text in new[] { s_texts[0], s_texts[1], s_texts[2], s_texts[1] })
            {
                await Collect(bounded, text, s_greedy);
                await Collect(none, text, s_greedy);
                Assert.InRange(small.ByteLength, 1, small.MaximumBytes);
                Assert.Equal(0, least.ByteLength);
            }

            Assert.True(small.ReusedTokens > 0); // what was used last is still there,
            long reused = small.ReusedTokens;
            await Collect(bounded, s_texts[0], s_greedy);
            Assert.Equal(reused, small.ReusedTokens); // and what was not is not
            prefixes.Clear();
            Assert.Equal(0, prefixes.ByteLength);
        }

        Assert.Equal(before, LiveTensors.Settled());
        Assert.Throws<ArgumentOutOfRangeException>(() => new PrefixCache(0));
    }

    [Fact]
    public async Task A_text_that_there_is_no_room_for_takes_no_others_place()
    {
        string large = s_texts[1] + " " + s_texts[2];
        using PrefixCache whole = new(1 << 30);
        await Collect(new RetroGenerator(_model, s_tokenizer, _source) { Prefixes = whole }, large, s_greedy);
        using PrefixCache prefixes = new(whole.ByteLength - 1);
        RetroGenerator generator = new(_model, s_tokenizer, _source) { Prefixes = prefixes };
        await Collect(generator, s_texts[0], s_greedy);
        long one = prefixes.ByteLength;
        await Collect(generator, large, s_greedy);
        Assert.Equal(one, prefixes.ByteLength);
        Assert.InRange(one, 1, whole.ByteLength - 1);
    }

    /// <summary>What a hook does to a text is no part of the next one, nor the other way around.</summary>
    [Fact]
    public async Task While_hooks_run_nothing_is_kept_or_gone_on_from()
    {
        using PrefixCache prefixes = new(1 << 30);
        RetroGenerator generator = new(_model, s_tokenizer, _source) { Prefixes = prefixes };
        var hook = _model.Layers[1].FeedForward.register_forward_hook((_, _, output) => output * 0);
        await Collect(generator, s_texts[0], s_greedy);
        Assert.Equal(0, prefixes.ByteLength);
        hook.remove();
        await Collect(generator, s_texts[0], s_greedy);
        hook = _model.Layers[1].FeedForward.register_forward_hook((_, _, output) => output * 0);
        List<GeneratedPiece> hooked = await Collect(_generator, s_texts[0], s_greedy);
        AssertSame(hooked, await Collect(generator, s_texts[0], s_greedy));
        Assert.Equal(0, prefixes.ReusedTokens);
        hook.remove();
        AssertSame(await Collect(_generator, s_texts[0], s_greedy), await Collect(generator, s_texts[0], s_greedy));
        Assert.True(prefixes.ReusedTokens > 0);
    }

    [Fact]
    public async Task One_that_is_disposed_keeps_nothing()
    {
        PrefixCache prefixes = new(1 << 30);
        RetroGenerator generator = new(_model, s_tokenizer, _source) { Prefixes = prefixes };
        prefixes.Dispose();
        AssertSame(await Collect(_generator, s_texts[0], s_greedy), await Collect(generator, s_texts[0], s_greedy));
        Assert.Equal(0, prefixes.ByteLength);
    }

    /// <summary>Tells how many tokens it is given.</summary>
    private sealed class Told(RetroConfig config, ScalarType dtype, Device? device, List<long> widths) : FeedForward(config, false, dtype, device)
    {
        public override Tensor forward(Tensor x)
        {
            widths.Add(x.shape[1]);
            return base.forward(x);
        }
    }

    private static void AssertSame(List<GeneratedPiece> expected, List<GeneratedPiece> pieces)
    {
        Assert.Equal(expected.Select(piece => (piece.Token, piece.Text, piece.End)), pieces.Select(piece => (piece.Token, piece.Text, piece.End)));
        Assert.All(expected.Zip(pieces), pair => Assert.Equal(pair.First.LogProbability ?? 0, pair.Second.LogProbability ?? 0, 1e-9));
    }
}

using System.Text.Json;
using Retro.Corpora;
using Retro.Database;
using Retro.Generation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Embedders;
using Retro.Tests.Modeling;
using Retro.Tests.Readers;
using Retro.Tests.Search;
using Retro.Tokenizers;
using TorchSharp;
using static Retro.Tests.Generation.Pieces;
using static TorchSharp.torch;

namespace Retro.Tests.Generation;

/// <summary>Text of a copying reader, over documents of random characters whose twins are in the database: they alone tell what follows a prompt.</summary>
public sealed class CopyGenerationTests : IClassFixture<CopyGenerationTests.Fitted>, IDisposable
{
    private const int M = 16, K = 4, S = 8, Q = 12, R = 30, HeldOut = 10;

    private static readonly RetroTokenizer s_tokenizer = EmbeddingInputs.Tokenizer;

    private static readonly RetroConfig s_config = (RetroConfig.Tiny with
    {
        VocabularySize = s_tokenizer.VocabularySize + 4, // padded, as many are
        Width = 16, Heads = 2, HeadSize = 8, FeedForwardSize = 32, TieEmbeddings = false, InitialOutputScale = 1,
        Retrieval = RetroConfig.Tiny.Retrieval! with
        {
            ChunkLength = M, RetrievedLength = 2 * M, Encoder = SmallModel.Encoder,
        },
    }).Validate();

    private static readonly CopyReaderOptions s_settings = new()
    {
        Neighbors = K, Stride = S, QueryLength = Q, RetrievedLength = R, Steps = 40, WindowLength = 7 * M, Seed = 1,
    };

    private readonly TemporaryFolder _folder = new();
    private readonly List<Document> _heldOut;
    private readonly ChunkDatabase _database;
    private readonly RecordingSource _source;
    private readonly RetroModel _model;
    private readonly CopyReader _reader;
    private readonly RetroGenerator _generator;

    public CopyGenerationTests(Fitted fitted)
    {
        (_heldOut, _database, _model, _reader) = (fitted.HeldOut, fitted.Database, fitted.Model, fitted.Reader);
        _source = new(fitted.Source);
        _generator = new RetroGenerator(_reader, s_tokenizer, _source);
    }

    public void Dispose() => _folder.Dispose();

    /// <summary>What all tests read: the twins, and a reader that was fitted to copy from them.</summary>
    public sealed class Fitted : IDisposable
    {
        private readonly TemporaryFolder _folder = new();

        public Fitted()
        {
            List<Document> all = CopyReaderTests.Twins(100, 120, seed: 3);
            HeldOut = [.. all.Where(document => document.Id.StartsWith('a')).Take(CopyGenerationTests.HeldOut)];
            Database = Build(_folder["database"], all.Except(HeldOut));
            Source = KeywordNeighborSource.Build(Database);
            manual_seed(11);
            Model = new RetroModel(s_config, ScalarType.Float64);
            Reader = CopyReader.Fit(Model, Database, Source, s_settings);
        }

        public List<Document> HeldOut { get; }

        public ChunkDatabase Database { get; }

        public KeywordNeighborSource Source { get; }

        public RetroModel Model { get; }

        public CopyReader Reader { get; }

        public void Dispose()
        {
            Reader.Dispose();
            Model.Dispose();
            Source.Dispose();
            Database.Dispose();
            _folder.Dispose();
        }
    }

    [Fact]
    public async Task A_repetition_penalty_does_without_anything_to_copy_what_it_does_to_the_decoder()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 30, RepetitionPenalty = 1.5, Retrieval = false };
        string prompt = _heldOut[0].Text[..60];
        string alone = await Text(new(new DecoderReader(_model), s_tokenizer));
        Assert.Equal(alone, await Text(_generator));

        async Task<string> Text(RetroGenerator generator) => string.Concat((await Collect(generator, prompt, options)).Select(piece => piece.Text));
    }

    /// <summary>Prompts that are empty, shorter than a stretch, of every length modulo the stretch, and longer than a query.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [InlineData(false, 3)]
    [InlineData(true, 3)]
    public async Task Cached_generation_equals_reading_everything_anew_for_every_token(bool anywhere, int crossAttended = 0)
    {
        CopyReaderOptions settings = crossAttended > 0 ? s_settings with { CrossAttended = crossAttended, RetrievedLength = 2 * M } : s_settings;
        using CopyReader reader = CopyReader.Fit(_model, _database, _source, settings, anywhere ? TokenIndex.Build(_database) : null);
        RetroGenerator generator = new(reader, s_tokenizer, _source);
        ReadingAnew anew = new(s_tokenizer, tokens => Best(reader, tokens), tokens => Batch(tokens, reader.RetrievedLength!.Value));
        int all = await anew.WritesTheSame(generator, reader, _heldOut[0].Text, Enumerable.Range(0, (3 * S) + 2), (2 * S) + 3, 1e-4);
        Assert.True(all > 10 * S, $"{all} tokens");
    }

    /// <summary>A text is scored in one pass, by the neighbors and documents that it is written by, token by token.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [InlineData(true, 3)]
    public async Task A_text_scores_what_its_tokens_had_when_they_came(bool anywhere, int crossAttended = 0)
    {
        CopyReaderOptions settings = s_settings with { Steps = 5 };
        settings = crossAttended > 0 ? settings with { CrossAttended = crossAttended, RetrievedLength = 2 * M } : settings;
        using CopyReader reader = CopyReader.Fit(_model, _database, _source, settings, anywhere ? TokenIndex.Build(_database) : null);
        RetroGenerator generator = new(reader, s_tokenizer, _source);
        string prompt = _heldOut[0].Text[..60], twin = $"b{_heldOut[0].Id[1..]}";
        GenerationOptions all = new() { Temperature = 0, MaximumNewTokens = 30, MinimumNewTokens = 30 };
        List<double> first = [];
        foreach (GenerationOptions options in new[]
        {
            all, all with { Neighbors = 2 }, all with { ExcludedDocuments = [twin] }, all with { Retrieval = false },
        })
        {
            GeneratedPiece[] pieces = [.. (await Collect(generator, prompt, options)).Where(piece => piece.Token is not null)];
            int[] text = [.. s_tokenizer.Encode(prompt), .. Tokens(pieces)];
            IReadOnlyList<ScoredToken> scored = await generator.ScoreAsync(text, options, TestContext.Current.CancellationToken);
            Assert.Equal(text, scored.Select(token => token.Token));
            Assert.All(
                pieces.Zip(scored.Skip(text.Length - pieces.Length)),
                pair => Assert.Equal(pair.First.LogProbability!.Value, pair.Second.LogProbability!.Value, 1e-4));
            first.Add(scored[text.Length - pieces.Length].LogProbability!.Value);
        }

        Assert.NotEqual(first[0], first[2], 1e-3);
        Assert.NotEqual(first[0], first[3], 1e-3);
    }

    [Fact]
    public async Task What_a_twin_in_the_database_holds_is_reproduced_and_without_it_is_not()
    {
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 40 };
        int reproduced = 0;
        foreach (Document document in _heldOut)
        {
            (string prompt, string rest) = (document.Text[..60], document.Text[60..]);
            string on = Text(await Collect(_generator, prompt, options)), off = Text(await Collect(_generator, prompt, options with { Retrieval = false }));
            reproduced += on.Length >= 40 && rest.StartsWith(on, StringComparison.Ordinal) ? 1 : 0;
            Assert.False(rest.StartsWith(off[..4], StringComparison.Ordinal));
        }

        Assert.InRange(reproduced, HeldOut - 1, HeldOut);
    }

    [Fact]
    public async Task Without_neighbors_it_is_the_models_text()
    {
        RetroGenerator plain = new(_model, s_tokenizer), none = new(_reader, s_tokenizer, new GivenNeighborSource(_database, _ => []));
        string prompt = _heldOut[0].Text[..60];
        GenerationOptions drawn = new() { Temperature = 0.9, TopK = 50, TopP = 0.9, MaximumNewTokens = 60, Seed = 2 };
        string free = Text(await Collect(plain, prompt, drawn));
        foreach (GenerationOptions options in new[] { drawn, drawn with { Temperature = 0 }, drawn with { Stop = [free[10..12]] } })
        {
            List<GeneratedPiece> expected = await Collect(plain, prompt, options), off = await Collect(_generator, prompt, options with { Retrieval = false });
            List<GeneratedPiece> empty = await Collect(none, prompt, options);

            RequireSame(expected, off);
            RequireSame(expected, empty.Where(piece => piece is not { Token: null, Retrieved: not null }).Select(piece => piece with { Retrieved = null }));
            Assert.All(empty.Where(piece => piece.Retrieved is not null), piece => Assert.Empty(piece.Retrieved!.Neighbors));
            Assert.Contains(empty, piece => piece is { Token: not null, Retrieved: not null });
        }

        Assert.NotEqual(free, Text(await Collect(_generator, prompt, drawn)));
    }

    /// <summary>The same pieces; what a mixture says of a token is rounded otherwise than what a model says.</summary>
    private static void RequireSame(IEnumerable<GeneratedPiece> expected, IEnumerable<GeneratedPiece> pieces)
    {
        Assert.Equal(expected.Count(), pieces.Count());
        Assert.All(expected.Zip(pieces, (one, other) => (one, other)).ToArray(), pair =>
        {
            Assert.Equal(pair.one with { LogProbability = null }, pair.other with { LogProbability = null });
            Assert.Equal(pair.one.LogProbability ?? 0, pair.other.LogProbability ?? 0, 1e-4);
        });
    }

    /// <summary>The last complete stretch of the prompt, and every one that the text completes; nothing is asked for what nobody predicts.</summary>
    [Fact]
    public async Task What_is_asked_for_is_what_evaluation_asks_for_and_is_named()
    {
        for (int length = 0; length <= (2 * S) + 1; length++)
        {
            string prompt = s_tokenizer.Decode(s_tokenizer.Encode(_heldOut[1].Text).AsSpan(0, length));
            int begin = 1 + s_tokenizer.Encode(prompt).Length;
            _source.Queries.Clear();

            List<GeneratedPiece> pieces = await Collect(_generator, prompt, new() { Temperature = 0, MaximumNewTokens = 20, Neighbors = 2 });

            int[][] asked = Asked();
            int[] tokens = [s_tokenizer.BeginOfText, .. s_tokenizer.Encode(prompt), .. Tokens(pieces)];
            RetrievedNeighbors[] sources = [.. pieces.Where(piece => piece.Retrieved is not null).Select(piece => piece.Retrieved!)];
            int first = Math.Max(0, (begin / S) - 1);
            Assert.Equal(Enumerable.Range(first, ((tokens.Length - 1) / S) - first), sources.Select(found => found.Chunk));
            Assert.Equal(begin / S > 0 ? 1 : 0, pieces.TakeWhile(piece => piece.Token is null && piece.End is null).Count());
            for (int i = 0; i < sources.Length; i++)
            {
                long[] numbers = new long[2];
                float[] scores = new float[2];
                _source.Find([new NeighborQuery(asked[i], [])], 2, numbers, scores);
                Assert.Equal(s_tokenizer.DecodePart(asked[i], begins: asked[i][0] == s_tokenizer.BeginOfText, ends: false), sources[i].Query);
                Assert.Equal(numbers.Where(number => number >= 0), sources[i].Neighbors.Select(neighbor => neighbor.Chunk));
                Assert.All(sources[i].Neighbors, neighbor => Assert.Equal(_database.Documents[_database.DocumentOf(neighbor.Chunk)].Id, neighbor.DocumentId));
            }

            // The same text as a document that is measured from the first generated token on.
            TokenizerFacts facts = new("ready", new string('a', 64), s_tokenizer.VocabularySize, s_tokenizer.EndOfText, _ => tokens[1..]);
            using ChunkDatabase text = ChunkDatabaseBuilder.Build(
                Path.Combine(_folder.Path, $"text{length}"), [new Document("text", "", "text", "")], facts, new ChunkDatabaseOptions { ChunkLength = M });
            _source.Queries.Clear();
            StrideRetrieval.Of(text, [(0, tokens.Length - 1, begin)], new(2, R, S, Q), _source, cancellationToken: TestContext.Current.CancellationToken);
            Assert.Equal(Asked(), asked);
        }

        int[][] Asked() => [.. _source.Queries.Select(query => query.Tokens.ToArray())];
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Neither_an_excluded_document_nor_a_copy_of_it_is_read(bool anywhere)
    {
        Document text = _heldOut[0];
        Document[] documents =
        [
            new("original", "", text.Text, "") { Labels = ["secret"] }, .. CopyReaderTests.Twins(20, 120, seed: 5),
            new("copy", "", text.Text, "") { Labels = ["secret"] },
        ];
        using ChunkDatabase database = Build(_folder["copies"], documents);
        using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        using CopyReader? indexed = anywhere ? CopyReader.Fit(_model, database, source, s_settings, TokenIndex.Build(database)) : null;
        RetroGenerator generator = new(indexed ?? _reader, s_tokenizer, source);
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 40 };
        (string prompt, string rest) = (text.Text[..60], text.Text[60..]);

        List<GeneratedPiece> all = await Collect(generator, prompt, options);
        List<GeneratedPiece> others = await Collect(generator, prompt, options with { ExcludedDocuments = ["copy"] });

        string[] copies = ["copy", "original"];
        Assert.Superset(copies.ToHashSet(), Ids(all));
        Assert.Empty(Ids(others).Intersect(copies));
        Assert.NotEmpty(Ids(others));
        Assert.Equal(rest[..Text(all).Length], Text(all));
        Assert.InRange(Text(all).Length, 40, rest.Length);
        Assert.False(rest.StartsWith(Text(others)[..4], StringComparison.Ordinal));

        // To whom they are hidden they are as good as not there.
        Assert.Equal(Text(others), Text(await Collect(generator, prompt, options with { Labels = [] })));
        Assert.Equal(Text(all), Text(await Collect(generator, prompt, options with { Labels = ["secret"] })));

        static HashSet<string> Ids(List<GeneratedPiece> pieces)
            => [.. pieces.SelectMany(piece => piece.Retrieved?.Neighbors ?? []).Select(neighbor => neighbor.DocumentId)];
    }

    /// <summary>By neighbors that hold the twin, or, with others, by the index that finds it.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_a_token_is_copied_from_is_told_with_the_chunk_where_it_stands(bool anywhere)
    {
        INeighborSource source = anywhere ? new GivenNeighborSource(_database, _ => [0]) : _source;
        using CopyReader? indexed = anywhere ? CopyReader.Fit(_model, _database, source, s_settings, TokenIndex.Build(_database)) : null;
        RetroGenerator generator = new(indexed ?? _reader, s_tokenizer, source);
        GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = 40 };
        int told = 0;
        foreach (Document document in _heldOut)
        {
            string twin = $"b{document.Id[1..]}", text = document.Text[..60];
            List<GeneratedPiece> pieces = await Collect(generator, text, options);
            foreach (GeneratedPiece piece in pieces)
            {
                if (piece.CopiedFrom is { } from)
                {
                    Assert.NotNull(piece.Token);
                    bool isThere = $"{from.Text}{from.Continuation}".Contains($"{text[^3..]}{piece.Text}", StringComparison.Ordinal);
                    Assert.Equal(from.Text, _database.Text(from.Chunk, s_tokenizer));
                    told += from.DocumentId == twin && isThere ? 1 : 0;
                }

                text += piece.Text;
            }

            GeneratedText whole = await generator.GenerateTextAsync(document.Text[..60], options, TestContext.Current.CancellationToken);
            Assert.Equal(
                pieces.SelectMany(piece => piece.Retrieved?.Neighbors ?? []).Concat(pieces.Select(piece => piece.CopiedFrom).OfType<RetrievedNeighbor>())
                    .Select(neighbor => neighbor.Chunk).Distinct().Order(),
                whole.Neighbors.Select(neighbor => neighbor.Chunk).Order());
            Assert.Equal(whole.Neighbors, JsonSerializer.Deserialize<GeneratedText>(JsonSerializer.Serialize(whole))!.Neighbors);
            Assert.All(
                await Collect(generator, document.Text[..60], options with { Retrieval = false, MaximumNewTokens = 8 }),
                piece => Assert.Null(piece.CopiedFrom));
        }

        // A token is a character here; of those at a chunk's border the three before stand in the chunk before.
        Assert.InRange(told, (HeldOut - 2) * 30, HeldOut * 40);
    }

    /// <summary>Passages that are given stand for all that would be found, and not for the neighbors alone.</summary>
    [Fact]
    public async Task Of_given_passages_alone_is_copied_though_the_text_stands_in_the_database()
    {
        GivenNeighborSource source = new(_database, _ => [0]);
        using CopyReader reader = CopyReader.Fit(_model, _database, source, s_settings, TokenIndex.Build(_database));
        RetroGenerator anywhere = new(reader, s_tokenizer, source), alone = new(reader.FromNeighborsAlone, s_tokenizer, source);
        string prompt = _heldOut[0].Text[..60];
        GenerationOptions found = new() { Temperature = 0, MaximumNewTokens = 40, MinimumNewTokens = 40 }, given = found with { Passages = ["something else"] };
        Assert.Contains(await Collect(anywhere, prompt, found), piece => piece.CopiedFrom is { Chunk: >= 0 });

        GeneratedPiece[] pieces = [.. (await Collect(anywhere, prompt, given)).Where(piece => piece.Token is not null)];

        Assert.All(pieces, piece => Assert.True(piece.CopiedFrom is null or { Chunk: -1 }, $"{piece.CopiedFrom}"));
        Assert.Equal(Tokens(await Collect(alone, prompt, given)), Tokens(pieces));
        int[] text = [.. s_tokenizer.Encode(prompt), .. Tokens(pieces)];
        IReadOnlyList<ScoredToken> scored = await anywhere.ScoreAsync(text, given, TestContext.Current.CancellationToken);
        Assert.All(
            pieces.Zip(scored.Skip(text.Length - pieces.Length)),
            pair => Assert.Equal(pair.First.LogProbability!.Value, pair.Second.LogProbability!.Value, 1e-4));
    }

    [Fact]
    public async Task Generating_leaves_no_tensor_behind_even_when_it_is_left_early()
    {
        async Task Run()
        {
            await foreach (GeneratedPiece piece in _generator.GenerateAsync(_heldOut[0].Text[..60], new() { MaximumNewTokens = 30 }))
            {
                if (piece.Token is not null)
                {
                    break;
                }
            }

            await Collect(_generator, _heldOut[0].Text[..60], new() { MaximumNewTokens = 20 });
        }

        await Run();
        long before = LiveTensors.Settled();

        await Run();

        Assert.Equal(before, Tensor.TotalCount);
    }

    [Fact]
    public async Task Several_threads_generate_the_same_while_another_collects()
    {
        GenerationOptions options = new() { MaximumNewTokens = 40 };
        async Task<string> One(int thread) => Text(await Collect(_generator, _heldOut[thread].Text[..50], options));
        List<string> expected = [];
        for (int thread = 0; thread < 4; thread++)
        {
            expected.Add(await One(thread));
        }

        using Collector collector = new();
        Assert.Equal(expected, await Task.WhenAll(Enumerable.Range(0, 4).Select(thread => Task.Run(() => One(thread)))));
    }

    [Fact]
    public void What_does_not_belong_together_is_refused()
    {
        TokenizerFacts facts = new("another", new string('a', 64), s_tokenizer.VocabularySize, s_tokenizer.EndOfText, text => s_tokenizer.Encode(text));
        using ChunkDatabase other = ChunkDatabaseBuilder.Build(
            Path.Combine(_folder.Path, "other"), _heldOut, facts, new ChunkDatabaseOptions { ChunkLength = M });

        ArgumentException refused = Assert.Throws<ArgumentException>(() => new RetroGenerator(_reader, s_tokenizer, new NoNeighborSource()));
        Assert.Contains("no database to copy from", refused.Message, StringComparison.Ordinal);
        Assert.Throws<DatabaseException>(() => new RetroGenerator(_reader, s_tokenizer, new GivenNeighborSource(other, _ => [])));
        using ChunkDatabase again = Build(_folder["again"], _heldOut);
        using CopyReader indexed = CopyReader.Fit(_model, _database, _source, s_settings with { Steps = 1 }, TokenIndex.Build(_database));
        refused = Assert.Throws<ArgumentException>(() => new RetroGenerator(indexed, s_tokenizer, new GivenNeighborSource(again, _ => [])));
        Assert.Contains("the reader's index was built of", refused.Message, StringComparison.Ordinal);
        Assert.Contains(
            $"Neighbors is {K + 1}; expected at most {K}",
            Assert.Throws<RetroOptionsException>(() => _generator.GenerateAsync("", new() { Neighbors = K + 1 })).Message,
            StringComparison.Ordinal);
    }

    private static string Text(IEnumerable<GeneratedPiece> pieces) => string.Concat(pieces.Select(piece => piece.Text));

    private static int[] Tokens(IEnumerable<GeneratedPiece> pieces) => [.. pieces.Where(piece => piece.Token is not null).Select(piece => piece.Token!.Value)];

    private static ChunkDatabase Build(string path, IEnumerable<Document> documents)
        => ChunkDatabaseBuilder.Build(path, documents, s_tokenizer, new ChunkDatabaseOptions { ChunkLength = M });

    /// <summary>The whole text, with the neighbors of all of its stretches.</summary>
    private ReadingBatch Batch(List<int> tokens, int retrievedLength)
    {
        ReadingBatch batch = new(1, tokens.Count, S);
        tokens.Select(token => (long)token).ToArray().CopyTo(batch.Tokens, 0);
        if (tokens.Count >= S)
        {
            batch.Retrieved = new RetrievedTokens(1, tokens.Count / S, K, retrievedLength);
            for (int stretch = 0; stretch < tokens.Count / S; stretch++)
            {
                int end = (stretch + 1) * S, start = Math.Max(0, end - Q);
                long[] found = new long[K];
                _source.Find([new NeighborQuery(tokens.GetRange(start, end - start).ToArray(), [])], K, found, new float[K]);
                batch.Retrieved.Take(0, stretch, _database, found);
            }
        }

        return batch;
    }

    /// <summary>The most probable next token of a text, with nothing kept from before.</summary>
    private (int Token, double LogP) Best(CopyReader reader, List<int> tokens)
    {
        using IDisposable guard = no_grad();
        using DisposeScope scope = NewDisposeScope();
        ReadingBatch batch = Batch(tokens, reader.RetrievedLength!.Value);
        long[] last = [tokens.Count - 1];
        (Tensor? neighbors, Tensor? valid) = batch.Retrieved?.ToTensors() ?? default;
        if (reader.Options.CrossAttended is var read && (read == 0 || tokens.Count < M))
        {
            (neighbors, valid) = (null, null);
        }
        else if (neighbors is not null)
        {
            // Of each second stretch, which ends a chunk, the best.
            neighbors = neighbors.slice(1, 1, neighbors.shape[1], M / S).narrow(2, 0, read);
            valid = valid!.slice(1, 1, valid.shape[1], M / S).narrow(2, 0, read);
        }

        Tensor states = _model.StatesAt(tensor(batch.Tokens, [1, tokens.Count]), tensor(last), neighbors, valid);
        (Tensor logits, _) = reader.Logits(states, CopyCandidates.Find(batch, K, last, reader.Index)); // [1, V]
        Tensor all = nn.functional.log_softmax(logits, 1);
        Tensor whole = all.select(0, 0).slice(0, 0, s_tokenizer.VocabularySize, 1);
        int best = (int)whole.argmax().item<long>();
        return (best, whole[best].to(ScalarType.Float64).item<double>());
    }
}

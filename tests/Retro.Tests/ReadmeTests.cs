using Microsoft.Extensions.AI;
using Retro.Checkpoints;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Evaluation;
using Retro.Generation;
using Retro.Modeling;
using Retro.Pretrained;
using Retro.Readers;
using Retro.Retrievers;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Tests.Documentation;
using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests;

/// <summary>What README and docs show is compiled here, run, and compared with their text.</summary>
public class ReadmeTests
{
    [Fact]
    public async Task The_ten_lines_run_and_stand_in_the_documentation()
    {
        string before = Environment.CurrentDirectory;
        using TemporaryFolder folder = new();
        TextWriter console = Console.Out;
        StringWriter printed = new();
        try
        {
            Environment.CurrentDirectory = folder.Path;
            WriteDocuments();
            Console.SetOut(printed);

            // The model that the lines make would otherwise be one of those tests' before, and now and then one that ends its text within the first chunk.
            manual_seed(1);
            await TenLines();
        }
        finally
        {
            Console.SetOut(console);
            Environment.CurrentDirectory = before;
        }

        Assert.Matches(@"^bits per byte of 2 held-out documents: \d\.\d\d without neighbors, \d\.\d\d with\n", printed.ToString());
        Assert.Matches(@" \[\d+\] \[\d+\]", printed.ToString());
        Assert.True(Snippet("readme").Split('\n') is { Length: 10 } lines && lines.Count(line => line.StartsWith("using ", StringComparison.Ordinal)) <= 3);
        Assert.Contains(Snippet("readme"), DocumentationTests.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_lines_on_pretrained_weights_run_and_stand_in_the_documentation()
    {
        string before = Environment.CurrentDirectory;
        using TemporaryFolder folder = new();
        string bert = Path.Combine(Fixtures.Own, "pretrained", "bert"), mistral = Path.Combine(Fixtures.Own, "pretrained", "mistral-sliding-window");
        try
        {
            Environment.CurrentDirectory = folder.Path;
            WriteDocuments();
            await Pretrained(bert, mistral, [.. Corpus.Open("docs").Documents()]);
            Assert.True(File.Exists(Path.Combine("run/fitted", Retrofit.FileName)));
        }
        finally
        {
            Environment.CurrentDirectory = before;
        }

        Assert.Contains(Snippet("pretrained"), DocumentationTests.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_lines_on_readers_and_on_retrievers_run_and_stand_in_the_documentation()
    {
        string before = Environment.CurrentDirectory;
        using TemporaryFolder folder = new();
        TextWriter console = Console.Out;
        StringWriter printed = new();
        try
        {
            Environment.CurrentDirectory = folder.Path;
            WriteDocuments();
            Document[] texts = [.. Corpus.Open("docs").Documents()];
            RetroTokenizer tokenizer = BpeTrainer.Train(texts.Select(text => text.Text), vocabularySize: 512, "run/tokenizer");
            using ChunkDatabase database = ChunkDatabaseBuilder.Build("run/db", texts[1..], tokenizer);
            using ChunkDatabase heldOut = ChunkDatabaseBuilder.Build("run/held", texts[..1], tokenizer);
            using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
            using (RetroModel fresh = new(RetroConfig.Mini with { VocabularySize = tokenizer.VocabularySize, Retrieval = null }))
            {
                Checkpoint.Save("run/closed-book", fresh);
            }

            Console.SetOut(printed);
            Copying(database, heldOut, source);
            Assert.True(File.Exists("run/copying.safetensors"));
            using RetroModel decoder = Checkpoint.Load("run/closed-book");
            await Reading(decoder, tokenizer, database, heldOut, source);
            Assert.True(File.Exists("run/states.bin"));
            Retrieving(decoder, tokenizer, texts[1..], database, source);
            File.WriteAllText("queries.jsonl", """{"_id": "1", "text": "the river"}""");
            Directory.CreateDirectory("qrels");
            File.WriteAllText("qrels/test.tsv", $"query-id\tcorpus-id\tscore\n1\t{texts[1].Id}\t1\n");
            Judging(tokenizer, source);
        }
        finally
        {
            Console.SetOut(console);
            Environment.CurrentDirectory = before;
        }

        Assert.Matches(@"\| closed book \|(.*\n)+\| copying \| bm25, k = 16 \|", printed.ToString());
        Assert.Matches(@"bm25: recall@10 \d\.\d\d, MRR@10 \d\.\d\d, nDCG@10 \d\.\d\d, success@10 \d\.\d\d", printed.ToString());
        Assert.Contains(Snippet("judging"), DocumentationTests.Text, StringComparison.Ordinal);
        Assert.Contains(Snippet("reading"), DocumentationTests.Text, StringComparison.Ordinal);
        Assert.Contains(Snippet("copying"), DocumentationTests.Text, StringComparison.Ordinal);
        Assert.Contains(Snippet("retrieving"), DocumentationTests.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_lines_on_a_loop_a_sampler_a_layer_and_a_search_of_ones_own_run_and_stand_in_the_documentation()
    {
        using TemporaryFolder folder = new();
        Document[] texts = [.. Enumerable.Range(0, 8).Select(i => new Document(
            $"{i}", "", string.Concat(Enumerable.Range(0, 60).Select(j => $"The {(i % 2 == 0 ? "river" : "bridge")} {i} has {j * i} steps.\n")), ""))];
        RetroTokenizer tokenizer = BpeTrainer.Train(texts.Select(text => text.Text), vocabularySize: 300, folder["tokenizer"]);
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(folder["database"], texts, tokenizer, new() { ChunkLength = 16 });
        using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        manual_seed(1); // of two tokens that are as probable, rounding would choose one
        using RetroModel model = new(RetroConfig.Tiny with { VocabularySize = tokenizer.VocabularySize });
        Loop(model, database, source, folder["loop"]);
        Assert.Equal(tokenizer.Hash, model.TokenizerHash);
        await Sampler(model, tokenizer, database, source);
        Layer();
        StringWriter printed = new();
        TextWriter console = Console.Out;
        try
        {
            Console.SetOut(printed);
            Search(source, tokenizer);
        }
        finally
        {
            Console.SetOut(console);
        }

        Assert.Matches(": .*river", printed.ToString());
        string[] asked = [];
        INeighborSource own = Own(database, tokenizer, text => (asked = [.. asked, text]).Length > 1 ? ["3", "5"] : ["5"]);
        Assert.Equal(["5"], own.Search("the river", tokenizer).Select(found => found.DocumentId));
        Assert.Equal(["3"], own.Search("the bridge", tokenizer, excludedDocuments: [5]).Select(found => found.DocumentId));
        Assert.Equal(["the river", "the bridge"], asked.Select(text => text.Trim()));
        Assert.Contains(Snippet("own source"), DocumentationTests.Text, StringComparison.Ordinal);
        using DenseNeighborSource dense = OwnEmbedder(database, tokenizer, new HashingEmbedder());
        Assert.NotEmpty(dense.Search("the river", tokenizer));
        Assert.Contains(Snippet("own embedder"), DocumentationTests.Text, StringComparison.Ordinal);
        Assert.Equal(257, OwnTokenizer(tokenizer.Tokenizer).VocabularySize);
        Assert.Contains(Snippet("own tokenizer"), DocumentationTests.Text, StringComparison.Ordinal);
        Assert.Contains(Snippet("loop"), DocumentationTests.Text, StringComparison.Ordinal);
        Assert.Contains(Snippet("loop kept"), DocumentationTests.Text, StringComparison.Ordinal);
        Assert.Contains(Snippet("processor"), DocumentationTests.Text, StringComparison.Ordinal);
        Assert.Contains(Snippet("sampler"), DocumentationTests.Text, StringComparison.Ordinal);
        Assert.Contains(Snippet("layer"), DocumentationTests.Text, StringComparison.Ordinal);
        Assert.Contains(Snippet("search"), DocumentationTests.Text, StringComparison.Ordinal);
    }

    private static async Task Pretrained(string bert, string mistral, Document[] texts)
    {
        // <pretrained>
        using TextEmbedder embedder = TextEmbedder.Load(bert); // BERT, RoBERTa, XLM-R, MPNet, DistilBERT, ModernBERT; sentence-transformers
        using PretrainedDecoder decoder = PretrainedDecoder.Load(mistral); // folder of a Llama, Mistral, Qwen, OLMo 2, Phi-3, SmolLM3, Gemma 3, GPT-2, GPT-Neo or GPT-NeoX, or your own; llama2.c
        RetroTokenizer tokenizer = RetroTokenizer.Load(mistral); // the decoder's own, which the database has to be made with
        using ChunkDatabase database = ChunkDatabaseBuilder.Build("run/db", texts, tokenizer);
        DenseNeighborSource source = DenseNeighborSource.Build(database, new ChunkKeyer(tokenizer, embedder)); // or BM25, KeywordNeighborSource.Build(database)
        using Retrofit retrofit = Retrofit.From(decoder, RetrievalConfig.Matching(decoder.Model.Config)); // the decoder is frozen: step 0 equals it bit for bit
        using Trainer trainer = new(retrofit.Model, TrainingOptions.SmallModel with { Steps = 20 }); // 300 where it was measured
        trainer.Run(new WindowSampler(database, new() { Neighbors = 8 }, NeighborTable.Build(database, source)));
        retrofit.Save("run/fitted"); // what was added alone; Checkpoint.Save("run/whole", retrofit.Model) writes the decoder with it
        using Retrofit again = Retrofit.Load("run/fitted", decoder);
        GeneratedText text = await new RetroGenerator(again.Model, tokenizer, source).GenerateTextAsync("The river"); // text.Neighbors: what it read
        // </pretrained>
        Assert.Equal(48, embedder.Dimensions);
        Assert.All(text.Neighbors, neighbor => Assert.InRange(neighbor.Chunk, 0, database.ChunkCount - 1));
        Assert.Contains(retrofit.Added, name => name.Contains(".cca.", StringComparison.Ordinal));
    }

    private static void Search(INeighborSource source, RetroTokenizer tokenizer)
    {
        // <search>
        foreach (RetrievedNeighbor found in source.Search("the river", tokenizer, 3)) Console.WriteLine($"{found.Title}: {found.Text}");
        // </search>
    }

    private static void Judging(RetroTokenizer tokenizer, INeighborSource source)
    {
        // <judging>
        Corpus asked = Corpus.Open("queries.jsonl", new() { Fields = new() { Id = "_id" } });
        IReadOnlyList<JudgedQuery> queries = JudgedQuery.Read(asked.Documents(), "qrels/test.tsv");
        Console.WriteLine(RetrievalQuality.Measure(source, tokenizer, queries)); // bm25: recall@10 0.41 [0.35, 0.48], MRR@10 ..., nDCG@10 ..., success@10 ...
        // </judging>
    }

    private static DenseNeighborSource OwnEmbedder(
        ChunkDatabase database, RetroTokenizer tokenizer, IEmbeddingGenerator<string, Embedding<float>> myEmbedder)
    {
        // <own embedder>
        DenseNeighborSource dense = DenseNeighborSource.Build(database, new ChunkKeyer(tokenizer, myEmbedder, batchSize: 32)); // makes every chunk's key, once
        // </own embedder>
        return dense;
    }

    private static RetroTokenizer OwnTokenizer(Microsoft.ML.Tokenizers.Tokenizer myTokenizer)
    {
        // <own tokenizer>
        RetroTokenizer own = RetroTokenizer.From(myTokenizer, identity: "bytes, as of 2026-11", vocabularySize: 257, endOfText: 256, bytes: id => [(byte)id]);
        // </own tokenizer>
        return own;
    }

    private static INeighborSource Own(ChunkDatabase database, RetroTokenizer tokenizer, Func<string, IEnumerable<string>> mySearch)
    {
        // <own source>
        long[] Choose(NeighborQuery query) => [.. mySearch(tokenizer.Decode(query.Tokens.Span)).Select(id => database.FindDocument(id)!.FirstChunk)];
        INeighborSource source = new GivenNeighborSource(database, Choose, identity: "my search of 2026-11-20");
        // </own source>
        return source;
    }

    private static void Loop(RetroModel model, ChunkDatabase database, INeighborSource source, string folder)
    {
        // <loop>
        List<float> losses = [];
        using NeighborTable table = NeighborTable.Build(database, source);
        WindowSampler windows = new(database, new() { WindowLength = 128, Neighbors = model.Config.Retrieval!.Neighbors, RetrievalDropout = 0 }, table);
        model.TieTokenizer(database.Manifest.TokenizerHash); // so that a checkpoint says whose ids it reads, as a Trainer's does
        TorchSharp.Modules.AdamW adam = optim.AdamW(model.parameters(), lr: 1e-3); // of its own type: optim.Optimizer does not keep its state
        for (int step = 0; step < 20; step++)
        {
            model.train(); // who measures or generates leaves it in evaluation mode
            using FinalizerGate.Hold gate = FinalizerGate.Close(); // TorchSharp's optimizer makes numbers of its own
            using DisposeScope scope = NewDisposeScope();
            TrainingBatch batch = windows.Batch(step, step / 20.0).ToTensors(); // tokens [B, T], neighbors [B, C, K, R]
            Tensor logits = model.forward(batch.Tokens, batch.Neighbors, batch.Valid); // [B, T, V]
            Tensor loss = LogLikelihood.MeanLoss(logits, LogLikelihood.Targets(batch.Tokens, batch.LossMask));
            adam.zero_grad();
            loss.backward();
            adam.step();
            losses.Add(loss.item<float>());
        }
        // </loop>
        Assert.InRange(losses[^1], 0, losses[0] - 0.5);
        // <loop kept>
        Checkpoint.Save(folder, model);
        adam.save_state_dict(Path.Combine(folder, "adam"));

        // In another process, from batch 20 on:
        RetroModel kept = Checkpoint.Load(folder);
        TorchSharp.Modules.AdamW again = optim.AdamW(kept.parameters(), lr: 1e-3);
        again.load_state_dict(Path.Combine(folder, "adam"));
        // </loop kept>
        using RetroModel loaded = kept;
        Assert.Equal(Losses(model, adam), Losses(loaded, again));

        float[] Losses(RetroModel of, TorchSharp.Modules.AdamW optimizer) => [.. Enumerable.Range(20, 3).Select(step =>
        {
            using FinalizerGate.Hold gate = FinalizerGate.Close();
            using DisposeScope scope = NewDisposeScope();
            TrainingBatch batch = windows.Batch(step, 1).ToTensors();
            Tensor logits = of.forward(batch.Tokens, batch.Neighbors, batch.Valid);
            Tensor loss = LogLikelihood.MeanLoss(logits, LogLikelihood.Targets(batch.Tokens, batch.LossMask));
            optimizer.zero_grad();
            loss.backward();
            optimizer.step();
            return loss.item<float>();
        })];
    }

    private static async Task Sampler(RetroModel model, RetroTokenizer tokenizer, ChunkDatabase database, INeighborSource source)
    {
        // <processor>
        HashSet<int> loud = [.. Enumerable.Range(0, tokenizer.VocabularySize).Where(id => tokenizer.Decode([id]).Any(char.IsUpper))];
        GenerationOptions quiet = new()
        {
            MaximumNewTokens = 60,
            LogitBias = new Dictionary<int, double> { [tokenizer.EndOfText] = -2 }, // longer texts
            LogitsProcessor = (tokens, logits) => { foreach (int id in loud) logits[id] = float.NegativeInfinity; }, // of the text so far, prompt included
        };
        GeneratedText lower = await new RetroGenerator(model, tokenizer, source).GenerateTextAsync("the river", quiet);
        // </processor>
        Assert.DoesNotContain(lower.Text, char.IsUpper);
        Assert.NotEmpty(lower.Text);
        model.eval();
        // <sampler>
        List<int> text = [tokenizer.BeginOfText, .. tokenizer.Encode("The river")];
        RetrievalConfig retrieval = model.Config.Retrieval!;
        using DecodingCache cache = model.NewCache(rows: 1);
        for (int i = 0; i < 60; i++)
        {
            using DisposeScope scope = NewDisposeScope();
            RetrievedTokens read = new(rows: 1, chunks: 1, retrieval.Neighbors, retrieval.RetrievedLength);
            if (cache.CompletesChunk(0)) // its last token is the first to read what is found for it
            {
                (long[] found, float[] scores) = (new long[retrieval.Neighbors], new float[retrieval.Neighbors]);
                int[] chunk = [.. text[(i + 1 - retrieval.ChunkLength)..(i + 1)]];
                source.Find([new NeighborQuery(chunk, [])], retrieval.Neighbors, found, scores);
                read.Take(row: 0, chunk: 0, database, found, scores);
            }
            (Tensor? neighbors, Tensor? valid) = read.ToTensors(); // [1, 1, K, R]; null where nothing was found
            Tensor logits = model.Step(cache, tensor([(long)text[i]]), neighbors?.squeeze(1), valid?.squeeze(1)); // [1, V]
            if (i + 1 == text.Count) text.Add((int)logits.argmax(-1).item<long>()); // or chosen in any other way
        }
        // </sampler>
        int begin = 1 + tokenizer.Encode("The river").Length;
        List<int> generated = [];
        await foreach (GeneratedPiece piece in new RetroGenerator(model, tokenizer, source).GenerateAsync(
            "The river", new() { Temperature = 0, MaximumNewTokens = text.Count - begin, MinimumNewTokens = text.Count - begin }))
        {
            generated.AddRange(piece.Token is { } token ? [token] : []);
        }

        Assert.True(text.Count > 3 * retrieval.ChunkLength);
        Assert.Equal(generated, text[begin..]);
    }

    private static void Layer()
    {
        // <layer>
        RetroConfig config = RetroConfig.Tiny with { Retrieval = RetroConfig.Tiny.Retrieval! with { ZeroOutput = false } };
        using DisposeScope scope = NewDisposeScope();
        using ChunkedCrossAttention layer = new(config); // or one that derives from it
        int chunk = config.Retrieval!.ChunkLength;
        AttentionPlan plan = AttentionPlan.ChunkedCross(config, tokens: 3 * chunk, chunks: 2, neighbors: 4, valid: null, ScalarType.Float32, CPU);
        Tensor states = randn(1, 3 * chunk, config.Width); // [B, T, D]
        Tensor encoded = randn([1, 2, 4, config.Retrieval.RetrievedLength, config.Retrieval.Encoder.Width]); // [B, C, K, R, E]
        Tensor read = layer.call(states, encoded, plan); // [B, T, D]
        Assert.Equal(0, read.narrow(1, 0, chunk - 1).abs().max().item<float>()); // before the first chunk is complete, nothing is read
        Assert.NotEqual(0, read.narrow(1, chunk - 1, 1).abs().min().item<float>());
        // </layer>
    }

    private static void Copying(ChunkDatabase database, ChunkDatabase heldOut, INeighborSource source)
    {
        // <copying>
        using RetroModel decoder = Checkpoint.Load("run/closed-book"); // a decoder, trained without neighbors; it stays as it is
        using CopyReader reader = CopyReader.Fit(decoder, database, source, new() { Neighbors = 16, Steps = 50 }); // 300 steps by default
        BitsPerByteResult alone = BitsPerByte.Measure(new DecoderReader(decoder), heldOut), copying = BitsPerByte.Measure(reader, heldOut, source);
        Console.WriteLine(EvaluationTable.Of([new("closed book", [alone]), new("copying", [copying])]).ToMarkdown());
        reader.Save("run/copying.safetensors"); // with CopyReader.Fit(..., TokenIndex.Build(database)) it copies from anywhere in the database, too
        using CopyReader again = CopyReader.Load("run/copying.safetensors", decoder);
        // </copying>
    }

    private static async Task Reading(
        RetroModel decoder, RetroTokenizer tokenizer, ChunkDatabase database, ChunkDatabase validation, INeighborSource source)
    {
        // <reading>
        InContextReader inContext = new(decoder, tokenizer, new() { Neighbors = 2 }); // passages in front of the text
        EnsembleReader ensemble = EnsembleReader.Fit(decoder, tokenizer, validation, source); // one at a time, mixed by the source's scores (REPLUG)
        using TokenStore states = TokenStore.Build(decoder, database, "run/states.bin"); // the decoder's state at every token of the database
        NearestNeighborReader nearest = NearestNeighborReader.Fit(decoder, states, validation); // what followed the nearest ones (kNN-LM)
        using DecoupledReader own = DecoupledReader.Fit(decoder, database, source, new() { Steps = 5 }); // by its own attention (DecoupledRAG); 300 by default
        await foreach (GeneratedPiece piece in new RetroGenerator(ensemble, tokenizer, source).GenerateAsync("The river")) Console.Write(piece);
        // </reading>
        Assert.Equal(2, inContext.Neighbors);
        Assert.InRange(nearest.Share, 0, 1);
        Assert.Equal(2, own.Neighbors);
    }

    private static void Retrieving(RetroModel decoder, RetroTokenizer tokenizer, Document[] texts, ChunkDatabase database, INeighborSource source)
    {
        // <retrieving>
        using TextEmbedder embedder = InverseClozeTrainer.Train(texts, tokenizer, options: new() { Steps = 20 }); // or TextEmbedder.Load of another
        using DenseNeighborSource dense = DenseNeighborSource.Build(database, new ChunkKeyer(tokenizer, embedder));
        using NeighborTable table = NeighborTable.Build(database, source, 8);
        PointerReader judge = new(new DecoderReader(decoder), PointerRule.Count(database, table, new() { Neighbors = 8 })); // what passages are worth
        RetrieverTrainingOptions options = new() { Steps = 5, InBatchNegatives = true }; // 150 steps above, 500 by default
        RetrieverObjective objective = RetrieverObjective.PerplexityDistillation();
        using RetrieverTrainer trainer = new(embedder, tokenizer, dense, judge, objective, options, alongside: source);
        trainer.Run();
        using TextEmbedder queries = trainer.QueryEmbedder();
        TowerNeighborSource learned = new(dense, new ChunkKeyer(tokenizer, queries)); // asks the same index in the learned way
        // </retrieving>
        Assert.Equal(5, trainer.StepsDone);
        Assert.Same(database, learned.Database);
    }

    private static async Task TenLines()
    {
        // <readme>
        Document[] texts = [.. Corpus.Open("docs").Documents()], held = texts[..(1 + (texts.Length / 10))], known = texts[held.Length..];
        RetroTokenizer tokenizer = BpeTrainer.Train(known.Select(text => text.Text), vocabularySize: 512, "run/tokenizer");
        using ChunkDatabase database = ChunkDatabaseBuilder.Build("run/db", known, tokenizer), heldOut = ChunkDatabaseBuilder.Build("run/held", held, tokenizer);
        KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        using RetroModel model = new(RetroConfig.Mini with { VocabularySize = tokenizer.VocabularySize, Retrieval = RetrievalConfig.Matching(RetroConfig.Mini) });
        using Trainer trainer = new(model, TrainingOptions.SmallModel with { Steps = 100, ClosedBook = 0.5 });
        trainer.Run(new WindowSampler(database, new() { Neighbors = 8 }, NeighborTable.Build(database, source)));
        BitsPerByteResult off = BitsPerByte.Measure(model, heldOut), on = BitsPerByte.Measure(model, heldOut, source);
        Console.WriteLine($"bits per byte of {off.Documents} held-out documents: {off.Value:0.00} without neighbors, {on.Value:0.00} with");
        Console.WriteLine((await new RetroGenerator(model, tokenizer, source).GenerateTextAsync("## Description")).WithSources());
        // </readme>
    }

    private static string Snippet(string mark) => Fixtures.Snippet("tests/Retro.Tests/ReadmeTests.cs", mark);

    private static void WriteDocuments()
    {
        Directory.CreateDirectory("docs");
        for (int i = 0; i < 12; i++)
        {
            string topic = new[] { "river", "bridge", "harbor", "mountain" }[i % 4];
            File.WriteAllText(
                Path.Combine("docs", $"{i}.md"),
                string.Concat(Enumerable.Range(0, 30).Select(j => $"The {topic} number {i} has {j} stones and {j * i} steps.\n")));
        }
    }
}

using CustomLayer;
using Retro;
using Retro.Checkpoints;
using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Generation;
using Retro.Modeling;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;

// Builds a database of <corpus>, and trains, saves, loads, measures and generates with a model whose cross-attention is one's own.
string folder = Path.GetFullPath("custom-layer");
try
{
    TorchLibrary.Require();
    Corpus corpus = Corpus.Open(args.FirstOrDefault() ?? "docs");
    LayerFactory layers = new() { CrossAttention = (config, dtype, device) => new GatedCrossAttention(config, dtype, device) };
    List<Document> texts = [.. corpus.Documents()], held = [.. texts.Where((_, i) => i % 8 == 0)], known = [.. texts.Except(held)];
    BpeTrainer.Train(known.Select(text => text.Text), 512, Path.Combine(folder, "tokenizer"));
    RetroTokenizer tokenizer = RetroTokenizer.Load(Path.Combine(folder, "tokenizer"));
    ChunkDatabaseOptions chunks = new() { ChunkLength = RetroConfig.Tiny.Retrieval!.ChunkLength, StartOver = true };
    using ChunkDatabase database = ChunkDatabaseBuilder.Build(Path.Combine(folder, "database"), known, tokenizer, chunks);
    using ChunkDatabase heldOut = ChunkDatabaseBuilder.Build(Path.Combine(folder, "held-out"), held, tokenizer, chunks);
    SearchStages.BuildKeywordIndex(database);
    using Bm25Index words = SearchStages.OpenKeywordIndex(database);
    KeywordNeighborSource source = new(database, words);
    using NeighborTable neighbors = SearchStages.BuildNeighbors(database, source), answers = SearchStages.BuildNeighbors(heldOut, source);
    using (RetroModel fresh = new(RetroConfig.Tiny with { VocabularySize = tokenizer.VocabularySize }, layers: layers))
    using (Trainer trainer = new(fresh, TrainingOptions.SmallModel with { Steps = 200, WarmupSteps = 20 }))
    {
        trainer.Run(new WindowSampler(database, new() { WindowLength = 128, RetrievedLength = 32 }, neighbors));
        Checkpoint.Save(Path.Combine(folder, "model"), fresh);
    }

    using RetroModel model = Checkpoint.Load(Path.Combine(folder, "model"), new() { Layers = layers });
    Console.WriteLine($"bits per byte: {BitsPerByte.Measure(model, heldOut).Value:0.000} off, {BitsPerByte.Measure(model, heldOut, answers, database).Value:0.000} on");
    await foreach (GeneratedPiece piece in new RetroGenerator(model, tokenizer, database, source).GenerateAsync(held[0].Text[..40], new() { MaximumNewTokens = 60 }))
    {
        Console.Write(piece.Text + string.Concat(piece.Retrieved?.Neighbors.Select(neighbor => $" [{neighbor.Title}]") ?? []));
    }

    return 0;
}
catch (RetroException fault)
{
    Console.Error.WriteLine(fault.Message);
    return 1;
}

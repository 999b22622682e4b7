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

// Builds a database of <corpus>, and trains, saves, loads, measures and generates with a model with a custom cross-attention.
try
{
    TorchLibrary.Require();
    Document[] texts = [.. Corpus.Open(args.FirstOrDefault() ?? "docs").Documents()], held = texts[..(1 + (texts.Length / 8))], known = texts[held.Length..];
    RetroTokenizer tokenizer = BpeTrainer.Train(known.Select(text => text.Text), 512, "custom-layer/tokenizer");
    ChunkDatabaseOptions chunks = new() { ChunkLength = RetroConfig.Tiny.Retrieval!.ChunkLength, StartOver = true };
    using ChunkDatabase database = ChunkDatabaseBuilder.Build("custom-layer/database", known, tokenizer, chunks);
    using ChunkDatabase heldOut = ChunkDatabaseBuilder.Build("custom-layer/held-out", held, tokenizer, chunks);
    KeywordNeighborSource source = KeywordNeighborSource.Build(database);
    LayerFactory layers = new() { CrossAttention = (config, dtype, device) => new GatedCrossAttention(config, dtype, device) };
    using RetroModel fresh = new(RetroConfig.Tiny with { VocabularySize = tokenizer.VocabularySize }, layers: layers);
    using Trainer trainer = new(fresh, TrainingOptions.SmallModel with { Steps = 200, CheckpointFolder = "custom-layer/model" });
    trainer.Run(new WindowSampler(database, new() { WindowLength = 128 }, NeighborTable.Build(database, source)));
    using RetroModel model = Checkpoint.Load("custom-layer/model", new() { Layers = layers });
    BitsPerByteResult off = BitsPerByte.Measure(model, heldOut), on = BitsPerByte.Measure(model, heldOut, source);
    Console.WriteLine($"bits per byte: {off.Value:0.000} off, {on.Value:0.000} on");
    GeneratedText text = await new RetroGenerator(model, tokenizer, source).GenerateTextAsync("The", new() { MaximumNewTokens = 80 });
    Console.WriteLine(text.WithSources());
}
catch (RetroException fault)
{
    Console.Error.WriteLine(fault.Message);
    Environment.ExitCode = 1;
}

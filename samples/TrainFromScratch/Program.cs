using Retro;
using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;

// Trains a RETRO from scratch, and measures on documents that it has never seen what reading from a database is worth to it.
string steps = args.ElementAtOrDefault(2) ?? "600";
if (args.Length is not (2 or 3) || !int.TryParse(steps, out int total) || total < 1)
{
    Console.Error.WriteLine("usage: TrainFromScratch <file or folder of text> <folder to write> [steps, 600 without]");
    return 2;
}

string Folder(string name) => Path.Combine(args[1], name);
try
{
    TorchLibrary.Require();
    FreedMemory.Keep(); // each step asks for what the one before freed

    // What is measured, and what nearly repeats it, is neither trained on nor retrieved from: else remembering would pass for reading.
    Document[] documents = [.. Corpus.Open(args[0]).Documents()];
    HeldOutSplit split = HeldOutSplit.Create(documents, new() { Count = Math.Clamp(documents.Length / 10, 1, 60) });
    Document[] known = [.. split.Training(documents)];
    RetroTokenizer tokenizer = BpeTrainer.Train(known.Select(document => document.Text), vocabularySize: 2048, Folder("tokenizer"));
    ChunkDatabaseOptions chunks = new() { StartOver = true };
    using ChunkDatabase database = ChunkDatabaseBuilder.Build(Folder("database"), known, tokenizer, chunks);
    using ChunkDatabase heldOut = ChunkDatabaseBuilder.Build(Folder("held-out"), split.HeldOut(documents), tokenizer, chunks);
    HeldOut.Require(heldOut, database, tokenizer);

    // Neighbors of every chunk, from other documents, are looked up once, before the training.
    RetrievalConfig retrieval = RetrievalConfig.Matching(RetroConfig.Mini);
    using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
    using NeighborTable neighbors = NeighborTable.Build(database, source, retrieval.Neighbors);
    WindowSampler windows = new(database, new() { BatchSize = 1, Neighbors = retrieval.Neighbors }, neighbors);

    // So small a model learns to read once it knows how text goes on: without neighbors for the first half. Two windows a step, each on a core of its own.
    using RetroModel model = new(RetroConfig.Mini with { VocabularySize = tokenizer.VocabularySize, Retrieval = retrieval });
    TrainingOptions options = TrainingOptions.SmallModel with
    {
        Steps = total,
        Accumulation = 2,
        ClosedBook = 0.5,
        Dtype = TrainingOptions.PreferredDtype(),
        CheckpointFolder = Folder("model"),
    };
    using Trainer trainer = new(model, options);
    trainer.Run(windows, new SynchronousProgress<TrainingProgress>(step => Console.Error.Write($"\rstep {step.Step} of {total}, loss {step.Loss:0.00} ")));
    Console.Error.WriteLine();

    // Random neighbors tell whether the model reads: if they helped as much as those that were found, it would not.
    EvaluationEntry off = new("off", [BitsPerByte.Measure(model, heldOut)]);
    EvaluationEntry On(string name, INeighborSource from)
        => new(name, [BitsPerByte.Measure(model, heldOut, NeighborTable.Build(heldOut, from, retrieval.Neighbors))]);
    Console.WriteLine(EvaluationTable.Of([off, On("random neighbors", new RandomNeighborSource(database)), On("on", source)], ["off"]).ToMarkdown());
    return 0;
}
catch (RetroException fault)
{
    Console.Error.WriteLine(fault.Message);
    return 1;
}

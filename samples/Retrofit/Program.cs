using Retro;
using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Pretrained;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;

// Fits chunked cross-attention onto a pretrained decoder, which stays as it is, and measures what reading from a database is then worth to it.
string steps = args.ElementAtOrDefault(3) ?? "300";
if (args.Length is < 3 or > 5 || !int.TryParse(steps, out int total) || total < 1)
{
    Console.Error.WriteLine(
        "usage: Retrofit <folder of a decoder, or its llama2.c file> <file or folder of text> <folder to write> [steps, 300 without] "
            + "[its tokenizer, where it is not in the folder]");
    return 2;
}

string Folder(string name) => Path.Combine(args[2], name);
try
{
    TorchLibrary.Require();
    FreedMemory.Keep(); // each step asks for what the one before freed
    using PretrainedDecoder decoder = PretrainedDecoder.Load(args[0]);
    RetroTokenizer tokenizer = RetroTokenizer.Load(args.ElementAtOrDefault(4) ?? args[0]);
    decoder.RequireTokenizer(tokenizer);

    // Windows as long as the decoder reads, but at most of 512 tokens, and of two chunks at least.
    int longest = Math.Min(decoder.Origin.ContextLength ?? 512, 512), chunk = Math.Min(64, longest / 2), window = longest / chunk * chunk;

    // The database is cut by the decoder's own tokens. What is measured, and what nearly repeats it, is neither trained on nor retrieved from.
    Document[] documents = [.. Corpus.Open(args[1]).Documents()];
    HeldOutSplit split = HeldOutSplit.Create(documents, new() { Count = Math.Clamp(documents.Length / 10, 1, 60) });
    ChunkDatabaseOptions chunks = new() { ChunkLength = chunk, StartOver = true };
    using ChunkDatabase database = ChunkDatabaseBuilder.Build(Folder("database"), split.Training(documents), tokenizer, chunks);
    using ChunkDatabase heldOut = ChunkDatabaseBuilder.Build(Folder("held-out"), split.HeldOut(documents), tokenizer, chunks);
    HeldOut.Require(heldOut, database, tokenizer);
    RetrievalConfig retrieval = RetrievalConfig.Matching(decoder.Model.Config) with { ChunkLength = chunk, RetrievedLength = 2 * chunk };
    using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
    using NeighborTable neighbors = NeighborTable.Build(database, source, retrieval.Neighbors);

    // Every window has neighbors: those without would teach nothing to what is fitted onto a frozen decoder.
    WindowSampler windows = new(
        database,
        new() { WindowLength = window, BatchSize = 1, Neighbors = retrieval.Neighbors, RetrievalDropout = 0 },
        neighbors);
    using Retrofit retrofit = Retrofit.From(decoder, retrieval);
    using Trainer trainer = new(retrofit.Model, TrainingOptions.SmallModel with { Steps = total, Accumulation = 2 });
    trainer.Run(windows, new SynchronousProgress<TrainingProgress>(step => Console.Error.Write($"\rstep {step.Step} of {total}, loss {step.Loss:0.00} ")));
    Console.Error.WriteLine();

    // Off, the model is the decoder. Random neighbors tell whether it reads: if they helped as much as those that were found, it would not.
    BitsPerByteOptions measure = new() { WindowLength = window };
    EvaluationEntry Off(string name, RetroModel model) => new(name, [BitsPerByte.Measure(model, heldOut, options: measure)]);
    EvaluationEntry On(string name, INeighborSource from) => new(name, [BitsPerByte.Measure(retrofit.Model, heldOut, from, measure)]);
    EvaluationEntry[] entries =
    [
        Off("decoder", decoder.Model), Off("off", retrofit.Model), On("random neighbors", new RandomNeighborSource(database)), On("on", source),
    ];
    Console.WriteLine(EvaluationTable.Of(entries, ["decoder"]).ToMarkdown());

    // The additions alone, a small file: Retrofit.Load puts them onto the same decoder again.
    retrofit.Save(Folder("additions"));
    return 0;
}
catch (RetroException fault)
{
    Console.Error.WriteLine(fault.Message);
    return 1;
}

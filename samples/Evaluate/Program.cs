using Retro;
using Retro.Checkpoints;
using Retro.Database;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Search;
using Retro.Tokenizers;

// Measures on held-out documents what reading is worth to what TrainFromScratch, or the tool, has trained, and how much of that is copied.
if (args.Length != 1)
{
    Console.Error.WriteLine("usage: Evaluate <folder with model, database, held-out and tokenizer>");
    return 2;
}

string Folder(string name) => Path.Combine(args[0], name);
try
{
    TorchLibrary.Require();
    using RetroModel model = Checkpoint.Load(Folder("model"));
    if (model.Config.Retrieval is not { } retrieval)
    {
        Console.Error.WriteLine($"The model in {Folder("model")} reads no neighbors; train one that does, or fit retrieval onto it.");
        return 1;
    }

    RetroTokenizer tokenizer = RetroTokenizer.Load(Folder("tokenizer"));
    using ChunkDatabase database = ChunkDatabase.Open(Folder("database")), heldOut = ChunkDatabase.Open(Folder("held-out"));
    HeldOut.Require(heldOut, database, tokenizer);

    // Random neighbors tell whether the model reads: if they helped as much as those that were found, it would not.
    using KeywordNeighborSource source = KeywordNeighborSource.Open(database);
    int chunk = heldOut.ChunkLength;
    BitsPerByteOptions windows = new() { WindowLength = Math.Max(chunk, Math.Min(512, model.Config.MaximumLength ?? 512) / chunk * chunk) };
    EvaluationEntry off = new("off", [BitsPerByte.Measure(model, heldOut, options: windows)]);
    EvaluationEntry On(string name, INeighborSource from) => new(name, [BitsPerByte.Measure(model, heldOut, from, windows)]);
    EvaluationEntry[] entries = [off, On("random neighbors", new RandomNeighborSource(database)), On("on", source)];

    // Differences are to off, with intervals by a bootstrap over documents.
    Console.WriteLine((EvaluationTable.Of(entries, ["off"]) with { TextLoss = TextLoss.Of(heldOut, tokenizer) }).ToMarkdown());

    // What the model gains on chunks that share no run of tokens with their neighbors, it has not copied.
    using NeighborTable found = NeighborTable.Build(heldOut, source, retrieval.Neighbors);
    LeakageCurve curve = LeakageCurve.Compute(heldOut, found, LeakageCurve.ChunkBytes(heldOut, tokenizer), retrieval.Neighbors);
    Console.WriteLine(LeakageTable.Of(curve, entries).ToMarkdown());
    return 0;
}
catch (RetroException fault)
{
    Console.Error.WriteLine(fault.Message);
    return 1;
}

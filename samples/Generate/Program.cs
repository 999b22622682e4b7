using Retro;
using Retro.Checkpoints;
using Retro.Database;
using Retro.Generation;
using Retro.Modeling;
using Retro.Search;
using Retro.Tokenizers;

// Continues a text with what TrainFromScratch, or the tool, has trained, looks up passages while it writes, and names them.
string most = args.ElementAtOrDefault(2) ?? "200";
if (args.Length is not (2 or 3) || !int.TryParse(most, out int tokens) || tokens < 1)
{
    Console.Error.WriteLine("usage: Generate <folder with model, database and tokenizer> <beginning of a text> [most tokens, 200 without]");
    return 2;
}

string Folder(string name) => Path.Combine(args[0], name);
try
{
    TorchLibrary.Require();
    using RetroModel model = Checkpoint.Load(Folder("model"));
    RetroTokenizer tokenizer = RetroTokenizer.Load(Folder("tokenizer"));
    using ChunkDatabase database = ChunkDatabase.Open(Folder("database"));
    using KeywordNeighborSource source = KeywordNeighborSource.Open(database);
    RetroGenerator generator = new(model, tokenizer, source);

    // With every chunk that is complete, the beginning's own among them, its neighbors are looked up, and read from there on.
    List<RetrievedNeighbor> read = [];
    await foreach (GeneratedPiece piece in generator.GenerateAsync(args[1], new() { MaximumNewTokens = tokens }))
    {
        Console.Write(piece.Text);
        read.AddRange(piece.Retrieved?.Neighbors ?? []);
    }

    Console.WriteLine(read.Count > 0 ? "\n\nsources:" : $"\n\nno sources: no chunk of {database.ChunkLength} tokens was complete.");
    foreach (RetrievedNeighbor passage in read.DistinctBy(passage => passage.Chunk))
    {
        string[] words = passage.Text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries); // on one line
        string name = passage.Title.Length > 0 ? passage.Title : passage.DocumentId;
        Console.WriteLine($"  {name}, chunk {passage.ChunkInDocument + 1}: {string.Join(' ', words)}");
    }

    return 0;
}
catch (RetroException fault)
{
    Console.Error.WriteLine(fault.Message);
    return 1;
}

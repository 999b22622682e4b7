using System.Diagnostics;
using System.Globalization;
using Quickstart;
using Retro.Database;
using Retro.Embedding;
using Retro.Evaluation;
using Retro.Generation;
using Retro.Modeling;
using Retro.Search;
using Retro.Text;
using Retro.Training;
using Spectre.Console;

namespace Quickstart;

/// <summary>The path from text to text with sources, one stage after the other.</summary>
internal sealed class QuickstartRun(string? corpusPath, TimeSpan time, string output, int seed, long mostBytes, bool skipBroken)
{
    private const int Vocabulary = 2048;
    private const int WindowTokens = 512;

    /// <summary>Neighbors kept per chunk, so that enough remain when those of the window's documents are dropped.</summary>
    private const int TableNeighbors = 8;

    private readonly Stopwatch _clock = Stopwatch.StartNew();

    /// <summary>Runs everything and prints what came out.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        // --- text ---
        Corpus corpus = corpusPath is null ? Corpus.DotNetReferencePacks() : Corpus.Open(corpusPath, new CorpusOptions { SkipBroken = skipBroken });
        string folder = Path.Combine(output, FolderName(corpusPath));
        Directory.CreateDirectory(folder);
        List<Document> documents = Stages.Run("read the corpus", progress => Sample(corpus, progress, cancellationToken));
        HeldOutSplit split = Stages.Run("hold documents out", progress => HeldOutSplit.Create(documents, new HeldOutOptions { Fraction = 0.1, Seed = seed }, progress, cancellationToken));
        List<Document> training = split.Training(documents).ToList();
        List<Document> heldOutDocuments = split.HeldOut(documents).ToList();
        AnsiConsole.MarkupLineInterpolated(CultureInfo.InvariantCulture, $"{corpus.Kind}: {training.Count:#,0} documents to train on and retrieve from, {heldOutDocuments.Count:#,0} held out, {split.Removed.Count:#,0} left out because they nearly repeat a held-out one, {corpus.Skipped:#,0} unreadable.");

        RetroTokenizer tokenizer = Stages.Run("train the tokenizer", progress =>
        {
            string tokenizerFolder = Path.Combine(folder, "tokenizer");
            BpeTrainer.Train(training.Select(d => d.Text), Vocabulary, tokenizerFolder, progress, cancellationToken);
            return RetroTokenizer.Load(tokenizerFolder);
        });

        // --- database ---
        ChunkDatabaseOptions fresh = new() { StartOver = true };
        using ChunkDatabase database = Stages.Run("cut chunks", progress => ChunkDatabaseBuilder.Build(Path.Combine(folder, "database"), training, tokenizer, fresh, progress, cancellationToken));
        using ChunkDatabase heldOut = Stages.Run("cut held-out chunks", progress => ChunkDatabaseBuilder.Build(Path.Combine(folder, "held-out"), heldOutDocuments, tokenizer, fresh, progress, cancellationToken));
        using TextEmbedder embedder = Stages.Run("train the embedder", progress => InverseClozeTrainer.Train(
            training, tokenizer, options: new InverseClozeOptions { TimeBudget = time / 11, Seed = seed }, progress: progress, cancellationToken: cancellationToken));
        embedder.Save(Path.Combine(folder, "embedder"));
        ChunkKeyer keyer = new(tokenizer, embedder);
        _ = Stages.Run("embed chunks", progress =>
        {
            SearchStages.BuildKeys(database, keyer.Keys, keyer.Dimensions, keyer.Identity, progress, cancellationToken);
            SearchStages.BuildVectorIndex(database, progress: progress, cancellationToken: cancellationToken);
            return 0;
        });
        _ = Stages.Run("index words", progress =>
        {
            SearchStages.BuildKeywordIndex(database, progress: progress, cancellationToken: cancellationToken);
            return 0;
        });

        // --- neighbors ---
        using VectorIndex vectors = SearchStages.OpenVectorIndex(database);
        using Bm25Index words = SearchStages.OpenKeywordIndex(database);
        DenseNeighborSource dense = new(database, vectors, keyer.Keys, keyer.Dimensions, keyer.Identity);
        KeywordNeighborSource keyword = new(database, words);
        HybridNeighborSource hybrid = new(keyword, dense);
        INeighborSource[] sources = [new RandomNeighborSource(database, seed), dense, keyword, hybrid];
        using NeighborTable neighbors = Stages.Run("find neighbors", progress => SearchStages.BuildNeighbors(database, keyword, TableNeighbors, excludeOwnDocument: true, progress, cancellationToken));
        Dictionary<string, NeighborTable> tables = sources.ToDictionary(
            source => source.Name,
            source => Stages.Run($"find held-out neighbors ({source.Name})", progress => SearchStages.BuildNeighbors(heldOut, source, TableNeighbors, excludeOwnDocument: false, progress, cancellationToken)));
    }

    private List<Document> Sample(Corpus corpus, IProgress<Retro.StageProgress> progress, CancellationToken cancellationToken)
    {
        List<(ulong Draw, Document Document)> drawn = [];
        foreach (Document document in corpus.Documents())
        {
            cancellationToken.ThrowIfCancellationRequested();
            drawn.Add((Draw(document.Id), document));
            if (drawn.Count % 100 == 0)
            {
                progress.Report(new Retro.StageProgress("", drawn.Count, 0));
            }
        }

        long bytes = 0;
        HashSet<string> chosen = drawn.OrderBy(d => d.Draw)
            .TakeWhile(d => (bytes += d.Document.Text.Length) <= mostBytes || bytes == d.Document.Text.Length)
            .Select(d => d.Document.Id).ToHashSet(StringComparer.Ordinal);
        return drawn.Select(d => d.Document).Where(d => chosen.Contains(d.Id)).ToList();
    }

    private ulong Draw(string id)
    {
        byte[] hash = System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes($"{seed}:{id}"));
        return System.Buffers.Binary.BinaryPrimitives.ReadUInt64LittleEndian(hash);
    }

    private static string FolderName(string? path)
        => path is null ? "dotnet-documentation" : Path.GetFileNameWithoutExtension(Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)));
}

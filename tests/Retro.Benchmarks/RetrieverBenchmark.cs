using System.Diagnostics;
using System.Globalization;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Retrievers;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;
using static TorchSharp.torch;

namespace Retro.Benchmarks;

/// <summary>
/// What a learned query tower finds for held-out text, beside the frozen embedder it starts from, BM25 and chance: the recall of the next chunk's tokens, and
/// the bits per byte of the closed book with the pointer rule, which is also the reader that the tower is distilled from.
/// </summary>
/// <remarks>
/// RETRO_CORPUS is a folder or a .jsonl; RETRO_MEGABYTES (1) and RETRO_SEEDS (3) say how much of it, and how many embedders and towers are trained;
/// RETRO_TOWERS (all) which, by parts of their names, with semicolons between. The decoder and the rule, counted with BM25's neighbors, are the same for all.
/// </remarks>
internal static class RetrieverBenchmark
{
    private const int Vocabulary = 2048, ChunkLength = 64, Few = 2, Neighbors = 8;

    private static readonly TrainingOptions s_decoder = TrainingOptions.SmallModel with { Steps = 200 };
    private static readonly InverseClozeOptions s_embedder = new() { Steps = 200, BatchSize = 32 };
    private static readonly RetrieverTrainingOptions s_tower = new()
    {
        Steps = 100, BatchSize = 8, Neighbors = Neighbors, WindowLength = 2 * ChunkLength,
    };

    public static void Run() => With(Measure);

    /// <summary>What a step of each objective costs in processor time, beside a step of the reader's own training; nothing is trained for it.</summary>
    public static void RunSteps() => With(Steps);

    private static void With(Action<ChunkDatabase, ChunkDatabase, RetroTokenizer, Document[]> measure)
    {
        string corpus = Environment.GetEnvironmentVariable("RETRO_CORPUS")
            ?? throw new InvalidOperationException("Set RETRO_CORPUS: it names a folder of text or a .jsonl file.");
        long bytes = (long)(Number("RETRO_MEGABYTES", 1) * 1e6);
        Document[] documents = [.. Corpus.Open(corpus).Documents().TakeWhile(document => (bytes -= document.Text.Length) > 0)];
        HeldOutSplit split = HeldOutSplit.Create(documents, new HeldOutOptions { Fraction = 0.15 });
        Document[] known = [.. split.Training(documents)];
        string folder = Directory.CreateTempSubdirectory().FullName;
        try
        {
            BpeTrainer.Train(known.Select(document => document.Text), Vocabulary, Path.Combine(folder, "tokenizer"));
            RetroTokenizer tokenizer = RetroTokenizer.Load(Path.Combine(folder, "tokenizer"));
            using ChunkDatabase database = ChunkDatabaseBuilder.Build(Path.Combine(folder, "db"), known, tokenizer);
            using ChunkDatabase heldOut = ChunkDatabaseBuilder.Build(Path.Combine(folder, "held"), split.HeldOut(documents), tokenizer);
            Console.WriteLine(
                $"{known.Length} documents, {database.ChunkCount} chunks, to train on and retrieve from; {heldOut.Documents.Count} held out, "
                    + $"{heldOut.ChunkCount} chunks. {get_num_threads()} threads, libtorch {__version__}.");
            measure(database, heldOut, tokenizer, known);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void Steps(ChunkDatabase database, ChunkDatabase heldOut, RetroTokenizer tokenizer, Document[] known)
    {
        const int Count = 5;
        using RetroModel model = new(RetroConfig.Mini with { VocabularySize = tokenizer.VocabularySize, Retrieval = null });
        using Trainer plain = new(model, s_decoder with { Steps = Count + 1, WarmupSteps = 0 });
        double unit = Seconds(step => plain.Run(new WindowSampler(database, new()), new Told<TrainingProgress>(step)));
        using TextEmbedder embedder = new(new TextEncoder(TextEncoderConfig.Small(tokenizer.VocabularySize)), tokenizer);
        using DenseNeighborSource dense = DenseNeighborSource.Build(database, new ChunkKeyer(tokenizer, embedder));
        PointerReader reader = new(new DecoderReader(model), new PointerRule(Neighbors, ChunkLength, 2 * ChunkLength, new double[PointerRule.LongestRun]));
        Console.WriteLine();
        Console.WriteLine("| objective | processor time of a step, against one of the decoder's training on 2 x 512 tokens |");
        Console.WriteLine("|---|---|");
        RetrieverObjective[] objectives =
        [
            RetrieverObjective.SequenceMarginal, RetrieverObjective.TokenMarginal, RetrieverObjective.Realm, RetrieverObjective.Emdr2,
            RetrieverObjective.PerplexityDistillation(), RetrieverObjective.LanguageModelSupervision(), RetrieverObjective.LeaveOneOut(),
            RetrieverObjective.Variational(), RetrieverObjective.JointStochastic(),
        ];
        foreach (RetrieverObjective objective in objectives)
        {
            using RetrieverTrainer trainer = new(embedder, tokenizer, dense, reader, objective, s_tower with { Steps = Count + 1 });
            double seconds = Seconds(step => trainer.Run(new Told<RetrieverTrainingProgress>(step)));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {objective.Name} | {seconds / unit:0.0} |"));
        }

        // The first step is not counted: what is made once is made in it. Processor time, so that other work on the machine does not count.
        static double Seconds(Action<Action> run)
        {
            TimeSpan? started = null;
            run(() => started ??= Process.GetCurrentProcess().TotalProcessorTime);
            return (Process.GetCurrentProcess().TotalProcessorTime - started!.Value).TotalSeconds / Count;
        }
    }

    private static void Measure(ChunkDatabase database, ChunkDatabase heldOut, RetroTokenizer tokenizer, Document[] known)
    {
        int seeds = (int)Number("RETRO_SEEDS", 3);
        string[] chosen = (Environment.GetEnvironmentVariable("RETRO_TOWERS") ?? "").Split(';');
        bool Wanted(string name) => chosen.Any(part => name.Contains(part, StringComparison.OrdinalIgnoreCase));
        RetrieverObjective[] objectives =
        [
            RetrieverObjective.LanguageModelSupervision(1), RetrieverObjective.TokenMarginal, RetrieverObjective.PerplexityDistillation(),
            RetrieverObjective.Variational(),
        ];
        using RetroModel model = new(RetroConfig.Mini with { VocabularySize = tokenizer.VocabularySize, Retrieval = null });
        using Trainer trainer = new(model, s_decoder);
        trainer.Run(new WindowSampler(database, new()));
        KeywordNeighborSource keywords = KeywordNeighborSource.Build(database);
        PointerRule rule;
        using (NeighborTable table = NeighborTable.Build(database, keywords, Neighbors))
        {
            rule = PointerRule.Count(database, table, new PointerRuleOptions { Neighbors = Neighbors });
        }

        PointerReader reader = new(new DecoderReader(model), rule);
        Console.WriteLine($"Closed book: {BitsPerByte.Measure(new DecoderReader(model), heldOut).Value:0.0000} bits per byte.");
        List<Row> rows = [];
        for (int seed = 0; seed < seeds; seed++)
        {
            Add("random", seed, 0, new RandomNeighborSource(database, seed));
            Add("BM25", seed, 0, keywords);
            long started = Stopwatch.GetTimestamp();
            using TextEmbedder frozen = InverseClozeTrainer.Train(known, tokenizer, options: s_embedder with { Seed = seed });
            double seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
            using DenseNeighborSource dense = DenseNeighborSource.Build(database, new ChunkKeyer(tokenizer, frozen));
            Add("frozen embedder", seed, seconds, dense);
            foreach (RetrieverObjective objective in objectives.Where(objective => Wanted(objective.Name)))
            {
                started = Stopwatch.GetTimestamp();
                using RetrieverTrainer tower = new(frozen, tokenizer, dense, reader, objective, s_tower with { Seed = seed }, heldOut: heldOut);
                tower.Run();
                seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
                using TextEmbedder queries = tower.QueryEmbedder();
                Add($"query tower, {objective.Name}", seed, seconds, new TowerNeighborSource(dense, new ChunkKeyer(tokenizer, queries)));
            }

            if (!Wanted("hard negatives"))
            {
                continue;
            }

            started = Stopwatch.GetTimestamp();
            using TextEmbedder hard = InverseClozeTrainer.Train(known, tokenizer, options: s_embedder with { Seed = seed, HardNegatives = 1 });
            seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
            using DenseNeighborSource harder = DenseNeighborSource.Build(database, new ChunkKeyer(tokenizer, hard));
            Add("frozen embedder, hard negatives", seed, seconds, harder);
        }

        Console.WriteLine();
        Console.WriteLine(
            $"| neighbors from | seconds to train | recall, k = {Few} | recall, k = {Neighbors} | against frozen | bits per byte | against frozen |");
        Console.WriteLine("|---|---|---|---|---|---|---|");
        Row[] baseline = [.. rows.Where(row => row.Name == "frozen embedder")];
        foreach (IGrouping<string, Row> group in rows.GroupBy(row => row.Name))
        {
            Row[] own = [.. group];
            string Against(Func<Row, DocumentSums> of)
                => own[0].Name == baseline[0].Name ? "-" : PairedDifference.Of([.. own.Select(of)], [.. baseline.Select(of)]).ToString();
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {group.Key} | {own.Average(row => row.Seconds):0} | {own.Average(row => row.Few):0.000} | {own.Average(row => row.Recall.Value):0.000} | "
                    + $"{Against(row => row.Recall)} | {own.Average(row => row.Bits.Value):0.0000} | {Against(row => row.Bits)} |"));
        }

        void Add(string name, int seed, double seconds, INeighborSource source)
        {
            double few = NextChunkRecall.Measure(source, heldOut, Few).Value;
            NextChunkRecall recall = NextChunkRecall.Measure(source, heldOut, Neighbors);
            using NeighborTable table = NeighborTable.Build(heldOut, source, Neighbors);
            BitsPerByteResult bits = BitsPerByte.Measure(reader, heldOut, table, database);
            DocumentSums found = new(
                [.. recall.Documents.Select(sum => (double)sum.Found)], [.. recall.Documents.Select(sum => (double)sum.Wanted)]);
            rows.Add(new Row(name, seconds, few, found, bits.DocumentSums));
            Console.Error.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"seed {seed}, {name}, {seconds:0} s: recall {few:0.000}, {recall.Value:0.000}, {bits.Value:0.0000} bits per byte"));
        }
    }

    private static double Number(string name, double otherwise)
        => Environment.GetEnvironmentVariable(name) is { } text ? double.Parse(text, CultureInfo.InvariantCulture) : otherwise;

    /// <summary>Told of each step.</summary>
    private sealed class Told<T>(Action step) : IProgress<T>
    {
        public void Report(T value) => step();
    }

    /// <summary>What was measured of a source: recall as tokens found of those looked for, by document.</summary>
    private sealed record Row(string Name, double Seconds, double Few, DocumentSums Recall, DocumentSums Bits);
}

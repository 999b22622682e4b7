using System.Diagnostics;
using System.Globalization;
using Retro.Checkpoints;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Pretrained;
using Retro.Readers;
using Retro.Retrievers;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;
using static TorchSharp.torch;

namespace Retro.Benchmarks;

/// <summary>
/// What a learned query tower finds for held-out text, beside the frozen embedder it starts from, BM25 and chance: the recall of the next chunk's tokens, and
/// the bits per byte of a RETRO, and of the closed book with the pointer rule, which is also the reader that the tower is distilled from.
/// </summary>
/// <remarks>
/// RETRO_CORPUS is a folder or a .jsonl; RETRO_MEGABYTES (1) and RETRO_SEEDS (3) say how much of it, and how often everything is trained; RETRO_EMBEDDER names
/// a pretrained embedder's folder, which is compared with, too; RETRO_TOWERS (all) says which towers, by parts of their names, with semicolons between. The
/// RETRO is trained, and the rule counted, with BM25's neighbors, and both are the same for all sources.
/// </remarks>
internal static class RetrieverBenchmark
{
    private const int Vocabulary = 2048, ChunkLength = 64, Few = 2, Neighbors = 8;

    private static readonly TrainingOptions s_decoder = TrainingOptions.SmallModel with { Steps = 200 };
    private static readonly InverseClozeOptions s_embedder = new() { Steps = 200, BatchSize = 32 };
    private static readonly RetrieverTrainingOptions s_tower = new()
    {
        Steps = 150, BatchSize = 16, Neighbors = Neighbors, WindowLength = 2 * ChunkLength,
    };

    private const string Frozen = "frozen embedder", Cloze = "inverse cloze";

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
        double unit = Seconds(step => plain.Run(new WindowSampler(database, new()), new SynchronousProgress<TrainingProgress>(_ => step())));
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
            using RetrieverTrainer trainer = new(embedder, tokenizer, dense, reader, objective, s_tower with { Steps = Count + 1, BatchSize = 8 });
            double seconds = Seconds(step => trainer.Run(new SynchronousProgress<RetrieverTrainingProgress>(_ => step())));
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
        RetrieverObjective[] objectives =
        [
            RetrieverObjective.PerplexityDistillation(), RetrieverObjective.LanguageModelSupervision(1), RetrieverObjective.TokenMarginal,
            RetrieverObjective.Variational(),
        ];
        (string Name, bool Alongside, RetrieverTrainingOptions Options)[] ways =
        [
            ("", false, s_tower),
            (", in-batch negatives", false, s_tower with { InBatchNegatives = true }),
            (", BM25 alongside", true, s_tower),
            (", BM25 alongside, in-batch negatives", true, s_tower with { InBatchNegatives = true }),
        ];
        KeywordNeighborSource keywords = KeywordNeighborSource.Build(database);
        using NeighborTable training = NeighborTable.Build(database, keywords, Neighbors);
        PointerRule rule = PointerRule.Count(database, training, new PointerRuleOptions { Neighbors = Neighbors });
        using TextEmbedder? pretrained = Environment.GetEnvironmentVariable("RETRO_EMBEDDER") is { } at ? TextEmbedder.Load(at) : null;
        using ChunkDatabase? again = pretrained is null // a database has the keys of one embedder
            ? null
            : ChunkDatabaseBuilder.Build(Path.Combine(database.Folder, "pretrained"), known, tokenizer);
        using DenseNeighborSource? frozen = pretrained is null ? null : DenseNeighborSource.Build(again!, new ChunkKeyer(tokenizer, pretrained));
        List<Row> rows = [];
        for (int seed = 0; seed < seeds; seed++)
        {
            (RetroModel decoder, RetroModel retro) = Readers(database, training, tokenizer, seed);
            using (decoder)
            using (retro)
            {
                PointerReader reader = new(new DecoderReader(decoder), rule);
                RetroReader reading = new(retro);
                double closed = BitsPerByte.Measure(new DecoderReader(decoder), heldOut).Value;
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Seed {seed}: closed book {closed:0.0000} bits per byte."));
                Add("random", seed, 0, new RandomNeighborSource(database, seed));
                Add("BM25", seed, 0, keywords);
                if (frozen is not null)
                {
                    Add(Frozen, seed, 0, frozen);
                    Train(pretrained!, frozen, "tower on the frozen embedder");
                }

                long started = Stopwatch.GetTimestamp();
                using TextEmbedder cloze = InverseClozeTrainer.Train(known, tokenizer, options: s_embedder with { Seed = seed });
                double seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
                using DenseNeighborSource dense = DenseNeighborSource.Build(database, new ChunkKeyer(tokenizer, cloze));
                Add(Cloze, seed, seconds, dense);
                Train(cloze, dense, "tower on inverse cloze");

                // With hard negatives, and longer: the strongest simple alternative to what takes longer.
                foreach ((string name, InverseClozeOptions options) in Embedders().Where(one => Wanted(one.Name)))
                {
                    started = Stopwatch.GetTimestamp();
                    using TextEmbedder other = InverseClozeTrainer.Train(known, tokenizer, options: options with { Seed = seed });
                    seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
                    using DenseNeighborSource found = DenseNeighborSource.Build(database, new ChunkKeyer(tokenizer, other));
                    Add(name, seed, seconds, found);
                }

                void Train(TextEmbedder embedder, DenseNeighborSource documents, string kind)
                {
                    foreach ((string name, RetrieverObjective objective, bool alongside, RetrieverTrainingOptions options) in Towers(kind))
                    {
                        long begun = Stopwatch.GetTimestamp();
                        using RetrieverTrainer tower = new(
                            embedder,
                            tokenizer,
                            documents,
                            reader,
                            objective,
                            options with { Seed = seed },
                            heldOut: heldOut,
                            alongside: alongside ? keywords : null);
                        tower.Run();
                        double taken = Stopwatch.GetElapsedTime(begun).TotalSeconds;
                        using TextEmbedder queries = tower.QueryEmbedder();
                        Add(name, seed, taken, new TowerNeighborSource(documents, new ChunkKeyer(tokenizer, queries)));
                    }
                }

                void Add(string name, int seed, double seconds, INeighborSource source)
                    => rows.Add(Measured(name, seed, seconds, source, heldOut, reading, reader));
            }
        }

        Print(rows);

        bool Wanted(string name) => chosen.Any(part => name.Contains(part, StringComparison.OrdinalIgnoreCase));

        IEnumerable<(string Name, RetrieverObjective Objective, bool Alongside, RetrieverTrainingOptions Options)> Towers(string kind)
            => objectives.SelectMany(objective => ways.Select(way => ($"{kind}, {objective.Name}{way.Name}", objective, way.Alongside, way.Options)))
                .Where(tower => Wanted(tower.Item1));

        static IEnumerable<(string Name, InverseClozeOptions Options)> Embedders() =>
        [
            ($"{Cloze}, hard negatives", s_embedder with { HardNegatives = 1 }),
            ($"{Cloze}, twice the steps", s_embedder with { Steps = 2 * s_embedder.Steps }),
        ];
    }

    /// <summary>A decoder, and the RETRO that reading BM25's neighbors is fitted onto it for.</summary>
    private static (RetroModel Decoder, RetroModel Retro) Readers(ChunkDatabase database, NeighborTable neighbors, RetroTokenizer tokenizer, int seed)
    {
        RetroConfig config = RetroConfig.Mini with { VocabularySize = tokenizer.VocabularySize, Retrieval = null };
        RetrievalConfig retrieval = RetrievalConfig.Matching(config);
        TrainingOptions options = s_decoder with { Seed = seed };
        manual_seed(seed);
        RetroModel decoder = new(config);
        using (Trainer trainer = new(decoder, options))
        {
            trainer.Run(new WindowSampler(database, new() { Seed = seed }));
        }

        string folder = Directory.CreateTempSubdirectory().FullName;
        try
        {
            Checkpoint.Save(folder, decoder);
            using PretrainedDecoder trained = PretrainedDecoder.Load(folder);
            RetroModel retro = Retrofit.From(trained, retrieval, take: true).Model;
            WindowSamplerOptions windows = new()
            {
                Seed = seed, Neighbors = retrieval.Neighbors, RetrievedLength = retrieval.RetrievedLength, RetrievalDropout = 0,
            };
            using Trainer trainer = new(retro, options);
            trainer.Run(new WindowSampler(database, windows, neighbors));
            return (decoder, retro);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static Row Measured(
        string name, int seed, double seconds, INeighborSource source, ChunkDatabase heldOut, RetroReader retro, PointerReader rule)
    {
        double few = NextChunkRecall.Measure(source, heldOut, Few).Value;
        NextChunkRecall recall = NextChunkRecall.Measure(source, heldOut, Neighbors);
        using NeighborTable table = NeighborTable.Build(heldOut, source, Neighbors);
        BitsPerByteResult read = BitsPerByte.Measure(retro, heldOut, table);
        BitsPerByteResult copied = BitsPerByte.Measure(rule, heldOut, table);
        DocumentSums found = new([.. recall.Documents.Select(sum => (double)sum.Found)], [.. recall.Documents.Select(sum => (double)sum.Wanted)]);
        Console.Error.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"seed {seed}, {name}, {seconds:0} s: recall {few:0.000}, {recall.Value:0.000}, bits per byte {read.Value:0.0000}, rule {copied.Value:0.0000}"));
        return new Row(name, seconds, few, found, read.DocumentSums, copied.Value);
    }

    private static void Print(List<Row> rows)
    {
        string[] baselines = [.. new[] { Frozen, Cloze }.Where(name => rows.Any(row => row.Name == name))];
        string against = string.Concat(baselines.Select(name => $" against {name} |"));
        Console.WriteLine();
        Console.WriteLine(
            $"| neighbors from | seconds to train | recall, k = {Few} | recall, k = {Neighbors} |{against} bits per byte, RETRO |{against} "
                + "bits per byte, rule |");
        Console.WriteLine("|---|---|---|---|" + string.Concat(Enumerable.Repeat("---|", (2 * baselines.Length) + 2)));
        foreach (IGrouping<string, Row> group in rows.GroupBy(row => row.Name))
        {
            Row[] own = [.. group];
            string Against(Func<Row, DocumentSums> of) => string.Concat(baselines.Select(name => group.Key == name
                ? " - |"
                : $" {PairedDifference.Of([.. own.Select(of)], [.. rows.Where(row => row.Name == name).Select(of)])} |"));
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {group.Key} | {own.Average(row => row.Seconds):0} | {own.Average(row => row.Few):0.000} | {own.Average(row => row.Recall.Value):0.000} |"
                    + $"{Against(row => row.Recall)} {own.Average(row => row.Bits.Value):0.0000} |{Against(row => row.Bits)} "
                    + $"{own.Average(row => row.Rule):0.0000} |"));
        }
    }

    private static double Number(string name, double otherwise)
        => Environment.GetEnvironmentVariable(name) is { } text ? double.Parse(text, CultureInfo.InvariantCulture) : otherwise;

    /// <summary>What was measured of a source: recall as tokens found of those looked for, and bits per byte, RETRO and rule, a document each.</summary>
    private sealed record Row(string Name, double Seconds, double Few, DocumentSums Recall, DocumentSums Bits, double Rule);
}

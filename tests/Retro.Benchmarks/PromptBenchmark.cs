using System.Diagnostics;
using System.Globalization;
using Retro.Corpora;
using Retro.Database;
using Retro.Generation;
using Retro.Modeling;
using Retro.Search;
using Retro.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Benchmarks;

/// <summary>What long prompts take of memory and time, and what a conversation saves that goes on from what was read of it.</summary>
internal static class PromptBenchmark
{
    private const int Turns = 8, Written = 50, Prompt = 400, Said = 60; // words of the last two

    private static readonly RetroConfig s_decoder = new()
    {
        VocabularySize = 8192, Width = 512, Layers = 8, Heads = 8, HeadSize = 64, FeedForwardSize = 2048, TieEmbeddings = true,
    };

    private static readonly (string Name, int Tokens, RetroConfig Config)[] s_prompts =
    [
        ("a decoder", 16_000, s_decoder),
        ("a RETRO of 2 neighbors", 16_000, Reading(s_decoder)),
        ("2 heads of keys of 8", 8_000, s_decoder with { KeyValueHeads = 2 }),
        ("a sliding window of 1,024", 8_000, s_decoder with { SlidingWindow = 1024 }),
    ];

    public static void Run() => RunAsync().GetAwaiter().GetResult();

    private static async Task RunAsync()
    {
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{get_num_threads()} threads, libtorch {__version__}, float32, 8 layers of width 512."));
        Console.WriteLine();
        Console.WriteLine("| prompt | tokens | memory above the model, MB | s |");
        Console.WriteLine("|---|---|---|---|");
        for (int prompt = 0; prompt < s_prompts.Length; prompt++)
        {
            // What one has taken of memory is no other's.
            using Process alone = Process.Start(Environment.ProcessPath!, ["prompts", $"{prompt}"]);
            await alone.WaitForExitAsync().ConfigureAwait(false);
        }

        Console.WriteLine();
        Console.WriteLine("| conversation of 8 turns | tokens | s | s to the last turn's first word | tokens that were not read again |");
        Console.WriteLine("|---|---|---|---|---|");
        DirectoryInfo folder = Directory.CreateTempSubdirectory("retro-benchmark");
        try
        {
            foreach (bool reads in new[] { false, true })
            {
                await TalkAsync(Path.Combine(folder.FullName, reads ? "reading" : "plain"), reads).ConfigureAwait(false);
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static RetroConfig Reading(RetroConfig config)
        => config with { Retrieval = RetrievalConfig.For(config) with { Neighbors = 2, ZeroOutput = false } };

    /// <summary>What a process runs for one of the prompts.</summary>
    public static void Read(int prompt)
    {
        (string name, int count, RetroConfig config) = s_prompts[prompt];
        using DisposeScope scope = NewDisposeScope();
        manual_seed(1);
        using RetroModel model = new(config);
        model.eval();
        Tensor tokens = randint(config.VocabularySize, [1, count], ScalarType.Int64);
        Tensor? neighbors = config.Retrieval is { } retrieval
            ? randint(config.VocabularySize, [1, count / retrieval.ChunkLength, retrieval.Neighbors, retrieval.RetrievedLength], ScalarType.Int64)
            : null;
        using (DecodingCache once = model.NewCache(1))
        {
            model.Prefill(once, tokens.narrow(1, 0, 128)).Dispose(); // what is made once
        }

        Measuring.PeakMemory();
        long before = Environment.WorkingSet;
        Stopwatch watch = Stopwatch.StartNew();
        using DecodingCache cache = model.NewCache(1, count);
        model.Prefill(cache, tokens, null, neighbors).Dispose();
        double seconds = watch.Elapsed.TotalSeconds;
        double above = (Measuring.PeakMemory() - before) / 1e6;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {name} | {count:N0} | {above:N0} | {seconds:F1} |"));
    }

    private static async Task TalkAsync(string folder, bool reads)
    {
        Random random = new(1);
        string[] words =
        [
            .. Enumerable.Range(0, 400).Select(_ => string.Concat(Enumerable.Range(0, random.Next(2, 8)).Select(_ => (char)('a' + random.Next(26))))),
        ];
        string Text(int count) => string.Join(' ', Enumerable.Range(0, count).Select(_ => words[random.Next(words.Length)]));
        string[] texts = [.. Enumerable.Range(0, 200).Select(_ => Text(150))];
        RetroTokenizer tokenizer = BpeTrainer.Train(texts, 1000, Path.Combine(folder, "tokenizer"));
        RetroConfig config = s_decoder with { VocabularySize = tokenizer.VocabularySize };
        manual_seed(1);
        using RetroModel model = new(reads ? Reading(config) : config);
        using ChunkDatabase? database = !reads ? null : ChunkDatabaseBuilder.Build(
            Path.Combine(folder, "database"), texts.Select((text, i) => new Document($"d{i}", "", text, "")), tokenizer, new() { ChunkLength = 64 });
        using KeywordNeighborSource? source = database is null ? null : KeywordNeighborSource.Build(database);
        foreach (bool keeps in new[] { false, true, false, true })
        {
            random = new(5);
            using PrefixCache prefixes = new(1L << 30);
            RetroGenerator generator = new(model, tokenizer, source) { Prefixes = keeps ? prefixes : null };
            GenerationOptions options = new() { Temperature = 0, MaximumNewTokens = Written, MinimumNewTokens = Written };
            List<int> said = [tokenizer.BeginOfText, .. tokenizer.Encode(Text(Prompt))];
            double all = 0, first = 0;
            for (int turn = 0; turn < Turns; turn++)
            {
                List<int> tokens = [];
                Stopwatch watch = Stopwatch.StartNew();
                await foreach (GeneratedPiece piece in generator.GenerateAsync(said.ToArray().AsMemory(), options).ConfigureAwait(false))
                {
                    if (piece.Token is { } token)
                    {
                        first = tokens.Count == 0 ? watch.Elapsed.TotalSeconds : first;
                        tokens.Add(token);
                    }
                }

                all += watch.Elapsed.TotalSeconds;
                said = [.. said, .. tokens, .. tokenizer.Encode(Text(Said))];
            }

            string name = $"{(reads ? "a RETRO" : "a decoder")}, {(keeps ? "with a prefix cache" : "read whole")}";
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"| {name} | {said.Count:N0} | {all:F1} | {first:F2} | {prefixes.ReusedTokens:N0} |"));
        }
    }
}

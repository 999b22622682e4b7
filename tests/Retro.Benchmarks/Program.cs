using Retro;
using Retro.Benchmarks;
using static TorchSharp.torch;

// As in programs that use the library: it is there before libtorch, whose threads wait as there.
TorchLibrary.Require();

// Each benchmark compares two ways in one run and prints a Markdown table; results that back a claim are kept in results/.
Dictionary<string, Action> benchmarks = new(StringComparer.OrdinalIgnoreCase)
{
    ["database"] = DatabaseBenchmark.Run,
    ["decoding"] = DecodingBenchmark.Run,
    ["distributed"] = DistributedBenchmark.Run,
    ["embedding"] = EmbeddingBenchmark.Run,
    ["faiss"] = FaissBenchmark.Run,
    ["indexes"] = VectorIndexBenchmark.Run,
    ["loss"] = StepBenchmark.LargeVocabulary,
    ["operators"] = OperatorBenchmark.Run,
    ["objectives"] = RetrieverBenchmark.RunSteps,
    ["retrievers"] = RetrieverBenchmark.Run,
    ["padding"] = StepBenchmark.Padding,
    ["prompts"] = PromptBenchmark.Run,
    ["report"] = ReportBenchmark.Run,
    ["sampling"] = ReportBenchmark.Sampling,
    ["segments"] = DatabaseBenchmark.Segments,
    ["start"] = ReportBenchmark.Start,
    ["step"] = StepBenchmark.Run,
    ["throughput"] = ThroughputBenchmark.Run,
    ["waiting"] = WaitingBenchmark.Run,
};

if (args is ["peers", "--retro-pytorch", var checkout])
{
    PeerBenchmark.Run(checkout);
    return 0;
}

if (args is ["memory", var dtype, var recompute, var sideBySide]) // of a training alone, asked for by the peers' benchmark
{
    PeerBenchmark.Memory(new(Enum.Parse<ScalarType>(dtype), bool.Parse(recompute), bool.Parse(sideBySide)));
    return 0;
}

if (args is ["prompts", var prompt]) // one of them, in a process of its own
{
    PromptBenchmark.Read(int.Parse(prompt, System.Globalization.CultureInfo.InvariantCulture));
    return 0;
}

if (args is ["waiting", "work"]) // one way to wait, asked for by the benchmark of that name
{
    WaitingBenchmark.Work();
    return 0;
}

if (args.Length != 1 || !benchmarks.TryGetValue(args[0], out Action? benchmark))
{
    string names = string.Join("|", benchmarks.Keys);
    Console.Error.WriteLine($"Usage: dotnet run -c Release --project tests/Retro.Benchmarks -- {names}|peers --retro-pytorch FOLDER");
    return 2;
}

benchmark();
return 0;

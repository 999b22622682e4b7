using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Database;
using static TorchSharp.torch;

namespace Retro.Tests.Cli.Commands;

/// <summary>`retro train`: what is trained, in which type, on which databases.</summary>
public sealed class TrainCommandTests : IDisposable
{
    private readonly CliRun _retro = new();

    public void Dispose() => _retro.Dispose();

    [Fact]
    public void What_is_typed_of_a_training_and_of_the_text_is_what_is_trained_with()
    {
        _retro.WriteCorpus();
        string[] build = ["build", "--corpus", "docs", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0"];
        _retro.Done([.. build, "--out", "work"]);
        _retro.Done([.. build, "--out", "part", "--megabytes", "0.01"]);
        (long all, long part) = (Bytes("work"), Bytes("part"));
        Assert.InRange(all, 20_000, 30_000);
        Assert.InRange(part, 7_000, 10_000);

        _retro.Done(
        [
            "train", "--database", "part", "--out", "model", "--source", "none", "--steps", "4", "--batch", "3", "--rate", "0.00125", "--checkpoint-every", "3",
            "--seed", "5", .. CliRun.Tiny,
        ]);
        JsonNode options = _retro.Json(Path.Combine("model", "model", "training.json"))["Options"]!;
        Assert.Equal([4, 3, 3, 5], new[] { "Steps", "Accumulation", "CheckpointEvery", "Seed" }.Select(name => (long)options[name]!));
        Assert.Equal(0.00125, (double)options["LearningRate"]!);

        long Bytes(string folder)
        {
            using ChunkDatabase database = _retro.Database($"{folder}/database");
            return database.Manifest.ByteCount;
        }
    }

    /// <summary>An accelerator computes all windows of a step together, which the data's identity knows; a training goes on elsewhere all the same.</summary>
    [Fact]
    public void A_training_that_was_begun_on_a_GPU_goes_on_without_one()
    {
        _retro.Build();
        _retro.Done(["train", "--database", "work", "--out", "model", "--source", "none", "--steps", "2", "--batch", "4", .. CliRun.Tiny]);
        string path = Path.Combine(_retro["model"], "model", "training.safetensors");
        byte[] state = File.ReadAllBytes(path);
        int at = state.AsSpan().IndexOf("BatchSize = 1"u8);
        state[at + "BatchSize = 1".Length - 1] = (byte)'2';
        File.WriteAllBytes(path, state);

        ChildProcess.Outcome odd = _retro.Run("train", "--out", "model", "--resume", "--steps", "3", "--batch", "3");
        Assert.Equal(2, odd.ExitCode);
        Assert.Contains("--batch takes a multiple of 2 where this training goes on, not 3", odd.Errors, StringComparison.Ordinal);
        _retro.Done("train", "--out", "model", "--resume", "--steps", "3", "--json", "train.json");
        Assert.Equal(3, (int)_retro.Json("train.json")["steps"]!);
    }

    [Fact]
    public void A_database_of_chunks_that_do_not_divide_the_usual_window_is_trained_on()
    {
        _retro.WriteCorpus();
        _retro.Done("build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "48", "--held-out-share", "0");
        _retro.Done("train", "--database", "work", "--out", "model", "--preset", "tiny", "--steps", "1", "--batch", "1");
        Assert.Contains("WindowLength = 480,", File.ReadAllText(Path.Combine(_retro["model"], "model", "training.json")), StringComparison.Ordinal);
    }

    /// <summary>Neighbors come from other documents.</summary>
    [Fact]
    public void A_database_whose_chunks_have_no_neighbors_is_refused_where_they_are_to_be_read()
    {
        string text = string.Concat(Enumerable.Range(0, 200).Select(i => $"The river has {7 * i} stones and {i} steps.\n"));
        _retro.WriteFile(Path.Combine("docs", "one.txt"), text);
        _retro.Done("build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0");
        _retro.Done(["train", "--database", "work", "--out", "decoder", "--source", "none", "--steps", "2", .. CliRun.Tiny]);
        foreach (string[] command in new string[][]
        {
            ["train", "--database", "work", "--out", "model", "--steps", "2", .. CliRun.Tiny],
            ["fit", "--base", "decoder", "--database", "work", "--out", "fitted", "--steps", "2", "--window", "64"],
        })
        {
            ChildProcess.Outcome refused = _retro.Run(command);
            Assert.Equal(1, refused.ExitCode);
            Assert.Contains("has a neighbor by bm25", refused.Errors, StringComparison.Ordinal);
            Assert.Contains("retro train --source none", refused.Errors, StringComparison.Ordinal);
        }
    }

    /// <summary>A model is trained in what the processor multiplies fast, goes on in what it was begun in, and is used in either.</summary>
    [Fact]
    public void A_type_that_the_processor_has_no_products_of_is_not_chosen_and_what_it_costs_is_said()
    {
        const string Cpu = "/proc/cpuinfo";
        bool fast = File.Exists(Cpu) && File.ReadLines(Cpu).Any(line => line.StartsWith("flags", StringComparison.Ordinal)
            && line.Contains("avx512_bf16", StringComparison.Ordinal));
        string[] train = ["train", "--source", "none", .. CliRun.Tiny];
        _retro.Build();
        Train("--database", "work", "--out", "here", "--steps", "3");
        Assert.Equal(fast ? ScalarType.BFloat16 : ScalarType.Float32, Type("here"));
        Train("--database", "work", "--out", "exact", "--steps", "3", "--dtype", "float32");
        Assert.Equal(ScalarType.Float32, Type("exact"));

        // The same on a processor without: .NET can be told to see none.
        (_retro.Variables["DOTNET_EnableAVX512"], _retro.Variables["DOTNET_EnableAVX512F"]) = ("0", "0");
        Train("--database", "work", "--out", "there", "--steps", "3");
        Assert.Equal(ScalarType.Float32, Type("there"));
        Assert.Matches("takes [0-9.]+ times as long as in float32", Train("--database", "work", "--out", "slow", "--steps", "2", "--dtype", "bfloat16"));
        Assert.Equal(ScalarType.BFloat16, Type("slow"));
        Train("--out", "here", "--resume", "--steps", "5");
        Assert.Equal(fast ? ScalarType.BFloat16 : ScalarType.Float32, Type("here"));
        _retro.Done("eval", "--model", "here", "--model", "slow", "--json", "eval.json");
        _retro.Done("fit", "--base", "slow", "--database", "work", "--out", "fitted", "--steps", "2", "--window", "64");
        Assert.Equal(ScalarType.Float32, Type("fitted"));
        _retro.Variables.Clear();
        _retro.Done("quickstart", "--corpus", "docs", "--out", "quick", "--minutes", "0.1", "--dtype", "float64");
        Assert.All(
            ["closed-book", "checkpoint"], model => Assert.Equal(ScalarType.Float64, Checkpoint.StoredType(Path.Combine(_retro["quick"], "docs", model))));

        string Train(params string[] arguments) => _retro.Done([.. train, .. arguments]);

        ScalarType Type(string folder) => Checkpoint.StoredType(Path.Combine(_retro[folder], "model"));
    }
}

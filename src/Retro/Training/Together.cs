using System.Text.Json;
using Retro.Modeling;
using Retro.Optimization;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>What a training does with the other processes: whether all train the same, and counts.</summary>
/// <param name="exchange">The processes.</param>
internal sealed class Together(IGradientExchange exchange)
{
    /// <summary>The number that a batch of a process's part of a step has in the whole step: process r of n has r, r + n, r + 2n and so on.</summary>
    /// <param name="exchange">The processes; null: there is one.</param>
    /// <param name="batch">The batch's number in the part.</param>
    public static long NumberOf(IGradientExchange? exchange, int batch) => exchange is null ? batch : exchange.Rank + ((long)batch * exchange.Size);

    /// <summary>Sums whole numbers over the processes.</summary>
    public long[] Sum(params long[] counts)
    {
        using Tensor sums = tensor(counts, device: CPU);
        exchange.Sum(sums);
        return sums.data<long>().ToArray();
    }

    /// <summary>The first process's number.</summary>
    public double First(double value)
    {
        using Tensor one = tensor([value], device: CPU);
        exchange.Broadcast(one, 0);
        return one.item<double>();
    }

    /// <summary>Refuses, in all processes, trainings that are not the same.</summary>
    /// <param name="own">What this process trains: values by name.</param>
    /// <exception cref="TrainingException">They differ; the values and processes are named.</exception>
    public void RequireSame(Dictionary<string, string> own)
    {
        const string Place = "process";
        own[Place] = exchange.Place;
        Dictionary<string, string>[] all = [.. exchange.Gather(JsonSerializer.Serialize(own))
            .Select(text => JsonSerializer.Deserialize<Dictionary<string, string>>(text)!)];
        string[] differences = [.. all.Skip(1)
            .SelectMany(other => all[0].Keys.Union(other.Keys)
                .Where(name => name != Place && all[0].GetValueOrDefault(name) != other.GetValueOrDefault(name))
                .Select(name => $"{name}: {Value(all[0], name)}, {Value(other, name)}"))];
        if (differences.Length > 0)
        {
            throw new TrainingException(
                $"The processes do not train the same. {string.Join("; ", differences.Take(8))}{(differences.Length > 8 ? "; ..." : "")}. Start all of them "
                    + $"with the same model, options, data and checkpoint; all name the same {nameof(TrainingOptions.CheckpointFolder)}, and the first "
                    + "alone writes into it.");
        }

        static string Value(Dictionary<string, string> one, string name) => $"{one.GetValueOrDefault(name, "none")} in {one[Place]}";
    }

    /// <summary>A hash of all weights.</summary>
    public static string WeightsHash(RetroModel model) => TensorHash.Of(model.named_parameters().Select(pair => (pair.name, (Tensor)pair.parameter)));
}

using System.Globalization;
using System.Text.Json;
using Retro.Modeling;
using Retro.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>That all processes train the same: their weights, settings, data and place in the training.</summary>
/// <param name="together">The processes; of one alone nothing is asked.</param>
/// <param name="tensors">What this one trains.</param>
/// <param name="accumulation">Batches of a step, of all processes.</param>
internal sealed class Agreement(Together together, TrainingTensors tensors, int accumulation)
{
    private bool _isFound; // since the trainer was made or loaded, when the weights may differ

    /// <summary>Has the weights compared again: what the processes have loaded may differ.</summary>
    public void Forget() => _isFound = false;

    /// <summary>Refuses processes that do not train the same, before the first step and each run, and once one has frozen what others train.</summary>
    /// <param name="state">Where this one stands.</param>
    /// <param name="bestMeasure">Its lowest measure.</param>
    /// <param name="measures">Whether it measures.</param>
    /// <param name="data">The data of a run that begins; null: a step begins.</param>
    /// <exception cref="TrainingException">They differ; the values and processes are named. Or they are more than the batches of a step.</exception>
    public void Require(TrainingState state, double? bestMeasure, bool measures, ITrainingData? data)
    {
        if (together.Exchange is not { } exchange)
        {
            return;
        }

        int[] asked = Gradients.Asked(tensors.Optimizer.Parameters);
        if (_isFound && data is null && IsEverywhere(asked))
        {
            return;
        }

        Dictionary<string, string> own = new()
        {
            ["data"] = data?.Identity ?? "none",
            ["steps done"] = $"{state.Steps}",
            ["best measure"] = string.Create(CultureInfo.InvariantCulture, $"{bestMeasure}"),
            ["batches read"] = $"{state.Batches}",
            ["optimizer"] = tensors.OptimizerName ?? nameof(RetroOptimizer),
            ["trained parameters"] = string.Join(' ', asked.Select(tensors.Optimizer.ParameterNames.ElementAt)),
            ["measure"] = measures ? "given" : "none",
            ["tokenizer"] = tensors.Model.TokenizerHash ?? "not known",
        };
        if (!_isFound)
        {
            own["weights (SHA-256)"] = TensorHash.Of(tensors.Model.named_parameters().Select(pair => (pair.name, (Tensor)pair.parameter)));
        }

        TrainingState.Flatten(state.Config, "config", own);
        TrainingState.Flatten(state.Options, "options", own);
        RequireSame(exchange, own);
        if (data is not null && together.Size > accumulation)
        {
            throw together.Everywhere(new TrainingException(
                $"There are {together.Size} processes and {accumulation} batches in a step, so that some would have nothing to do; start at most as many "
                    + $"processes as there are batches, or set {nameof(TrainingOptions.Accumulation)} to {together.Size} or more and make the batches "
                    + "smaller."));
        }

        if (_isFound)
        {
            TakeFirst();
        }

        _isFound = true;
    }

    /// <summary>
    /// Gives every process the weights of the first, what Retro's optimizer remembers of them, and their average: processors of several kinds round
    /// differently.
    /// </summary>
    public void TakeFirst()
    {
        ITrainingOptimizer optimizer = tensors.Optimizer;
        if (together.Exchange is not { } exchange)
        {
            return;
        }

        using DisposeScope scope = NewDisposeScope();

        // Who moves a share of the parameters gives it to the others in every step; each averages them all.
        IEnumerable<Tensor> moved = optimizer.Owners is null ? optimizer.Parameters : [];
        IEnumerable<Tensor> remembered = optimizer.Owners is null && optimizer is RetroOptimizer own ? own.State().Values : [];
        new ExchangeBuckets(exchange).Broadcast(moved.Concat(remembered).Concat(tensors.Averages).Select(tensor => (tensor, (int?)0)));
    }

    private void RequireSame(IGradientExchange exchange, Dictionary<string, string> own)
    {
        const string Place = "process";
        own[Place] = exchange.Place;
        string[] texts = exchange.GatherAlike("trains", JsonSerializer.Serialize(own), out string? differ);
        if (differ is not null)
        {
            throw together.Everywhere(new TrainingException(differ));
        }

        Dictionary<string, string>[] all = [.. texts.Select(text => JsonSerializer.Deserialize<Dictionary<string, string>>(text)!)];
        string[] differences = [.. all.Skip(1)
            .SelectMany(other => all[0].Keys.Union(other.Keys)
                .Where(name => name != Place && all[0].GetValueOrDefault(name) != other.GetValueOrDefault(name))
                .Select(name => $"{name}: {Value(all[0], name)}, {Value(other, name)}"))];
        if (differences.Length > 0)
        {
            throw together.Everywhere(new TrainingException(
                $"The processes do not train the same. {string.Join("; ", differences.Take(8))}{(differences.Length > 8 ? "; ..." : "")}. Start all of them "
                    + $"with the same model, options, data and checkpoint; all name the same {nameof(TrainingOptions.CheckpointFolder)}, and the first "
                    + "alone writes into it."));
        }

        static string Value(Dictionary<string, string> one, string name) => $"{one.GetValueOrDefault(name, "none")} in {one[Place]}";
    }

    /// <summary>
    /// Whether all processes give the same numbers, by one sum: a parameter of which some ask no gradient would be moved by a part of it, in all of them.
    /// </summary>
    private bool IsEverywhere(int[] numbers)
    {
        // Without the upper bits, so that the sum has room for millions of processes.
        long own = (long)(numbers.Aggregate(0UL, (mixed, number) => SeededRandom.Mix(mixed + (ulong)number)) >> 24);
        return together.Sum(own)[0] == own * together.Size;
    }
}

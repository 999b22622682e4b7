using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Optimization;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>The tensors that a training moves: the model's weights, what the optimizer remembers of them, and their average.</summary>
internal sealed class TrainingTensors : IDisposable
{
    private readonly WeightAverage? _average;
    private readonly HashSet<string> _trained;
    private string? _frozen;

    /// <summary>Begins with the weights as they are.</summary>
    /// <param name="model">The model; it stays the caller's.</param>
    /// <param name="optimizer">The optimizer over what of it is trained; this object's from now on.</param>
    /// <param name="averageDecay">See <see cref="TrainingOptions.AverageDecay"/>.</param>
    public TrainingTensors(RetroModel model, ITrainingOptimizer optimizer, double? averageDecay)
    {
        (Model, Optimizer, _trained) = (model, optimizer, [.. optimizer.ParameterNames]);
        Dictionary<string, Parameter> trained = Trained();
        _average = averageDecay is { } decay
            ? new(optimizer.ParameterNames.Zip(optimizer.Moved, (name, moved) => (name, trained[name], moved)), decay)
            : null;
    }

    /// <summary>The model.</summary>
    public RetroModel Model { get; }

    /// <summary>What moves the weights.</summary>
    public ITrainingOptimizer Optimizer { get; }

    /// <summary>Type of an optimizer that is not Retro's; null: Retro's.</summary>
    public string? OptimizerName => (Optimizer as TorchOptimizer)?.Optimizer.GetType().FullName;

    /// <summary>The hash of the parameters that are not trained; null: there are none. Taken once: they stay as they are.</summary>
    public string? Frozen => _frozen ??= HashOfFrozen();

    /// <summary>Whether a parameter of the model is trained, or was when the trainer was made.</summary>
    public bool IsTrained(string name) => _trained.Contains(name);

    /// <summary>Takes the weights of a step into the average.</summary>
    /// <param name="steps">Steps done before it.</param>
    public void Average(long steps) => _average?.Add(steps);

    /// <summary>The averages of the weights; none where there is no average.</summary>
    public IEnumerable<Tensor> Averages => _average?.State.Select(pair => pair.Value) ?? [];

    /// <summary>Puts the average in the weights' places until what is given back is disposed; null: there is none.</summary>
    public IDisposable? Averaged() => _average?.Put();

    /// <summary>
    /// Refuses a model that holds the average, where a step would be undone, and a checkpoint would hold it for what is trained; or that was cast, so that
    /// what is trained is no part of it any more.
    /// </summary>
    /// <exception cref="InvalidOperationException">It is so.</exception>
    public void RequireOwnWeights()
    {
        TrainedParameters.RequireThere(Optimizer.Parameters, "trainer");
        if (_average?.IsPut == true)
        {
            throw new InvalidOperationException(
                $"The model holds the average of its weights, as it does for {nameof(Trainer.Measure)} and {nameof(Trainer.Watch)}: dispose what "
                    + $"{nameof(Trainer.Averaged)} gave before a step or a checkpoint, or save the model itself with Checkpoint.Save.");
        }
    }

    /// <summary>All of them, for a checkpoint.</summary>
    /// <param name="memory">The optimizer's, which of several processes all have to ask it for.</param>
    public TrainingParts Parts(IReadOnlyDictionary<string, Tensor> memory) => new(
        Trained().ToDictionary(pair => pair.Key, pair => pair.Value.detach()),
        new(memory),
        new(_average?.State ?? []),
        new(Checkpoint.Buffers(Model)));

    /// <summary>Makes sure that what a checkpoint holds fits; all stay as they are.</summary>
    /// <param name="stored">The checkpoint's.</param>
    /// <param name="state">What it knows besides.</param>
    /// <param name="path">Its file.</param>
    /// <returns>Takes it over, while <paramref name="stored"/> is there. Its buffers go to the branches that have such.</returns>
    /// <exception cref="CheckpointException">They are of another training, or the model beside them is not of theirs.</exception>
    public Action Loading(TrainingParts stored, TrainingState state, string path)
    {
        if (stored.Averages.Count > 0 && _average is null)
        {
            throw new CheckpointException(
                $"{path} holds the average of the trained weights, which the next checkpoint would be without; resume with "
                    + $"{nameof(TrainingOptions.AverageDecay)} as before, or load the checkpoint's model, which is the average, and begin a training from it.");
        }

        Dictionary<string, Parameter> trained = Trained();
        RequireSameWeights(trained, stored.Weights, path);

        // After the types, since the same weights in another type have another hash.
        if (state.Frozen is { } frozen && frozen != Frozen)
        {
            throw new CheckpointException(
                $"The training of {path} was begun on other weights than this model's where none are trained; load the model, such as the decoder that "
                    + "retrieval is fitted onto, as it was then.");
        }

        KeyValuePair<string, Tensor>[] buffers = [.. Checkpoint.Buffers(Model).Where(pair => stored.Buffers.ContainsKey(pair.Key))];
        foreach ((string name, Tensor buffer) in buffers)
        {
            RequireLike(name, buffer, stored.Buffers[name], path);
        }

        RequireAverages(stored.Averages, path);
        RequireSaved(stored, path);
        Action memory = Optimizer.Loading(stored.Memory, state.OptimizerSteps);
        return () =>
        {
            memory();
            using IDisposable noGradients = no_grad();
            foreach ((string name, Parameter parameter) in trained)
            {
                parameter.copy_(stored.Weights[name]);
            }

            foreach ((string name, Tensor buffer) in buffers)
            {
                buffer.copy_(stored.Buffers[name]);
            }

            Model.TokenizerHash ??= state.TokenizerHash;
            _average?.Load(stored.Averages);
        };
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _average?.Dispose();
        Optimizer.Dispose();
    }

    private static void RequireSameWeights(Dictionary<string, Parameter> trained, Dictionary<string, Tensor> stored, string path)
    {
        string[] differing = [.. trained.Keys.Except(stored.Keys).Concat(stored.Keys.Except(trained.Keys)).Take(3)];
        if (differing.Length > 0)
        {
            throw new CheckpointException(
                $"{path} trains other parameters than this trainer, among them {string.Join(", ", differing)}; freeze the same ones.");
        }

        foreach ((string name, Parameter parameter) in trained)
        {
            RequireLike(name, parameter, stored[name], path);
        }
    }

    private static void RequireLike(string name, Tensor own, Tensor stored, string path)
    {
        if (!own.shape.SequenceEqual(stored.shape) || own.dtype != stored.dtype)
        {
            throw new CheckpointException($"{path} has {name} as {stored.dtype} {Shape(stored)}; the model's is {own.dtype} {Shape(own)}.");
        }
    }

    private void RequireAverages(Dictionary<string, Tensor> stored, string path)
    {
        Dictionary<string, Tensor> own = new(_average?.State ?? []);
        foreach ((string name, Tensor average) in stored)
        {
            Tensor of = own.GetValueOrDefault(name)
                ?? throw new CheckpointException($"{path} has the average of {name}, which is not trained; use another checkpoint.");
            RequireLike($"the average of {name}", of, average, path);
        }
    }

    /// <summary>Refuses a state beside which another model was saved since, for whose own the checkpoint would be taken; by itself it goes on alone.</summary>
    private static void RequireSaved(TrainingParts stored, string path)
    {
        string folder = Path.GetDirectoryName(path)!;
        WeightFolder model;
        try
        {
            model = WeightFolder.Open(folder);
        }
        catch (CheckpointException)
        {
            return; // none, or none that can be read
        }

        using WeightFolder opened = model;
        foreach ((string name, Tensor weight) in stored.Weights)
        {
            using DisposeScope scope = NewDisposeScope();
            if (!model.Holds(name, stored.Averages.GetValueOrDefault(name)?.to_type(weight.dtype) ?? weight))
            {
                throw new CheckpointException(
                    $"The model in '{folder}' is not the one that was saved with {path}, as {name} shows: another was saved there since. To train that one, "
                        + $"begin a training from it, with Checkpoint.Load; to go on with the training, move {Path.GetFileName(path)} into a folder of its own "
                        + "and load that.");
            }
        }
    }

    private static string Shape(Tensor tensor) => $"[{string.Join(", ", tensor.shape)}]";

    private string? HashOfFrozen()
    {
        Dictionary<string, Parameter> trained = Trained();
        (string, Tensor)[] frozen =
            [.. Model.named_parameters().Where(pair => !trained.ContainsKey(pair.name)).Select(pair => (pair.name, (Tensor)pair.parameter))];
        return frozen.Length > 0 ? TensorHash.Of(frozen) : null;
    }

    private Dictionary<string, Parameter> Trained()
        => Model.named_parameters().Where(pair => IsTrained(pair.name)).ToDictionary(pair => pair.name, pair => pair.parameter);
}

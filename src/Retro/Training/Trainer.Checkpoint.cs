using System.Globalization;
using Retro.Checkpoints;
using Retro.Database;
using Retro.Modeling;
using Retro.Optimization;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Training;

public sealed partial class Trainer
{
    /// <summary>The file from which a training goes on; beside the model's own files.</summary>
    public const string StateFile = "training.safetensors";

    /// <summary>The file that says for people what <see cref="StateFile"/> holds; nothing reads it.</summary>
    public const string DescriptionFile = "training.json";

    /// <summary>The folder, within that of the checkpoint, of the model with the lowest measure; to be loaded as any other.</summary>
    public const string BestFolder = "best";

    /// <summary>What an exception's Data have where a training that it ended could not write its checkpoint: why.</summary>
    public const string NotSaved = "retro.not-saved";

    private const string MetadataKey = "training";
    private const string ModelPrefix = "model/";
    private const string OptimizerPrefix = "optimizer/";
    private const string AveragePrefix = "average/";
    private const string BufferPrefix = "buffer/";
    private const string BestOfKey = "best_of";
    private const string BestMeasureKey = "best_measure";

    private string? _id; // from the first step on
    private string? _frozen;
    private string? _earlier; // the folder of the last checkpoint, which holds what is frozen
    private string? _bestIn; // the folder whose best model is this training's
    private bool _isKept; // the checkpoint's folder holds one of this training
    private WriterLock? _writing; // of the checkpoint's folder, while a run goes on

    /// <summary>
    /// Writes a checkpoint: the model (as <see cref="Checkpoint.Save"/> does; with the average of its weights where there is one) and the state of the training
    /// (training.safetensors; training.json says it for the reader).
    /// </summary>
    /// <remarks>
    /// What is frozen is written once: it lies in files of its own, which a later checkpoint in the same folder leaves as they are, and one in another folder
    /// has under a second name (a hard link, where the file system has such). Either folder may be copied, moved or deleted by itself; whoever changes a file
    /// in place changes both.
    /// training.safetensors holds all that <see cref="Load"/> reads, the trained weights included. All files take their names as one when the last is whole: a
    /// process killed at any moment, or a disk that is full, leaves the old checkpoint or the new one, never a mixture, and the disk holds both until then. Of
    /// several processes of one training all save together, the first writes, and any number of processes can go on from it. While another training has the
    /// folder for its checkpoint, nothing is saved there.
    /// </remarks>
    /// <param name="folder">The folder; made where it is missing.</param>
    /// <param name="progress">Stage "save weights", in tensors, first of the training's state and then of the model; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two tensors, and leaves what a kill would.</param>
    /// <exception cref="CheckpointException">A file cannot be written, or another training, which is named, has the folder; all processes throw it.</exception>
    /// <exception cref="InvalidOperationException">The model holds the average of its weights, see <see cref="Averaged"/>; or another thread runs the
    /// training.</exception>
    /// <exception cref="ObjectDisposedException">The trainer or the model was disposed.</exception>
    /// <exception cref="OperationCanceledException">Canceled.</exception>
    public void Save(string folder, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
        => Alone(() =>
        {
            RequireOwnWeights();
            SaveTogether(folder, progress, cancellationToken);
            return 0;
        });

    private void SaveTogether(string folder, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        using DisposeScope scope = NewDisposeScope();
        IReadOnlyDictionary<string, Tensor> memory = new Dictionary<string, Tensor>();
        string? fault = null;
        try
        {
            memory = _optimizer.State();
        }
        catch (CheckpointException exception)
        {
            fault = exception.Message; // the weights are kept all the same
        }

        WriteByFirst(() => Write(folder, memory, fault, progress, cancellationToken));
        _isKept |= IsSame(folder, Options.CheckpointFolder);
    }

    /// <summary>Has the first process do what concerns files, while the others wait; where it cannot, all throw.</summary>
    private void WriteByFirst(Action write)
    {
        if (_exchange is null)
        {
            write();
            return;
        }

        Exception? failed = null;
        try
        {
            if (IsFirst)
            {
                write();
            }
        }
        catch (Exception exception) when (exception is RetroException or OperationCanceledException)
        {
            failed = exception;
        }

        if (_exchange.Gather(failed is null ? "" : $"{_exchange.Place}: {failed.Message}")[0] is { Length: > 0 } said)
        {
            throw Everywhere(failed ?? new CheckpointException($"The checkpoint was not written by {said}"));
        }
    }

    private void Write(
        string folder, IReadOnlyDictionary<string, Tensor> memory, string? fault, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        using DisposeScope scope = NewDisposeScope();
        Checkpoint.RequireReplaceable(folder);
        using WriterLock? writing = IsWriting(folder) ? null : WriterLock.TakeOfCheckpoint(folder, "save a checkpoint");
        using StagedFiles staged = Checkpoint.Begin(folder);
        bool replacesBest = HoldsFormerBest(folder);
        string description = (State() with { OptimizerFault = fault }).ToString();
        KeyValuePair<string, Tensor>[] tensors = [.. Tensors(memory)];
        StageCounter ofState = Safetensors.Saving(tensors.Length, progress, cancellationToken), ofModel;
        Safetensors.Stage(
            staged, Path.Combine(folder, StateFile), tensors, new Dictionary<string, string> { [MetadataKey] = description }, ofState);
        ofState.End();
        using (Averaged())
        {
            ofModel = Checkpoint.Stage(staged, folder, Model, _earlier, new(), null, progress, cancellationToken);
        }

        staged.WriteText(Path.Combine(folder, DescriptionFile), description);
        staged.Commit();
        _earlier = folder;
        if (replacesBest)
        {
            DeleteBest(folder);
        }

        ofModel.End();
    }

    /// <summary>Takes the folder of the checkpoint for a run, before its first step: of two trainings, each would replace what the other has learned.</summary>
    private void TakeFolder(string folder) => WriteByFirst(() =>
    {
        Checkpoint.RequireWritable(folder);
        _writing = WriterLock.TakeOfCheckpoint(folder, "train a model");
    });

    private bool IsWriting(string folder)
        => _writing is not null && IsSame(folder, Options.CheckpointFolder);

    // The working directory may change.
    private static string? Full(string? folder) => folder is null ? null : Path.GetFullPath(folder);

    private static bool IsSame(string folder, string? other) => other is not null && Path.GetRelativePath(folder, other) == ".";

    /// <summary>The model that lies in a folder for the best one, as far as it says what it is: one without a training is of before they had an id, or
    /// somebody's own. Null: there is none, or none that can be read.</summary>
    private static (string? Training, double? Measure)? BestIn(string folder)
    {
        string best = Path.Combine(folder, BestFolder);
        if (!Directory.Exists(best))
        {
            return null;
        }

        try
        {
            using WeightFolder weights = WeightFolder.Open(best);
            IReadOnlyDictionary<string, string>? said = weights.Files
                .Select(file => file.Metadata)
                .FirstOrDefault(metadata => metadata?.ContainsKey(BestMeasureKey) == true);
            bool isMeasured = double.TryParse(said?.GetValueOrDefault(BestMeasureKey), CultureInfo.InvariantCulture, out double measure);
            return RetroConfigJson.IsOne(Path.Combine(best, Checkpoint.ConfigName))
                ? (said?.GetValueOrDefault(BestOfKey), isMeasured ? measure : null)
                : null;
        }
        catch (CheckpointException)
        {
            return null;
        }
    }

    /// <summary>Whether the best model in a folder is that of the training whose checkpoint lies there, and not of this one: what lies there otherwise is
    /// somebody's own.</summary>
    private bool HoldsFormerBest(string folder)
    {
        if (IsSame(folder, _bestIn) || BestIn(folder) is not { } best)
        {
            return false;
        }

        try
        {
            using Safetensors file = OpenState(folder, out string description);
            TrainingState state = TrainingState.Parse(description, file.FilePath);
            return best.Training == state.Id && (best.Training is not null || state.BestMeasure is not null);
        }
        catch (CheckpointException)
        {
            return false; // no training's, or none that can be known
        }
    }

    /// <summary>Writes the best model. That of a training before goes with the checkpoint that it belongs to, which is replaced first.</summary>
    private void KeepBest(string folder, double measure)
    {
        if (!IsSame(folder, _bestIn) && IsAnywhere(IsFirst && HoldsFormerBest(folder)))
        {
            Save(folder);
        }

        if (IsFirst)
        {
            using IDisposable? averaged = Averaged();
            string best = Path.Combine(folder, BestFolder);
            Dictionary<string, string> notes = new() { [BestMeasureKey] = measure.ToString("R", CultureInfo.InvariantCulture) };
            if (_id is not null)
            {
                notes[BestOfKey] = _id;
            }

            Checkpoint.SaveAfter(_earlier, best, Model, new(), notes);
            _earlier ??= best;
        }
    }

    /// <summary>Deletes the best model of a training that was in the folder before.</summary>
    private static void DeleteBest(string folder)
    {
        try
        {
            Directory.Delete(Path.Combine(folder, BestFolder), recursive: true);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException(
                $"The checkpoint is in '{folder}', and beside it the best model of a training before cannot be deleted ({exception.Message}); delete "
                    + $"'{BestFolder}' yourself.",
                exception);
        }
    }

    /// <summary>What a checkpoint tells of its training, from <see cref="StateFile"/> alone; no tensor is read.</summary>
    /// <param name="folder">The checkpoint's folder.</param>
    /// <returns>How far it came, in which type, and on what.</returns>
    /// <exception cref="CheckpointException">There is no state of a training, or it is damaged.</exception>
    public static StoredTraining Stored(string folder)
    {
        using Safetensors file = OpenState(folder, out string description);
        TrainingState state = TrainingState.Parse(description, file.FilePath);
        string? dtype = file.Entries.FirstOrDefault(entry => entry.Name == ModelPrefix + Checkpoint.Embedding)?.Dtype
            ?? file.Entries.FirstOrDefault(entry => entry.Name.StartsWith(ModelPrefix, StringComparison.Ordinal))?.Dtype;
        return new(state.Steps, state.Elapsed, Checkpoint.TypeOf(dtype), state.Data);
    }

    /// <summary>Goes on where a checkpoint ended: trained weights, optimizer, step, place in the data and time.</summary>
    /// <remarks>
    /// Frozen parameters are no part of the checkpoint: the model has to have them as the training had, which a hash tells. Buffers of custom branches go
    /// on as they were. An average of the weights that the checkpoint does not have begins with its weights; one that it has goes on, and a trainer without
    /// <see cref="TrainingOptions.AverageDecay"/> would lose it. The schedule is that of this trainer; a scheduler has to be new, and is taken as many steps
    /// on. A best model that lies there and is this training's counts, also where it was found after the checkpoint; <see cref="TrainingOptions.Patience"/>
    /// counts from the checkpoint on as it did then.
    /// </remarks>
    /// <param name="folder">The checkpoint's folder.</param>
    /// <param name="progress">Stage "load weights", in tensors; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two tensors; the training is then as it was.</param>
    /// <exception cref="CheckpointException">
    /// The checkpoint is missing or damaged, or of another configuration or optimizer: the values that differ are named. Or its optimizer has a memory that
    /// could not be stored, or it has an average of the weights and this trainer keeps none.
    /// </exception>
    /// <exception cref="InvalidOperationException">The training runs, or the model holds the average of its weights.</exception>
    /// <exception cref="ObjectDisposedException">The trainer or the model was disposed.</exception>
    /// <exception cref="OperationCanceledException">Canceled.</exception>
    public void Load(string folder, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
        => Alone(() =>
        {
            LoadAlone(folder, progress, cancellationToken);
            return 0;
        });

    private void LoadAlone(string folder, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        RequireOwnWeights();
        if (_started is not null)
        {
            throw new InvalidOperationException($"The training runs: a checkpoint is loaded before {nameof(Run)} or after it.");
        }

        using Safetensors file = OpenState(folder, out string description);
        string path = file.FilePath;
        TrainingState state = TrainingState.Parse(description, path);
        state.RequireConfig(Model.Config, path);
        if (state.TokenizerHash is { } tokenizer && (Model.TokenizerHash ?? tokenizer) != tokenizer)
        {
            throw new CheckpointException(
                $"The training of {path} was begun with the tokenizer of hash {tokenizer}, and the model was trained with that of hash {Model.TokenizerHash}; "
                    + "go on with the model that it was begun with.");
        }

        if (state.Optimizer != OptimizerName)
        {
            throw new CheckpointException(
                $"{path} was trained by {state.Optimizer ?? nameof(RetroOptimizer)}, this trainer has {OptimizerName ?? nameof(RetroOptimizer)}; resume "
                    + "with the optimizer of the first run.");
        }

        if (state.OptimizerFault is { } fault)
        {
            throw new CheckpointException($"The training of {path} cannot go on: {fault}");
        }

        using DisposeScope scope = NewDisposeScope();
        Dictionary<string, Tensor> weights = [], memory = [], averages = [], buffers = [];
        (string Prefix, Dictionary<string, Tensor> Of)[] parts =
            [(ModelPrefix, weights), (OptimizerPrefix, memory), (AveragePrefix, averages), (BufferPrefix, buffers)];
        StageCounter counter = new("load weights", file.Entries.Count, progress, cancellationToken);
        foreach (SafetensorsEntry entry in file.Entries)
        {
            counter.Next();
            (string prefix, Dictionary<string, Tensor>? target) = Array.Find(parts, part => entry.Name.StartsWith(part.Prefix, StringComparison.Ordinal));
            if (target is null)
            {
                throw new CheckpointException($"{path} holds the tensor {entry.Name}, which is no part of a training; use another checkpoint.");
            }

            // In the processor's memory: the model and the optimizer take copies, and of several processes each its share.
            target.Add(entry.Name[prefix.Length..], file.Read(entry.Name));
        }

        counter.End();
        if (averages.Count > 0 && _average is null)
        {
            throw new CheckpointException(
                $"{path} holds the average of the trained weights, which the next checkpoint would be without; resume with "
                    + $"{nameof(TrainingOptions.AverageDecay)} as before, or load the checkpoint's model, which is the average, and begin a training from it.");
        }

        Dictionary<string, Parameter> trained = Trained();
        string[] differing = [.. trained.Keys.Except(weights.Keys).Concat(weights.Keys.Except(trained.Keys)).Take(3)];
        if (differing.Length > 0)
        {
            throw new CheckpointException(
                $"{path} trains other parameters than this trainer, among them {string.Join(", ", differing)}; freeze the same ones.");
        }

        foreach ((string name, Parameter parameter) in trained)
        {
            if (!parameter.shape.SequenceEqual(weights[name].shape) || parameter.dtype != weights[name].dtype)
            {
                throw new CheckpointException(
                    $"{path} has {name} as {weights[name].dtype} [{string.Join(", ", weights[name].shape)}]; the model's is {parameter.dtype} "
                        + $"[{string.Join(", ", parameter.shape)}].");
            }
        }

        // After the types, since the same weights in another type have another hash.
        if (state.Frozen is { } frozen && frozen != Frozen())
        {
            throw new CheckpointException(
                $"The training of {path} was begun on other weights than this model's where none are trained; load the model, such as the decoder that "
                    + "retrieval is fitted onto, as it was then.");
        }

        KeyValuePair<string, Tensor>[] own = [.. Checkpoint.Buffers(Model).Where(pair => buffers.ContainsKey(pair.Key))];
        foreach ((string name, Tensor buffer) in own)
        {
            if (!buffer.shape.SequenceEqual(buffers[name].shape))
            {
                throw new CheckpointException(
                    $"{path} has {name} as [{string.Join(", ", buffers[name].shape)}]; the model's is [{string.Join(", ", buffer.shape)}].");
            }
        }

        _optimizer.LoadState(memory, state.OptimizerSteps);
        using (no_grad())
        {
            foreach ((string name, Parameter parameter) in trained)
            {
                parameter.copy_(weights[name]);
            }
        }

        foreach ((string name, Tensor buffer) in own)
        {
            buffer.copy_(buffers[name]);
        }

        Model.TokenizerHash ??= state.TokenizerHash;
        _average?.Load(averages);
        for (long step = StepsDone; step < state.Steps && _scheduler is not null; step++)
        {
            _scheduler.step();
        }

        StepsDone = state.Steps;
        _batches = state.Batches;
        _tokens = state.Tokens;
        _skippedInARow = state.SkippedInARow;
        _elapsedBefore = state.Elapsed;
        _dataIdentity = state.Data;
        _id = state.Id;
        BestMeasure = BestIn(folder) is not { } best ? state.BestMeasure // of a training that keeps none; a run that does looks for it
            : best.Training == _id ? best.Measure ?? state.BestMeasure
            : null;
        _lowest = BestMeasure is null ? null : state.BestMeasure;
        _measuresSinceBest = state.MeasuresSinceBest;
        _unseen = state.Unseen;
        _reads = state.Reads;
        _learns = state.Learns;
        _earlier = folder;
        _bestIn = BestMeasure is null ? null : Full(folder);
        _isKept = IsSame(folder, Options.CheckpointFolder);
        _compared = _isAhead = false; // what the processes have loaded may differ
    }

    private static Safetensors OpenState(string folder, out string description)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        StagedFiles.Finish(folder, CheckpointException.Of);
        string path = Path.Combine(folder, StateFile);
        if (!File.Exists(path))
        {
            throw new CheckpointException(
                $"There is no state of a training at {path}; start again, or name the folder of a checkpoint that a trainer has written.");
        }

        Safetensors file = Safetensors.Open(path);
        if (file.Metadata is { } metadata && metadata.TryGetValue(MetadataKey, out string? found))
        {
            description = found;
            return file;
        }

        file.Dispose();
        throw new CheckpointException($"{path} holds no state of a training; name the folder of a checkpoint that a trainer has written.");
    }

    private TrainingState State() => new()
    {
        FormatVersion = TrainingState.CurrentFormatVersion,
        Id = _id,
        Steps = StepsDone,
        Batches = _batches,
        Tokens = _tokens,
        SkippedInARow = _skippedInARow,
        Elapsed = Elapsed,
        Data = _dataIdentity,
        Config = TrainingState.Describe(Model.Config),
        Options = TrainingState.Describe(Options),
        OptimizerSteps = _optimizer.StepCounts(),
        Optimizer = OptimizerName,
        BestMeasure = _lowest,
        MeasuresSinceBest = _measuresSinceBest,
        Unseen = _unseen,
        Reads = _reads,
        Learns = _learns,
        TokenizerHash = Model.TokenizerHash,
        Frozen = Frozen(),
    };

    // Taken once: they stay as they are.
    private string? Frozen()
    {
        if (_frozen is null)
        {
            Dictionary<string, Parameter> trained = Trained();
            (string, Tensor)[] frozen =
                [.. Model.named_parameters().Where(pair => !trained.ContainsKey(pair.name)).Select(pair => (pair.name, (Tensor)pair.parameter))];
            _frozen = frozen.Length > 0 ? TensorHash.Of(frozen) : null;
        }

        return _frozen;
    }

    private string? OptimizerName => (_optimizer as TorchOptimizer)?.Optimizer.GetType().FullName;

    private IEnumerable<KeyValuePair<string, Tensor>> Tensors(IReadOnlyDictionary<string, Tensor> memory)
        => Trained().Select(pair => KeyValuePair.Create(ModelPrefix + pair.Key, pair.Value.detach()))
            .Concat(memory.Select(pair => KeyValuePair.Create(OptimizerPrefix + pair.Key, pair.Value)))
            .Concat((_average?.State ?? []).Select(pair => KeyValuePair.Create(AveragePrefix + pair.Key, pair.Value)))
            .Concat(Checkpoint.Buffers(Model).Select(pair => KeyValuePair.Create(BufferPrefix + pair.Key, pair.Value)));

    private Dictionary<string, Parameter> Trained()
    {
        HashSet<string> names = [.. _optimizer.ParameterNames];
        return Model.named_parameters().Where(pair => names.Contains(pair.name)).ToDictionary(pair => pair.name, pair => pair.parameter);
    }
}

using Retro.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>The file from which a training goes on, <see cref="Trainer.StateFile"/>: its tensors, and what is known of it besides.</summary>
internal sealed class TrainingFile : IDisposable
{
    private const string MetadataKey = "training";
    private const string ModelPrefix = "model/";
    private const string OptimizerPrefix = "optimizer/";
    private const string AveragePrefix = "average/";
    private const string BufferPrefix = "buffer/";

    private readonly Safetensors _file;

    private TrainingFile(Safetensors file, TrainingState state) => (_file, State) = (file, state);

    /// <summary>Where it is.</summary>
    public string Path => _file.FilePath;

    /// <summary>What is known of the training besides its tensors.</summary>
    public TrainingState State { get; }

    /// <summary>Type of the weights that are trained.</summary>
    public ScalarType Dtype => Checkpoint.TypeOf(
        _file.Entries.FirstOrDefault(entry => entry.Name == ModelPrefix + Checkpoint.Embedding)?.Dtype
            ?? _file.Entries.FirstOrDefault(entry => entry.Name.StartsWith(ModelPrefix, StringComparison.Ordinal))?.Dtype);

    /// <summary>Opens that of a checkpoint; no tensor is read.</summary>
    /// <param name="folder">The checkpoint's folder.</param>
    /// <exception cref="CheckpointException">There is no state of a training, or it is damaged.</exception>
    public static TrainingFile Open(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        StagedFiles.Finish(folder, CheckpointException.Of);
        string path = System.IO.Path.Combine(folder, Trainer.StateFile);
        if (!File.Exists(path))
        {
            throw new CheckpointException(
                $"There is no state of a training at {path}; start again, or name the folder of a checkpoint that a trainer has written.");
        }

        Safetensors file = Safetensors.Open(path);
        try
        {
            return file.Metadata?.GetValueOrDefault(MetadataKey) is { } description
                ? new(file, TrainingState.Parse(description, file.FilePath))
                : throw new CheckpointException($"{path} holds no state of a training; name the folder of a checkpoint that a trainer has written.");
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Writes it beside its place.</summary>
    /// <param name="staged">Takes it.</param>
    /// <param name="folder">The checkpoint's folder.</param>
    /// <param name="parts">The tensors.</param>
    /// <param name="description">The rest: a <see cref="TrainingState"/>.</param>
    /// <param name="progress">Whom to tell.</param>
    /// <param name="cancellationToken">Stops between two tensors.</param>
    public static void Stage(
        StagedFiles staged, string folder, TrainingParts parts, string description, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        KeyValuePair<string, Tensor>[] tensors = [.. ByPrefix(parts)
            .SelectMany(part => part.Of.Select(pair => KeyValuePair.Create(part.Prefix + pair.Key, pair.Value)))];
        StageCounter counter = Safetensors.Saving(tensors.Length, progress, cancellationToken);
        Safetensors.Stage(
            staged,
            System.IO.Path.Combine(folder, Trainer.StateFile),
            tensors,
            new Dictionary<string, string> { [MetadataKey] = description },
            counter);
        counter.End();
    }

    /// <summary>Reads the tensors into the processor's memory: whoever takes them over copies them, and of several processes each its share.</summary>
    /// <param name="progress">Stage "load weights", in tensors; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two tensors.</param>
    /// <returns>The tensors, of the current dispose scope.</returns>
    /// <exception cref="CheckpointException">They are damaged, or no training's.</exception>
    public TrainingParts Read(IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        TrainingParts parts = new([], [], [], []);
        StageCounter counter = new("load weights", _file.Entries.Count, progress, cancellationToken);
        foreach (SafetensorsEntry entry in _file.Entries)
        {
            counter.Next();
            (string prefix, Dictionary<string, Tensor>? target)
                = Array.Find(ByPrefix(parts), part => entry.Name.StartsWith(part.Prefix, StringComparison.Ordinal));
            if (target is null)
            {
                throw new CheckpointException($"{Path} holds the tensor {entry.Name}, which is no part of a training; use another checkpoint.");
            }

            target.Add(entry.Name[prefix.Length..], _file.Read(entry.Name));
        }

        counter.End();
        return parts;
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private static (string Prefix, Dictionary<string, Tensor> Of)[] ByPrefix(TrainingParts parts) =>
        [(ModelPrefix, parts.Weights), (OptimizerPrefix, parts.Memory), (AveragePrefix, parts.Averages), (BufferPrefix, parts.Buffers)];
}

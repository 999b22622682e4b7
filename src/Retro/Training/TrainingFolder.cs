using Retro.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>What a training has on disk: its checkpoints, its best model, and while a run goes on the right to their folder.</summary>
/// <param name="folder">The checkpoint's folder; null: there is none, and only what somebody asks to save is saved.</param>
/// <param name="tensors">What is saved.</param>
internal sealed class TrainingFolder(string? folder, TrainingTensors tensors)
{
    private readonly ComparedFiles _compared = new(name => !tensors.IsTrained(name));
    private string? _last; // the folder of the last checkpoint, which holds what is frozen
    private WriterLock? _run;

    /// <summary>The checkpoint's folder, which stays where it was wherever the process goes; null: there is none.</summary>
    public string? Folder { get; } = folder is null ? null : Path.GetFullPath(folder);

    /// <summary>Whether the checkpoint's folder holds one of this training.</summary>
    public bool IsKept { get; private set; }

    /// <summary>The measure of this training's best model; null: there is none.</summary>
    public double? BestMeasure { get; private set; }

    /// <summary>Takes the folder for a run, before its first step: of two trainings, each would replace what the other has learned.</summary>
    /// <exception cref="CheckpointException">It cannot be written, or another training, which is named, has it.</exception>
    public void Take()
    {
        if (Folder is not null)
        {
            Checkpoint.RequireWritable(Folder);
            _run = WriterLock.TakeOfCheckpoint(Folder, "train a model");
        }
    }

    /// <summary>Gives it back, where the run has come to take it.</summary>
    public void Release()
    {
        _run?.Dispose();
        _run = null;
    }

    /// <summary>Writes a checkpoint; the best model that another training has left there goes with what it replaces.</summary>
    /// <param name="into">Its folder, which may be another.</param>
    /// <param name="state">Where the training stands.</param>
    /// <param name="memory">What the optimizer remembers.</param>
    /// <param name="progress">Stage "save weights", in tensors, first of the training's state and then of the model; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two tensors, and leaves what a kill would.</param>
    /// <exception cref="CheckpointException">A file cannot be written, or another training, which is named, has the folder.</exception>
    public void Write(
        string into,
        TrainingState state,
        IReadOnlyDictionary<string, Tensor> memory,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        using DisposeScope scope = NewDisposeScope();
        Checkpoint.RequireReplaceable(into);
        using WriterLock? writing = _run is not null && IsSame(into, Folder) ? null : WriterLock.TakeOfCheckpoint(into, "save a checkpoint");
        using StagedFiles staged = Checkpoint.Begin(into);
        bool replacesBest = HoldsAnothersBest(into, state.Id);
        string description = state.ToString();
        TrainingFile.Stage(staged, into, tensors.Parts(memory), description, progress, cancellationToken);
        StageCounter ofModel;
        using (tensors.Averaged())
        {
            ofModel = Checkpoint.Stage(staged, into, tensors.Model, _last, new(), null, _compared, progress, cancellationToken);
        }

        staged.WriteText(Path.Combine(into, Trainer.DescriptionFile), description);
        if (replacesBest)
        {
            BestModel.Remove(into, staged);
        }

        staged.Commit();
        _last = Path.GetFullPath(into);
        if (replacesBest)
        {
            BestModel.Delete(into);
        }

        ofModel.End();
    }

    /// <summary>Notes that a checkpoint was written, by this process or the first one.</summary>
    /// <returns>Whether it is in the checkpoint's folder.</returns>
    public bool NoteWritten(string into)
    {
        bool isOwn = IsSame(into, Folder);
        IsKept |= isOwn;
        return isOwn;
    }

    /// <summary>Notes what a checkpoint was loaded from, and its best model, where that is of the same training.</summary>
    /// <param name="from">Its folder.</param>
    /// <param name="state">Where the training stood.</param>
    public void NoteLoaded(string from, TrainingState state)
    {
        BestMeasure = BestModel.In(from) is not { } best ? state.BestMeasure // of a training that keeps none; a run that does looks for it
            : best.Training == state.Id ? best.Measure ?? state.BestMeasure
            : null;
        _last = Path.GetFullPath(from);
        IsKept = IsSame(from, Folder);
    }

    /// <summary>Whether the checkpoint's folder holds the best model of another training; what says no measure is somebody's own.</summary>
    /// <param name="id">This training.</param>
    public bool HoldsAnothersBest(string? id) => Folder is not null && HoldsAnothersBest(Folder, id);

    /// <summary>The measure of this training's best model in the checkpoint's folder, wherever the training was loaded from; null: it is not there.</summary>
    /// <param name="id">This training.</param>
    public double? MeasureOfBest(string? id)
        => Folder is not null && BestModel.In(Folder) is { } best && best.Training == id ? best.Measure ?? BestMeasure : null;

    /// <summary>Writes the model as this training's best one.</summary>
    /// <param name="measure">Its measure.</param>
    /// <param name="id">This training.</param>
    /// <exception cref="CheckpointException">It cannot be written.</exception>
    public void WriteBest(double measure, string? id)
    {
        if (Folder is not null)
        {
            using IDisposable? averaged = tensors.Averaged();
            string best = BestModel.Save(Folder, _last, tensors.Model, id, measure, _compared);
            _last ??= best;
        }
    }

    /// <summary>Notes this training's best model, which this process or the first one has written.</summary>
    public void NoteBest(double measure) => BestMeasure = measure;

    /// <summary>Begins without a best model.</summary>
    public void ForgetBest() => BestMeasure = null;

    private static bool HoldsAnothersBest(string into, string? id) => BestModel.In(into) is { Measure: not null } best && best.Training != id;

    // Whatever links lead to it.
    private static bool IsSame(string folder, string? other) => other is not null
        && (Path.GetRelativePath(folder, other) == "."
            || (Directory.Exists(folder) && Directory.Exists(other) && FileIdentity.Of(folder) == FileIdentity.Of(other)));
}

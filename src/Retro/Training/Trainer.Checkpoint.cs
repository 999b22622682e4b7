using Retro.Checkpoints;
using TorchSharp;
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

    /// <summary>
    /// Writes a checkpoint: the model (as <see cref="Checkpoint.Save"/> does; with the average of its weights where there is one) and the state of the training
    /// (training.safetensors; training.json says it for the reader).
    /// </summary>
    /// <remarks>
    /// What is frozen from the beginning is written once: it lies in files of its own, which a later checkpoint in the same folder leaves as they are, and one
    /// in another folder has under a second name (a hard link, where the file system has such). Either folder may be copied, moved or deleted by itself;
    /// whoever changes a file in place changes both.
    /// training.safetensors holds all that <see cref="Load"/> reads, the trained weights included. All files take their names as one when the last is whole: a
    /// process killed at any moment, or a disk that is full, leaves the old checkpoint or the new one, never a mixture, and the disk holds both until then. Of
    /// several processes of one training all save together, the first writes, and any number of processes can go on from it. While another training has the
    /// folder for its checkpoint, nothing is saved there.
    /// </remarks>
    /// <param name="folder">The folder; made where it is missing.</param>
    /// <param name="progress">Stage "save weights", in tensors, first of the training's state and then of the model; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two tensors, and leaves what a kill would.</param>
    /// <exception cref="CheckpointException">A file cannot be written, or another training, which is named, has the folder; all processes throw it.</exception>
    /// <exception cref="TrainingException">Another process of the training does something else meanwhile; all throw it.</exception>
    /// <exception cref="InvalidOperationException">The model holds the average of its weights, see <see cref="Averaged"/>; or a step or a loading threw while
    /// it changed the model, and nothing was loaded since; or another thread runs the training.</exception>
    /// <exception cref="ObjectDisposedException">The trainer or the model was disposed.</exception>
    /// <exception cref="OperationCanceledException">Canceled.</exception>
    public void Save(string folder, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
        => Alone(() =>
        {
            RequireWhole();
            SaveAlone(folder, progress, cancellationToken);
            return 0;
        });

    private void SaveAlone(string folder, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        _clock.Pause(() =>
        {
            using DisposeScope scope = NewDisposeScope();
            IReadOnlyDictionary<string, Tensor> memory = new Dictionary<string, Tensor>();
            string? fault = null;
            try
            {
                memory = _tensors.Optimizer.State();
            }
            catch (CheckpointException exception)
            {
                fault = exception.Message; // the weights are kept all the same
            }

            _together.ByFirst(() => _folder.Write(folder, Known() with { OptimizerFault = fault }, memory, progress, cancellationToken));
        });
        if (_folder.NoteWritten(folder))
        {
            _clock.NoteSaved();
        }
    }

    /// <summary>Where the training stands, with what a checkpoint knows of its tensors.</summary>
    private TrainingState Known() => _state with
    {
        Elapsed = Elapsed,
        OptimizerSteps = _tensors.Optimizer.StepCounts(),
        TokenizerHash = Model.TokenizerHash,
        Frozen = _tensors.Frozen,
    };

    /// <summary>What a checkpoint tells of its training, from <see cref="StateFile"/> alone; no tensor is read.</summary>
    /// <param name="folder">The checkpoint's folder.</param>
    /// <returns>How far it came, in which type, and on what.</returns>
    /// <exception cref="CheckpointException">There is no state of a training, or it is damaged.</exception>
    public static StoredTraining Stored(string folder)
    {
        using TrainingFile file = TrainingFile.Open(folder);
        return new(file.State.Steps, file.State.Elapsed, file.Dtype, file.State.Data);
    }

    /// <summary>Goes on where a checkpoint ended: trained weights, optimizer, step, place in the data and time.</summary>
    /// <remarks>
    /// Frozen parameters are no part of the checkpoint: the model has to have them as the training had, which a hash tells. Buffers of custom branches go
    /// on as they were. An average of the weights that the checkpoint does not have begins with its weights; one that it has goes on, and a trainer without
    /// <see cref="TrainingOptions.AverageDecay"/> would lose it. The schedule is that of this trainer; a scheduler is taken on to the checkpoint's step, and
    /// never back. A best model that lies there and is this training's counts, also where it was found after the checkpoint;
    /// <see cref="TrainingOptions.Patience"/> counts from the checkpoint on as it did then. Several processes of one training load it together, all of them or
    /// none.
    /// </remarks>
    /// <param name="folder">The checkpoint's folder.</param>
    /// <param name="progress">Stage "load weights", in tensors; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two tensors; the training is then as it was.</param>
    /// <exception cref="CheckpointException">
    /// The checkpoint is missing or damaged, or of another configuration or optimizer: the values that differ are named. Or its optimizer has a memory that
    /// could not be stored, or it has an average of the weights and this trainer keeps none. Or another model was saved into the folder since, which this would
    /// pass over. Or another process could not load it.
    /// </exception>
    /// <exception cref="TrainingException">Another process of the training does something else, such as beginning anew; all throw it.</exception>
    /// <exception cref="InvalidOperationException">The training runs, the model holds the average of its weights, or a scheduler is beyond the checkpoint's
    /// step, from where it knows no way back.</exception>
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
        if (_clock.IsRunning)
        {
            throw new InvalidOperationException($"The training runs: a checkpoint is loaded before {nameof(Run)} or after it.");
        }

        using DisposeScope scope = NewDisposeScope();
        Action takeOver = _together.ByAll(() => Loading(folder, progress, cancellationToken));
        _isMoving = true;
        takeOver();
        _agreement.Forget();
        _isMoving = _isAhead = false;
    }

    /// <summary>Reads a checkpoint, and makes sure that it fits; nothing is changed.</summary>
    /// <returns>Takes it over.</returns>
    private Action Loading(string folder, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        using TrainingFile file = TrainingFile.Open(folder);
        TrainingState stored = file.State;
        stored.RequireOf(Model, _tensors.OptimizerName, file.Path);
        _rates.RequireReaches(stored.Steps);
        Action tensors = _tensors.Loading(file.Read(progress, cancellationToken), stored, file.Path);
        return () =>
        {
            tensors();
            _rates.AdvanceTo(stored.Steps);
            _folder.NoteLoaded(folder, stored);
            _state = stored with
            {
                Config = _state.Config,
                Options = _state.Options,
                BestMeasure = BestMeasure is null ? null : stored.BestMeasure,
            };
        };
    }
}

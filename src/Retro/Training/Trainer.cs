using Retro.Modeling;
using Retro.Optimization;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.optim.lr_scheduler;

namespace Retro.Training;

/// <summary>Trains a <see cref="RetroModel"/>: loss, gradients, clipping, optimizer, schedule, checkpoints.</summary>
/// <remarks>
/// By steps, the same seed and number of threads give the same bits on the same processor, whether or not the training was interrupted and resumed; a GPU's
/// attention may sum gradients in another order each time. Parameters that are frozen (requires_grad false) when the trainer is made stay as they are, and
/// those that are frozen later do from then on; of several processes, all freeze the same ones.
/// <para>Several processes train one model together where each is given its <see cref="IGradientExchange"/>: of the batches of a step, process r of n takes
/// r, r + n, r + 2n and so on, and the gradients are summed, so that the number of processes changes the weights by rounding alone. All of them do the same, in
/// the same order: <see cref="Step(IReadOnlyList{TrainingBatch})"/>, <see cref="Run"/>, <see cref="Save"/>, <see cref="Load"/>. What fails in one of them alone
/// ends the others. Each moves the parameters itself: what processors of several kinds round differently there is taken from the first process at the beginning
/// and the end of each <see cref="Run"/>, and what is saved is the first one's.</para>
/// </remarks>
public sealed partial class Trainer : IDisposable
{
    private readonly Together _together;
    private readonly Agreement _agreement;
    private readonly TrainingTensors _tensors;
    private readonly StepGradients _gradients;
    private readonly LearningRates _rates;
    private readonly TrainingFolder _folder;
    private readonly TrainingClock _clock;
    private readonly OneThread _one = new();

    private TrainingState _state; // of a run that goes on, its time is of before it
    private bool _isMoving; // a step, or a loading, has begun to change what a checkpoint holds, and is not done, or threw
    private bool _isAhead; // of what was made or loaded
    private volatile bool _isDisposed;

    /// <summary>Creates a trainer at step 0.</summary>
    /// <param name="model">The model; it stays the caller's. It is cast where <see cref="TrainingOptions.Dtype"/> asks for another type; its parameters are new
    /// tensors then.</param>
    /// <param name="options">Settings.</param>
    /// <param name="time">The clock of the time budget and of the rates reported; null: the system's.</param>
    /// <param name="optimizer">
    /// Makes an optimizer of TorchSharp, or a custom one, over the parameters to be trained, which takes the place of <see cref="RetroOptimizer"/>; the trainer
    /// disposes it. The learning rates it is made with are those at the end of the warm-up; they rise and fall as <see cref="TrainingOptions.Schedule"/> does.
    /// Of <see cref="TrainingOptions.Optimizer"/> it follows <see cref="RetroOptimizerOptions.ClipNorm"/> alone, and it moves bfloat16 parameters in bfloat16.
    /// Null: Retro's.
    /// </param>
    /// <param name="scheduler">Makes a scheduler over that optimizer, which then sets its learning rates, a step of it per step of the training; null: the
    /// schedule of the options, or <paramref name="rate"/>.</param>
    /// <param name="rate">The learning rate of a step, from 0; Muon's, and those of a custom optimizer, are in proportion. Null: the schedule of the
    /// options.</param>
    /// <param name="exchange">The processes that train the model together, whose this one is; it stays the caller's. Null, or one process: this one trains
    /// alone.</param>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault. Or <see cref="TrainingOptions.ClosedBook"/> is
    /// not 0, and all that is trained reads neighbors.</exception>
    /// <exception cref="TrainingException">Every parameter is frozen; or the model is of a type that cannot be trained, such as float16, or a part of it is of
    /// another type than the rest and not a custom one, which may cast by itself.</exception>
    /// <exception cref="ObjectDisposedException">The model was disposed.</exception>
    /// <exception cref="ArgumentException">A scheduler came without an optimizer or beside a rate, follows a measure instead of steps, the optimizer holds
    /// other parameters, or retrieval is to have a rate of its own in it; or processes are to train, or to save, by the clock, of which each has its
    /// own.</exception>
    public Trainer(
        RetroModel model,
        TrainingOptions options,
        TimeProvider? time = null,
        Func<IReadOnlyList<(string name, Parameter parameter)>, optim.Optimizer>? optimizer = null,
        Func<optim.Optimizer, LRScheduler>? scheduler = null,
        Func<long, double>? rate = null,
        IGradientExchange? exchange = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        if (scheduler is not null && (optimizer is null || rate is not null))
        {
            throw new ArgumentException("A scheduler sets the rates of an optimizer of TorchSharp: give one with it, and no rate.", nameof(scheduler));
        }

        Model = model.Undisposed;
        Options = options.Validate();
        _together = new(exchange);
        RequireOneClock(options, _together);
        RequireLearningFromFirstStep(options, model);
        _tensors = new(
            model,
            optimizer is null
                ? TrainingOptimizers.Own(model, options, _together.Exchange)
                : TrainingOptimizers.OfTorch(model, options, optimizer, scheduler is null, _together.Exchange),
            options.AverageDecay);
        try
        {
            _rates = new(options, _tensors.Optimizer, scheduler, rate);
        }
        catch
        {
            _tensors.Dispose();
            throw;
        }

        _gradients = new(model, _tensors.Optimizer, _together, options.Seed, options.RecomputeActivations, options.SideBySide);
        _agreement = new(_together, _tensors, options.Accumulation);
        _folder = new(options.CheckpointFolder, _tensors);
        _clock = new(time ?? TimeProvider.System);
        _state = TrainingState.Begin(model.Config, options, _tensors.OptimizerName);
    }

    /// <summary>The model.</summary>
    public RetroModel Model { get; }

    /// <summary>The settings.</summary>
    public TrainingOptions Options { get; }

    /// <summary>Steps done.</summary>
    public long StepsDone => _state.Steps;

    /// <summary>
    /// Time trained by <see cref="Run"/>, over every run that was resumed. What checkpoints take is no part of it, so that whoever loads one finds the same
    /// time, and a time budget is trained.
    /// </summary>
    public TimeSpan Elapsed => _state.Elapsed + _clock.Elapsed;

    /// <summary>Share of the training that is done, from 0 to 1.</summary>
    public double Progress => Options.TimeBudget is { } budget
        ? Math.Min(1, Elapsed / budget)
        : Math.Min(1, (double)StepsDone / Options.Steps);

    /// <summary>
    /// The same as the last step said it, which decides, and not the clock, which goes on while it is reported: no training ends unmeasured, be it interrupted
    /// then or not.
    /// </summary>
    private double Reached => Options.TimeBudget is { } budget && _state.ElapsedAtStep is { } elapsed ? Math.Min(1, elapsed / budget) : Progress;

    /// <summary>
    /// Gives the model the average of its trained weights (<see cref="TrainingOptions.AverageDecay"/>) until what is returned is disposed; without an average
    /// the weights stay what they are. No step may be done meanwhile.
    /// </summary>
    /// <returns>Gives the trained weights back when it is disposed.</returns>
    /// <exception cref="InvalidOperationException">Another thread runs or saves the training.</exception>
    /// <exception cref="ObjectDisposedException">The trainer or the model was disposed.</exception>
    public IDisposable? Averaged()
    {
        using OneThread.Turn turn = _one.Enter();
        RequireUndisposed();
        return _tensors.Averaged();
    }

    /// <summary>Frees what the training keeps beside the model; a run, on whichever thread, ends before its next step, and it is freed then.</summary>
    public void Dispose()
    {
        _isDisposed = true;
        _one.Free(_tensors.Dispose);
    }

    private void RequireUndisposed()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        _ = Model.Undisposed;
    }

    private void RequireOwnWeights()
    {
        RequireUndisposed();
        _tensors.RequireOwnWeights();
    }

    /// <summary>Refuses a trainer that was disposed, and what <see cref="RequireSound"/> does.</summary>
    private void RequireWhole()
    {
        RequireUndisposed();
        RequireSound();
    }

    /// <summary>
    /// Refuses a model that was disposed or holds another's weights, and what a step or a loading has left half done: neither may a step hide that, nor a
    /// checkpoint hold it.
    /// </summary>
    /// <exception cref="InvalidOperationException">It is so.</exception>
    private void RequireSound()
    {
        _ = Model.Undisposed;
        _tensors.RequireOwnWeights();
        if (_isMoving)
        {
            throw new InvalidOperationException(
                $"The model is between two steps: one, or a loading, threw while it changed the model. {nameof(Load)} a checkpoint, and go on from there.");
        }
    }

    /// <summary>Does what one thread at a time may, and what may fail in one process alone.</summary>
    private T Alone<T>(Func<T> work)
    {
        using OneThread.Turn turn = _one.Enter();
        return _together.OrEndOthers(work);
    }

    private static void RequireOneClock(TrainingOptions options, Together together)
    {
        if (together.Size > 1 && options.TimeBudget is not null)
        {
            throw new ArgumentException(
                $"Each process has a clock of its own, so that they would not train the same number of steps; set {nameof(options.Steps)} instead of "
                    + $"{nameof(options.TimeBudget)}.",
                nameof(options));
        }

        if (together.Size > 1 && options.CheckpointInterval is not null)
        {
            throw new ArgumentException(
                $"Each process has a clock of its own, so that they would not save after the same step; set {nameof(options.CheckpointEvery)} instead of "
                    + $"{nameof(options.CheckpointInterval)}.",
                nameof(options));
        }
    }

    private static void RequireLearningFromFirstStep(TrainingOptions options, RetroModel model)
    {
        if (options.ClosedBook > 0 && SegmentedGradients.NeedsNeighbors(model))
        {
            throw new RetroOptionsException(
                nameof(TrainingOptions),
                [
                    FormattableString.Invariant($"{nameof(options.ClosedBook)} {options.ClosedBook} has to be 0 where all that is trained reads neighbors: ")
                        + "without them nothing would be learned",
                ]);
        }
    }
}

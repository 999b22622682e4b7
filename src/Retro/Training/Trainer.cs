using System.Globalization;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Optimization;
using TorchSharp;
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
/// of each <see cref="Run"/>, and what is saved is the first one's.</para>
/// </remarks>
public sealed partial class Trainer : IDisposable
{
    private readonly TimeProvider _time;
    private readonly LearningRateSchedule _schedule;
    private readonly ITrainingOptimizer _optimizer;
    private readonly StepGradients _gradients;
    private readonly WeightAverage? _average;
    private readonly LRScheduler? _scheduler;
    private readonly Func<long, double>? _rate;
    private readonly IGradientExchange? _exchange;
    private readonly Together? _together;
    private readonly OneThread _one = new();
    private bool _compared;
    private Exception? _everywhere;
    private TimeSpan _elapsedBefore;
    private long? _started;
    private long _batches;
    private long _tokens;
    private long _tokensBefore;
    private int _skippedInARow;
    private double? _lowest; // on the way here alone, as without the interruption: the best model may be of steps that are done again
    private int _measuresSinceBest; // since that
    private string? _dataIdentity;
    private bool _isMoving;
    private bool _isDisposed;
    private bool _isAhead;
    private bool _reads;
    private bool _learns;
    private TrainingProgress? _unseen;

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
    /// <exception cref="TrainingException">Every parameter is frozen.</exception>
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
        _time = time ?? TimeProvider.System;
        _schedule = options.Schedule();
        _rate = rate;
        if (exchange is { Size: > 1 })
        {
            if (options.TimeBudget is not null)
            {
                throw new ArgumentException(
                    $"Each process has a clock of its own, so that they would not train the same number of steps; set {nameof(options.Steps)} instead of "
                        + $"{nameof(options.TimeBudget)}.",
                    nameof(options));
            }

            if (options.CheckpointInterval is not null)
            {
                throw new ArgumentException(
                    $"Each process has a clock of its own, so that they would not save after the same step; set {nameof(options.CheckpointEvery)} instead of "
                        + $"{nameof(options.CheckpointInterval)}.",
                    nameof(options));
            }

            (_exchange, _together) = (exchange, new(exchange));
        }

        RequireLearningFromFirstStep();
        if (optimizer is null)
        {
            _optimizer = TrainingOptimizers.Own(model, options, _exchange);
            _gradients = new(model, _optimizer, options.Seed, options.RecomputeActivations, options.SideBySide, _exchange);
            _average = Average();
            return;
        }

        TorchOptimizer own = TrainingOptimizers.OfTorch(model, options, optimizer, scheduler is null, _exchange);
        _optimizer = own;
        _gradients = new(model, own, options.Seed, options.RecomputeActivations, options.SideBySide, _exchange);
        _average = Average();
        try
        {
            _scheduler = scheduler?.Invoke(own.Optimizer);
            if (_scheduler is impl.ReduceLROnPlateau)
            {
                throw new ArgumentException(
                    $"{nameof(impl.ReduceLROnPlateau)} follows a measure, which a step of the training does not have; give a scheduler that follows steps.",
                    nameof(scheduler));
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The model.</summary>
    public RetroModel Model { get; }

    /// <summary>The settings.</summary>
    public TrainingOptions Options { get; }

    /// <summary>
    /// What tells how good the model is, lower being better, such as the bits per byte of held-out text; it finds the model in evaluation mode. Asked every
    /// <see cref="TrainingOptions.MeasureEvery"/> steps, <see cref="TrainingOptions.Measures"/> times, and at the end of <see cref="Run"/>, whose time it is
    /// part of. Where there is a checkpoint's folder, the best model is kept in its <see cref="BestFolder"/>. Of several processes the first measures, and
    /// tells the others. Null: nothing is measured.
    /// </summary>
    public Func<RetroModel, double>? Measure { get; init; }

    /// <summary>
    /// Looks at the model on text that it is not trained on, with retrieval on and off; it finds the model in evaluation mode. Asked as often as
    /// <see cref="Measure"/>, it decides nothing. Of several processes the first looks. Null: nobody looks.
    /// </summary>
    public Func<RetroModel, TrainingWatch>? Watch { get; init; }

    /// <summary>
    /// The lowest measure, over every run that was resumed, also where it is of a step behind the checkpoint that the training goes on from; null before the
    /// first one, and from where a training goes on in a folder that has not its best model: another one, or one with the best model of another training.
    /// </summary>
    public double? BestMeasure { get; private set; }

    /// <summary>Steps done.</summary>
    public long StepsDone { get; private set; }

    /// <summary>
    /// Time trained by <see cref="Run"/>, over every run that was resumed. What checkpoints take is no part of it, so that whoever loads one finds the same
    /// time, and a time budget is trained.
    /// </summary>
    public TimeSpan Elapsed => _elapsedBefore + (_started is { } started ? _time.GetElapsedTime(started) : TimeSpan.Zero);

    /// <summary>Share of the training that is done, from 0 to 1.</summary>
    public double Progress => Options.TimeBudget is { } budget
        ? Math.Min(1, Elapsed / budget)
        : Math.Min(1, (double)StepsDone / Options.Steps);

    private bool IsFinished => Progress >= 1 || _measuresSinceBest >= Options.Patience;

    /// <summary>
    /// Does one step. Where it throws, no gradient is left behind. Outside of <see cref="Run"/>, a time budget counts the time of the steps themselves.
    /// </summary>
    /// <param name="batches">The batches of the step, which stay the caller's: its loss is the mean over the targets of them all. Without any target the step
    /// moves nothing, and its loss is 0. Of several processes, each gives its own.</param>
    /// <returns>What the step gave, to every process the same but for its time.</returns>
    /// <exception cref="TrainingException">The gradient was not finite in too many steps in a row, or 0 in all of them (see
    /// <see cref="TrainingOptions.MaximumSkippedSteps"/>), or every parameter has been frozen; or a custom learning rate is not finite or below 0, or
    /// the processes do not train the same, or a batch holds what was retrieved for chunks of another length than the model's.</exception>
    /// <exception cref="InvalidOperationException">The model holds the average of its weights, see <see cref="Averaged"/>; or it was cast or moved after the
    /// trainer was made; or another thread runs or saves the training.</exception>
    /// <exception cref="ObjectDisposedException">The trainer or the model was disposed.</exception>
    public TrainingProgress Step(IReadOnlyList<TrainingBatch> batches) => Alone(() => OneStep(batches));

    /// <summary>Whether the next step reads no neighbors. Once one has read some, all do, also where more steps make the share of those done less.</summary>
    private bool IsClosedBook => !_reads && Progress < Options.ClosedBook;

    private double MuonRate(double rate) => Options.MuonLearningRate * rate / Options.LearningRate;

    /// <summary>The learning rates of a step, for whoever is to lower them: lower ones of AdamW alone leave Muon's as they are.</summary>
    private string Rates(double rate)
        => OptimizerName is null && Options.Optimizer.Kind == OptimizerKind.Muon
            ? FormattableString.Invariant($"the learning rates, AdamW's ({rate}) and Muon's ({MuonRate(rate)}),")
            : FormattableString.Invariant($"the learning rate ({rate})");

    private TrainingProgress OneStep(IReadOnlyList<TrainingBatch> batches)
    {
        ArgumentNullException.ThrowIfNull(batches);
        ArgumentOutOfRangeException.ThrowIfZero(batches.Count, nameof(batches));
        RequireOwnWeights();
        RequireSame(null);
        if (Gradients.Asked(_optimizer.Parameters).Length == 0)
        {
            throw Everywhere(new TrainingException(
                "Every parameter has been frozen since the trainer was made, so there is nothing to train; set requires_grad on those to be trained."));
        }

        long began = _time.GetTimestamp();
        double rate = _scheduler is not null ? ((TorchOptimizer)_optimizer).Rate
            : _rate is not null ? _rate(StepsDone)
            : Options.TimeBudget is null ? _schedule.Rate(StepsDone)
            : _schedule.RateAt(Progress);
        if (!double.IsFinite(rate) || rate < 0)
        {
            throw new TrainingException(string.Create(
                CultureInfo.InvariantCulture,
                $"The learning rate of step {StepsDone}, counted from 0, is {rate}; give a rate that is finite and not below 0 for every step."));
        }

        Model.train();
        bool closedBook = IsClosedBook, hasOwn = FinalizerGate.IsNeededFor(Model);
        using FinalizerGate.Hold gate = FinalizerGate.Close(_optimizer is TorchOptimizer || hasOwn);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable recorded = Gradients.Recorded();
        StepBatch[] found = [.. batches.Select(batch => StepBatch.Of(Model, batch, closedBook))];

        // What a batch is refused for has moved nothing; from here on the state is whole again at the end of the step alone.
        _isMoving = _isAhead = true;
        (Tensor sum, long targets, long tokens) = _gradients.Add(found, StepsDone, hasOwn);
        _tokens += tokens;
        (double norm, double loss) = targets == 0 ? (0, 0) : _optimizer.Step(rate, MuonRate(rate), sum);
        if (double.IsFinite(norm))
        {
            _average?.Add(StepsDone);
        }

        if (StepsDone == 0)
        {
            _id = TrainingState.IdOf(Options, _dataIdentity, loss, norm);
        }

        StepsDone++;
        _reads |= !closedBook;
        _unseen = null;
        _scheduler?.step();
        if (_started is null)
        {
            _elapsedBefore += _time.GetElapsedTime(began);
        }

        _skippedInARow = double.IsFinite(norm) ? 0 : _skippedInARow + 1;
        if (_skippedInARow >= Options.MaximumSkippedSteps)
        {
            throw Everywhere(new TrainingException(string.Create(
                CultureInfo.InvariantCulture,
                $"The gradient was not finite in {_skippedInARow} steps in a row, the last of them step {StepsDone} with a loss of {loss}; lower "
                    + $"{Rates(rate)} and {(_isKept ? "go on from the last checkpoint" : "start again")}.")));
        }

        _learns |= targets > 0 && norm != 0;
        if (targets > 0 && !_learns && (Progress >= 1 || (Progress >= 0.1 && StepsDone >= 10L * Options.MaximumSkippedSteps)))
        {
            throw Everywhere(new TrainingException($"{Amount.Of(StepsDone, "step")} have taught nothing: " + (NeedsNeighbors
                ? "all that is trained reads neighbors, and no batch held any. Give data with neighbors: a table in which chunks have some, of a database of "
                    + "more documents or of another source; or train the decoder, too."
                : "the gradient of the loss was 0 in each. What is trained has to reach the loss: a custom branch may be computed without a graph, or "
                    + "behind zeros.")));
        }

        _isMoving = false;
        double seconds = (Elapsed - _elapsedBefore).TotalSeconds;
        return new TrainingProgress(StepsDone, Progress, loss, norm, rate, _tokens, seconds > 0 ? (_tokens - _tokensBefore) / seconds : 0, Elapsed);
    }

    /// <summary>
    /// Trains until the steps or the time are used up, or the patience with a measure that gets no better; the next batches are prepared on another thread in
    /// the meantime. A training that is finished is left as it is, its time and its checkpoint too, whatever the data; only a folder that holds no model is
    /// given it.
    /// </summary>
    /// <param name="data">Where the batches come from; after <see cref="Load"/>, the same as before.</param>
    /// <param name="progress">Receives each step, in every process that gives one; null: no reporting.</param>
    /// <param name="cancellationToken">Ends the training after the step that is being done, in all processes; a checkpoint is written first where a folder is
    /// set, unless no step was done since the trainer was made or loaded, which leaves the folder as it was.</param>
    /// <remarks>What the data, <paramref name="progress"/>, <see cref="Measure"/> or <see cref="Watch"/> throw ends the training likewise, in one process
    /// with a checkpoint; where that cannot be written, the exception's Data say why under <see cref="NotSaved"/>. A measure or look that was due then is taken
    /// when the training goes on, before its next step. A checkpoint replaces what a training before has left in the folder, its best model too, and is
    /// written before the first best model takes that one's place. Where the last steps were skipped, since the gradient was not finite, the training's last
    /// checkpoint stays as it is until a step is done again, and at the run's end alone is written whatever is: weights that give no finite gradient are no
    /// place to go on from.</remarks>
    /// <exception cref="OperationCanceledException">The training was canceled.</exception>
    /// <exception cref="CheckpointException">The checkpoint is of other data, or cannot be written, or another training has its folder, which is named before
    /// the first step.</exception>
    /// <exception cref="TrainingException">The gradient was not finite in too many steps in a row, or 0 in all of them (see
    /// <see cref="TrainingOptions.MaximumSkippedSteps"/>), or every parameter has been frozen; or a custom learning rate is not finite or below 0; or the
    /// processes do not train the same, or are more than the batches of a step.</exception>
    /// <exception cref="RetroOptionsException"><see cref="TrainingOptions.Patience"/> is set, and no <see cref="Measure"/>.</exception>
    /// <exception cref="InvalidOperationException">Another thread runs or saves the training.</exception>
    /// <exception cref="ObjectDisposedException">The trainer or the model was disposed.</exception>
    public void Run(ITrainingData data, IProgress<TrainingProgress>? progress = null, CancellationToken cancellationToken = default)
        => Alone(() =>
        {
            try
            {
                RunSteps(data, progress, cancellationToken);
                return 0;
            }
            finally
            {
                _writing?.Dispose();
                _writing = null;
            }
        });

    private void RunSteps(ITrainingData data, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(data);
        RequireUndisposed();
        if (Options.Patience is { } patience && Measure is null)
        {
            throw new RetroOptionsException(
                nameof(TrainingOptions),
                [$"{nameof(Options.Patience)} {patience} has to be null where the trainer has no {nameof(Measure)}, whose values it counts."]);
        }

        RequireSame(data);
        if (IsFinished && _unseen is null)
        {
            if (Options.CheckpointFolder is { } given && IsAnywhere(IsFirst && !File.Exists(Path.Combine(given, Checkpoint.ConfigName))))
            {
                Save(given, cancellationToken: cancellationToken);
            }

            return;
        }

        if (data.TokenizerHash is { } tokenizer)
        {
            try
            {
                Model.RequireTokenizer(tokenizer);
            }
            catch (RetroException fault)
            {
                throw Everywhere(fault);
            }
        }

        if (_batches > 0 && _dataIdentity is not null && _dataIdentity != data.Identity)
        {
            throw Everywhere(new CheckpointException(
                $"The training was begun on other data. Begun on: {_dataIdentity}. Now: {data.Identity}. Go on with that data, or start again."));
        }

        if (Options.CheckpointFolder is { } folder)
        {
            TakeFolder(folder);
            if (BestMeasure is not null && IsAnywhere(IsFirst && !(IsSame(folder, _bestIn) && BestIn(folder) is { } best && best.Training == _id)))
            {
                (BestMeasure, _lowest, _measuresSinceBest, _bestIn) = (null, null, 0, null); // its model is where it was loaded from
            }
        }

        _dataIdentity = data.Identity;
        Model.TokenizerHash ??= data.TokenizerHash;
        (_started, _tokensBefore) = (_time.GetTimestamp(), _tokens);
        Task<TokenBatch[]> next = Prepare(data, _batches, Progress);
        bool finished = IsFinished, canceled = false;
        long lastSaved = StepsDone, savedAt = _started.Value;
        long taken = Due(StepsDone, Progress);
        try
        {
            if (_unseen is { } last)
            {
                See(last);
            }

            while (!finished && !(canceled = IsAnywhere(cancellationToken.IsCancellationRequested)))
            {
                TokenBatch[] batches = next.GetAwaiter().GetResult();
                next = Prepare(data, _batches + Options.Accumulation, Options.TimeBudget is null ? (double)(StepsDone + 1) / Options.Steps : Progress);
                TrainingProgress done;
                long before = StepsDone;
                try
                {
                    done = Step(batches);
                }
                finally
                {
                    _batches += (StepsDone - before) * Options.Accumulation; // also of the step that ends the training for its gradient, which counts
                }

                // What the step says decides, and not the clock, which goes on: no training ends unmeasured.
                finished = done.Progress >= 1;
                long due = Due(done.Step, done.Progress);
                bool isDue = (Options.MeasureEvery > 0 && StepsDone % Options.MeasureEvery == 0) || due > taken;
                taken = due;
                if (finished || isDue)
                {
                    See(done);
                }
                else
                {
                    progress?.Report(done);
                }

                // A step that was skipped has moved nothing: weights that give no finite gradient replace none that do.
                if (!finished && !done.Skipped && IsCheckpointDue(StepsDone - lastSaved, savedAt))
                {
                    long began = _time.GetTimestamp();
                    SaveIfAsked();
                    (lastSaved, savedAt) = (StepsDone, _time.GetTimestamp());
                    _started += savedAt - began; // it is no time of the training
                }
            }
        }
        catch (Exception fault) when (!_isMoving && _exchange is null && StepsDone > lastSaved)
        {
            // What came from the data or from who watches is no reason to lose the steps: between two of them the state is whole.
            try
            {
                SaveIfSound(fault);
            }
            catch (Exception hindrance) when (hindrance is CheckpointException or InvalidOperationException)
            {
                fault.Data[NotSaved] = hindrance.Message;
            }

            throw;
        }
        finally
        {
            (_elapsedBefore, _started) = (Elapsed, null);
            // Whoever owns the data may dispose them now; what the other thread has found wrong with a batch that is no longer wanted does not matter.
            ((Task)next).ContinueWith(_ => { }, TaskScheduler.Default).Wait(CancellationToken.None);
        }

        // What is as it was when it was made or loaded would replace another's steps.
        OperationCanceledException? end = canceled ? new(cancellationToken) : null;
        if (_isAhead)
        {
            SaveIfSound(end);
            _isAhead = false;
        }

        if (end is not null)
        {
            throw Everywhere(end);
        }

        // How many of the measures are due; of steps in whole numbers, since a share of them, such as 0.29, may be rounded to less.
        long Due(long steps, double progress) => Options.TimeBudget is null
            ? (long)((Int128)steps * Options.Measures / Options.Steps)
            : (long)Math.Floor(progress * Options.Measures);

        void See(TrainingProgress done)
        {
            _unseen = done; // where the look or the measure throws, it is still to be taken
            done = Look(done);
            _unseen = null;
            _isAhead = true;
            finished = Measure is null ? finished : IsFinished;
            progress?.Report(done);
        }
    }

    private bool IsCheckpointDue(long steps, long savedAt)
        => (Options.CheckpointEvery > 0 && steps >= Options.CheckpointEvery)
            || (Options.CheckpointInterval is { } interval && steps > 0 && _time.GetElapsedTime(savedAt) >= interval);

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
        return _average?.Put();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _isDisposed = true;
        _average?.Dispose();
        _optimizer.Dispose();
    }

    private void RequireUndisposed()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        _ = Model.Undisposed;
    }

    /// <summary>
    /// Where the model holds the average, a step would be undone, and a checkpoint would hold it for what is trained; where it was cast, what is trained is no
    /// part of it any more.
    /// </summary>
    private void RequireOwnWeights()
    {
        RequireUndisposed();
        if (_optimizer.Parameters.Any(parameter => parameter.IsInvalid))
        {
            throw new InvalidOperationException(
                $"The model was cast or moved after the trainer was made, which gave it other parameters: do so before, or set {nameof(Options.Dtype)}.");
        }

        if (_average?.IsPut == true)
        {
            throw new InvalidOperationException(
                $"The model holds the average of its weights, as it does for {nameof(Measure)} and {nameof(Watch)}: dispose what {nameof(Averaged)} gave before a "
                    + "step or a checkpoint, or save the model itself with Checkpoint.Save.");
        }
    }

    /// <summary>Whether no parameter that is trained has a gradient in a batch without neighbors.</summary>
    private bool NeedsNeighbors
        => SegmentedGradients.Places(Model, Model.parameters().Where(parameter => parameter.requires_grad)) is { Length: > 0 } places
            && places.All(place => place.NeedsNeighbors);

    private void RequireLearningFromFirstStep()
    {
        if (Options.ClosedBook > 0 && NeedsNeighbors)
        {
            throw new RetroOptionsException(
                nameof(TrainingOptions),
                [
                    FormattableString.Invariant($"{nameof(Options.ClosedBook)} {Options.ClosedBook} has to be 0 where all that is trained reads neighbors: ")
                        + "without them nothing would be learned",
                ]);
        }
    }

    private WeightAverage? Average()
    {
        if (Options.AverageDecay is not { } decay)
        {
            return null;
        }

        Dictionary<string, Parameter> trained = Trained();
        return new(_optimizer.ParameterNames.Zip(_optimizer.Moved, (name, moved) => (name, trained[name], moved)), decay);
    }

    /// <summary>Looks at the model after a step, and measures it.</summary>
    private TrainingProgress Look(TrainingProgress done)
    {
        if (Watch is not null && IsFirst)
        {
            using IDisposable? averaged = Averaged();
            Model.eval();
            done = done with { Watched = Watch(Model) };
            Model.train();
        }

        return Measure is null ? done : done with { Measure = TakeMeasure(Measure) };
    }

    private double TakeMeasure(Func<RetroModel, double> of)
    {
        double measure = double.NaN;
        if (IsFirst)
        {
            using IDisposable? averaged = Averaged();
            Model.eval();
            measure = of(Model);
            Model.train();
        }

        measure = _together?.First(measure) ?? measure;
        if (measure < (BestMeasure ?? double.PositiveInfinity))
        {
            // Where it cannot be written, the measure is not on record, and is taken again.
            if (Options.CheckpointFolder is { } folder)
            {
                KeepBest(folder, measure);
            }

            (BestMeasure, _bestIn) = (measure, Full(Options.CheckpointFolder));
        }

        // Patience counts as without an interruption: steps that are done again cannot beat a best model that is theirs.
        if (measure < (_lowest ?? double.PositiveInfinity))
        {
            (_lowest, _measuresSinceBest) = (measure, 0);
        }
        else
        {
            _measuresSinceBest++;
        }

        return measure;
    }

    private TrainingProgress Step(TokenBatch[] prepared)
    {
        // Before anything is left out: data that do not fit are refused in the first step, and not where neighbors are first read.
        Array.ForEach(prepared, batch => StepBatch.RequireFit(Model, batch.ChunkLength, batch.Retrieved?.Length));
        using DisposeScope scope = NewDisposeScope();
        return OneStep([.. prepared.Select(batch => batch.ToTensors(Model.Device, read: !IsClosedBook))]);
    }

    private Task<TokenBatch[]> Prepare(ITrainingData data, long first, double progress)
    {
        IEnumerable<long> own = Enumerable.Range(0, Options.Accumulation).Select(batch => Together.NumberOf(_exchange, batch));
        return Task.Run(() => own.TakeWhile(number => number < Options.Accumulation).Select(number => data.Batch(first + number, progress)
            ?? throw new TrainingException($"Batch {first + number} of the data is null; {data.GetType().Name} has to give one for every number.")).ToArray());
    }

    private bool IsFirst => _exchange is null or { Rank: 0 };

    private bool IsAnywhere(bool here) => _together is null ? here : _together.Sum(here ? 1 : 0)[0] > 0;

    /// <summary>Refuses processes that do not train the same, before the first step and each run, and once one has frozen what others train.</summary>
    private void RequireSame(ITrainingData? data)
    {
        int[] asked = _exchange is null ? [] : Gradients.Asked(_optimizer.Parameters);
        if (_exchange is null || (_compared && data is null && IsEverywhere(asked)))
        {
            return;
        }

        Dictionary<string, string> own = new()
        {
            ["data"] = data?.Identity ?? "none",
            ["steps done"] = $"{StepsDone}",
            ["best measure"] = string.Create(CultureInfo.InvariantCulture, $"{BestMeasure}"),
            ["batches read"] = $"{_batches}",
            ["optimizer"] = OptimizerName ?? nameof(RetroOptimizer),
            ["trained parameters"] = string.Join(' ', asked.Select(_optimizer.ParameterNames.ElementAt)),
            ["measure"] = Measure is null ? "none" : "given",
            ["tokenizer"] = Model.TokenizerHash ?? "not known",
        };
        if (!_compared)
        {
            own["weights (SHA-256)"] = Together.WeightsHash(Model);
        }

        TrainingState.Flatten(TrainingState.Describe(Model.Config), "config", own);
        TrainingState.Flatten(TrainingState.Describe(Options), "options", own);
        try
        {
            _together!.RequireSame(own);
        }
        catch (TrainingException exception)
        {
            throw Everywhere(exception);
        }

        if (data is not null && _exchange.Size > Options.Accumulation)
        {
            throw Everywhere(new TrainingException(
                $"There are {_exchange.Size} processes and {Options.Accumulation} batches in a step, so that some would have nothing to do; start at most as "
                    + $"many processes as there are batches, or set {nameof(Options.Accumulation)} to {_exchange.Size} or more and make the batches smaller."));
        }

        if (_compared)
        {
            TakeFirst();
        }

        _compared = true;
    }

    /// <summary>
    /// Gives every process the weights of the first, and what Retro's optimizer remembers of them: processors of several kinds round differently.
    /// </summary>
    private void TakeFirst()
    {
        if (_optimizer.Owners is not null)
        {
            return; // who moves a parameter gives it to the others in every step
        }

        using DisposeScope scope = NewDisposeScope();
        IEnumerable<Tensor> remembered = _optimizer is RetroOptimizer own ? own.State().Values : [];
        new ExchangeBuckets(_exchange!).Broadcast(_optimizer.Parameters.Concat(remembered).Select(tensor => (tensor, (int?)0)));
    }

    /// <summary>
    /// Whether all processes give the same numbers, by one sum: a parameter of which some ask no gradient would be moved by a part of it, in all of them.
    /// </summary>
    private bool IsEverywhere(int[] numbers)
    {
        // Without the upper bits, so that the sum has room for millions of processes.
        long own = (long)(numbers.Aggregate(0UL, (mixed, number) => SeededRandom.Mix(mixed + (ulong)number)) >> 24);
        return _together!.Sum(own)[0] == own * _exchange!.Size;
    }

    /// <summary>Notes what every process throws, so that none has to be ended.</summary>
    private T Everywhere<T>(T exception)
        where T : Exception
    {
        _everywhere = exception;
        return exception;
    }

    /// <summary>Does what may fail in one process alone, and then ends the others, which would wait for it.</summary>
    private T Alone<T>(Func<T> work)
    {
        using OneThread.Turn turn = _one.Enter();
        try
        {
            return work();
        }
        catch (Exception exception) when (_exchange is not null && !ReferenceEquals(exception, _everywhere))
        {
            _exchange.Abort(exception.ToString());
            throw;
        }
    }

    private void SaveIfAsked()
    {
        if (Options.CheckpointFolder is { } folder)
        {
            Save(folder);
        }
    }

    /// <summary>Saves where the run ends, but for a checkpoint that it would be worse to go on from than from the one that is there.</summary>
    /// <param name="end">What ends it before its time, which is reported where nothing is saved; null: it has come to its end.</param>
    private void SaveIfSound(Exception? end)
    {
        if (end is not null && _skippedInARow > 0 && _isKept)
        {
            end.Data[NotSaved] = $"The gradient was not finite in the last {Amount.Of(_skippedInARow, "step")}, so that the checkpoint of before stays.";
            return;
        }

        SaveIfAsked();
    }
}

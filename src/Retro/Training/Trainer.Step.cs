using System.Globalization;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Training;

public sealed partial class Trainer
{
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
    /// trainer was made; or an earlier step, or a loading, threw while it changed the model, and nothing was loaded since; or another thread runs or saves
    /// the training.</exception>
    /// <exception cref="ObjectDisposedException">The trainer or the model was disposed.</exception>
    public TrainingProgress Step(IReadOnlyList<TrainingBatch> batches) => Alone(() => OneStep(batches, ofData: 0));

    /// <summary>Whether the next step reads no neighbors. Once one has read some, all do, also where more steps make the share of those done less.</summary>
    private bool IsClosedBook => !_state.Reads && Progress < Options.ClosedBook;

    /// <summary>Does a step of a run.</summary>
    /// <param name="prepared">This process's batches of it.</param>
    private TrainingProgress StepOfRun(TokenBatch[] prepared)
    {
        // Before anything is left out: data that do not fit are refused in the first step, and not where neighbors are first read.
        Array.ForEach(prepared, batch => StepBatch.RequireFit(Model, batch.ChunkLength, batch.Retrieved?.Length));
        using DisposeScope scope = NewDisposeScope();
        return OneStep([.. prepared.Select(batch => batch.ToTensors(Model.Device, read: !IsClosedBook))], Options.Accumulation);
    }

    /// <summary>Does a step: rate, gradient, optimizer, average, and what it says of the training.</summary>
    /// <param name="batches">This process's batches.</param>
    /// <param name="ofData">How many batches of a run's data the processes take in it.</param>
    private TrainingProgress OneStep(IReadOnlyList<TrainingBatch> batches, int ofData)
    {
        ArgumentNullException.ThrowIfNull(batches);
        ArgumentOutOfRangeException.ThrowIfZero(batches.Count, nameof(batches));
        RequireWhole();
        RequireSame(null);
        ITrainingOptimizer optimizer = _tensors.Optimizer;
        if (Gradients.Asked(optimizer.Parameters).Length == 0)
        {
            throw _together.Everywhere(new TrainingException(
                "Every parameter has been frozen since the trainer was made, so there is nothing to train; set requires_grad on those to be trained."));
        }

        long began = _clock.Now;
        double rate = _rates.Of(StepsDone, () => Progress);
        Model.train();
        bool closedBook = IsClosedBook, hasOwn = FinalizerGate.IsNeededFor(Model);
        using FinalizerGate.Hold gate = FinalizerGate.Close(optimizer is TorchOptimizer || hasOwn);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable recorded = Gradients.Recorded();
        StepBatch[] found = [.. batches.Select(batch => StepBatch.Of(Model, batch, closedBook))];

        // A gradient moves nothing but what custom branches keep beside their parameters; where none can be computed, such as for want of memory, the step has
        // done nothing. From the first change on the state is whole again at the end of the step alone.
        _isMoving = hasOwn && Checkpoint.Buffers(Model).Any();
        (Tensor sum, long targets, long tokens) = _gradients.Add(found, StepsDone, hasOwn);
        _isMoving = _isAhead = true;
        (double norm, double loss) = targets == 0 ? (0, 0) : optimizer.Step(rate, _rates.Muon(rate), sum);
        bool skipped = !double.IsFinite(norm), moved = targets > 0 && !skipped;
        if (moved)
        {
            _tensors.Average(StepsDone);
        }

        _rates.AdvanceTo(StepsDone + 1);
        _state = _state with
        {
            Id = StepsDone == 0 ? TrainingState.IdOf(Options, _state.Data, loss, norm) : _state.Id,
            Steps = StepsDone + 1,
            Batches = _state.Batches + ofData,
            Tokens = _state.Tokens + tokens,
            Elapsed = _state.Elapsed + (_clock.IsRunning ? TimeSpan.Zero : _clock.Since(began)),
            SkippedInARow = skipped ? _state.SkippedInARow + 1 : moved ? 0 : _state.SkippedInARow,
            HasTargets = _state.HasTargets || targets > 0,
            Learns = _state.Learns || (moved && norm != 0),
            Reads = _state.Reads || !closedBook,
            Unseen = null,
        };
        _isMoving = false;
        TimeSpan elapsed = Elapsed; // the clock goes on, and what ends the training is asked of one time
        _state = _state with { ElapsedAtStep = elapsed };
        double speed = _clock.TokensPerSecond(_state.Tokens);
        RequireFinite(loss, rate);
        RequireLearning(isEnd: Reached >= 1);
        return new(StepsDone, Reached, loss, norm, rate, _state.Tokens, speed, elapsed);
    }

    /// <summary>Whether the gradient stays without a finite value.</summary>
    private bool IsNeverFinite => _state.SkippedInARow >= Options.MaximumSkippedSteps;

    /// <summary>Whether no step has had a gradient other than 0, for long enough or to the end.</summary>
    private bool HasLearnedNothing(bool isEnd) => !_state.Learns && (isEnd || (Reached >= 0.1 && StepsDone >= 10L * Options.MaximumSkippedSteps));

    /// <summary>Ends a training whose gradient stays without a finite value.</summary>
    private void RequireFinite(double loss, double rate)
    {
        if (IsNeverFinite)
        {
            throw _together.Everywhere(new TrainingException(string.Create(
                CultureInfo.InvariantCulture,
                $"The gradient was not finite in {_state.SkippedInARow} steps in a row, the last of them step {StepsDone} with a loss of {loss}; lower "
                    + $"{_rates.InWords(rate)} and {(_folder.IsKept ? "go on from the last checkpoint" : "start again")}.")));
        }
    }

    /// <summary>Ends a training that has had no gradient other than 0 for long enough, or to its end.</summary>
    private void RequireLearning(bool isEnd)
    {
        if (HasLearnedNothing(isEnd))
        {
            throw _together.Everywhere(new TrainingException($"{Amount.Of(StepsDone, "step")} have taught nothing: {WhyNothing()}"));
        }
    }

    private string WhyNothing() => !_state.HasTargets
        ? "no batch held a token to predict. Give data whose loss masks leave some, and whose rows are not all padding."
        : SegmentedGradients.NeedsNeighbors(Model)
        ? "all that is trained reads neighbors, and no batch held any. Give data with neighbors: a table in which chunks have some, of a database of more "
            + "documents or of another source; or train the decoder, too."
        : _state.SkippedInARow == StepsDone
        ? "the gradient of the loss was not finite in any. Lower the learning rate, and start again from weights that are finite."
        : "the gradient of the loss was 0 in each. What is trained has to reach the loss: a custom branch may be computed without a graph, or behind zeros.";

    private void RequireSame(ITrainingData? data) => _agreement.Require(_state, BestMeasure, Measure is not null, data);
}

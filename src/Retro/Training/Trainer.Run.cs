using Retro.Checkpoints;

namespace Retro.Training;

public sealed partial class Trainer
{
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
    /// with a checkpoint, and so does a step for which the memory does not suffice; where that cannot be written, or the step had begun to change the model,
    /// the exception's Data say why under <see cref="NotSaved"/>. Where gradients are taken for several batches side by side, or with
    /// <see cref="TrainingOptions.RecomputeActivations"/>, too little memory for them ends the process instead, with the steps since the last checkpoint: how
    /// many that are, <see cref="TrainingOptions.CheckpointEvery"/> and <see cref="TrainingOptions.CheckpointInterval"/> decide.
    /// A measure or look that was due then is taken when the training goes on, before its next step. A checkpoint replaces what a training before has left in
    /// the folder, its best model too, and is written before the first best model takes that one's place. Where the last steps were skipped, since the gradient
    /// was not finite, the training's last checkpoint stays as it is until a step is done again, and at the run's end alone is written whatever is: weights
    /// that give no finite gradient are no place to go on from.</remarks>
    /// <exception cref="OperationCanceledException">The training was canceled.</exception>
    /// <exception cref="CheckpointException">The checkpoint is of other data, or cannot be written, or another training has its folder, which is named before
    /// the first step.</exception>
    /// <exception cref="TrainingException">The gradient was not finite in too many steps in a row, or 0 in all of them, as it is where no batch has a token to
    /// predict (see <see cref="TrainingOptions.MaximumSkippedSteps"/>), or every parameter has been frozen; or a custom learning rate is not finite or below
    /// 0; or the processes do not train the same, or are more than the batches of a step.</exception>
    /// <exception cref="RetroOptionsException"><see cref="TrainingOptions.Patience"/> is set, and no <see cref="Measure"/>.</exception>
    /// <exception cref="InvalidOperationException">A step or a loading threw while it changed the model, and nothing was loaded since; or another thread runs
    /// or saves the training.</exception>
    /// <exception cref="ObjectDisposedException">The trainer or the model was disposed.</exception>
    public void Run(ITrainingData data, IProgress<TrainingProgress>? progress = null, CancellationToken cancellationToken = default)
        => Alone(() =>
        {
            try
            {
                RunAlone(data, progress, cancellationToken);
                return 0;
            }
            finally
            {
                _folder.Release();
            }
        });

    private bool IsFinished => Reached >= 1 || _state.MeasuresSinceBest >= Options.Patience;

    private void RunAlone(ITrainingData data, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken)
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
        if (IsFinished && _state.Unseen is null)
        {
            CompleteFolder(cancellationToken);
            return;
        }

        RequireOwnData(data);
        TakeFolder();
        _state = _state with { Data = data.Identity };
        Model.TokenizerHash ??= data.TokenizerHash;
        OperationCanceledException? end = DoSteps(data, progress, cancellationToken) ? null : new(cancellationToken);
        _agreement.TakeFirst(); // what is saved is what each has, to be measured or trained on by another trainer

        // What is as it was when it was made or loaded would replace another's steps.
        if (_isAhead)
        {
            SaveIfSound(end);
            _isAhead = false;
        }

        if (end is not null)
        {
            throw _together.Everywhere(end);
        }
    }

    /// <summary>Gives a folder that holds no model that of a training which is finished.</summary>
    private void CompleteFolder(CancellationToken cancellationToken)
    {
        if (_folder.Folder is { } folder && _together.IsAnywhere(_together.IsFirst && !File.Exists(Path.Combine(folder, Checkpoint.ConfigName))))
        {
            Save(folder, cancellationToken: cancellationToken);
        }
    }

    private void RequireOwnData(ITrainingData data)
    {
        if (data.TokenizerHash is { } tokenizer)
        {
            try
            {
                Model.RequireTokenizer(tokenizer);
            }
            catch (RetroException fault)
            {
                throw _together.Everywhere(fault);
            }
        }

        if (_state is { Batches: > 0, Data: { } begun } && begun != data.Identity)
        {
            throw _together.Everywhere(new CheckpointException(
                $"The training was begun on other data. Begun on: {begun}. Now: {data.Identity}. Go on with that data, or start again."));
        }
    }

    private void TakeFolder()
    {
        if (_folder.Folder is null)
        {
            return;
        }

        _together.ByFirst(_folder.Take);
        double measure = _together.First(StepsDone > 0 && _together.IsFirst ? _folder.MeasureOfBest(_state.Id) ?? double.NaN : double.NaN);
        if (!double.IsNaN(measure))
        {
            _folder.NoteBest(measure);
        }
        else if (BestMeasure is not null)
        {
            _folder.ForgetBest();
            _state = _state with { BestMeasure = null, MeasuresSinceBest = 0 };
        }
    }

    /// <summary>Does the steps that are left, with what is due between them.</summary>
    /// <returns>Whether they were done; else the run was canceled.</returns>
    private bool DoSteps(ITrainingData data, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken)
    {
        using NextBatches next = new(data, _together, Options.Accumulation);
        _clock.Start(_state.Tokens);
        next.Prepare(_state.Batches, Progress);
        bool finished = IsFinished;
        long saved = StepsDone, looked = LooksDue(StepsDone, Reached);
        try
        {
            if (_state.Unseen is { } unseen)
            {
                Look(unseen);
            }

            while (!finished)
            {
                if (_together.IsAnywhere(cancellationToken.IsCancellationRequested))
                {
                    return false;
                }

                TokenBatch[] batches = next.Take();
                next.Prepare(_state.Batches + Options.Accumulation, Options.TimeBudget is null ? (double)(StepsDone + 1) / Options.Steps : Progress);
                TrainingProgress done = StepOfRun(batches);

                finished = done.Progress >= 1;
                long due = LooksDue(done.Step, done.Progress);
                bool isDue = finished || due > looked || (Options.MeasureEvery > 0 && StepsDone % Options.MeasureEvery == 0);
                looked = due;
                if (isDue)
                {
                    Look(done);
                }
                else
                {
                    progress?.Report(done);
                }

                // A step that was skipped has moved nothing, nor has one without a target behind it: weights that give no finite gradient replace none that do.
                if (!finished && _state.SkippedInARow == 0 && IsCheckpointDue(StepsDone - saved))
                {
                    SaveIfAsked();
                    saved = StepsDone;
                }
            }

            RequireLearning(isEnd: true); // patience may have ended it
            return true;
        }
        catch (Exception fault) when (_together.Size == 1 && StepsDone > saved && !IsNeverFinite && !HasLearnedNothing(isEnd: Reached >= 1))
        {
            // What came from the data or from who watches, or a step for which the memory did not suffice, is no reason to lose the steps before: between two
            // of them the state is whole.
            try
            {
                SaveIfSound(fault);
            }
            catch (Exception hindrance)
            {
                fault.Data[NotSaved] = hindrance.Message; // whatever it is: what ended the training is the reason
            }

            throw;
        }
        finally
        {
            _state = _state with { Elapsed = Elapsed };
            _clock.Stop();
        }

        void Look(TrainingProgress done)
        {
            done = Looked(done);
            if (Measure is not null)
            {
                // Where the time has run out meanwhile, it was measured at its end.
                _state = Progress < 1 ? _state : _state with { ElapsedAtStep = Elapsed };
                finished = IsFinished;
            }

            progress?.Report(done);
        }
    }

    private bool IsCheckpointDue(long steps)
        => (Options.CheckpointEvery > 0 && steps >= Options.CheckpointEvery)
            || (Options.CheckpointInterval is { } interval && steps > 0 && _clock.SinceSaved >= interval);

    private void SaveIfAsked()
    {
        if (_folder.Folder is { } folder)
        {
            // Also of a trainer that was disposed while it ran: what it keeps is freed behind the run.
            RequireSound();
            SaveAlone(folder, null, default);
        }
    }

    /// <summary>Saves where the run ends, but for a checkpoint that it would be worse to go on from than from the one that is there.</summary>
    /// <param name="end">What ends it before its time, which is reported where nothing is saved; null: it has come to its end.</param>
    private void SaveIfSound(Exception? end)
    {
        if (end is not null && _state.SkippedInARow > 0 && _folder.IsKept)
        {
            end.Data[NotSaved] = $"The gradient was not finite in the last {Amount.Of(_state.SkippedInARow, "step")}, so that the checkpoint of before stays.";
            return;
        }

        SaveIfAsked();
    }
}

using Retro.Modeling;

namespace Retro.Training;

public sealed partial class Trainer
{
    /// <summary>
    /// What tells how good the model is, lower being better, such as the bits per byte of a validation part; it finds the model in evaluation mode. Asked every
    /// <see cref="TrainingOptions.MeasureEvery"/> steps, <see cref="TrainingOptions.Measures"/> times, and at the end of <see cref="Run"/>, whose time it is
    /// part of. Where there is a checkpoint's folder, the best model is kept in its <see cref="BestFolder"/>. As it chooses that one, and by
    /// <see cref="TrainingOptions.Patience"/> the end, what is reported of a model is to be measured on other documents than these. Of several processes the
    /// first measures, and tells the others. The <see cref="FinalizerGate"/> is open while it measures: what computes with TorchSharp's operators itself closes
    /// it around them, as readers do by themselves. Null: nothing is measured.
    /// </summary>
    public Func<RetroModel, double>? Measure { get; init; }

    /// <summary>
    /// Looks at the model on text that it is not trained on, with retrieval on and off; it finds the model in evaluation mode. Asked as often as
    /// <see cref="Measure"/>, and as there with an open <see cref="FinalizerGate"/>, it decides nothing. Of several processes the first looks. Null: nobody
    /// looks.
    /// </summary>
    public Func<RetroModel, TrainingWatch>? Watch { get; init; }

    /// <summary>
    /// The lowest measure, over every run that was resumed, also where it is of a step behind the checkpoint that the training goes on from; null before the
    /// first one, and from where a training goes on in a folder that has not its best model: another one, or one with the best model of another training.
    /// </summary>
    public double? BestMeasure => _folder.BestMeasure;

    /// <summary>How many of <see cref="TrainingOptions.Measures"/> are due; of steps in whole numbers, since a share of them, such as 0.29, may be rounded to
    /// less.</summary>
    private long LooksDue(long steps, double progress) => Options.TimeBudget is null
        ? (long)((Int128)steps * Options.Measures / Options.Steps)
        : (long)Math.Floor(progress * Options.Measures);

    /// <summary>Looks at the model after a step, and measures it.</summary>
    private TrainingProgress Looked(TrainingProgress done)
    {
        _state = _state with { Unseen = done }; // where the look or the measure throws, it is still to be taken
        if (Watch is not null && _together.IsFirst)
        {
            done = done with { Watched = OfEvaluated(Watch) };
        }

        if (Measure is not null)
        {
            double measure = _together.First(_together.IsFirst ? OfEvaluated(Measure) : double.NaN);
            KeepMeasure(measure);
            done = done with { Measure = measure };
        }

        _state = _state with { Unseen = null };
        _isAhead = true;
        return done;
    }

    /// <summary>Asks something of the model as it is measured: with the average of its weights, in evaluation mode.</summary>
    private T OfEvaluated<T>(Func<RetroModel, T> asked)
    {
        using IDisposable? averaged = Averaged();
        Model.eval();

        // Not behind the finalizers' gate, closed for minutes: what is left to finalizers may be large, and the threads of BitsPerByte wait for it to open.
        try
        {
            return asked(Model);
        }
        finally
        {
            Model.train();
        }
    }

    private void KeepMeasure(double measure)
    {
        if (measure < (BestMeasure ?? double.PositiveInfinity))
        {
            // Where it cannot be written, the measure is not on record, and is taken again.
            KeepBest(measure);
        }

        // Patience counts as without an interruption: steps that are done again cannot beat a best model that is theirs.
        _state = measure < (_state.BestMeasure ?? double.PositiveInfinity)
            ? _state with { BestMeasure = measure, MeasuresSinceBest = 0 }
            : _state with { MeasuresSinceBest = _state.MeasuresSinceBest + 1 };
    }

    /// <summary>Keeps the best model. That of a training before goes with the checkpoint that it belongs to, which is replaced first.</summary>
    private void KeepBest(double measure)
    {
        if (_folder.Folder is { } folder && _together.IsAnywhere(_together.IsFirst && _folder.HoldsAnothersBest(_state.Id)))
        {
            Save(folder);
        }

        _clock.Pause(() => _together.ByFirst(() => _folder.WriteBest(measure, _state.Id)));
        _folder.NoteBest(measure);
    }
}

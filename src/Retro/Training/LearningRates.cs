using System.Globalization;
using Retro.Optimization;
using static TorchSharp.torch;
using static TorchSharp.torch.optim.lr_scheduler;

namespace Retro.Training;

/// <summary>The learning rates of a training's steps: those of a scheduler, of a function of the step, or of the schedule of the options.</summary>
internal sealed class LearningRates
{
    private readonly TrainingOptions _options;
    private readonly LearningRateSchedule _schedule;
    private readonly Func<long, double>? _rate;
    private readonly (TorchOptimizer Optimizer, LRScheduler Scheduler)? _scheduled;
    private readonly bool _hasMuon;
    private long _made; // steps of the scheduler, one that threw included

    /// <summary>Says where they come from.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="optimizer">What they are for.</param>
    /// <param name="scheduler">Makes a scheduler over an optimizer of TorchSharp; null: none.</param>
    /// <param name="rate">The rate of a step, from 0; null: the schedule of the options.</param>
    /// <exception cref="ArgumentException">The scheduler follows a measure.</exception>
    public LearningRates(
        TrainingOptions options, ITrainingOptimizer optimizer, Func<optim.Optimizer, LRScheduler>? scheduler, Func<long, double>? rate)
    {
        (_options, _schedule, _rate) = (options, options.Schedule(), rate);
        _hasMuon = optimizer is not TorchOptimizer && options.Optimizer.Kind == OptimizerKind.Muon;
        if (scheduler is null || optimizer is not TorchOptimizer own)
        {
            return;
        }

        LRScheduler made = scheduler(own.Optimizer);
        if (made is impl.ReduceLROnPlateau)
        {
            throw new ArgumentException(
                $"{nameof(impl.ReduceLROnPlateau)} follows a measure, which a step of the training does not have; give a scheduler that follows steps.",
                nameof(scheduler));
        }

        _scheduled = (own, made);
    }

    /// <summary>AdamW's, or a custom optimizer's, in a step.</summary>
    /// <param name="step">Number of the step, from 0.</param>
    /// <param name="progress">The share of the training that is done, asked for where its time decides.</param>
    /// <exception cref="TrainingException">A custom rate is not finite or below 0.</exception>
    public double Of(long step, Func<double> progress)
    {
        double rate = _scheduled is { } scheduled ? scheduled.Optimizer.Rate
            : _rate is not null ? _rate(step)
            : _options.TimeBudget is null ? _schedule.Rate(step)
            : _schedule.RateAt(progress());
        return double.IsFinite(rate) && rate >= 0
            ? rate
            : throw new TrainingException(string.Create(
                CultureInfo.InvariantCulture,
                $"The learning rate of step {step}, counted from 0, is {rate}; give a rate that is finite and not below 0 for every step."));
    }

    /// <summary>Muon's beside that rate.</summary>
    public double Muon(double rate) => _options.MuonLearningRate * rate / _options.LearningRate;

    /// <summary>The rates of a step in words, for whoever is to lower them: lower ones of AdamW alone leave Muon's as they are.</summary>
    public string InWords(double rate) => _hasMuon
        ? FormattableString.Invariant($"the learning rates, AdamW's ({rate}) and Muon's ({Muon(rate)}),")
        : FormattableString.Invariant($"the learning rate ({rate})");

    /// <summary>Makes sure that what gives the rates can go on from a step.</summary>
    /// <param name="step">The steps that are done there.</param>
    /// <exception cref="InvalidOperationException">A scheduler is beyond it, which knows no way back.</exception>
    public void RequireReaches(long step)
    {
        if (step < _made)
        {
            throw new InvalidOperationException(
                $"The scheduler has made {_made} steps, and cannot go back to a checkpoint of {step}: load that into a new trainer.");
        }
    }

    /// <summary>Takes a scheduler on to a step.</summary>
    /// <param name="step">The steps that are done there.</param>
    public void AdvanceTo(long step)
    {
        while (_scheduled is { } scheduled && _made < step)
        {
            _made++;
            scheduled.Scheduler.step();
        }
    }
}

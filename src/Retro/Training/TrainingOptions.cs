using Retro.Modeling;
using Retro.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>Settings of a training.</summary>
public sealed record TrainingOptions
{
    /// <summary>
    /// Steps in all. Where <see cref="TimeBudget"/> is set, only its ratio to <see cref="WarmupSteps"/> counts, where those are set, as the shape of the
    /// schedule. Default 1,000.
    /// </summary>
    public long Steps { get; init; } = 1000;

    /// <summary>
    /// Steps of the warm-up; null: a twentieth of <see cref="Steps"/>, at least one, or of <see cref="TimeBudget"/>. Default null.
    /// </summary>
    public long? WarmupSteps { get; init; }

    /// <summary>
    /// Time to train, over which the whole schedule is run through; null: by <see cref="Steps"/>. How many steps fit depends on the machine, so such a training
    /// cannot be repeated to the bit.
    /// </summary>
    public TimeSpan? TimeBudget { get; init; }

    /// <summary>AdamW's learning rate at the end of the warm-up. Default 2e-4, the paper's for models below 7 billion parameters.</summary>
    public double LearningRate { get; init; } = 2e-4;

    /// <summary>AdamW's learning rate at the end; null: a tenth of <see cref="LearningRate"/>, as in the paper.</summary>
    public double? FinalLearningRate { get; init; }

    /// <summary>Muon's learning rate at the end of the warm-up; it rises and falls as AdamW's does. Default 0.02.</summary>
    public double MuonLearningRate { get; init; } = 0.02;

    /// <summary>
    /// What part of the learning rate the retrieval branches take, chunked cross-attention and the encoder: a branch that has not learned to read yet adds
    /// noise to the decoder's states, the more the faster it moves. Default 1; optimizers of TorchSharp have groups of their own for it.
    /// </summary>
    public double RetrievalRate { get; init; } = 1;

    /// <summary>
    /// Share of the training, from its beginning, in which no neighbors are read, so that the decoder learns alone, at about half of the cost of a step;
    /// retrieval is fitted onto it then. 0: they are read from the first step on. A training that has read some goes on reading, however much longer it is
    /// made. What is planted before is not read either: see <see cref="PlantingSchedule.Begin"/>. 0 where all that is trained reads neighbors. Default 0.
    /// </summary>
    public double ClosedBook { get; init; }

    /// <summary>The optimizer.</summary>
    public RetroOptimizerOptions Optimizer { get; init; } = new();

    /// <summary>
    /// Type in which the model computes, to which the trainer casts it; null: the model's own. Bfloat16 halves the memory of weights and activations; the
    /// optimizer then keeps the trained weights in float32 beside them, see <see cref="RetroOptimizer"/>, and norms and the loss are taken in float32. A
    /// checkpoint holds both. Default null.
    /// </summary>
    public ScalarType? Dtype { get; init; }

    /// <summary>Batches whose gradients are averaged in a step; where several processes train together, of all of them. Default 1.</summary>
    public int Accumulation { get; init; } = 1;

    /// <summary>
    /// How many of a step's batches the processor computes side by side, with a share of torch's threads each; null: as many as there are threads, which is
    /// fastest, but 1 where a custom branch keeps buffers (see <see cref="LayerFactory"/>). Each takes memory of its own for activations and gradients; 1
    /// computes one after the other, with all threads. The weights are the same but for rounding. Default null.
    /// </summary>
    public int? SideBySide { get; init; }

    /// <summary>
    /// Whether a step keeps no activations but what each decoder layer reads, and computes the rest again in backward, layer by layer: one more forward pass
    /// for the memory of all layers but one. The gradient is the same, but for what dropout draws. Default no.
    /// </summary>
    public bool RecomputeActivations { get; init; }

    /// <summary>
    /// Whether each of the processes that train together remembers and moves a share of the parameters and gives them to the others, so that all of them need
    /// the optimizer's memory once and not each (stage 1 of ZeRO; arXiv 1910.02054). Checkpoints are the same either way, but for the average of bfloat16
    /// weights (<see cref="AverageDecay"/>). For Retro's optimizer; one process alone does as without. Default no.
    /// </summary>
    public bool ShardOptimizer { get; init; }

    /// <summary>
    /// d: the trainer keeps an exponential moving average of the trained weights, a ← d·a + (1 − d)·w after each step, beside them, in float32 at least; of
    /// bfloat16 weights w is the optimizer's float32 copy, but the weights themselves with <see cref="ShardOptimizer"/>, where a process has a share of the
    /// copies alone. What is measured, the best model and the checkpoint's model are then the average; see <see cref="Trainer.Averaged"/>. Null: none. Default
    /// null.
    /// </summary>
    public double? AverageDecay { get; init; }

    /// <summary>
    /// Folder of the checkpoint; null: none is written. Of several processes all name the same one, and the first alone writes into it. Default none.
    /// </summary>
    public string? CheckpointFolder { get; init; }

    /// <summary>Steps between two checkpoints; 0: only at the end, and when the training is canceled. Default 0.</summary>
    public long CheckpointEvery { get; init; }

    /// <summary>
    /// Time after which a checkpoint is written between two steps, since the last one or the run's beginning; null: the clock asks for none. It goes with
    /// <see cref="CheckpointEvery"/>, too, and changes no weight. Default null.
    /// </summary>
    public TimeSpan? CheckpointInterval { get; init; }

    /// <summary>Steps between two calls of <see cref="Trainer.Measure"/> and <see cref="Trainer.Watch"/>; 0: at the end alone. Default 0.</summary>
    public long MeasureEvery { get; init; }

    /// <summary>
    /// How often <see cref="Trainer.Measure"/> and <see cref="Trainer.Watch"/> are called besides: so many times, evenly over the steps or the time budget,
    /// the last at the end. Default 0.
    /// </summary>
    public int Measures { get; init; }

    /// <summary>
    /// Measures in a row that are no better than the best one, after which the training ends early; null: it never does. It goes with
    /// <see cref="MeasureEvery"/> or <see cref="Measures"/>. Default null.
    /// </summary>
    public int? Patience { get; init; }

    /// <summary>
    /// Steps in a row with a gradient that is not finite, each of which is left out, before the training gives up. Where no step has had a gradient other than
    /// 0, as where all that is trained reads neighbors and no batch holds any, or none a token to predict, it gives up after ten times as many and a tenth of
    /// the training, or at its end. Default 10.
    /// </summary>
    public int MaximumSkippedSteps { get; init; } = 10;

    /// <summary>Decides what dropout drops. Default 0.</summary>
    public long Seed { get; init; }

    /// <summary>
    /// What lets a model of some million parameters learn to read its neighbors within minutes: Muon at 0.02 for the matrices, AdamW at 0.016 for the
    /// rest, which is embeddings and norms: the best of 0.004 to 0.06 for a model of a million parameters (tests/Retro.Benchmarks/results/reading.md).
    /// </summary>
    public static TrainingOptions SmallModel { get; } = new()
    {
        LearningRate = 0.016,
        Optimizer = new RetroOptimizerOptions { Kind = OptimizerKind.Muon },
    };

    /// <summary>
    /// The type that a model is best trained in from nothing: bfloat16 on a processor that multiplies it by instructions of its own, where the quickstart's
    /// models take half of float32's time to the same bits per byte within a few thousandths (tests/Retro.Benchmarks/results/bfloat16.md); else float32.
    /// </summary>
    /// <param name="device">Where it is trained; null: the CPU.</param>
    /// <returns>What to set <see cref="Dtype"/> to.</returns>
    public static ScalarType PreferredDtype(Device? device = null)
        => device is null or { type: DeviceType.CPU } && Precision.MultipliesBFloat16(CPU) ? ScalarType.BFloat16 : ScalarType.Float32;

    /// <summary>The schedule of AdamW's learning rate.</summary>
    /// <returns>The schedule; by time, in shares of <see cref="TimeBudget"/>.</returns>
    public LearningRateSchedule Schedule()
    {
        // By time a twentieth of it, in steps so short that the rate really rises.
        (long warmup, long steps) = TimeBudget is not null && WarmupSteps is null ? (50, 1000) : (WarmupSteps ?? Math.Max(1, Steps / 20), Steps);
        return new(LearningRate, FinalLearningRate ?? LearningRate / 10, warmup, steps);
    }

    /// <summary>Checks every setting.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public TrainingOptions Validate()
    {
        OptionFaults faults = new(nameof(TrainingOptions));
        faults.Between(Steps, 1);
        faults.Between(WarmupSteps ?? 0, 0, Math.Max(0, Steps), nameof(WarmupSteps));
        faults.Require(TimeBudget is null || TimeBudget > TimeSpan.Zero, TimeBudget, "more than no time");
        faults.Positive(LearningRate);
        faults.Require(
            FinalLearningRate is null || (FinalLearningRate >= 0 && FinalLearningRate <= LearningRate),
            FinalLearningRate,
            FormattableString.Invariant($"0 to {nameof(LearningRate)}, {LearningRate}"));
        faults.Positive(MuonLearningRate);
        faults.Positive(RetrievalRate);
        faults.Share(ClosedBook);
        faults.Require(Dtype is null or ScalarType.Float32 or ScalarType.Float64 or ScalarType.BFloat16, Dtype, "Float32, Float64 or BFloat16");
        faults.Between(Accumulation, 1);
        faults.Require(SideBySide is null or > 0, SideBySide, "at least 1, or null");
        faults.Require(AverageDecay is null or (> 0 and < 1), AverageDecay, "more than 0 and less than 1");
        faults.Require(CheckpointFolder != "", CheckpointFolder, "the path of a folder, or null");
        faults.Between(CheckpointEvery, 0);
        faults.Require(CheckpointEvery <= 0 || CheckpointFolder is not null, CheckpointEvery, $"0 where {nameof(CheckpointFolder)} is not set");
        faults.Require(CheckpointInterval is null || CheckpointInterval > TimeSpan.Zero, CheckpointInterval, "more than no time");
        faults.Require(
            CheckpointInterval is null || CheckpointFolder is not null, CheckpointInterval, $"null where {nameof(CheckpointFolder)} is not set");
        faults.Between(MeasureEvery, 0);
        faults.Between(Measures, 0);
        faults.Require(Patience is null or > 0, Patience, "at least 1");
        faults.Require(
            Patience is null || MeasureEvery != 0 || Measures != 0, Patience, $"null where {nameof(MeasureEvery)} and {nameof(Measures)} are 0: nothing is "
                + "measured before the end");
        faults.Between(MaximumSkippedSteps, 1);
        Optimizer.Check(faults.Of(nameof(Optimizer)));
        faults.Throw();
        return this;
    }
}

using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>What a checkpoint tells of its training (<see cref="Trainer.Stored"/>).</summary>
/// <param name="Steps">Steps made.</param>
/// <param name="Elapsed">Time that they took.</param>
/// <param name="Dtype">Type of the weights that are trained: bfloat16, float64, or float32.</param>
/// <param name="Data">The <see cref="ITrainingData.Identity"/> of what it was trained on; null: nothing was read.</param>
public sealed record StoredTraining(long Steps, TimeSpan Elapsed, ScalarType Dtype, string? Data)
{
    /// <summary>B: rows of a batch of the data; null: nothing was read, or custom data do not say.</summary>
    public int? BatchSize => Data is null ? null : WindowSampler.BatchSizeOf(Data);
}

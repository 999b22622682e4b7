using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>The tensors of a training by their names, as they go into a checkpoint and come back from it.</summary>
/// <param name="Weights">The trained weights.</param>
/// <param name="Memory">What the optimizer remembers.</param>
/// <param name="Averages">The average of the trained weights, where one is kept.</param>
/// <param name="Buffers">The buffers of custom branches.</param>
internal sealed record TrainingParts(
    Dictionary<string, Tensor> Weights,
    Dictionary<string, Tensor> Memory,
    Dictionary<string, Tensor> Averages,
    Dictionary<string, Tensor> Buffers);

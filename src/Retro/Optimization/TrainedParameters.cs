using static TorchSharp.torch;

namespace Retro.Optimization;

/// <summary>What parameters have to be, to be trained.</summary>
internal static class TrainedParameters
{
    /// <summary>Refuses a parameter of a type in which a step would leave nothing of it.</summary>
    /// <exception cref="TrainingException">It is of such a type.</exception>
    public static void RequireType(string name, ScalarType type)
    {
        if (type is not (ScalarType.Float32 or ScalarType.Float64 or ScalarType.BFloat16))
        {
            throw new TrainingException(
                $"{name} is of type {type}. What is trained is of Float32, Float64 or BFloat16: the gradients of Float16 leave its range where the loss is not "
                    + "scaled, which nothing does here. Cast the model first, such as by model.to(ScalarType.BFloat16).");
        }
    }

    /// <summary>Refuses to go on with parameters that a model no longer has.</summary>
    /// <param name="parameters">They.</param>
    /// <param name="holder">Who has them.</param>
    /// <exception cref="InvalidOperationException">The model has others.</exception>
    public static void RequireThere(IEnumerable<Tensor> parameters, string holder)
    {
        if (parameters.Any(parameter => parameter.IsInvalid))
        {
            throw new InvalidOperationException(
                $"The model was cast or moved after the {holder} was made, which gave it other parameters: cast or move it first (a trainer casts it itself, "
                    + "by the option Dtype).");
        }
    }
}

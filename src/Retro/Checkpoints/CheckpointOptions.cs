using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Checkpoints;

/// <summary>How <see cref="Checkpoint.Save"/> writes.</summary>
public sealed record CheckpointSaveOptions
{
    /// <summary>Most bytes of tensors in a file; a larger model is written in several, with an index. Default 4 GB. A single tensor is never divided.</summary>
    public long MaximumFileBytes { get; init; } = 4L << 30;

    /// <summary>Checks every setting.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public CheckpointSaveOptions Validate()
    {
        OptionFaults faults = new(nameof(CheckpointSaveOptions));
        faults.Between(MaximumFileBytes, 1);
        faults.Throw();
        return this;
    }
}

/// <summary>How <see cref="Checkpoint.Load"/> reads.</summary>
public sealed record CheckpointLoadOptions
{
    /// <summary>Type of the model's parameters; null: as stored, float16 as float32. Default null.</summary>
    public ScalarType? Dtype { get; init; }

    /// <summary>Device of the model; null: the CPU. Default null.</summary>
    public Device? Device { get; init; }

    /// <summary>Makes the model's branches where they are custom; null: Retro's. Default null.</summary>
    public LayerFactory? Layers { get; init; }

    /// <summary>
    /// Whether missing and extra tensors are a fault. Default true. Where false, missing ones keep their fresh values; another shape is a fault either way.
    /// </summary>
    public bool Strict { get; init; } = true;

    /// <summary>Whether weights that are not finite are a fault. Default false: it reads every value once more.</summary>
    public bool RequireFinite { get; init; }

    /// <summary>Checks every setting.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public CheckpointLoadOptions Validate()
    {
        OptionFaults faults = new(nameof(CheckpointLoadOptions));
        faults.Require(
            Dtype is null or ScalarType.Float64 or ScalarType.Float32 or ScalarType.BFloat16, Dtype, "Float64, Float32 or BFloat16, or null");
        faults.Throw();
        return this;
    }
}

using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// Makes branches of a decoder's layers, where custom ones take the place of Retro's: derive from the branch, override what it computes, and name the new
/// one here.
/// </summary>
/// <remarks>A model with custom branches is trained, saved, evaluated and generated with as any other; to load it, give the factory again. What a branch
/// keeps in fields, modules, parameters and tensors, is a part of the model by the field's name, as in any module of TorchSharp; several stand in a
/// <c>ModuleList</c> or <c>ParameterList</c>, and in an array or a list, where nobody finds them, they are refused. A branch with dropout of its own drops by
/// <see cref="SeededDropout"/>, and one with parameters that it registers itself asks for them by their names (<c>get_parameter</c>): where a model is moved
/// to another type or device, as a training in bfloat16 does, TorchSharp makes new ones and disposes those before.
/// <para>Forward may run on several threads at once, each with a batch of its own, and twice for a batch where activations are computed again
/// (<c>TrainingOptions.RecomputeActivations</c>). Where branches register buffers, which forward may change, a step's batches are computed one after the other,
/// so that the buffers end the same each time, unless <c>TrainingOptions.SideBySide</c> says otherwise; of several processes each changes its own, and a
/// checkpoint holds the first one's.</para>
/// <para>What libtorch refuses in backward, such as a tensor that a branch has changed in its place, is an exception where a step has one batch and keeps its
/// activations; where batches are computed side by side, or activations again, TorchSharp lets it end the process, and libtorch tells the standard error stream
/// why: try a branch with one batch first.</para></remarks>
public sealed record LayerFactory
{
    /// <summary>Makes the chunked cross-attention of a layer. Default: <see cref="ChunkedCrossAttention"/>.</summary>
    public Func<RetroConfig, ScalarType, Device?, ChunkedCrossAttention> CrossAttention { get; init; } = (config, dtype, device) => new(config, dtype, device);

    /// <summary>Makes the self-attention of a layer. Default: <see cref="Modeling.SelfAttention"/>.</summary>
    public Func<RetroConfig, ScalarType, Device?, SelfAttention> SelfAttention { get; init; } = (config, dtype, device) =>
        new(config, encoder: false, dtype, device);

    /// <summary>Makes the feed-forward branch of a layer. Default: <see cref="Modeling.FeedForward"/>.</summary>
    public Func<RetroConfig, ScalarType, Device?, FeedForward> FeedForward { get; init; } = (config, dtype, device) =>
        new(config, encoder: false, dtype, device);
}

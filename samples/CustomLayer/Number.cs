using TorchSharp;

namespace CustomLayer;

/// <summary>Numbers that live as long as the program.</summary>
/// <remarks>
/// TorchSharp makes one for each x + y, which a collection on another thread can free while libtorch reads it. A layer that gives its numbers itself is safe on every thread; one that is written with
/// plain x + y is safe inside <see cref="Retro.FinalizerGate"/>.
/// </remarks>
internal static class Number
{
    /// <summary>1, by which x.add multiplies what it adds.</summary>
    public static readonly Scalar One = 1.ToScalar();
}

using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Embedders;

/// <summary>Sets a fresh encoder to where its vectors are those of a weighted bag of words, in which frequent tokens hardly count.</summary>
/// <remarks>
/// The weight of a token is a / (a + its frequency), and what all texts have in common is taken off (Arora et al., "A simple but tough-to-beat baseline for
/// sentence embeddings", ICLR 2017). A layer norm gives every token's state the same length, so that weight has to become direction: feature 0 takes up what a
/// token does not say, and the last layer norm leaves it out.
/// </remarks>
internal static class SmoothInverseFrequency
{
    private const double A = 1e-3;

    /// <summary>Sets the token embeddings and the gain of the last norm.</summary>
    /// <param name="encoder">A fresh encoder.</param>
    /// <param name="counts">How often each token was seen.</param>
    public static void Weigh(TextEncoder encoder, ReadOnlySpan<long> counts)
    {
        double total = 0;
        foreach (long count in counts)
        {
            total += count;
        }

        float[] said = new float[counts.Length];
        float[] unsaid = new float[counts.Length];
        for (int token = 0; token < counts.Length; token++)
        {
            double weight = A / (A + counts[token] / total);
            (said[token], unsaid[token]) = ((float)weight, (float)Math.Sqrt(1 - weight * weight));
        }

        using IDisposable guard = no_grad();
        using DisposeScope scope = NewDisposeScope();
        Parameter words = encoder.get_parameter("embeddings.word_embeddings.weight")!; // [V, D]
        words.mul_(torch.tensor(said, [said.Length, 1], device: words.device));
        words.select(1, 0).copy_(torch.tensor(unsaid, device: words.device));
        LastNorm(encoder, "weight").select(0, 0).fill_(KeptScalars.Zero);
    }

    /// <summary>Takes the mean vector of some texts off every vector.</summary>
    /// <param name="encoder">The encoder.</param>
    /// <param name="vectors">Vectors of texts before normalization, [B, D].</param>
    public static void Center(TextEncoder encoder, Tensor vectors)
    {
        using IDisposable guard = no_grad();
        using DisposeScope scope = NewDisposeScope();
        LastNorm(encoder, "bias").sub_(vectors.mean([0L]));
    }

    private static Parameter LastNorm(TextEncoder encoder, string name)
        => encoder.get_parameter($"encoder.layer.{encoder.Config.Layers - 1}.output.LayerNorm.{name}")!;
}

using Retro.Embedding;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Checkpoints.Pretrained;

/// <summary>Text encoders of Hugging Face folders, in the type that a comparison wants.</summary>
internal static class EncoderFolder
{
    public static TextEncoder Load(string folder, ScalarType dtype)
    {
        TextEncoderFolder settings = TextEncoderFolder.Read(folder);
        TextEncoder encoder = TextEncoderWeights.Load(settings.Config, settings.WeightFolder);
        encoder.to(dtype);
        encoder.eval();
        return encoder;
    }

    public static float[] Embed(TextEmbedder embedder, string[] texts, int batch)
    {
        float[] vectors = new float[texts.Length * embedder.Dimensions];
        for (int start = 0; start < texts.Length; start += batch)
        {
            string[] part = texts[start..Math.Min(start + batch, texts.Length)];
            embedder.Embed(part, vectors.AsSpan(start * embedder.Dimensions, part.Length * embedder.Dimensions), CancellationToken.None);
        }

        return vectors;
    }
}

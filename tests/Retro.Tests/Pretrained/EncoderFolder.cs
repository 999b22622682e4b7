using Retro.Embedders;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Pretrained;

/// <summary>Text encoders of Hugging Face folders, in the type that a comparison wants.</summary>
internal static class EncoderFolder
{
    public static TextEncoder Load(string folder, ScalarType dtype)
    {
        TextEncoderFolder settings = TextEncoderFolder.Read(folder);
        TextEncoder encoder = TextEncoderWeights.Load(settings.Config, settings.WeightFolder, settings.DenseFolder);
        encoder.to(dtype);
        encoder.eval();
        return encoder;
    }

    public static float[] Embed(TextEmbedder embedder, params string[] texts)
    {
        float[] vectors = new float[texts.Length * embedder.Dimensions];
        embedder.Embed(texts, vectors);
        return vectors;
    }
}

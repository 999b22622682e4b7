using Retro.Embedders;
using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Benchmarks;

/// <summary>Floating-point operations that a model's matrix products take, two for a multiply-add, and the bytes that a decoded token reads.</summary>
/// <param name="config">The model.</param>
internal sealed class ModelWork(RetroConfig config)
{
    /// <summary>A training step: three times the forward pass, of backward twice as much.</summary>
    public double Step(long rows, long tokens, long neighbors) => 3 * Forward(rows, tokens, neighbors);

    /// <summary>A forward pass with neighbors for every chunk but the last.</summary>
    public double Forward(long rows, long tokens, long neighbors)
    {
        double attention = 4.0 * config.Heads * config.HeadSize; // of scores and of values, a query with a key
        double layer = Projections(config.Width, config.Heads, config.HeadSize, config.KeyValueHeads ?? config.Heads)
            + FeedForward(config.Width, config.FeedForwardSize, config.Activation) + (attention * tokens / 2);
        double head = 2.0 * config.Width * config.VocabularySize, all = rows * tokens * ((config.Layers * layer) + head);
        return config.Retrieval is null || neighbors == 0 ? all : all + Reading(rows, (tokens / config.Retrieval.ChunkLength) - 1, neighbors);
    }

    /// <summary>Encoding neighbors of some chunks, and cross-attention to them.</summary>
    public double Reading(long rows, long chunks, long neighbors)
    {
        RetrievalConfig retrieval = config.Retrieval!;
        double read = rows * chunks * retrieval.ChunkLength, queries = 4.0 * config.Width * config.Heads * config.HeadSize;
        double scores = 4.0 * config.Heads * config.HeadSize * neighbors * retrieval.RetrievedLength;
        double keys = 4.0 * retrieval.Encoder.Width * config.Heads * config.HeadSize * rows * chunks * neighbors * retrieval.RetrievedLength;
        return Encoding(rows, chunks, neighbors) + (retrieval.CrossAttentionLayers.Count * ((read * (queries + scores)) + keys));
    }

    /// <summary>Encoding neighbors of some chunks.</summary>
    public double Encoding(long rows, long chunks, long neighbors)
    {
        RetrievalConfig retrieval = config.Retrieval!;
        EncoderConfig encoder = retrieval.Encoder;
        double retrieved = rows * chunks * neighbors * retrieval.RetrievedLength, attention = 4.0 * encoder.Heads * encoder.HeadSize;
        double layer = Projections(encoder.Width, encoder.Heads, encoder.HeadSize, encoder.Heads)
            + FeedForward(encoder.Width, encoder.FeedForwardSize, config.Activation) + (attention * retrieval.RetrievedLength);
        double crossing = (4.0 * encoder.Width * encoder.Heads * encoder.HeadSize) + (attention * retrieval.ChunkLength);
        double keys = 4.0 * config.Width * encoder.Heads * encoder.HeadSize * rows * chunks * retrieval.ChunkLength;
        return (encoder.Layers * retrieved * layer) + (encoder.CrossAttentionLayers.Count * ((retrieved * crossing) + keys));
    }

    /// <summary>
    /// Bytes that a decoded token reads after a context: every weight of the decoder but keys and values of cross-attention, which are cached, and a row of an
    /// embedding that is no head; and the cached keys and values.
    /// </summary>
    public double DecodedBytes(int context, ScalarType dtype = ScalarType.Float32)
    {
        long weights = config.Parameters()
            .Where(parameter => !parameter.Name.StartsWith("encoder.", StringComparison.Ordinal)
                && !parameter.Name.Contains(".cca.k.", StringComparison.Ordinal) && !parameter.Name.Contains(".cca.v.", StringComparison.Ordinal)
                && !(parameter.Name == "embedding.weight" && !config.TieEmbeddings))
            .Sum(parameter => parameter.Count);
        long self = 2L * config.Layers * (config.KeyValueHeads ?? config.Heads) * config.HeadSize * context;
        long cross = 2L * config.Retrieval!.CrossAttentionLayers.Count * config.Heads * config.HeadSize * config.Retrieval.Neighbors
            * config.Retrieval.RetrievedLength;
        return dtype.ElementSize() * (double)(weights + self + cross);
    }

    /// <summary>Embedding texts of so many tokens.</summary>
    public static double Embedding(TextEncoderConfig encoder, IEnumerable<int> lengths)
    {
        double width = encoder.Width, token = Projections(width, encoder.Heads, width / encoder.Heads, encoder.Heads) + (4 * width * encoder.FeedForwardSize);
        return lengths.Sum(length => encoder.Layers * length * (token + (4 * width * length)));
    }

    private static double Projections(double width, double heads, double size, double keyHeads) => 4 * width * size * (heads + keyHeads);

    private static double FeedForward(double width, double inner, ActivationKind activation)
        => (activation is ActivationKind.SwiGlu or ActivationKind.GeGlu or ActivationKind.GeGluTanh ? 6 : 4) * width * inner;
}

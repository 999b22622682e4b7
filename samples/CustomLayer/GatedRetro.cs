using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace CustomLayer;

/// <summary>A small RETRO put together from Retro's layers and the gated one: two layers, the second of which reads the neighbors.</summary>
public sealed class GatedRetro : nn.Module<Tensor, Tensor, Tensor, Tensor>
{
    private readonly RetroConfig _config;
    private readonly Embedding embedding;
    private readonly DecoderSelfAttention attention1;
    private readonly FeedForward feedForward1;
    private readonly DecoderSelfAttention attention2;
    private readonly GatedCrossAttention cross;
    private readonly FeedForward feedForward2;
    private readonly RetrievalEncoder encoder;
    private readonly Normalization norm;

    /// <summary>Makes a model with fresh weights.</summary>
    public GatedRetro(RetroConfig config)
        : base(nameof(GatedRetro))
    {
        _config = config;
        embedding = nn.Embedding(config.VocabularySize, config.Width);
        attention1 = new(config);
        feedForward1 = new(config);
        attention2 = new(config);
        cross = new(config);
        feedForward2 = new(config);
        encoder = new(config);
        norm = new(config.Norm, config.Width, config.NormEpsilon);
        using (no_grad())
        {
            embedding.weight!.normal_(0, 1 / Math.Sqrt(config.Width));
        }

        RegisterComponents();
    }

    /// <summary>The gated layer.</summary>
    public GatedCrossAttention Cross => cross;

    /// <summary>Predicts the next token at every position.</summary>
    /// <param name="tokens">[B, T] of int64.</param>
    /// <param name="neighbors">[B, C, K, R] of int64.</param>
    /// <param name="valid">[B, C, K, R] of bool.</param>
    /// <returns>Logits [B, T, V].</returns>
    public override Tensor forward(Tensor tokens, Tensor neighbors, Tensor valid)
    {
        using DisposeScope scope = NewDisposeScope();
        long length = tokens.shape[1], chunks = neighbors.shape[1];
        Tensor x = embedding.call(tokens);
        AttentionPlan plan = AttentionPlan.Causal(_config, length, x.dtype, x.device);
        AttentionPlan crossPlan = AttentionPlan.ChunkedCross(_config, length, chunks, neighbors.shape[2], valid, x.dtype, x.device);

        x = x.add(attention1.call(x, plan), Number.One);
        x = x.add(feedForward1.call(x), Number.One);
        x = x.add(attention2.call(x, plan), Number.One);

        // The encoder reads the states after self-attention of the first layer with cross-attention (section 2.4 of the paper).
        Tensor encoded = encoder.call(neighbors, x.narrow(1, 0, chunks * _config.Retrieval!.ChunkLength), valid);
        x = x.add(cross.call(x, encoded, crossPlan), Number.One);
        x = x.add(feedForward2.call(x), Number.One);
        return nn.functional.linear(norm.call(x), embedding.weight!).MoveToOuterDisposeScope();
    }
}

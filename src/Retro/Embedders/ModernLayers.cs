namespace Retro.Embedders;

/// <summary>
/// The layers of ModernBERT (Warner et al., arXiv 2412.13663, section 2.1) in the place of BERT's: they norm what they read, positions are rotary,
/// feed-forwards gated, and in most layers a token sees no further than a window.
/// </summary>
public sealed record ModernLayers
{
    /// <summary>Base of the rotary frequencies in the layers that see all. Default 160,000.</summary>
    public double RotaryBase { get; init; } = 160_000;

    /// <summary>Base of the rotary frequencies in the layers with a window. Default 10,000.</summary>
    public double WindowRotaryBase { get; init; } = 10_000;

    /// <summary>How many tokens on each side of its own a token sees in the layers with a window. Default 64.</summary>
    public int Window { get; init; } = 64;

    /// <summary>The first layer sees all, and so does each that is this many layers behind such a one; 1: all do. Default 3.</summary>
    public int FullEvery { get; init; } = 3;

    /// <summary>Whether layer norms add a bias. Default false.</summary>
    public bool NormBias { get; init; }

    /// <summary>Whether the linear maps of attention do. Default false.</summary>
    public bool AttentionBias { get; init; }

    /// <summary>Whether the linear maps of feed-forwards do. Default false.</summary>
    public bool FeedForwardBias { get; init; }

    /// <summary>Collects what does not fit together in an encoder that has such layers.</summary>
    internal void Check(OptionFaults faults, TextEncoderConfig encoder)
    {
        faults.Positive(RotaryBase);
        faults.Positive(WindowRotaryBase);
        faults.Between(Window, 0, int.MaxValue / 2);
        faults.Between(FullEvery, 1);
        if ((encoder.FirstPosition, encoder.TokenTypes, encoder.RelativePositions) != (0, 0, false))
        {
            faults.Add(
                $"FirstPosition {encoder.FirstPosition}, TokenTypes {encoder.TokenTypes}, RelativePositions {encoder.RelativePositions} are not ModernBERT's, which are 0, 0 and False.");
        }

        if (encoder.Heads > 0 && encoder.Width % encoder.Heads == 0 && encoder.Width / encoder.Heads % 2 != 0)
        {
            faults.Add($"Width {encoder.Width} / Heads {encoder.Heads} is odd; rotary positions turn pairs of features.");
        }
    }

    /// <summary>Name and shape of every weight of an encoder that has such layers, but those of <see cref="TextEncoderConfig.Dense"/>.</summary>
    internal IEnumerable<(string Name, long[] Shape)> Weights(TextEncoderConfig encoder)
    {
        yield return ("embeddings.word_embeddings.weight", [encoder.VocabularySize, encoder.Width]);
        foreach ((string name, long[] shape, bool hasBias) in Parts(encoder))
        {
            yield return ($"{name}.weight", shape);
            if (hasBias)
            {
                yield return ($"{name}.bias", [shape[0]]);
            }
        }
    }

    private IEnumerable<(string Name, long[] Shape, bool HasBias)> Parts(TextEncoderConfig encoder)
    {
        long width = encoder.Width, inner = encoder.FeedForwardSize;
        yield return ("embeddings.LayerNorm", [width], NormBias);
        for (int i = 0; i < encoder.Layers; i++)
        {
            string layer = $"encoder.layer.{i}";
            if (i > 0)
            {
                yield return ($"{layer}.attn_norm", [width], NormBias);
            }

            yield return ($"{layer}.attn.Wqkv", [3 * width, width], AttentionBias);
            yield return ($"{layer}.attn.Wo", [width, width], AttentionBias);
            yield return ($"{layer}.mlp_norm", [width], NormBias);
            yield return ($"{layer}.mlp.Wi", [2 * inner, width], FeedForwardBias);
            yield return ($"{layer}.mlp.Wo", [width, inner], FeedForwardBias);
        }

        yield return ("encoder.final_norm", [width], NormBias);
    }
}

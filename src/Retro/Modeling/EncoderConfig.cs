namespace Retro.Modeling;

/// <summary>The retrieval encoder (arXiv 2112.04426, section 2.4). Normalization, activation and biases are the decoder's.</summary>
public sealed record EncoderConfig
{
    /// <summary>E: width of its states.</summary>
    public int Width { get; init; }

    /// <summary>
    /// Number of layers. Default 2. 0, beyond the paper: neighbors are read by their embeddings, normalized; the cheapest encoder, with which one can read
    /// many.
    /// </summary>
    public int Layers { get; init; } = 2;

    /// <summary>Attention heads.</summary>
    public int Heads { get; init; }

    /// <summary>Size of a head.</summary>
    public int HeadSize { get; init; }

    /// <summary>Inner width of the feed-forward branch.</summary>
    public int FeedForwardSize { get; init; }

    /// <summary>Layers that attend to the decoder's states of the query chunk, from 1, ascending. Default [1], the paper's.</summary>
    public LayerList CrossAttentionLayers { get; init; } = [1];

    /// <summary>
    /// Whether its cross-attention normalizes the decoder's states before it asks them. The states of a pretrained decoder are of any size, hundreds in some
    /// features; those of one that is trained with the encoder find theirs. Default false, the paper's; true in <see cref="RetrievalConfig.For"/>.
    /// </summary>
    public bool NormalizeStates { get; init; }

    /// <summary>Whether the encoder reads the decoder's embedding (through a projection where the widths differ). Default false.</summary>
    public bool ShareEmbedding { get; init; }

    /// <summary>Whether the output is normalized. Default true.</summary>
    public bool FinalNorm { get; init; } = true;

    /// <summary>Share of values dropped in training, after the embedding and on every branch's output. Default 0.</summary>
    public double Dropout { get; init; }
}

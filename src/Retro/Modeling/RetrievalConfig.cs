namespace Retro.Modeling;

/// <summary>All of retrieval in a <see cref="RetroConfig"/>: how much is retrieved, chunked cross-attention, and the encoder.</summary>
public sealed record RetrievalConfig
{
    // The paper's encoder, and where it begins to cross-attend (section 2.5 and table 10).
    private const int PaperEncoderWidth = 896, PaperEncoderHeads = 16, PaperEncoderHeadSize = 64, PaperFirstLayer = 6;

    /// <summary>M: tokens of a chunk. Default 64.</summary>
    public int ChunkLength { get; init; } = 64;

    /// <summary>R: tokens retrieved per neighbor, the neighbor chunk and its continuation. Default 128; not tied to 2M.</summary>
    public int RetrievedLength { get; init; } = 128;

    /// <summary>
    /// K: neighbors per chunk that evaluation and generation ask for where they are not told another number; a training reads as many as its data hold
    /// (<see cref="Training.WindowSamplerOptions.Neighbors"/>). Default 2. No parameter depends on it, and a forward pass takes any number.
    /// </summary>
    public int Neighbors { get; init; } = 2;

    /// <summary>Decoder layers with chunked cross-attention, from 1, ascending; at least one. The paper's are 6, 9, ... (specification 1.6).</summary>
    public LayerList CrossAttentionLayers { get; init; } = LayerList.Empty;

    /// <summary>
    /// Positions of the encoder and of chunked cross-attention, where they are to differ from the decoder's. Null: the same, or rotary where the decoder's are
    /// learned or none, because distances between a chunk and its neighbors need relative positions. Learned: a table of R positions added to the encoder's
    /// embedding, and cross-attention without positions.
    /// </summary>
    public PositionKind? Positions { get; init; }

    /// <summary>
    /// Whether keys of chunked cross-attention also see the retrieved token before: key_t = W_k e_t + W_k' e_(t−1), within each neighbor. Default false; beyond
    /// the paper.
    /// </summary>
    public bool ShiftedKeys { get; init; }

    /// <summary>
    /// Whether chunked cross-attention is told where the neighbors run as the text does: its logits get a learned term for how many tokens before a retrieved
    /// one equal the text's last, and a key of its own, of value zero, lets a query look away where no neighbor fits. Without it a small model has to learn
    /// to align the two by content, for which it has too little time. Default false; beyond the paper.
    /// </summary>
    public bool MatchBias { get; init; }

    /// <summary>
    /// Width between the two factors of every projection of chunked cross-attention, which is then a product of two narrow matrices (as in arXiv 2106.09685);
    /// null: full matrices. Default null; beyond the paper.
    /// </summary>
    public int? CrossAttentionRank { get; init; }

    /// <summary>
    /// Whether fresh output projections of chunked cross-attention are zero, so that retrieval changes nothing before the first training step. Default false.
    /// </summary>
    public bool ZeroOutput { get; init; }

    /// <summary>
    /// Whether the output of every chunked cross-attention is multiplied by tanh of a number that is learned and begins at 0 (as in Flamingo, arXiv 2204.14198,
    /// section 3.1.2), so that retrieval changes nothing before the first training step, and little where it does not pay. It takes the place of
    /// <see cref="ZeroOutput"/>: with both, or a <see cref="RetroConfig.InitialOutputScale"/> of 0, nothing would ever be
    /// learned. Default false; beyond the paper.
    /// </summary>
    public bool Gate { get; init; }

    /// <summary>The retrieval encoder.</summary>
    public EncoderConfig Encoder { get; init; } = new();

    /// <summary>
    /// What a small decoder learns to read with within minutes, fitted onto it once it is trained: 8 neighbors, read in its last layer by their embeddings
    /// alone, with <see cref="ShiftedKeys"/> and a <see cref="MatchBias"/>. Beyond the paper, whose encoder costs most of a step, and whose attention learns
    /// to align text and neighbors later than such a model is trained for.
    /// </summary>
    /// <param name="decoder">The decoder's configuration.</param>
    public static RetrievalConfig Matching(RetroConfig decoder)
    {
        RetrievalConfig retrieval = For(decoder);
        return retrieval with
        {
            Neighbors = 8,
            CrossAttentionLayers = [decoder.Layers],
            ShiftedKeys = true,
            MatchBias = true,
            Encoder = retrieval.Encoder with { Width = decoder.Width, Layers = 0, CrossAttentionLayers = LayerList.Empty },
        };
    }

    /// <summary>
    /// What is fitted onto a decoder unless something else is asked for: cross-attention from layer 6 on in every third layer (in a shallower decoder, in every
    /// second of its upper half), which changes nothing at first; an encoder of two layers as wide as the decoder, but at most as the paper's (896, 16 heads of
    /// 64), that reads the decoder's embedding.
    /// </summary>
    /// <param name="decoder">The decoder's configuration.</param>
    public static RetrievalConfig For(RetroConfig decoder)
    {
        ArgumentNullException.ThrowIfNull(decoder);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(decoder.Layers, nameof(decoder));
        bool narrow = decoder.Width <= PaperEncoderWidth;
        return new()
        {
            CrossAttentionLayers = decoder.Layers >= PaperFirstLayer
                ? LayerList.Every(PaperFirstLayer, 3, decoder.Layers)
                : LayerList.Every((decoder.Layers / 2) + 1, 2, decoder.Layers),
            ZeroOutput = true,
            Encoder = new()
            {
                Width = narrow ? decoder.Width : PaperEncoderWidth,
                Heads = narrow ? decoder.Heads : PaperEncoderHeads,
                HeadSize = narrow ? decoder.HeadSize : PaperEncoderHeadSize,
                FeedForwardSize = narrow ? decoder.FeedForwardSize : 4 * PaperEncoderWidth,
                ShareEmbedding = true,
                NormalizeStates = true,
            },
        };
    }
}

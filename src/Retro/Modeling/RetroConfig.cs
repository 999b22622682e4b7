namespace Retro.Modeling;

/// <summary>
/// Everything that decides the shape and the arithmetic of a <c>RetroModel</c>. Immutable; <see cref="Validate"/> reports every fault at once.
/// Dimension letters: B batch, T tokens, C chunks, M chunk length, K neighbors, R retrieved length, D decoder width, E encoder width, H heads, S head size, V vocabulary.
/// </summary>
public sealed partial record RetroConfig
{
    /// <summary>V: number of token ids.</summary>
    public int VocabularySize { get; init; }

    /// <summary>D: width of the decoder's states.</summary>
    public int Width { get; init; }

    /// <summary>Number of decoder layers.</summary>
    public int Layers { get; init; }

    /// <summary>H: attention heads of the decoder, in self-attention and chunked cross-attention.</summary>
    public int Heads { get; init; }

    /// <summary>Heads of keys and values in decoder self-attention (grouped-query attention, arXiv 2305.13245); null: as many as <see cref="Heads"/>, which it has to divide. Cross-attention keeps all heads.</summary>
    public int? KeyValueHeads { get; init; }

    /// <summary>S: size of a decoder head, independent of <see cref="Width"/>: the paper's smallest model has 16 heads of 64 at width 896.</summary>
    public int HeadSize { get; init; }

    /// <summary>Inner width of the decoder's feed-forward branch.</summary>
    public int FeedForwardSize { get; init; }

    /// <summary>M: tokens of a chunk. Default 64.</summary>
    public int ChunkLength { get; init; } = 64;

    /// <summary>R: tokens retrieved per neighbor, the neighbor chunk and its continuation. Default 128; not tied to 2M.</summary>
    public int RetrievedLength { get; init; } = 128;

    /// <summary>K: neighbors per chunk that training and generation ask for. Default 2. No parameter depends on it, and a forward pass takes any number.</summary>
    public int Neighbors { get; init; } = 2;

    /// <summary>Decoder layers with chunked cross-attention, from 1, ascending; empty: a plain decoder without an encoder. Default none; the paper's are 6, 9, ... (specification 1.6).</summary>
    public LayerList CrossAttentionLayers { get; init; } = LayerList.Empty;

    /// <summary>E: width of the retrieval encoder's states. Unused, as everything of the encoder, where <see cref="CrossAttentionLayers"/> is empty.</summary>
    public int EncoderWidth { get; init; }

    /// <summary>Number of encoder layers. Default 2.</summary>
    public int EncoderLayers { get; init; } = 2;

    /// <summary>Attention heads of the encoder.</summary>
    public int EncoderHeads { get; init; }

    /// <summary>Size of an encoder head.</summary>
    public int EncoderHeadSize { get; init; }

    /// <summary>Inner width of the encoder's feed-forward branch.</summary>
    public int EncoderFeedForwardSize { get; init; }

    /// <summary>Encoder layers that attend to the decoder's states of the query chunk, from 1, ascending. Default [1], the paper's.</summary>
    public LayerList EncoderCrossAttentionLayers { get; init; } = [1];

    /// <summary>Positions of every attention. Default rotary; the paper's is <see cref="PositionKind.TransformerXl"/>.</summary>
    public PositionKind Positions { get; init; } = PositionKind.Rotary;

    /// <summary>
    /// Positions of the encoder and of chunked cross-attention, where they are to differ from <see cref="Positions"/>. Null: the same, or rotary where the decoder's are learned or none,
    /// because distances between a chunk and its neighbors need relative positions. Learned: a table of R positions added to the encoder's embedding, and cross-attention without positions.
    /// </summary>
    public PositionKind? RetrievalPositions { get; init; }

    /// <summary>Longest sequence in tokens, enforced; null: any length. Required for learned positions, whose table it sizes.</summary>
    public int? MaximumLength { get; init; }

    /// <summary>Base of the rotary frequencies. Default 10,000.</summary>
    public double RotaryBase { get; init; } = 10_000;

    /// <summary>Share of a head's features that are rotated in decoder self-attention, rounded down to whole features; an odd number is taken as GPT-NeoX takes it, see <see cref="RotaryTable.Frequencies"/>. Default 1. Encoder and chunked cross-attention rotate all.</summary>
    public double RotaryFraction { get; init; } = 1;

    /// <summary>Change of the rotary frequencies in decoder self-attention. Default none.</summary>
    public RotaryScaling? RotaryScaling { get; init; }

    /// <summary>Whether relative attention has the content and position biases u and v of Transformer-XL. Default true.</summary>
    public bool RelativeBiases { get; init; } = true;

    /// <summary>Decoder self-attention sees this many tokens, the token itself included; null: all before it. Default null.</summary>
    public int? SlidingWindow { get; init; }

    /// <summary>Whether the output head is the decoder's embedding. Default false.</summary>
    public bool TieEmbeddings { get; init; }

    /// <summary>Whether the encoder reads the decoder's embedding (through a projection where the widths differ). Default false.</summary>
    public bool ShareEncoderEmbedding { get; init; }

    /// <summary>Normalization. Default RMSNorm.</summary>
    public NormKind Norm { get; init; } = NormKind.RmsNorm;

    /// <summary>What a normalization adds below the root. Default 1e-6.</summary>
    public double NormEpsilon { get; init; } = 1e-6;

    /// <summary>Whether the encoder's output is normalized. Default true.</summary>
    public bool EncoderFinalNorm { get; init; } = true;

    /// <summary>Non-linearity of the feed-forward branches. Default GELU with the error function.</summary>
    public ActivationKind Activation { get; init; } = ActivationKind.Gelu;

    /// <summary>Whether query, key and value projections have biases. Default false.</summary>
    public bool QueryKeyValueBias { get; init; }

    /// <summary>Whether output projections of attention have biases. Default false.</summary>
    public bool AttentionOutputBias { get; init; }

    /// <summary>Whether feed-forward projections have biases. Default false.</summary>
    public bool FeedForwardBias { get; init; }

    /// <summary>Whether decoder attention and feed-forward read the same input and are added together, as in GPT-NeoX. Default false. Chunked cross-attention reads the state after self-attention either way.</summary>
    public bool ParallelResidual { get; init; }

    /// <summary>Whether keys of chunked cross-attention also see the retrieved token before: key_t = W_k e_t + W_k' e_(t−1), within each neighbor. Default false; beyond the paper.</summary>
    public bool ShiftedKeys { get; init; }

    /// <summary>
    /// Width between the two factors of every projection of chunked cross-attention, which is then a product of two narrow matrices (as in arXiv 2106.09685); null: full matrices. Default null; beyond the paper.
    /// </summary>
    public int? CrossAttentionRank { get; init; }

    /// <summary>Share of values dropped in training, after the decoder's embedding and on every decoder branch's output. Default 0.</summary>
    public double Dropout { get; init; }

    /// <summary>The same for the encoder. Default 0.</summary>
    public double EncoderDropout { get; init; }

    /// <summary>Fresh output projections of branches are drawn at this share of 1/sqrt(fan-in). Default 0.05.</summary>
    public double InitialOutputScale { get; init; } = 0.05;

    /// <summary>Whether fresh output projections of chunked cross-attention are zero, so that retrieval changes nothing before the first training step. Default false.</summary>
    public bool ZeroCrossAttentionOutput { get; init; }

    /// <summary>Whether the model retrieves: it has chunked cross-attention and an encoder.</summary>
    public bool HasRetrieval => CrossAttentionLayers.Count > 0;

    /// <summary>Heads of keys and values in decoder self-attention.</summary>
    internal int SelfAttentionKeyValueHeads => KeyValueHeads ?? Heads;

    /// <summary>Features of a decoder head that self-attention rotates.</summary>
    internal int RotarySize => (int)(HeadSize * RotaryFraction);

    /// <summary>Positions of encoder and chunked cross-attention, with the default resolved.</summary>
    internal PositionKind EffectiveRetrievalPositions => RetrievalPositions
        ?? (Positions is PositionKind.Learned or PositionKind.None ? PositionKind.Rotary : Positions);

    /// <summary>Whether the encoder needs a projection from the shared embedding's width to its own.</summary>
    internal bool ProjectsSharedEmbedding => ShareEncoderEmbedding && EncoderWidth != Width;

    /// <summary>Whether the feed-forward branch has a gate matrix.</summary>
    internal bool IsGated => Activation is ActivationKind.SwiGlu or ActivationKind.GeGlu;
}

namespace Retro.Modeling;

/// <summary>
/// Everything that decides the shape and the arithmetic of a <c>RetroModel</c>. Immutable; <see cref="Validate"/> reports every fault at once.
/// Dimension letters: B batch, T tokens, C chunks, M chunk length, K neighbors, R retrieved length, D decoder width, E encoder width, H heads, S head size, V
/// vocabulary.
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

    /// <summary>
    /// Heads of keys and values in decoder self-attention (grouped-query attention, arXiv 2305.13245); null: as many as <see cref="Heads"/>, which it has to
    /// divide. Cross-attention keeps all heads.
    /// </summary>
    public int? KeyValueHeads { get; init; }

    /// <summary>S: size of a decoder head, independent of <see cref="Width"/>: the paper's smallest model has 16 heads of 64 at width 896.</summary>
    public int HeadSize { get; init; }

    /// <summary>Inner width of the decoder's feed-forward branch.</summary>
    public int FeedForwardSize { get; init; }

    /// <summary>All of retrieval; null: a plain decoder. Default null.</summary>
    public RetrievalConfig? Retrieval { get; init; }

    /// <summary>Positions of every attention. Default rotary; the paper's is <see cref="PositionKind.TransformerXl"/>.</summary>
    public PositionKind Positions { get; init; } = PositionKind.Rotary;

    /// <summary>Longest sequence in tokens, enforced; null: any length. Required for learned positions, whose table it sizes.</summary>
    public int? MaximumLength { get; init; }

    /// <summary>Base of the rotary frequencies. Default 10,000.</summary>
    public double RotaryBase { get; init; } = 10_000;

    /// <summary>
    /// Share of a head's features that are rotated in decoder self-attention, rounded down to whole features; an odd number is taken as GPT-NeoX takes it, see
    /// <see cref="RotaryTable.Frequencies"/>. Default 1. Encoder and chunked cross-attention rotate all.
    /// </summary>
    public double RotaryFraction { get; init; } = 1;

    /// <summary>Change of the rotary frequencies in decoder self-attention. Default none.</summary>
    public RotaryScaling? RotaryScaling { get; init; }

    /// <summary>
    /// Layers, from 1, whose decoder self-attention does not rotate: it has no positions but what the others leave in the states, as in SmolLM3
    /// (arXiv 2501.18795). Default none; rotary positions alone have such.
    /// </summary>
    public LayerList UnrotatedLayers { get; init; } = LayerList.Empty;

    /// <summary>Whether relative attention has the content and position biases u and v of Transformer-XL. Default true.</summary>
    public bool RelativeBiases { get; init; } = true;

    /// <summary>Decoder self-attention sees this many tokens, the token itself included; null: all before it. Default null.</summary>
    public int? SlidingWindow { get; init; }

    /// <summary>Layers, from 1, with the <see cref="SlidingWindow"/>; the others see all tokens before. Null: every layer. Default null.</summary>
    public LayerList? WindowLayers { get; init; }

    /// <summary>
    /// Base of the rotary frequencies in the layers with the <see cref="SlidingWindow"/>, where <see cref="RotaryScaling"/> does not count then, as in Gemma 3
    /// (arXiv 2503.19786); null: <see cref="RotaryBase"/>, as in the others. Default null.
    /// </summary>
    public double? WindowRotaryBase { get; init; }

    /// <summary>
    /// What the decoder's embedding is multiplied by before the first layer reads it; the output head and the encoder, where they share it, do not. Default 1;
    /// Gemma has the root of the width.
    /// </summary>
    public double EmbeddingScale { get; init; } = 1;

    /// <summary>Whether the output head is the decoder's embedding. Default false.</summary>
    public bool TieEmbeddings { get; init; }

    /// <summary>Normalization. Default RMSNorm.</summary>
    public NormKind Norm { get; init; } = NormKind.RmsNorm;

    /// <summary>
    /// Where the decoder's self-attention and feed-forward branches are normalized. Default before. Encoder and chunked cross-attention always are before.
    /// </summary>
    public NormPlacement NormPlacement { get; init; }

    /// <summary>What a normalization adds below the root. Default 1e-6.</summary>
    public double NormEpsilon { get; init; } = 1e-6;

    /// <summary>Non-linearity of the feed-forward branches. Default GELU with the error function.</summary>
    public ActivationKind Activation { get; init; } = ActivationKind.Gelu;

    /// <summary>Whether query, key and value projections have biases. Default false.</summary>
    public bool QueryKeyValueBias { get; init; }

    /// <summary>
    /// Whether decoder self-attention normalizes every head's queries and keys before they are rotated (RMSNorm over S, with one weight for all heads), as in
    /// Qwen3. Default false. Encoder and chunked cross-attention do not.
    /// </summary>
    public bool QueryKeyNorm { get; init; }

    /// <summary>
    /// Whether <see cref="QueryKeyNorm"/> is over the features of all heads at once, with a weight for each of them, as in OLMo 2. Default false.
    /// </summary>
    public bool QueryKeyNormAcrossHeads { get; init; }

    /// <summary>Whether output projections of attention have biases. Default false.</summary>
    public bool AttentionOutputBias { get; init; }

    /// <summary>Whether feed-forward projections have biases. Default false.</summary>
    public bool FeedForwardBias { get; init; }

    /// <summary>
    /// Whether decoder attention and feed-forward read the same input and are added together, as in GPT-NeoX. Default false. Chunked cross-attention reads the
    /// state after self-attention either way.
    /// </summary>
    public bool ParallelResidual { get; init; }

    /// <summary>Share of values dropped in training, after the decoder's embedding and on every decoder branch's output. Default 0.</summary>
    public double Dropout { get; init; }

    /// <summary>Fresh output projections of branches are drawn at this share of 1/sqrt(fan-in). Default 0.05.</summary>
    public double InitialOutputScale { get; init; } = 0.05;

    /// <summary>How many tokens the layers see at most that see the most; null: all.</summary>
    internal int? WidestWindow => WindowLayers is null || WindowLayers.Count == Layers ? SlidingWindow : null;

    /// <summary>The self-attention of a decoder layer, from 1.</summary>
    internal SelfAttentionKind KindOf(int layer)
    {
        int? window = WindowLayers?.Contains(layer) != false ? SlidingWindow : null;
        return new(
            window,
            Positions != PositionKind.Rotary || UnrotatedLayers.Contains(layer) ? null
                : window is not null && WindowRotaryBase is { } own ? (own, null)
                : (RotaryBase, RotaryScaling));
    }

    /// <summary>Whether the model retrieves: it has chunked cross-attention and an encoder.</summary>
    public bool HasRetrieval => Retrieval is not null;

    /// <summary>Retrieval, for what is made of it alone.</summary>
    /// <exception cref="RetroOptionsException">The configuration has none.</exception>
    internal RetrievalConfig RequireRetrieval()
        => Retrieval ?? throw new RetroOptionsException(
            nameof(RetroConfig), [$"{nameof(Retrieval)} is not set; expected a {nameof(RetrievalConfig)}, of which this part of a model is made."]);

    /// <summary>Whether a layer of the decoder, from 1, has chunked cross-attention.</summary>
    internal bool CrossAttends(int layer) => Retrieval is { } retrieval && retrieval.CrossAttentionLayers.Contains(layer);

    /// <summary>Whether training drops values.</summary>
    internal bool HasDropout => Dropout > 0 || Retrieval?.Encoder.Dropout > 0;

    /// <summary>Heads of keys and values in decoder self-attention.</summary>
    internal int SelfAttentionKeyValueHeads => KeyValueHeads ?? Heads;

    /// <summary>Whether what decoder branches read is normalized.</summary>
    internal bool NormsBefore => NormPlacement != NormPlacement.After;

    /// <summary>Whether what decoder branches give is normalized.</summary>
    internal bool NormsAfter => NormPlacement != NormPlacement.Before;

    /// <summary>Features of a decoder head that self-attention rotates.</summary>
    internal int RotarySize => (int)(HeadSize * RotaryFraction);

    /// <summary>Positions of encoder and chunked cross-attention, with the default resolved.</summary>
    internal PositionKind EffectiveRetrievalPositions => Retrieval?.Positions
        ?? (Positions is PositionKind.Learned or PositionKind.None ? PositionKind.Rotary : Positions);

    /// <summary>Whether the encoder needs a projection from the shared embedding's width to its own.</summary>
    internal bool ProjectsSharedEmbedding => Retrieval is { Encoder: { ShareEmbedding: true } encoder } && encoder.Width != Width;

    /// <summary>Whether the feed-forward branch has a gate matrix.</summary>
    internal bool IsGated => Activation is ActivationKind.SwiGlu or ActivationKind.GeGlu or ActivationKind.GeGluTanh;
}

using Retro.Modeling;

namespace Retro.Pretrained;

/// <summary>What of the pretrained decoder a RETROfit trains besides what it adds.</summary>
public enum RetrofitUnfreeze
{
    /// <summary>Nothing (section 4.2 of the paper): without retrieval the model stays the original, bit for bit.</summary>
    Nothing,

    /// <summary>The decoder's norms.</summary>
    Norms,

    /// <summary>Everything. With much data this predicts better (arXiv 2310.07713), and changes the model without retrieval.</summary>
    All,
}

/// <summary>What <see cref="Retrofit.From"/> adds to a decoder, and what it freezes.</summary>
public sealed record RetrofitOptions
{
    // The width of the paper's encoder, for every size of the decoder.
    private const int PaperEncoderWidth = 896;
    private const int PaperEncoderHeads = 16;
    private const int PaperEncoderHeadSize = 64;
    private const int PaperFirstLayer = 6;

    /// <summary>
    /// Decoder layers that get chunked cross-attention, from 1, ascending. Null: every third from the sixth, as in the paper; in a decoder of fewer than six layers, every second layer of the upper half
    /// (layers 3 and 5 of five, 2 of three).
    /// </summary>
    public LayerList? CrossAttentionLayers { get; init; }

    /// <summary>M: tokens of a chunk. Default 64.</summary>
    public int ChunkLength { get; init; } = 64;

    /// <summary>R: tokens retrieved per neighbor. Default 128.</summary>
    public int RetrievedLength { get; init; } = 128;

    /// <summary>K: neighbors per chunk. Default 2.</summary>
    public int Neighbors { get; init; } = 2;

    /// <summary>E: width of the encoder. Null: the decoder's with its heads and feed-forward size, but at most the paper's 896 (16 heads of 64).</summary>
    public int? EncoderWidth { get; init; }

    /// <summary>Heads of the encoder. Null: see <see cref="EncoderWidth"/>; where that is given, as many heads of the decoder's size as fit.</summary>
    public int? EncoderHeads { get; init; }

    /// <summary>Size of an encoder head. Null: see <see cref="EncoderWidth"/>.</summary>
    public int? EncoderHeadSize { get; init; }

    /// <summary>Inner width of the encoder's feed-forward branch. Null: see <see cref="EncoderWidth"/>; where that is given, four times it.</summary>
    public int? EncoderFeedForwardSize { get; init; }

    /// <summary>Layers of the encoder. Default 2.</summary>
    public int EncoderLayers { get; init; } = 2;

    /// <summary>Encoder layers that attend to the decoder's states. Default [1].</summary>
    public LayerList EncoderCrossAttentionLayers { get; init; } = [1];

    /// <summary>Whether the encoder reads the decoder's embedding, which makes the additions much smaller where the vocabulary is large. Default false.</summary>
    public bool ShareEncoderEmbedding { get; init; }

    /// <summary>Whether keys of chunked cross-attention also see the retrieved token before; see <see cref="RetroConfig.ShiftedKeys"/>. Default false.</summary>
    public bool ShiftedKeys { get; init; }

    /// <summary>
    /// Rank of the low-rank gate: every projection of chunked cross-attention is the product of two narrow matrices, and the outer one of the output, zero at first, is the gate through which retrieval enters.
    /// Null: full matrices, the output's zero at first. Default null.
    /// </summary>
    public int? GateRank { get; init; }

    /// <summary>What of the decoder is trained too. Default nothing.</summary>
    public RetrofitUnfreeze Unfreeze { get; init; }

    /// <summary>The configuration of a decoder with these additions.</summary>
    /// <param name="decoder">The decoder's own, without retrieval.</param>
    /// <exception cref="RetroConfigException">Values are out of range; every fault is listed.</exception>
    public RetroConfig Apply(RetroConfig decoder)
    {
        ArgumentNullException.ThrowIfNull(decoder);
        if (decoder.HasRetrieval)
        {
            throw new RetroConfigException(["The decoder retrieves already; RETROfitting starts from one that does not."]);
        }

        bool narrow = EncoderWidth is null && decoder.Width <= PaperEncoderWidth, paper = EncoderWidth is null && !narrow;
        int width = EncoderWidth ?? (narrow ? decoder.Width : PaperEncoderWidth);
        int headSize = EncoderHeadSize ?? (paper ? PaperEncoderHeadSize : decoder.HeadSize);
        RetroConfig config = decoder with
        {
            CrossAttentionLayers = CrossAttentionLayers ?? DefaultLayers(decoder.Layers),
            ChunkLength = ChunkLength,
            RetrievedLength = RetrievedLength,
            Neighbors = Neighbors,
            EncoderWidth = width,
            EncoderLayers = EncoderLayers,
            EncoderHeads = EncoderHeads ?? (narrow ? decoder.Heads : paper ? PaperEncoderHeads : headSize > 0 ? Math.Max(1, width / headSize) : 1),
            EncoderHeadSize = headSize,
            EncoderFeedForwardSize = EncoderFeedForwardSize ?? (narrow ? decoder.FeedForwardSize : 4 * width),
            EncoderCrossAttentionLayers = EncoderCrossAttentionLayers,
            ShareEncoderEmbedding = ShareEncoderEmbedding,
            ShiftedKeys = ShiftedKeys,
            CrossAttentionRank = GateRank,
            ZeroCrossAttentionOutput = true,
        };
        List<string> faults = [];
        if (!Enum.IsDefined(Unfreeze))
        {
            faults.Add($"{nameof(Unfreeze)} {Unfreeze} is none of {string.Join(", ", Enum.GetNames<RetrofitUnfreeze>())}.");
        }

        if (CrossAttentionLayers is { Count: 0 })
        {
            faults.Add($"{nameof(CrossAttentionLayers)} is empty, so that nothing could be retrieved; name at least one layer, or leave it null.");
        }

        return faults.Count > 0 ? throw new RetroConfigException(faults) : config.Validate();
    }

    /// <summary>The layers that get cross-attention where none are named.</summary>
    /// <param name="layers">Layers of the decoder.</param>
    public static LayerList DefaultLayers(int layers)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layers);
        return layers >= PaperFirstLayer ? LayerList.Every(PaperFirstLayer, 3, layers) : LayerList.Every((layers / 2) + 1, 2, layers);
    }
}

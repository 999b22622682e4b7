namespace Retro.Modeling;

public sealed partial record RetroConfig
{
    /// <summary>The paper's RETRO of 172M parameters (arXiv 2112.04426, table 2): 12 layers of width 896, cross-attention in 6, 9, 12.</summary>
    public static RetroConfig Paper172M { get; } = Paper(width: 896, layers: 12, heads: 16, headSize: 64);

    /// <summary>The paper's RETRO of 425M parameters: 12 layers of width 1,536.</summary>
    public static RetroConfig Paper425M { get; } = Paper(width: 1536, layers: 12, heads: 12, headSize: 128);

    /// <summary>The paper's RETRO of 1.5B parameters: 24 layers of width 2,048, cross-attention in 6, 9, ..., 24.</summary>
    public static RetroConfig Paper1451M { get; } = Paper(width: 2048, layers: 24, heads: 16, headSize: 128);

    /// <summary>The paper's RETRO of 7.5B parameters: 32 layers of width 4,096, cross-attention in 6, 9, ..., 30.</summary>
    public static RetroConfig Paper7532M { get; } = Paper(width: 4096, layers: 32, heads: 32, headSize: 128);

    /// <summary>NVIDIA's RETRO of 148M parameters (arXiv 2304.06762): GPT of 126M with GPT-2's vocabulary, encoder as wide as the decoder.</summary>
    public static RetroConfig Nvidia148M { get; } = Nvidia(width: 768, layers: 12, heads: 12);

    /// <summary>NVIDIA's RETRO of 410M parameters: GPT of 357M.</summary>
    public static RetroConfig Nvidia410M { get; } = Nvidia(width: 1024, layers: 24, heads: 16);

    /// <summary>NVIDIA's RETRO of 1.5B parameters: GPT of 1.3B.</summary>
    public static RetroConfig Nvidia1500M { get; } = Nvidia(width: 2048, layers: 24, heads: 32);

    /// <summary>NVIDIA's RETRO of 9.5B parameters: GPT of 8.3B.</summary>
    public static RetroConfig Nvidia9500M { get; } = Nvidia(width: 4096, layers: 40, heads: 64);

    /// <summary>A model for tests and first steps: 3 layers of width 64, chunks of 16 tokens, vocabulary 512. About 0.3M parameters.</summary>
    public static RetroConfig Tiny { get; } = new RetroConfig
    {
        VocabularySize = 512,
        Width = 64,
        Layers = 3,
        Heads = 2,
        HeadSize = 32,
        FeedForwardSize = 256,
        TieEmbeddings = true,
        Retrieval = new()
        {
            ChunkLength = 16,
            RetrievedLength = 32,
            CrossAttentionLayers = [2, 3],
            Encoder = new() { Width = 64, Layers = 1, Heads = 2, HeadSize = 32, FeedForwardSize = 256 },
        },
    }.Validate();

    /// <summary>A model that trains on two cores in minutes: 4 layers of width 128, chunks of 64 tokens, vocabulary 2,048. About 1.7M parameters.</summary>
    public static RetroConfig Mini { get; } = new RetroConfig
    {
        VocabularySize = 2048,
        Width = 128,
        Layers = 4,
        Heads = 4,
        HeadSize = 32,
        FeedForwardSize = 512,
        TieEmbeddings = true,
        Retrieval = new()
        {
            CrossAttentionLayers = [2, 3, 4],
            Encoder = new() { Width = 128, Heads = 4, HeadSize = 32, FeedForwardSize = 512, ShareEmbedding = true },
        },
    }.Validate();

    /// <summary>A model for one small accelerator: 8 layers of width 512, vocabulary 8,192. About 39M parameters.</summary>
    public static RetroConfig Small { get; } = new RetroConfig
    {
        VocabularySize = 8192,
        Width = 512,
        Layers = 8,
        Heads = 8,
        HeadSize = 64,
        FeedForwardSize = 2048,
        TieEmbeddings = true,
        Retrieval = new()
        {
            CrossAttentionLayers = [3, 6],
            Encoder = new() { Width = 512, Heads = 8, HeadSize = 64, FeedForwardSize = 2048, ShareEmbedding = true },
        },
    }.Validate();

    /// <summary>Every preset by its name, such as "Paper172M".</summary>
    public static IReadOnlyDictionary<string, RetroConfig> Presets { get; } = new Dictionary<string, RetroConfig>(StringComparer.OrdinalIgnoreCase)
    {
        [nameof(Paper172M)] = Paper172M,
        [nameof(Paper425M)] = Paper425M,
        [nameof(Paper1451M)] = Paper1451M,
        [nameof(Paper7532M)] = Paper7532M,
        [nameof(Nvidia148M)] = Nvidia148M,
        [nameof(Nvidia410M)] = Nvidia410M,
        [nameof(Nvidia1500M)] = Nvidia1500M,
        [nameof(Nvidia9500M)] = Nvidia9500M,
        [nameof(Tiny)] = Tiny,
        [nameof(Mini)] = Mini,
        [nameof(Small)] = Small,
    };

    // Section 2.5 and tables 2 and 10 of the paper; the layer lists are those that the parameter counts of table 2 imply, and the vocabulary is MassiveText's.
    private static RetroConfig Paper(int width, int layers, int heads, int headSize) => new RetroConfig
    {
        VocabularySize = 128_000,
        Width = width,
        Layers = layers,
        Heads = heads,
        HeadSize = headSize,
        FeedForwardSize = 4 * width,
        Positions = PositionKind.TransformerXl,
        TieEmbeddings = true,
        Retrieval = new()
        {
            CrossAttentionLayers = LayerList.Every(6, 3, layers),
            Encoder = new() { Width = 896, Layers = 2, Heads = 16, HeadSize = 64, FeedForwardSize = 3584 },
        },
    }.Validate();

    private static RetroConfig Nvidia(int width, int layers, int heads) => new RetroConfig
    {
        VocabularySize = 50_257,
        Width = width,
        Layers = layers,
        Heads = heads,
        HeadSize = width / heads,
        FeedForwardSize = 4 * width,
        Positions = PositionKind.Learned,
        MaximumLength = 2048,
        Norm = NormKind.LayerNorm,
        NormEpsilon = 1e-5,
        QueryKeyValueBias = true,
        AttentionOutputBias = true,
        FeedForwardBias = true,
        TieEmbeddings = true,
        Retrieval = new()
        {
            CrossAttentionLayers = LayerList.Every(layers <= 15 ? 6 : 9, 3, layers),
            Positions = PositionKind.Learned,
            Encoder = new() { Width = width, Layers = 2, Heads = heads, HeadSize = width / heads, FeedForwardSize = 4 * width, ShareEmbedding = true },
        },
    }.Validate();
}

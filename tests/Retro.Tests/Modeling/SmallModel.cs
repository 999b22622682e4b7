using Retro.Modeling;

namespace Retro.Tests.Modeling;

/// <summary>The smallest model with every part of a RETRO, for tests that train one.</summary>
internal static class SmallModel
{
    /// <summary>Its encoder, which other models of its width have, too.</summary>
    public static EncoderConfig Encoder { get; } = new() { Width = 16, Layers = 1, Heads = 2, HeadSize = 8, FeedForwardSize = 32 };

    public static RetroConfig Config { get; } = new()
    {
        VocabularySize = 31,
        Width = 16,
        Layers = 2,
        Heads = 2,
        HeadSize = 8,
        FeedForwardSize = 32,
        Retrieval = new()
        {
            ChunkLength = 4,
            RetrievedLength = 8,
            Neighbors = 1,
            CrossAttentionLayers = [2],
            Encoder = Encoder,
        },
    };

    /// <summary>One whose layers are large enough that the gradients of each are exchanged by themselves.</summary>
    public static RetroConfig Wide { get; } = Config with
    {
        Width = 32,
        HeadSize = 16,
        Layers = 4,
        FeedForwardSize = 4096,
        Retrieval = Config.Retrieval! with { CrossAttentionLayers = [2, 4] },
    };
}

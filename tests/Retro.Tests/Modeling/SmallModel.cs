using Retro.Modeling;

namespace Retro.Tests.Modeling;

/// <summary>The smallest model with every part of a RETRO, for tests that train one.</summary>
internal static class SmallModel
{
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
            Encoder = new() { Width = 16, Layers = 1, Heads = 2, HeadSize = 8, FeedForwardSize = 32 },
        },
    };
}

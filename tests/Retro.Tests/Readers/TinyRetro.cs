using Retro.Modeling;
using Retro.Tests.Database;

namespace Retro.Tests.Readers;

/// <summary>A RETRO so small that it is compared with a computation token by token, over the ids of <see cref="TestDatabases.Bytes"/>.</summary>
internal static class TinyRetro
{
    public const int M = 4;

    public static RetroConfig Config { get; } = new()
    {
        VocabularySize = TestDatabases.Bytes.VocabularySize,
        Width = 8,
        Layers = 2,
        Heads = 2,
        HeadSize = 4,
        FeedForwardSize = 16,
        InitialOutputScale = 1,
        Retrieval = new()
        {
            ChunkLength = M,
            RetrievedLength = 2 * M,
            Neighbors = 2,
            CrossAttentionLayers = [1, 2],
            Encoder = new() { Width = 8, Layers = 1, Heads = 2, HeadSize = 4, FeedForwardSize = 16 },
        },
    };
}

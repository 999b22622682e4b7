using Retro.Modeling;
using Retro.Search;

namespace Retro.Readers;

/// <summary>A reader that writes passages in front of the text, in one prompt or several whose distributions it mixes.</summary>
internal interface IPromptReader : IReader
{
    /// <summary>The decoder.</summary>
    RetroModel Model { get; }

    /// <summary>How prompts are put together.</summary>
    PassagePrompt Prompt { get; }

    /// <summary>Neighbors of a chunk that are read in front of the text, the first ones.</summary>
    int InContext => Neighbors;

    /// <summary>Neighbors of a chunk that the model's cross-attention reads, those behind <see cref="InContext"/>; 0: its retrieval is off.</summary>
    int CrossAttended => 0;

    /// <summary>What stands in front of the text that follows a chunk.</summary>
    /// <param name="retrieved">What was retrieved.</param>
    /// <param name="row">Row.</param>
    /// <param name="chunk">The chunk that the text follows.</param>
    /// <returns>The prompts, each with the logarithm of its weight; none where there is no passage: the text stands alone.</returns>
    IReadOnlyList<(long[] Prefix, double LogWeight)> Prefixes(RetrievedTokens retrieved, int row, int chunk);
}

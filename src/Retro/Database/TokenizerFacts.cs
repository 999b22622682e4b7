using Retro.Tokenizers;

namespace Retro.Database;

/// <summary>What the builder needs of a tokenizer.</summary>
/// <param name="Kind">Its kind.</param>
/// <param name="Hash">SHA-256 of its files.</param>
/// <param name="VocabularySize">How many ids it has.</param>
/// <param name="EndOfText">The id that ends documents and pads chunks.</param>
/// <param name="Encode">From text to ids; called by several threads at once.</param>
/// <param name="BeginOfText">The id that begins documents; null: <paramref name="EndOfText"/>.</param>
internal sealed record TokenizerFacts(string Kind, string Hash, int VocabularySize, int EndOfText, Func<string, int[]> Encode, int? BeginOfText = null)
{
    public static TokenizerFacts Of(RetroTokenizer tokenizer)
        => new(tokenizer.Kind, tokenizer.Hash, tokenizer.VocabularySize, tokenizer.EndOfText, tokenizer.Encode, tokenizer.BeginOfText);
}

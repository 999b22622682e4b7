using Retro.Tokenizers;

namespace Retro.Database;

/// <summary>What the builder needs of a tokenizer.</summary>
/// <param name="Kind">Its kind.</param>
/// <param name="Hash">SHA-256 of its files.</param>
/// <param name="VocabularySize">How many ids it has.</param>
/// <param name="EndOfText">The id that ends documents and pads chunks.</param>
/// <param name="Encode">From text to ids; called by several threads at once.</param>
/// <param name="BeginOfText">The id that begins documents; null: <paramref name="EndOfText"/>.</param>
/// <param name="EarlierHash">The hash that databases of before know it by; null: <paramref name="Hash"/>.</param>
internal sealed record TokenizerFacts(
    string Kind, string Hash, int VocabularySize, int EndOfText, Func<string, int[]> Encode, int? BeginOfText = null, string? EarlierHash = null)
{
    public static TokenizerFacts Of(RetroTokenizer tokenizer)
        => new(
            tokenizer.Kind, tokenizer.Hash, tokenizer.VocabularySize, tokenizer.EndOfText, tokenizer.Encode, tokenizer.BeginOfText, tokenizer.FilesHash);

    /// <summary>The same under the hash that a database knows it by, where it is one of its own.</summary>
    public TokenizerFacts KnownAs(string hash) => hash == EarlierHash ? this with { Hash = hash } : this;
}

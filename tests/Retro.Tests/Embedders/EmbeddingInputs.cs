using Retro.Embedders;
using Retro.Tokenizers;

namespace Retro.Tests.Embedders;

/// <summary>Small inputs that the tests of this room share.</summary>
internal static class EmbeddingInputs
{
    private static readonly Lazy<RetroTokenizer> s_tokenizer = new(
        () => TrainTokenizer(["The lighthouse stands on the northern cape, the lighthouse on the rock. ", "Green tea is brewed below boiling heat; black tea is not."], 300));

    /// <summary>A byte-level BPE with few merges.</summary>
    public static RetroTokenizer Tokenizer => s_tokenizer.Value;

    /// <summary>Sizes at which a test takes milliseconds.</summary>
    public static TextEncoderConfig Tiny { get; } = new(
        Tokenizer.VocabularySize, Width: 32, Layers: 2, Heads: 4, FeedForwardSize: 64, MaximumPositions: 40, TokenTypes: 1, MaximumLength: 40, Normalize: true);

    /// <summary>Texts of many lengths: none, one letter, several that are equally long, scripts of all kinds, and one that has to be cut.</summary>
    public static string[] Texts { get; } =
    [
        "", "a", "b", "The lighthouse stands on the cape.", "The lighthouse stands on the rock.", " ", "日本語のテキスト", "naïve café 👩‍👧", "\ud800",
        string.Join(' ', Enumerable.Range(0, 200)), "<|endoftext|>", "Green tea is brewed below boiling heat.",
    ];

    /// <summary>Trains a byte-level BPE.</summary>
    public static RetroTokenizer TrainTokenizer(IEnumerable<string> texts, int vocabularySize)
    {
        string folder = Directory.CreateTempSubdirectory("retro-tests").FullName;
        try
        {
            BpeTrainer.Train(texts, vocabularySize, folder);
            return RetroTokenizer.Load(folder);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}

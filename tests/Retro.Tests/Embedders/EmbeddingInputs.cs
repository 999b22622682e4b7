using Retro.Embedders;
using Retro.Tokenizers;

namespace Retro.Tests.Embedders;

/// <summary>Small inputs that the tests of this room share.</summary>
internal static class EmbeddingInputs
{
    private static readonly Lazy<RetroTokenizer> s_tokenizer = new(
        () =>
            TrainTokenizer(
                ["The lighthouse stands on the northern cape, the lighthouse on the rock. ", "Green tea is brewed below boiling heat; black tea is not."],
                300));

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

    /// <summary>Checks that vectors are the same but for the rounding of work that was batched otherwise: within 1e-5 of a vector's length.</summary>
    public static void AssertNear(float[][] expected, float[][] came)
    {
        Assert.Equal(expected.Length, came.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.Equal(expected[i].Length, came[i].Length);
            double difference = Math.Sqrt(expected[i].Zip(came[i])
                .Sum(pair => Math.Pow((double)pair.First - pair.Second, 2))), length = Math.Sqrt(expected[i].Sum(value => (double)value * value));
            Assert.True(difference <= 1e-5 * length, $"Vector {i} is {difference:E2} away from the expected one, whose length is {length:E2}.");
        }
    }

    /// <summary>Trains a byte-level BPE.</summary>
    public static RetroTokenizer TrainTokenizer(IEnumerable<string> texts, int vocabularySize)
    {
        using TemporaryFolder folder = new();
        BpeTrainer.Train(texts, vocabularySize, folder.Path);
        return RetroTokenizer.Load(folder.Path);
    }
}

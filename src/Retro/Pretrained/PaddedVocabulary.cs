using Retro.Tokenizers;

namespace Retro.Pretrained;

/// <summary>Whether an embedding's rows can be those of a tokenizer: many models pad theirs to a multiple of what the hardware likes.</summary>
internal static class PaddedVocabulary
{
    // The largest seen in the field are 418 rows of 152,064 (Qwen2) and 411 of 50,688 (Pythia).
    private const int SmallPadding = 128;
    private const int MostPaddingShare = 16;

    // Rows for tokens that were added in training, or that the original never used: 2 of 32,002 in fine-tuned Llamas, 35 of 250,037 in multilingual BERTs.
    private const int AddedShare = 1000;
    private const int MostAdded = 16;

    /// <summary>
    /// Refuses a tokenizer whose ids are not the rows of an embedding, but for padding to a multiple of 8 that is small or a small share, and any of a
    /// thousandth.
    /// </summary>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="rows">Rows of the embedding.</param>
    /// <param name="whose">Whose embedding it is.</param>
    /// <exception cref="CheckpointException">The tokenizer has ids beyond the embedding, or the embedding far more rows than padding explains.</exception>
    public static void Require(RetroTokenizer tokenizer, int rows, string whose)
    {
        int padding = rows - tokenizer.VocabularySize;
        bool isPadded = rows % 8 == 0 && padding < Math.Max(SmallPadding, rows / MostPaddingShare);
        if (padding != 0 && !(padding > 0 && (isPadded || padding <= rows / AddedShare)))
        {
            throw new CheckpointException(
                $"The tokenizer has {tokenizer.VocabularySize} ids, but the embedding of {whose} has {rows} rows; {Remedy(tokenizer, rows)}.");
        }
    }

    // A few special tokens that fine-tuning has added, such as one for padding, and that have no rows: the tokenizer is the model's all the same.
    private static string Remedy(RetroTokenizer tokenizer, int rows)
    {
        const string Usual = "use the tokenizer that came with the model";
        int[] beyond = [.. Enumerable.Range(rows, Math.Clamp(tokenizer.VocabularySize - rows, 0, MostAdded + 1))];
        return beyond.Length is 0 or > MostAdded || !beyond.All(tokenizer.IsSpecial) ? Usual
            : $"without a row are {string.Join(", ", beyond.Select(id => $"\"{tokenizer.NameOf(id)}\" ({id})"))}. Where they came with the model, take them "
                + "out of the tokenizer's files (\"added_tokens\" of tokenizer.json), or give them rows in Python: "
                + $"model.resize_token_embeddings({tokenizer.VocabularySize}); else {Usual}";
    }
}

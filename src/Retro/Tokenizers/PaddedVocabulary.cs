namespace Retro.Tokenizers;

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
    /// thousandth; and for special tokens without a row (<see cref="HasRows"/>).
    /// </summary>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="rows">Rows of the embedding.</param>
    /// <param name="whose">Whose embedding it is.</param>
    /// <exception cref="CheckpointException">The tokenizer has ids beyond the embedding, or the embedding far more rows than padding explains.</exception>
    public static void Require(RetroTokenizer tokenizer, int rows, string whose)
    {
        int padding = rows - tokenizer.VocabularySize;
        bool isPadded = rows % 8 == 0 && padding < Math.Max(SmallPadding, rows / MostPaddingShare);
        if (!HasRows(tokenizer, rows) || (padding > 0 && !isPadded && padding > rows / AddedShare))
        {
            throw new CheckpointException(
                $"The tokenizer has {tokenizer.VocabularySize} ids, but the embedding of {whose} has {rows} rows; {Remedy(tokenizer, rows)}.");
        }
    }

    /// <summary>
    /// Whether every id has a row that texts become: a few special tokens may have none that do not stand around each text. Llama 2 was published with one for
    /// padding (github.com/meta-llama/llama/issues/446), and whoever never pads by it never meets it.
    /// </summary>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="rows">Rows of the embedding.</param>
    public static bool HasRows(RetroTokenizer tokenizer, int rows)
    {
        int beyond = tokenizer.VocabularySize - rows;
        (int[] before, int[] after) = tokenizer.Template;
        return beyond <= 0
            || (beyond <= MostAdded
                && Enumerable.Range(rows, beyond).All(tokenizer.IsSpecial)
                && before.Concat(after).Append(tokenizer.BeginOfText).Append(tokenizer.EndOfText).All(id => id < rows));
    }

    /// <summary>Refuses a text with a token that has no row.</summary>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="ids">What the text became.</param>
    /// <param name="rows">Rows of the embedding.</param>
    /// <exception cref="RetroException">It has one, which is named.</exception>
    public static void RequireRows(RetroTokenizer tokenizer, ReadOnlySpan<int> ids, int rows)
    {
        if (ids.IndexOfAnyExceptInRange(0, rows - 1) is var at and >= 0)
        {
            throw new RetroException(
                $"A text has the special token \"{tokenizer.NameOf(ids[at])}\" ({ids[at]}), for which the model has no row, as it was never trained on it; "
                    + "write it otherwise, or leave it out.");
        }
    }

    // Where a special token stands around each text, or something else than special tokens has no row, they are the tokenizer's fault or it is another's.
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

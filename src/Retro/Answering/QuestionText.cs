using Retro.Tokenizers;

namespace Retro.Answering;

/// <summary>A question in tokens, the same in training and evaluation.</summary>
internal static class QuestionText
{
    /// <summary>
    /// The prompt, filled up at its front with begin-of-text tokens to whole stretches, so that what is read from a stretch's last token on is there for the
    /// answer's first (RETRO's protocol, arXiv 2112.04426, section 4.3: the answer begins the second chunk). A text begins with one such token, and what
    /// learned from text alone reads a run of them badly: stretches are no longer than the reader needs them, of one token where it reads nothing anew, and
    /// what writes passages in front of a text leaves all of the text's but one out (<see cref="Readers.PassagePrompt.TextStart"/>).
    /// </summary>
    public static int[] Prompt(RetroTokenizer tokenizer, string prompt, int stretch)
    {
        int[] tokens = tokenizer.Encode(prompt);
        int begins = stretch - (tokens.Length % stretch);
        return [.. Enumerable.Repeat(tokenizer.BeginOfText, begins), .. tokens];
    }

    /// <summary>An answer behind a prompt, with the token that ends it.</summary>
    public static int[] Answer(RetroTokenizer tokenizer, string prompt, string answer)
    {
        int[] before = tokenizer.Encode(prompt), whole = tokenizer.Encode($"{prompt} {answer}");

        // Most tokenizers cut before a space; where one does not, the answer is cut by itself.
        int[] tokens = whole.AsSpan().StartsWith(before) ? whole[before.Length..] : tokenizer.Encode($" {answer}");
        return [.. tokens, tokenizer.EndOfText];
    }
}

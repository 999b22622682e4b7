using Retro.Tokenizers;

namespace Retro.Embedders;

/// <summary>
/// How a text becomes the ids that an encoder reads: what stands before and after it ([CLS] and [SEP], &lt;s&gt; and &lt;/s&gt;, or &lt;|endoftext|&gt; on both
/// sides), and which tokens count as themselves where the text spells them out.
/// </summary>
/// <remarks>
/// BERT's originals recognize special tokens in a text and strip it, and so does this for a WordPiece vocabulary, and for any other whose template frames a
/// text; in a byte-level one without such a template, as Retro trains, special tokens written in a text are plain characters and white space around it counts.
/// It is sentence-transformers up to version 5.3 that strips, by which most models were trained. Later versions leave white space around a text, whoever saved
/// the folder, which vocabularies such as RoBERTa's see.
/// </remarks>
internal sealed class TextFrame
{
    private readonly RetroTokenizer _tokenizer;

    /// <summary>Takes the frame that belongs to a tokenizer.</summary>
    /// <exception cref="CheckpointException">The tokenizer is WordPiece, and its template puts neither one token on each side of a text nor none.</exception>
    public TextFrame(RetroTokenizer tokenizer)
    {
        _tokenizer = tokenizer;
        (int[] before, int[] after) = tokenizer.Template;
        bool isWordPiece = tokenizer.Kind == WordPiece.KindName;
        IsOriginals = isWordPiece || (before.Length, after.Length) == (1, 1);
        (Begin, End) = (before.Length, after.Length) switch
        {
            (1, 1) => (before[0], after[0]),
            (0, 0) => (tokenizer.BeginOfText, tokenizer.EndOfText),
            _ when !isWordPiece => (tokenizer.BeginOfText, tokenizer.EndOfText),
            _ => throw new CheckpointException(
                $"The tokenizer puts {before.Length} tokens before and {after.Length} after a text; supported is one on each side ([CLS] and [SEP])."),
        };
    }

    /// <summary>
    /// Refuses the tokenizer of others that does not put one token on each side of a text. Their encoders were fed what the template says, or no frame at all;
    /// what <see cref="Begin"/> and <see cref="End"/> are without one is the frame of encoders that are trained here.
    /// </summary>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="folder">Names it in the error.</param>
    /// <exception cref="CheckpointException">It does not.</exception>
    public static void RequireTemplate(RetroTokenizer tokenizer, string folder)
    {
        (int[] before, int[] after) = tokenizer.Template;
        if ((before.Length, after.Length) != (1, 1))
        {
            throw new CheckpointException(
                $"The tokenizer of {folder} puts {before.Length} tokens before and {after.Length} after a text; supported in an embedder of others is one on "
                    + "each side ([CLS] and [SEP], <s> and </s>). Take the model's tokenizer.json, whose \"post_processor\" says them.");
        }
    }

    /// <summary>Whether a text is read as sentence-transformers up to version 5.3 reads it: without white space around it, special tokens as such.</summary>
    public bool IsOriginals { get; }

    /// <summary>The id before a text.</summary>
    public int Begin { get; }

    /// <summary>The id after a text.</summary>
    public int End { get; }

    /// <summary>The ids of a text without its frame.</summary>
    public int[] Encode(string text)
        => IsOriginals ? [.. _tokenizer.Tokenizer.EncodeToIds(RetroTokenizer.WellFormed(Stripped(text)))] : _tokenizer.Encode(text);

    /// <summary>A text without what Python's <c>str.strip</c> takes off: white space, and the four separators of ASCII.</summary>
    private static string Stripped(string text)
    {
        int first = 0, end = text.Length;
        while (first < end && IsSpace(text[first]))
        {
            first++;
        }

        while (end > first && IsSpace(text[end - 1]))
        {
            end--;
        }

        return text[first..end];

        static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\u001c' and <= '\u001f';
    }
}

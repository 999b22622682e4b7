using Retro.Tokenizers;

namespace Retro.Embedders;

/// <summary>
/// How a text becomes the ids that an encoder reads: what stands before and after it ([CLS] and [SEP], &lt;s&gt; and &lt;/s&gt;, or &lt;|endoftext|&gt; on both
/// sides), and which tokens count as themselves where the text spells them out.
/// </summary>
/// <remarks>
/// BERT's originals recognize special tokens in a text, and so does this for a WordPiece vocabulary, and for one of SentencePiece's kind whose template frames
/// a text; in a byte-level one, special tokens written in a text are plain characters.
/// </remarks>
internal sealed class TextFrame
{
    private readonly RetroTokenizer _tokenizer;
    private readonly bool _recognizesSpecial;

    /// <summary>Takes the frame that belongs to a tokenizer.</summary>
    /// <exception cref="CheckpointException">The tokenizer frames a text with anything but one token on each side.</exception>
    public TextFrame(RetroTokenizer tokenizer)
    {
        _tokenizer = tokenizer;
        (Begin, End) = (tokenizer.BeginOfText, tokenizer.EndOfText);
        _recognizesSpecial = tokenizer.Kind == WordPiece.KindName;
        if (_recognizesSpecial)
        {
            (int[] before, int[] after) = tokenizer.Template;
            (Begin, End) = (before.Length, after.Length) switch
            {
                (1, 1) => (before[0], after[0]),
                (0, 0) => (Begin, End),
                _ => throw new CheckpointException(
                    $"The tokenizer puts {before.Length} tokens before and {after.Length} after a text; supported is one on each side ([CLS] and [SEP])."),
            };
        }
        else
        {
            _recognizesSpecial = tokenizer.Kind != ByteLevelBpe.KindName && tokenizer.Template is ({ Length: 1 }, { Length: 1 });
        }
    }

    /// <summary>The id before a text.</summary>
    public int Begin { get; }

    /// <summary>The id after a text.</summary>
    public int End { get; }

    /// <summary>The ids of a text without its frame.</summary>
    public int[] Encode(string text) => _recognizesSpecial ? [.. _tokenizer.Tokenizer.EncodeToIds(RetroTokenizer.WellFormed(text))] : _tokenizer.Encode(text);
}

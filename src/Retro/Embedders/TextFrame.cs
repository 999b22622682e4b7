using Microsoft.ML.Tokenizers;
using Retro.Tokenizers;

namespace Retro.Embedders;

/// <summary>How a text becomes the ids that an encoder reads: what stands before and after it ([CLS] and [SEP], or &lt;|endoftext|&gt; on both sides), and which tokens count as themselves where the text spells them out.</summary>
/// <remarks>
/// BERT's originals recognize special tokens in a text, and so does this for a WordPiece vocabulary; in a byte-level one, special tokens written in a text are plain characters.
/// </remarks>
internal sealed class TextFrame
{
    private readonly RetroTokenizer _tokenizer;
    private readonly PretrainedTokenizer? _pretrained;
    private readonly IReadOnlyDictionary<string, int> _special = new Dictionary<string, int>();

    /// <summary>Takes the frame that belongs to a tokenizer.</summary>
    /// <exception cref="RetroException">The tokenizer frames a text with anything but one token on each side.</exception>
    public TextFrame(RetroTokenizer tokenizer)
    {
        _tokenizer = tokenizer;
        (Begin, End) = (tokenizer.BeginOfText, tokenizer.EndOfText);
        if (tokenizer.Kind == WordPiece.KindName && tokenizer.Tokenizer is PretrainedTokenizer pretrained)
        {
            _pretrained = pretrained;
            (int[] before, int[] after) = (pretrained.Pipeline.Before, pretrained.Pipeline.After);
            (Begin, End) = (before.Length, after.Length) switch
            {
                (1, 1) => (before[0], after[0]),
                (0, 0) => (Begin, End),
                _ => throw new RetroException($"The tokenizer puts {before.Length} tokens before and {after.Length} after a text; supported is one on each side ([CLS] and [SEP])."),
            };
        }
        else if (tokenizer.Tokenizer is WordPieceTokenizer { SpecialTokens: { } special })
        {
            _special = special;
        }
    }

    /// <summary>The id before a text.</summary>
    public int Begin { get; }

    /// <summary>The id after a text.</summary>
    public int End { get; }

    /// <summary>The ids of a text without its frame.</summary>
    public int[] Encode(string text)
    {
        if (_pretrained is not null)
        {
            return [.. _pretrained.EncodeToIds(RetroTokenizer.WellFormed(text))];
        }

        List<int> ids = [];
        int begin = 0;
        do
        {
            int at = text.Length;
            string? found = null;
            foreach (string token in _special.Keys)
            {
                int index = text.IndexOf(token, begin, StringComparison.Ordinal);
                if (index >= 0 && index < at)
                {
                    (at, found) = (index, token);
                }
            }

            ids.AddRange(_tokenizer.Encode(text[begin..at]));
            begin = at;
            if (found is not null)
            {
                ids.Add(_special[found]);
                begin += found.Length;
            }
        }
        while (begin < text.Length);

        return [.. ids];
    }
}

using Retro.Text;

namespace Retro.Embedding;

/// <summary>The tokens that stand before and after a text: [CLS] and [SEP], or &lt;|endoftext|&gt; on both sides.</summary>
internal readonly record struct TextFrame(int Begin, int End)
{
    /// <summary>The frame that belongs to a tokenizer.</summary>
    public static TextFrame Of(RetroTokenizer tokenizer)
        => new(tokenizer.BeginOfText, tokenizer.EndOfText);
}

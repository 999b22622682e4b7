using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>How a pretrained tokenizer gets from text to tokens and back.</summary>
internal abstract class TextPipeline
{
    /// <summary>Ids that the model expects before a text.</summary>
    public int[] Before { get; protected init; } = [];

    /// <summary>Ids that the model expects after a text.</summary>
    public int[] After { get; protected init; } = [];

    /// <summary>How many spaces a text's beginning loses where tokens become text: those that encoding put there, or would have taken away.</summary>
    public int LeadingSpaces { get; protected init; }

    /// <summary>
    /// Whether encoding puts a space before a text, where the model's configuration could say otherwise (<c>add_prefix_space</c>); null where that has no say.
    /// </summary>
    public bool? AddsSpace { get; init; }

    /// <summary>Whether a mark stands for spaces: <see cref="AddsSpace"/> counts for the classes of transformers that make such a tokenizer anew.</summary>
    public bool MarksSpaces { get; init; }

    /// <summary>The id that the file itself says ends a text, -1 where it says none.</summary>
    public int EndId { get; init; } = -1;

    /// <summary>Tokens that are special, or recognized otherwise, by other files than the tokenizer's own alone.</summary>
    public IReadOnlyList<string> Altered { get; init; } = [];

    public abstract int VocabularySize { get; }

    /// <summary>What <see cref="RetroTokenizer.Kind"/> calls it.</summary>
    public abstract string Kind { get; }

    /// <summary>The id of a token's text, -1 where there is none.</summary>
    public abstract int IdOf(string token);

    /// <summary>The id of a token that is found in a text before that is cut, -1 where it is none.</summary>
    public abstract int Recognized(string token);

    /// <summary>The bytes that a token adds to a text; none for a special token and for an id that no token has.</summary>
    public abstract byte[] BytesOf(int id);

    /// <summary>Whether text may give an id in which no special token is recognized.</summary>
    public abstract bool Gives(int id);

    /// <summary>What special tokens look like in a text.</summary>
    public abstract IEnumerable<string> SpecialTexts { get; }

    /// <summary>What no file calls special and stands for no piece of a text either: tokens that are found in a text where it spells them out.</summary>
    public virtual IEnumerable<string> SpelledTexts => [];

    /// <summary>The tokens of a text; positions are those of the normalized text.</summary>
    public List<EncodedToken> Encode(string text, bool recognizeSpecial, out string normalized)
    {
        TokenOutput output = new(idsAlone: false);
        Encode(text, recognizeSpecial, null, output);
        normalized = output.Normalized;
        return output.Tokens;
    }

    /// <summary>The ids of a text.</summary>
    public int[] EncodeToIds(string text, bool recognizeSpecial)
    {
        TokenOutput output = new(idsAlone: true);
        Encode(text, recognizeSpecial, null, output);
        return output.ToIds();
    }

    /// <summary>The ids of a text in which special tokens are recognized but for those that a mark stands in, which is no part of the text.</summary>
    public int[] EncodeMarked(string text, char mark)
    {
        TokenOutput output = new(idsAlone: true);
        Encode(text, true, mark, output);
        return output.ToIds();
    }

    public abstract string Decode(IEnumerable<int> ids, bool skipSpecial);

    /// <summary>Encodes a text.</summary>
    /// <param name="text">The text.</param>
    /// <param name="recognizeSpecial">Whether special tokens are recognized in it.</param>
    /// <param name="mark">What special tokens do not count that it stands in, and is no part of the text; null: nothing.</param>
    /// <param name="output">Takes the tokens.</param>
    protected abstract void Encode(string text, bool recognizeSpecial, char? mark, TokenOutput output);
}

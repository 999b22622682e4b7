using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>From a piece of text to tokens.</summary>
internal interface IPieceModel
{
    /// <summary>One more than the highest id.</summary>
    int Size { get; }

    /// <summary>How many pieces the vocabulary has.</summary>
    int Count { get; }

    /// <summary>What <see cref="RetroTokenizer.Kind"/> calls it.</summary>
    string Kind { get; }

    /// <summary>The id of what the vocabulary does not have, where a text can hold such; else -1.</summary>
    int Unknown { get; }

    /// <summary>Appends the tokens of a piece that begins at a position of the normalized text.</summary>
    void Encode(ReadOnlySpan<char> piece, int position, List<EncodedToken> tokens);

    /// <summary>
    /// The first place at or behind another at which a piece may be cut, so that its parts give the tokens that it gives; its end where there is none before.
    /// </summary>
    int NextCut(ReadOnlySpan<char> piece, int from) => piece.Length;

    /// <summary>The vocabulary's text of an id, null where it has none.</summary>
    string? TextOf(int id);

    /// <summary>The bytes that an id of the vocabulary adds to a text.</summary>
    byte[] BytesOf(int id);

    /// <summary>The bytes that an added token adds to a text.</summary>
    byte[] BytesOfAdded(string content);

    /// <summary>Whether pieces of text may give an id of the vocabulary.</summary>
    bool Gives(int id);

    /// <summary>The id of a vocabulary entry, -1 where there is none.</summary>
    int IdOf(string text);
}

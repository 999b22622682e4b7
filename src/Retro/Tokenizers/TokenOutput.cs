using System.Text;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>What a text becomes: its tokens with their places in the normalized text, or its ids alone, which take a sixth of the memory.</summary>
internal sealed class TokenOutput(bool idsAlone)
{
    private readonly List<int> _ids = [];
    private readonly StringBuilder _normalized = new();

    /// <summary>Where tokens are appended; where ids alone are kept, what <see cref="Settle"/> has not taken yet.</summary>
    public List<EncodedToken> Tokens { get; } = [];

    /// <summary>Characters of the normalized text so far.</summary>
    public int Length { get; private set; }

    /// <summary>The normalized text; empty where ids alone are kept.</summary>
    public string Normalized => _normalized.ToString();

    /// <summary>The ids, where they alone are kept.</summary>
    public int[] ToIds()
    {
        Settle();
        return [.. _ids];
    }

    /// <summary>Appends to the normalized text.</summary>
    public void Append(string normalized)
    {
        Length += normalized.Length;
        if (!idsAlone)
        {
            _normalized.Append(normalized);
        }
    }

    /// <summary>Takes the tokens that were appended, so that no more of them are held than a part of the text has.</summary>
    public void Settle()
    {
        if (!idsAlone)
        {
            return;
        }

        foreach (EncodedToken token in Tokens)
        {
            _ids.Add(token.Id);
        }

        Tokens.Clear();
    }
}

using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>
/// The tokens of pieces that came before: most of a text is words that did. They are kept until there are so many. Safe for use from many threads.
/// </summary>
/// <param name="textOf">The vocabulary's text of an id.</param>
/// <param name="encode">Appends the tokens of a piece that begins at a position.</param>
internal sealed class KeptPieces(Func<int, string> textOf, KeptPieces.PieceEncoder encode)
{
    private const int MostKept = 10_000;
    private const int LongestKept = 32;

    private readonly ConcurrentDictionary<string, (int Id, int Begin, int End)[]>.AlternateLookup<ReadOnlySpan<char>> _kept
        = new ConcurrentDictionary<string, (int Id, int Begin, int End)[]>(StringComparer.Ordinal).GetAlternateLookup<ReadOnlySpan<char>>();
    private int _count;

    /// <summary>Appends the tokens of a piece that begins at a position of the normalized text.</summary>
    public delegate void PieceEncoder(ReadOnlySpan<char> piece, int position, List<EncodedToken> tokens);

    /// <inheritdoc cref="PieceEncoder"/>
    public void Encode(ReadOnlySpan<char> piece, int position, List<EncodedToken> tokens)
    {
        bool isShort = piece.Length <= LongestKept;
        if (isShort && _kept.TryGetValue(piece, out (int Id, int Begin, int End)[]? kept))
        {
            foreach ((int id, int begin, int end) in kept)
            {
                tokens.Add(new EncodedToken(id, textOf(id), (position + begin)..(position + end)));
            }

            return;
        }

        int before = tokens.Count;
        encode(piece, position, tokens);
        if (isShort && _count < MostKept)
        {
            Keep(piece, position, CollectionsMarshal.AsSpan(tokens)[before..]);
        }
    }

    private void Keep(ReadOnlySpan<char> piece, int position, ReadOnlySpan<EncodedToken> tokens)
    {
        (int Id, int Begin, int End)[] kept = new (int Id, int Begin, int End)[tokens.Length];
        for (int i = 0; i < kept.Length; i++)
        {
            kept[i] = (tokens[i].Id, tokens[i].Offset.Start.Value - position, tokens[i].Offset.End.Value - position);
        }

        if (_kept.TryAdd(piece, kept))
        {
            Interlocked.Increment(ref _count);
        }
    }
}

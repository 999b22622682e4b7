using System.Collections.Concurrent;

namespace Microsoft.ML.Tokenizers;

/// <summary>
/// What short pieces of text were encoded to: text repeats its words, and merging one costs far more than looking it up.
/// An entry is (id, length) pairs, flattened. Safe for many threads; full, it takes no more.
/// </summary>
internal sealed class PieceCache
{
    private const int LongestPiece = 48;
    private const int MostPieces = 1 << 17;
    private readonly ConcurrentDictionary<string, int[]> _pieces = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, int[]>.AlternateLookup<ReadOnlySpan<char>> _lookup;
    private int _count;

    public PieceCache() => _lookup = _pieces.GetAlternateLookup<ReadOnlySpan<char>>();

    public bool TryGet(ReadOnlySpan<char> piece, out int[] tokens)
    {
        tokens = [];
        return piece.Length <= LongestPiece && _lookup.TryGetValue(piece, out tokens!);
    }

    public void Add(ReadOnlySpan<char> piece, int[] tokens)
    {
        if (piece.Length <= LongestPiece && Volatile.Read(ref _count) < MostPieces && _pieces.TryAdd(piece.ToString(), tokens))
        {
            Interlocked.Increment(ref _count);
        }
    }
}

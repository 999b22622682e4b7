using System.Buffers;
using Retro.Text;

namespace Microsoft.ML.Tokenizers;

/// <summary>Byte-level BPE of one piece of text, as CodeGenTokenizer and the byte-level BpeTokenizer share it.</summary>
internal sealed class ByteBpe
{
    // Symbols that are no vocabulary entries: bytes the vocabulary lacks, and merge results it lacks.
    private const int Foreign = 1 << 30;
    private readonly PairMerges _merges;
    private readonly int[] _symbolOfByte = new int[256];
    private readonly int? _unknownId;
    private readonly PieceCache _cache = new();

    /// <param name="vocabulary">Text of byte symbols to id.</param>
    /// <param name="rules">The pairs, best first.</param>
    /// <param name="unknownId">What stands for a byte that the vocabulary lacks; null drops it.</param>
    /// <param name="strict">Whether every rule has to be made of vocabulary entries.</param>
    public ByteBpe(IReadOnlyDictionary<string, int> vocabulary, IEnumerable<(string Left, string Right)> rules, int? unknownId, bool strict)
    {
        _unknownId = unknownId;
        Dictionary<string, int> foreign = new(StringComparer.Ordinal);
        for (int value = 0; value < 256; value++)
        {
            _symbolOfByte[value] = Symbol(ByteSymbols.ToChar((byte)value).ToString());
        }

        _merges = BpeRules.Compile(rules, strict ? text => BpeRules.InVocabulary(vocabulary, text) : Symbol);

        int Symbol(string text)
        {
            if (vocabulary.TryGetValue(text, out int id) || foreign.TryGetValue(text, out id))
            {
                return id;
            }

            return foreign[text] = Foreign + foreign.Count;
        }
    }

    /// <summary>The tokens of a piece as (id, number of bytes) pairs, flattened.</summary>
    public int[] Encode(ReadOnlySpan<char> piece)
    {
        if (_cache.TryGet(piece, out int[] tokens))
        {
            return tokens;
        }

        int most = piece.Length * 3;
        byte[] bytes = ArrayPool<byte>.Shared.Rent(most);
        int[] symbols = ArrayPool<int>.Shared.Rent(most);
        int[] lengths = ArrayPool<int>.Shared.Rent(most);
        try
        {
            int count = TextBytes.Encode(piece, bytes, lengths);
            int kept = 0;
            for (int i = 0; i < count; i++)
            {
                if (Keeps(bytes[i]))
                {
                    symbols[kept] = _symbolOfByte[bytes[i]];
                    lengths[kept++] = 1;
                }
            }

            tokens = Tokens(symbols, lengths, _merges.Merge(symbols.AsSpan(0, kept), lengths.AsSpan(0, kept)));
            _cache.Add(piece, tokens);
            return tokens;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
            ArrayPool<int>.Shared.Return(symbols);
            ArrayPool<int>.Shared.Return(lengths);
        }
    }

    /// <summary>For each byte of a piece that is encoded, the character it belongs to.</summary>
    /// <returns>How many bytes are encoded.</returns>
    public int Positions(ReadOnlySpan<char> piece, Span<int> characters)
    {
        byte[] bytes = new byte[piece.Length * 3];
        int count = TextBytes.Encode(piece, bytes, characters);
        int kept = 0;
        for (int i = 0; i < count; i++)
        {
            if (Keeps(bytes[i]))
            {
                characters[kept++] = characters[i];
            }
        }

        return kept;
    }

    private bool Keeps(byte value) => _unknownId is not null || _symbolOfByte[value] < Foreign;

    private int[] Tokens(int[] symbols, int[] lengths, int count)
    {
        int[] tokens = new int[2 * count];
        for (int i = 0; i < count; i++)
        {
            tokens[2 * i] = symbols[i] < Foreign ? symbols[i] : _unknownId!.Value;
            tokens[(2 * i) + 1] = lengths[i];
        }

        return tokens;
    }
}

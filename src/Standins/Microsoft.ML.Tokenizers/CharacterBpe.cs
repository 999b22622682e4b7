using Retro.Text;

namespace Microsoft.ML.Tokenizers;

/// <summary>BPE over the characters of a piece of text.</summary>
internal sealed class CharacterBpe
{
    private readonly IReadOnlyDictionary<string, int> _vocabulary;
    private readonly PairMerges _merges;
    private readonly int? _unknownId;
    private readonly bool _fuseUnknown;
    private readonly string _prefix;
    private readonly string _suffix;

    public CharacterBpe(IReadOnlyDictionary<string, int> vocabulary, IEnumerable<(string Left, string Right)> rules, int? unknownId, bool fuseUnknown, string? prefix, string? suffix)
    {
        _vocabulary = vocabulary;
        _unknownId = unknownId;
        _fuseUnknown = fuseUnknown;
        _prefix = prefix ?? "";
        _suffix = suffix ?? "";
        _merges = BpeRules.Compile(
            rules,
            text => BpeRules.InVocabulary(vocabulary, text),
            (left, right) => left + (_prefix.Length > 0 && right.StartsWith(_prefix, StringComparison.Ordinal) ? right[_prefix.Length..] : right));
    }

    public void Encode(ReadOnlySpan<char> piece, int position, Func<int, string> text, List<EncodedToken> tokens)
    {
        int[] symbols = new int[piece.Length];
        int[] lengths = new int[piece.Length];
        int count = 0;
        bool unknownBefore = false;
        for (int i = 0; i < piece.Length;)
        {
            int length = char.IsHighSurrogate(piece[i]) && i + 1 < piece.Length && char.IsLowSurrogate(piece[i + 1]) ? 2 : 1;
            string symbol = (i > 0 ? _prefix : "") + piece.Slice(i, length).ToString() + (i + length == piece.Length ? _suffix : "");
            i += length;
            if (_vocabulary.TryGetValue(symbol, out int id))
            {
                (symbols[count], lengths[count]) = (id, length);
                count++;
                unknownBefore = false;
            }
            else if (_unknownId is int unknown)
            {
                if (_fuseUnknown && unknownBefore)
                {
                    lengths[count - 1] += length;
                }
                else
                {
                    (symbols[count], lengths[count]) = (unknown, length);
                    count++;
                }

                unknownBefore = true;
            }
        }

        count = _merges.Merge(symbols.AsSpan(0, count), lengths.AsSpan(0, count));
        for (int i = 0; i < count; i++)
        {
            tokens.Add(new EncodedToken(symbols[i], text(symbols[i]), position..(position + lengths[i])));
            position += lengths[i];
        }
    }
}

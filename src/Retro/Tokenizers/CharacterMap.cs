using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Retro.Tokenizers;

/// <summary>
/// The normalization map of a SentencePiece model: a double-array trie (in the layout of Darts-clone) from UTF-8 sequences to
/// replacements, which follow it as zero-terminated strings.
/// </summary>
internal sealed class CharacterMap
{
    private readonly uint[] _units;
    private readonly byte[] _replacements;

    /// <exception cref="FormatException">The bytes are no such map.</exception>
    public CharacterMap(ReadOnlySpan<byte> bytes)
    {
        uint size = bytes.Length >= 4 ? BinaryPrimitives.ReadUInt32LittleEndian(bytes) : 0;
        if (size == 0 || size % 4 != 0 || size > bytes.Length - 4)
        {
            throw new FormatException("its normalization map is damaged");
        }

        _units = MemoryMarshal.Cast<byte, uint>(bytes.Slice(4, (int)size)).ToArray();
        _replacements = bytes[(4 + (int)size)..].ToArray();
    }

    /// <summary>The replacement of the longest sequence that the text begins with.</summary>
    /// <returns>The length of the sequence in bytes, 0 where none is known.</returns>
    public int Longest(ReadOnlySpan<byte> text, out ReadOnlySpan<byte> replacement) => Find(text, shortest: false, out replacement);

    /// <summary>The replacement of the shortest sequence that the text begins with.</summary>
    /// <returns>The length of the sequence in bytes, 0 where none is known.</returns>
    public int Shortest(ReadOnlySpan<byte> text, out ReadOnlySpan<byte> replacement) => Find(text, shortest: true, out replacement);

    private int Find(ReadOnlySpan<byte> text, bool shortest, out ReadOnlySpan<byte> replacement)
    {
        replacement = default;
        int longest = 0;
        uint value = 0;
        uint position = Offset(_units[0]);
        for (int i = 0; i < text.Length && !(shortest && longest > 0); i++)
        {
            position ^= text[i];
            if (position >= _units.Length || (_units[position] & 0x800000FF) != text[i])
            {
                break;
            }

            uint unit = _units[position];
            position ^= Offset(unit);
            if (((unit >> 8) & 1) == 1 && position < _units.Length)
            {
                value = _units[position] & 0x7FFFFFFF;
                longest = i + 1;
            }
        }

        if (longest > 0)
        {
            ReadOnlySpan<byte> rest = value < _replacements.Length ? _replacements.AsSpan((int)value) : default;
            int end = rest.IndexOf((byte)0);
            replacement = end < 0 ? rest : rest[..end];
        }

        return longest;
    }

    private static uint Offset(uint unit) => (unit >> 10) << (int)((unit & 0x200) >> 6);
}

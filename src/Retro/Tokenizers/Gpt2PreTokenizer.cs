namespace Retro.Tokenizers;

/// <summary>
/// GPT-2's split of text into words, numbers and signs, each with the space before it:
/// <c>'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+</c>.
/// </summary>
/// <remarks>
/// By hand because .NET's expressions see UTF-16 units: a letter beyond U+FFFF would be a sign to them, and a letter to GPT-2. It is faster too.
/// </remarks>
internal sealed class Gpt2PreTokenizer : RunPreTokenizer
{
    /// <summary>Where the piece that begins at a position ends.</summary>
    public static int End(ReadOnlySpan<char> text, int begin)
    {
        char first = text[begin];
        if (first == '\'' && Contraction(text[(begin + 1)..]) is > 0 and int letters)
        {
            return begin + 1 + letters;
        }

        int start = first == ' ' && begin + 1 < text.Length ? begin + 1 : begin;
        CharacterClass kind = CodePoints.ClassAt(text, start, out _);
        if (kind != CharacterClass.Space)
        {
            return CodePoints.RunEnd(text, start, kind);
        }

        // White space: all of it at the end of the text, else all but the last, which belongs to what follows.
        int end = CodePoints.RunEnd(text, begin, CharacterClass.Space);
        return end < text.Length && end - begin > 1 ? end - 1 : end;
    }

    /// <inheritdoc/>
    protected override int EndOf(ReadOnlySpan<char> text, int begin) => End(text, begin);

    private static int Contraction(ReadOnlySpan<char> rest)
        => rest.IsEmpty ? 0
            : rest[0] is 's' or 't' or 'm' or 'd' ? 1
            : rest.Length > 1 && (rest[0], rest[1]) is ('r', 'e') or ('v', 'e') or ('l', 'l') ? 2 : 0;
}

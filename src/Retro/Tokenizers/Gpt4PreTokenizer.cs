namespace Retro.Tokenizers;

/// <summary>
/// The split of GPT-4, Llama 3 (numbers in groups of up to three digits) and Qwen (digits one by one):
/// <c>(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+</c>.
/// </summary>
internal sealed class Gpt4PreTokenizer(int digits) : RunPreTokenizer
{
    /// <inheritdoc/>
    protected override int EndOf(ReadOnlySpan<char> text, int begin)
    {
        if (text[begin] == '\'' && Contraction(text[(begin + 1)..]) is > 0 and int letters)
        {
            return begin + 1 + letters;
        }

        CharacterClass kind = CodePoints.ClassAt(text, begin, out int length);
        int next = begin + length;
        CharacterClass? following = next < text.Length ? CodePoints.ClassAt(text, next, out _) : null;
        if (kind == CharacterClass.Letter)
        {
            return CodePoints.RunEnd(text, begin, CharacterClass.Letter);
        }

        if (kind != CharacterClass.Number && text[begin] is not ('\r' or '\n') && following == CharacterClass.Letter)
        {
            return CodePoints.RunEnd(text, next, CharacterClass.Letter);
        }

        if (kind == CharacterClass.Number)
        {
            int end = next;
            for (int count = 1; count < digits && end < text.Length && CodePoints.ClassAt(text, end, out int more) == CharacterClass.Number; count++)
            {
                end += more;
            }

            return end;
        }

        if (kind == CharacterClass.Other || (text[begin] == ' ' && following == CharacterClass.Other))
        {
            int end = CodePoints.RunEnd(text, kind == CharacterClass.Other ? begin : next, CharacterClass.Other);
            while (end < text.Length && text[end] is '\r' or '\n')
            {
                end++;
            }

            return end;
        }

        int spaces = CodePoints.RunEnd(text, begin, CharacterClass.Space);
        int lastNewline = text[begin..spaces].LastIndexOfAny('\r', '\n');
        return lastNewline >= 0 ? begin + lastNewline + 1
            : spaces < text.Length && spaces - begin > 1 ? spaces - 1
            : spaces;
    }

    private static int Contraction(ReadOnlySpan<char> rest)
    {
        if (rest.IsEmpty)
        {
            return 0;
        }

        char first = Fold(rest[0]);
        return first is 's' or 't' or 'm' or 'd' ? 1
            : rest.Length > 1 && (first, Fold(rest[1])) is ('r', 'e') or ('v', 'e') or ('l', 'l') ? 2 : 0;
    }

    /// <summary>Case folding as the expression's (?i) has it: the long s is an s.</summary>
    private static char Fold(char c) => c == '\u017F' ? 's' : char.ToLowerInvariant(c);
}

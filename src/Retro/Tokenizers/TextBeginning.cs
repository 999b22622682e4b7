namespace Retro.Tokenizers;

/// <summary>
/// The beginning of a text that is put together from the bytes of tokens: takes away the spaces that encoding put there, and nothing once something else has
/// come.
/// </summary>
/// <param name="spaces">How many spaces go at most (<see cref="TextPipeline.LeadingSpaces"/>).</param>
internal struct TextBeginning(int spaces)
{
    private int _spaces = spaces;

    /// <summary>Whether the next token adds all of itself.</summary>
    public readonly bool IsOver => _spaces == 0;

    /// <summary>What the next token adds to the text.</summary>
    public ReadOnlySpan<byte> Trim(ReadOnlySpan<byte> bytes)
    {
        int begin = 0;
        while (begin < bytes.Length && _spaces > 0)
        {
            if (bytes[begin] != ' ')
            {
                _spaces = 0;
                break;
            }

            _spaces--;
            begin++;
        }

        return bytes[begin..];
    }
}

using System.Buffers;
using System.Text;
using Retro.Tokenizers;

namespace Retro.Generation;

/// <summary>Turns tokens into text piece by piece; a character whose bytes are spread over tokens comes out whole, with the last of them.</summary>
/// <param name="tokenizer">The tokenizer.</param>
/// <param name="atBeginning">Whether the first token begins the text, which then loses what encoding puts before it; else it goes on from a text that is
/// there.</param>
/// <remarks>Bytes that are no UTF-8 become U+FFFD, as soon as they are known to be none.</remarks>
internal sealed class TokenTextStream(RetroTokenizer tokenizer, bool atBeginning)
{
    private readonly Decoder _decoder = Encoding.UTF8.GetDecoder();
    private TextBeginning _beginning = atBeginning ? tokenizer.Beginning : default;

    /// <summary>Takes the next token.</summary>
    /// <returns>The characters that are complete.</returns>
    public string Add(int token) => Convert(_beginning.Trim(tokenizer.TokenBytes(token)), flush: false);

    /// <summary>Ends the text.</summary>
    /// <returns>U+FFFD where a character was left incomplete, else nothing.</returns>
    public string Flush() => Convert([], flush: true);

    private string Convert(ReadOnlySpan<byte> bytes, bool flush)
    {
        char[] characters = ArrayPool<char>.Shared.Rent(_decoder.GetCharCount(bytes, flush));
        try
        {
            return new string(characters, 0, _decoder.GetChars(bytes, characters, flush));
        }
        finally
        {
            ArrayPool<char>.Shared.Return(characters);
        }
    }
}

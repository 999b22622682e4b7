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
    private byte[] _open = []; // what has come of a character that is not complete; copies share it, so it is never changed
    private TextBeginning _beginning = atBeginning ? tokenizer.Beginning : default;

    /// <summary>Whether what comes next may lose what encoding puts before a text.</summary>
    public bool IsAtBeginning => !_beginning.IsOver;

    /// <summary>The bytes that begin a character which is not complete.</summary>
    public ReadOnlySpan<byte> Open => _open;

    /// <summary>Takes the next token.</summary>
    /// <returns>The characters that are complete.</returns>
    public string Add(int token) => Convert(_beginning.Trim(tokenizer.TokenBytes(token)), flush: false);

    /// <summary>Ends the text.</summary>
    /// <returns>U+FFFD where a character was left incomplete, else nothing.</returns>
    public string Flush() => Convert([], flush: true);

    /// <summary>Another stream that goes on from here.</summary>
    public TokenTextStream Copy() => (TokenTextStream)MemberwiseClone();

    private string Convert(ReadOnlySpan<byte> bytes, bool flush)
    {
        byte[] all = [.. _open, .. bytes];
        int whole = all.Length - (flush ? 0 : OpenLength(all));
        _open = all[whole..];
        return Encoding.UTF8.GetString(all, 0, whole);
    }

    /// <summary>Length of the end that begins a character and is none yet.</summary>
    private static int OpenLength(ReadOnlySpan<byte> bytes)
    {
        for (int length = Math.Min(3, bytes.Length); length > 0; length--)
        {
            if (Rune.DecodeFromUtf8(bytes[^length..], out _, out _) == OperationStatus.NeedMoreData)
            {
                return length;
            }
        }

        return 0;
    }
}

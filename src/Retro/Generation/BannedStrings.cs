using System.Text;
using Retro.Tokenizers;

namespace Retro.Generation;

/// <summary>
/// Tells which token would complete a string that the text must not hold. The text is that of <see cref="TokenTextStream"/>, in which U+FFFD stands for bytes
/// that are no character.
/// </summary>
/// <param name="strings">The strings.</param>
/// <param name="tokenizer">The tokenizer.</param>
/// <param name="atBeginning">Whether the first token begins the text, as that one has it.</param>
internal sealed class BannedStrings(IReadOnlyList<string> strings, RetroTokenizer tokenizer, bool atBeginning)
{
    private readonly Banned[] _banned = [.. strings.Select(RetroTokenizer.WellFormed).Select(text => new Banned(text))];
    private TokenTextStream _stream = new(tokenizer, atBeginning);
    private string _text = ""; // its end, of what may be the beginning of one

    /// <summary>Whether the text ends within a character that must not become one of the strings: another character has to come of it, and no end.</summary>
    public bool IsOpen => IsWithin(_text, _stream.Open);

    /// <summary>Whether the next token may lose a space in front, and with it what is banned.</summary>
    public bool IsAtBeginning => _stream.IsAtBeginning;

    /// <summary>Whether a token goes on with a character that is begun.</summary>
    public bool Continues(int token) => tokenizer.BeginsWithinCharacter(token);

    /// <summary>
    /// Whether the text would hold one of the strings with this token behind it, or only the beginning of a character, or one that nothing else can come of.
    /// </summary>
    public bool Completes(int token) => _banned.Length > 0 && Completes(_text, _stream, token);

    /// <summary>Whether a token holds one of the strings by itself, whatever text is before it, but for a text that begins.</summary>
    public bool IsIn(int token)
        => _banned.Length > 0 && !Continues(token) && Holds(new TokenTextStream(tokenizer, atBeginning: false).Add(token));

    /// <summary>Whether the text would hold one of the strings with these characters behind it.</summary>
    public bool Completes(string characters) => Holds(_text + characters);

    private bool Completes(string text, TokenTextStream stream, int token)
    {
        TokenTextStream after = stream.Copy();
        string with = text + after.Add(token);
        return Holds(with)
            || (IsWithin(text, stream.Open) && !Continues(token))
            || (IsWithin(with, after.Open) && tokenizer.WithinCharacters.All(next => Completes(with, after, next)));
    }

    private bool Holds(string text) => _banned.Any(banned => text.Contains(banned.Text, StringComparison.Ordinal));

    private bool IsWithin(string text, ReadOnlySpan<byte> open)
    {
        foreach (Banned banned in _banned)
        {
            if (banned.MayEndWith(open) && text.EndsWith(banned.Head, StringComparison.Ordinal))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Takes the next token of the text.</summary>
    public void Add(int token)
    {
        if (_banned.Length > 0)
        {
            string all = _text + _stream.Add(token);
            _text = all[Math.Max(0, all.Length - _banned.Max(banned => banned.Text.Length) + 1)..];
        }
    }

    /// <summary>Another of the same strings that goes on from here.</summary>
    public BannedStrings Copy()
    {
        BannedStrings copy = (BannedStrings)MemberwiseClone();
        copy._stream = _stream.Copy();
        return copy;
    }

    /// <summary>One of the strings.</summary>
    private sealed class Banned
    {
        private readonly Rune _last;
        private readonly byte[] _lastBytes;

        public Banned(string text)
        {
            _ = Rune.DecodeLastFromUtf16(text, out _last, out int length);
            (Text, Head, _lastBytes) = (text, text[..^length], Encoding.UTF8.GetBytes(text[^length..]));
        }

        public string Text { get; }

        /// <summary>What stands before its last character.</summary>
        public string Head { get; }

        /// <summary>Whether its last character may come of bytes that begin one: any becomes U+FFFD where it is left as it is.</summary>
        public bool MayEndWith(ReadOnlySpan<byte> open) => open.Length > 0 && (_last == Rune.ReplacementChar || _lastBytes.AsSpan().StartsWith(open));
    }
}

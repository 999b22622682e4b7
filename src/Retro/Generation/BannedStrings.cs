using System.Text;
using Retro.Tokenizers;

namespace Retro.Generation;

/// <summary>Tells which token would complete a string that the text must not hold, by the bytes of both.</summary>
internal sealed class BannedStrings(IReadOnlyList<string> strings, RetroTokenizer tokenizer)
{
    private readonly byte[][] _banned = [.. strings.Select(Encoding.UTF8.GetBytes)];

    // What of them ends within their last character.
    private readonly byte[][] _broken = [.. strings.Select(Encoding.UTF8.GetBytes).SelectMany(banned =>
        Enumerable.Range(1, banned.Length - 1).Where(length => banned.AsSpan(length).IndexOfAnyExceptInRange((byte)0x80, (byte)0xBF) < 0)
            .Select(length => banned[..length]))];

    private byte[] _end = []; // copies share it, so it is never changed

    /// <summary>Whether the text ends within a character that must not become one of the strings: another character has to come of it, and no end.</summary>
    public bool IsOpen => IsWithin(_end);

    /// <summary>Whether a token goes on with a character that is begun.</summary>
    public bool Continues(int token) => tokenizer.BeginsWithinCharacter(token);

    /// <summary>
    /// Whether the text would hold one of the strings with this token behind it, or only the beginning of a character, or one that nothing else can come of.
    /// </summary>
    public bool Completes(int token) => _banned.Length > 0 && Completes(_end, token);

    private bool Completes(byte[] end, int token)
    {
        byte[] with = [.. end, .. tokenizer.TokenBytes(token)];
        return _banned.Any(banned => with.AsSpan().IndexOf(banned) >= 0)
            || (IsWithin(end) && !Continues(token))
            || (IsWithin(with) && tokenizer.WithinCharacters.All(next => Completes(with, next)));
    }

    private bool IsWithin(ReadOnlySpan<byte> text)
    {
        foreach (byte[] broken in _broken)
        {
            if (text.EndsWith(broken))
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
            byte[] all = [.. _end, .. tokenizer.TokenBytes(token)];
            _end = all[Math.Max(0, all.Length - _banned.Max(banned => banned.Length) + 1)..]; // what may be the beginning of one
        }
    }

    /// <summary>Another of the same strings that goes on from here.</summary>
    public BannedStrings Copy() => (BannedStrings)MemberwiseClone();
}

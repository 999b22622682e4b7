using System.Text;
using System.Text.Json;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>A tokenizer of the caller's own, with what it does not say of itself.</summary>
/// <param name="tokenizer">The tokenizer.</param>
/// <param name="vocabularySize">One more than its highest id.</param>
/// <param name="borders">The ids that end and begin a text, which no text may give.</param>
/// <param name="bytesOf">The bytes that an id adds to a text; none for one that adds nothing.</param>
internal sealed class OwnPipeline(Tokenizer tokenizer, int vocabularySize, IReadOnlyList<int> borders, Func<int, byte[]> bytesOf) : TextPipeline
{
    /// <summary>What its kind is called.</summary>
    public const string KindName = "own";

    /// <summary>The file that stands in a folder for such a tokenizer: it says which one has to be given again.</summary>
    public const string NoteFile = "own-tokenizer.json";

    private const string IdentityKey = "identity";

    // Texts of tokens that a tokenizer has to give back as they were.
    private const int Tried = 256;

    /// <summary>The tokenizer.</summary>
    public Tokenizer Tokenizer => tokenizer;

    public override int VocabularySize => vocabularySize;

    public override string Kind => KindName;

    // What its special tokens are called is not known.
    public override IEnumerable<string> SpecialTexts => [];

    /// <summary>The note of a tokenizer.</summary>
    public static byte[] Note(string identity, int vocabularySize, int endOfText) => JsonSerializer.SerializeToUtf8Bytes(
        new Dictionary<string, object> { [IdentityKey] = identity, ["vocabulary_size"] = vocabularySize, ["end_of_text"] = endOfText });

    /// <summary>What to say of a folder without a tokenizer's files: which one it was made with, where it holds such a note; else empty.</summary>
    public static string NotedIn(string folder)
    {
        string path = Path.Combine(folder, NoteFile);
        if (!File.Exists(path))
        {
            return "";
        }

        try
        {
            using JsonDocument note = Utf8Json.Parse(TokenizerFiles.Read(path));
            string? identity = TokenizerJson.Part(note.RootElement, IdentityKey)?.GetString();
            return $" It was made with a tokenizer of its maker's own, \"{identity}\", of which it holds no file: make that again, by "
                + $"{nameof(RetroTokenizer)}.{nameof(RetroTokenizer.From)}.";
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw new CorpusException($"The note {path} of a tokenizer cannot be read: {exception.Message}", exception);
        }
    }

    /// <summary>What ids add to a text where the caller does not say it: as the tokenizer says it of each by itself.</summary>
    /// <exception cref="ArgumentException">A token is no whole character, or the tokens' texts do not make a text.</exception>
    public static Func<int, byte[]> BytesBy(Tokenizer tokenizer, int vocabularySize, IReadOnlyList<int> borders)
    {
        string[] texts = [.. Enumerable.Range(0, vocabularySize).Select(id => borders.Contains(id) ? "" : tokenizer.Decode([id]) ?? "")];
        if (Array.FindIndex(texts, text => text.Contains('\ufffd', StringComparison.Ordinal)) is var part and >= 0)
        {
            throw new ArgumentException(
                $"Token {part} is no whole character by itself, so that its bytes cannot be told; give the bytes that each id adds to a text.",
                nameof(tokenizer));
        }

        string[] some = [.. texts.Where(text => text.Length > 0).Take(Tried)];
        string whole = string.Join(' ', some), again = string.Concat(tokenizer.EncodeToIds(whole).Select(id => texts.ElementAtOrDefault(id) ?? ""));
        return whole == again ? id => Encoding.UTF8.GetBytes(texts[id])
            : throw new ArgumentException(
                "The texts of the tokens, one behind the other, are not the text that they were made of, such as where a space before a word is lost; give "
                    + "the bytes that each id adds to a text.",
                nameof(tokenizer));
    }

    public override int IdOf(string token) => -1;

    public override int Recognized(string token) => -1;

    public override byte[] BytesOf(int id) => bytesOf(id) ?? [];

    public override bool Gives(int id) => !borders.Contains(id);

    public override string Decode(IEnumerable<int> ids, bool skipSpecial)
        => Encoding.UTF8.GetString([.. ids.Where(id => (uint)id < (uint)vocabularySize && !borders.Contains(id)).SelectMany(BytesOf)]);

    protected override void Encode(string text, bool recognizeSpecial, char? mark, TokenOutput output)
    {
        Stack<string> parts = new([mark is { } none ? text.Replace($"{none}", "", StringComparison.Ordinal) : text]);
        while (parts.TryPop(out string? part))
        {
            IReadOnlyList<EncodedToken> tokens = tokenizer.EncodeToTokens(part, out string? normalized);
            string[] cut = recognizeSpecial && mark is null ? [part] : Cut(part, normalized, tokens);
            if (cut.Length > 1)
            {
                Array.ForEach([.. cut.Reverse()], parts.Push);
                continue;
            }

            foreach (EncodedToken token in tokens)
            {
                if ((uint)token.Id >= (uint)vocabularySize)
                {
                    throw new RetroException(
                        $"{tokenizer.GetType().Name} gave the id {token.Id}, and it was said to have {vocabularySize}, from 0 on; make it with all of them.");
                }

                Range at = token.Offset;
                output.Tokens.Add(new(token.Id, token.Value, (output.Length + at.Start.Value)..(output.Length + at.End.Value)));
            }

            output.Append(normalized ?? part);
            output.Settle();
        }
    }

    // Behind the first character of what a text spells out and would end or begin one.
    private string[] Cut(string part, string? normalized, IReadOnlyList<EncodedToken> tokens)
    {
        List<string> parts = [];
        int begin = 0;
        foreach (EncodedToken token in tokens.Where(token => borders.Contains(token.Id)))
        {
            (int start, int end) = (token.Offset.Start.Value, token.Offset.End.Value);
            if ((normalized ?? part) != part || end - start < 2)
            {
                throw new RetroException(
                    $"{tokenizer.GetType().Name} gives \"{part[Math.Min(start, part.Length)..Math.Min(end, part.Length)]}\" the id {token.Id}, which ends or "
                        + "begins a text: name an id for that which no text has.");
            }

            parts.Add(part[begin..(start + 1)]);
            begin = start + 1;
        }

        return [.. parts, part[begin..]];
    }
}

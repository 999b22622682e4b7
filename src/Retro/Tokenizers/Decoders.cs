using System.Text;
using System.Text.Json;

namespace Retro.Tokenizers;

/// <summary>The decoders of a <c>tokenizer.json</c>: from the texts of tokens to texts that are put together.</summary>
internal static class Decoders
{
    private static readonly (string From, string To)[] s_cleanUps =
    [
        (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"),
        (" 're", "'re"),
    ];

    public static Func<List<string>, List<string>> Read(JsonElement element)
    {
        switch (TokenizerJson.Type(element))
        {
            case "Sequence":
                List<Func<List<string>, List<string>>> steps = element.GetProperty("decoders").EnumerateArray().Select(Read).ToList();
                return texts => steps.Aggregate(texts, (changed, step) => step(changed));
            case "ByteLevel":
                return texts => [ByteLevel(texts)];
            case "WordPiece":
                string prefix = TokenizerJson.Text(element, "prefix");
                bool cleanUp = TokenizerJson.Flag(element, "cleanup", true);
                return texts => WordPiece(texts, prefix, cleanUp);
            case "Replace":
                string from = TokenizerJson.PatternString("decoder", element);
                string to = TokenizerJson.Text(element, "content");
                return texts => texts.ConvertAll(text => text.Replace(from, to, StringComparison.Ordinal));
            case "ByteFallback":
                return ByteFallback;
            case "Fuse":
                return texts => [string.Concat(texts)];
            case "Strip":
                string content = TokenizerJson.Character(element, "content");
                int start = element.GetProperty("start").GetInt32();
                int stop = element.GetProperty("stop").GetInt32();
                return texts => texts.ConvertAll(text => Strip(text, content, start, stop));
            case "Metaspace":
                string mark = TokenizerJson.Character(element, "replacement");
                bool added = TokenizerJson.Scheme(element) != "never";

                // The original takes every mark from the first token, not the added one alone.
                return texts => texts.Select((text, i) => text.Replace(mark, i == 0 && added ? "" : " ", StringComparison.Ordinal)).ToList();
            default:
                throw TokenizerJson.Unsupported("decoder", element, "Sequence, ByteLevel, WordPiece, Replace, ByteFallback, Fuse, Strip and Metaspace");
        }
    }

    /// <summary>The text of byte symbols.</summary>
    public static string ByteLevel(List<string> texts)
    {
        List<byte> bytes = [];
        foreach (string text in texts)
        {
            bytes.AddRange(ByteSymbols.ToBytes(text) ?? Encoding.UTF8.GetBytes(text));
        }

        return Encoding.UTF8.GetString(bytes.ToArray());
    }

    /// <summary>Words with a space before each but the first.</summary>
    public static List<string> WordPiece(List<string> texts, string prefix, bool cleanUp)
    {
        List<string> decoded = new(texts.Count);
        for (int i = 0; i < texts.Count; i++)
        {
            string text = i == 0 ? texts[i] : texts[i].StartsWith(prefix, StringComparison.Ordinal) ? texts[i][prefix.Length..] : " " + texts[i];
            if (cleanUp)
            {
                foreach ((string from, string to) in s_cleanUps)
                {
                    text = text.Replace(from, to, StringComparison.Ordinal);
                }
            }

            decoded.Add(text);
        }

        return decoded;
    }

    /// <summary>Runs of byte tokens become text; where the run is no UTF-8, a replacement character for each byte.</summary>
    private static List<string> ByteFallback(List<string> texts)
    {
        List<string> decoded = [];
        List<byte> bytes = [];
        foreach (string text in texts)
        {
            if (ByteSymbols.FallbackByte(text) is { } value)
            {
                bytes.Add(value);
                continue;
            }

            Flush();
            decoded.Add(text);
        }

        Flush();
        return decoded;

        void Flush()
        {
            byte[] run = bytes.ToArray();
            bytes.Clear();
            if (run.Length > 0)
            {
                decoded.Add(System.Text.Unicode.Utf8.IsValid(run) ? Encoding.UTF8.GetString(run) : new string('\uFFFD', run.Length));
            }
        }
    }

    private static string Strip(string text, string content, int start, int stop)
    {
        for (int i = 0; i < start && text.StartsWith(content, StringComparison.Ordinal); i++)
        {
            text = text[content.Length..];
        }

        for (int i = 0; i < stop && text.EndsWith(content, StringComparison.Ordinal); i++)
        {
            text = text[..^content.Length];
        }

        return text;
    }
}

using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Retro.Generation.Templates;

/// <summary>Cuts a template into text, expressions and statements, and these into words.</summary>
internal static partial class JinjaLexer
{
    /// <summary>What a word is.</summary>
    public enum Kind
    {
        /// <summary>Text between the tags.</summary>
        Text,

        /// <summary>The beginning of an expression that is written out.</summary>
        Output,

        /// <summary>The beginning of a statement.</summary>
        Statement,

        /// <summary>The end of either.</summary>
        End,

        /// <summary>A name.</summary>
        Name,

        /// <summary>A text in quotation marks.</summary>
        String,

        /// <summary>A number.</summary>
        Number,

        /// <summary>An operator or a bracket.</summary>
        Sign,
    }

    /// <summary>A word.</summary>
    public readonly record struct Word(Kind Kind, string Text)
    {
        /// <summary>As it is named in messages.</summary>
        public override string ToString() => Kind == Kind.End ? "the end of the tag" : $"'{Text}'";
    }

    /// <summary>Cuts a template up.</summary>
    /// <exception cref="RetroException">A tag does not end, or holds what is no word.</exception>
    public static List<Word> Cut(string template)
    {
        List<Word> words = [];
        template = template.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        template = template.EndsWith('\n') ? template[..^1] : template; // keep_trailing_newline is off
        int at = 0;
        bool trims = false, afterBlock = false; // what the tag before says of the text behind it
        while (at < template.Length)
        {
            int open = Next(template, at);
            string text = template[at..open];
            string kept = trims ? text.TrimStart(JinjaMethods.Space) : afterBlock && text.StartsWith('\n') ? text[1..] : text; // trim_blocks
            bool beginsLine = at == 0 || text[..^kept.Length].EndsWith('\n');
            text = kept;

            if (open == template.Length)
            {
                Add(words, text);
                break;
            }

            char kind = template[open + 1];
            string closing = kind == '{' ? "}}" : kind == '%' ? "%}" : "#}";
            int begin = open + 2;
            char mark = begin < template.Length ? template[begin] : ' ';
            Add(words, Before(text, mark, kind != '{', beginsLine));
            if (RawBegin().Match(template, open) is { Success: true } raw)
            {
                Match rawEnd = RawEnd().Match(template, raw.Index + raw.Length);
                if (!rawEnd.Success)
                {
                    throw new RetroException("A raw part of the chat template does not end (endraw).");
                }

                Add(words, Before(template[(raw.Index + raw.Length)..rawEnd.Index], rawEnd.Value[2], isBlock: true, beginsLine: false));
                at = rawEnd.Index + rawEnd.Length;
                (trims, afterBlock) = (rawEnd.Value[^3] == '-', rawEnd.Value[^3] != '+');
                continue;
            }

            begin += mark is '-' or '+' ? 1 : 0;
            int end;
            char last;
            if (kind == '#')
            {
                end = template.IndexOf(closing, begin, StringComparison.Ordinal);
                end = end >= 0 ? end : throw new RetroException("A comment of the chat template does not end (#}).");
                last = end > begin ? template[end - 1] : ' ';
            }
            else
            {
                words.Add(new(kind == '{' ? Kind.Output : Kind.Statement, template[open..(open + 2)]));
                (end, last) = Words(words, template, begin, closing);
                words.Add(new(Kind.End, closing));
            }

            at = end + 2;
            trims = last == '-';
            afterBlock = kind != '{' && last != '+';
        }

        return words;
    }

    /// <summary>The text before a tag, without the white space that the tag's mark takes, or lstrip_blocks.</summary>
    private static string Before(string text, char mark, bool isBlock, bool beginsLine)
        => mark == '-' ? text.TrimEnd(JinjaMethods.Space)
            : isBlock && mark != '+' && text.LastIndexOf('\n') + 1 is var line && (line > 0 || beginsLine) && text.AsSpan(line).Trim(JinjaMethods.Space).IsEmpty
            ? text[..line]
            : text;

    private static void Add(List<Word> words, string text)
    {
        if (text.Length > 0)
        {
            words.Add(new(Kind.Text, text));
        }
    }

    private static int Next(string template, int from)
    {
        for (int i = template.IndexOf('{', from); i >= 0 && i + 1 < template.Length; i = template.IndexOf('{', i + 1))
        {
            if (template[i + 1] is '{' or '%' or '#')
            {
                return i;
            }
        }

        return template.Length;
    }

    /// <summary>The words of a tag.</summary>
    /// <returns>Where it ends, and what is written there of the text that follows: '-', '+', or neither.</returns>
    private static (int End, char Last) Words(List<Word> words, string template, int at, string closing)
    {
        int depth = 0; // a dictionary may end like an expression
        while (true)
        {
            while (at < template.Length && char.IsWhiteSpace(template[at]))
            {
                at++;
            }

            if (depth == 0 && at < template.Length && (template[at] == '-' || (template[at] == '+' && closing == "%}"))
                && string.CompareOrdinal(template, at + 1, closing, 0, 2) == 0)
            {
                return (at + 1, template[at]);
            }

            if (depth == 0 && string.CompareOrdinal(template, at, closing, 0, 2) == 0)
            {
                return (at, ' ');
            }

            Match match = Pattern().Match(template, at);
            if (at >= template.Length || !match.Success || match.Index != at)
            {
                string here = template[at..Math.Min(template.Length, at + 20)];
                throw new RetroException($"A tag of the chat template does not end, or holds what cannot be read: {here}");
            }

            depth += match.Value is "{" or "[" or "(" ? 1 : match.Value is "}" or "]" or ")" ? -1 : 0;
            words.Add(match.Groups["name"].Success ? new(Kind.Name, match.Value)
                : match.Groups["number"].Success ? new(Kind.Number, match.Value)
                : match.Groups["text"].Success ? new(Kind.String, Unescape(match.Value[1..^1]))
                : new(Kind.Sign, match.Value));
            at += match.Length;
        }
    }

    /// <summary>A text without its escapes, which are Python's: what is none keeps its backslash.</summary>
    private static string Unescape(string text)
        => !text.Contains('\\', StringComparison.Ordinal) ? text : Escape().Replace(text, escape => escape.Value[1] switch
        {
            'n' => "\n", 't' => "\t", 'r' => "\r", 'a' => "\a", 'b' => "\b", 'f' => "\f", 'v' => "\v", '\n' => "",
            '\\' or '\'' or '"' => escape.Value[1..],
            'N' => throw new RetroException("A text of the chat template names a character (\\N), which is not supported."),
            'x' or 'u' or 'U' when escape.Length > 2
                => Character(int.Parse(escape.ValueSpan[2..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)),
            >= '0' and <= '7' => ((char)Convert.ToInt32(escape.Value[1..], 8)).ToString(),
            _ => escape.Value,
        });

    private static string Character(int code) => code is >= 0 and <= 0xFFFF ? ((char)code).ToString()
        : Rune.IsValid(code) ? new Rune(code).ToString()
        : throw new RetroException($"A text of the chat template holds the character \\U{code:x8}, which is none.");

    [GeneratedRegex(@"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[0-7]{1,3}|[\s\S])")]
    private static partial Regex Escape();

    [GeneratedRegex(@"\G\{%[-+]?\s*raw\s*(?:-%\}\s*|%\})")]
    private static partial Regex RawBegin();

    [GeneratedRegex(@"\{%[-+]?\s*endraw\s*[-+]?%\}")]
    private static partial Regex RawEnd();

    [GeneratedRegex(
        """
        (?s)\G(?:(?<name>[\p{L}\p{Nl}_]\w*)|(?<number>0[xX](?:_?[0-9A-Fa-f])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+
        |[0-9]+(?:_[0-9]+)*(?:\.[0-9]+(?:_[0-9]+)*)?(?:[eE][-+]?[0-9]+(?:_[0-9]+)*)?)
        |(?<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
        |==|!=|<=|>=|//|\*\*|[-+*/%~<>=|.,:()\[\]{}])
        """,
        RegexOptions.IgnorePatternWhitespace)]
    private static partial Regex Pattern();
}

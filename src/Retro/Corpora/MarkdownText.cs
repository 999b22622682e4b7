using System.Text.RegularExpressions;
using Markdig;
using Markdig.Syntax;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Retro.Corpora;

/// <summary>What Markdown files say of themselves: front matter and title.</summary>
internal static partial class MarkdownText
{
    // A title stands at the head. Of deep nests of brackets and lists the parsers take a time that grows with the square of the length.
    private const int TitleCharacters = 1 << 16;
    private const int DeepestNode = 64;

    // Blocks alone: what stands in them is only read of the title.
    private static readonly MarkdownPipeline s_blocks = BlocksOnly();

    /// <summary>
    /// Splits YAML front matter off: from a first line "---" to the next "---" or "...", where a mapping stands between them, or at least begins as one does
    /// (files whose YAML is not quite right are many).
    /// </summary>
    /// <returns>The front matter without its marks ("" where there is none), the title in it, if any, and the rest.</returns>
    public static (string FrontMatter, string? Title, string Body) SplitFrontMatter(string text)
    {
        if (FrontMatter().Match(text) is { Success: true } found && found.Groups["yaml"] is { Length: <= TitleCharacters } yaml)
        {
            (bool mapping, string? title) = ReadYaml(yaml.Value);
            if (mapping || FirstKey().IsMatch(yaml.Value))
            {
                return (yaml.Value, title, text[found.Length..].Trim());
            }
        }

        return ("", null, text);
    }

    /// <summary>The first heading of the first level outside of quotations and lists, as plain text; null where there is none near the head.</summary>
    public static string? TitleOf(string body)
    {
        string head = body.Length <= TitleCharacters ? body : body[..Math.Max(0, body.LastIndexOf('\n', TitleCharacters))];
        try
        {
            foreach (HeadingBlock heading in Markdown.Parse(head, s_blocks).OfType<HeadingBlock>().Where(heading => heading.Level == 1))
            {
                string text = Cleaning.Collapse(Markdown.ToPlainText(head.Substring(heading.Span.Start, heading.Span.Length)).Replace('\n', ' '));
                if (text.Length > 0)
                {
                    return text;
                }
            }
        }
        catch (ArgumentException)
        {
            // Nested deeper than any page: it has no title that could be found.
        }

        return null;
    }

    private static MarkdownPipeline BlocksOnly()
    {
        MarkdownPipelineBuilder builder = new();
        builder.InlineParsers.Clear();
        return builder.Build();
    }

    /// <summary>Whether YAML is a mapping, and the scalar under its key "title". Read as events: no depth of nesting costs the stack.</summary>
    private static (bool Mapping, string? Title) ReadYaml(string yaml)
    {
        bool mapping = false;
        string? title = null, key = null;
        Dictionary<string, string> anchors = new(StringComparer.Ordinal);
        try
        {
            Parser events = new(new StringReader(yaml));
            int depth = 0;
            bool isKey = true;
            while (events.MoveNext())
            {
                ParsingEvent current = events.Current!;
                if (current is Scalar { Anchor.IsEmpty: false } named)
                {
                    anchors[named.Anchor.Value] = named.Value;
                }

                if (depth == 1 && mapping && current is Scalar or AnchorAlias or SequenceStart or MappingStart)
                {
                    string? value = current is Scalar scalar ? scalar.Value
                        : current is AnchorAlias alias ? anchors.GetValueOrDefault(alias.Value.Value)
                        : null;
                    if (!isKey && "title".Equals(key, StringComparison.OrdinalIgnoreCase))
                    {
                        title ??= IsNull(current) ? null : value;
                    }

                    key = isKey ? value : null;
                    isKey = !isKey;
                }

                mapping |= depth == 0 && current is MappingStart;
                depth += current is MappingStart or SequenceStart ? 1 : current is MappingEnd or SequenceEnd ? -1 : 0;
                if (depth > DeepestNode || current is DocumentEnd)
                {
                    break;
                }
            }
        }
        catch (YamlException)
        {
            return (false, null);
        }

        return (mapping, title is null || Cleaning.Collapse(title.Replace('\n', ' ')) is not { Length: > 0 } text ? null : text);
    }

    // The core schema's spellings of nothing (YAML 1.2.2, 10.3.2).
    private static bool IsNull(ParsingEvent value) => value is Scalar { Style: ScalarStyle.Plain, Value: "" or "~" or "null" or "Null" or "NULL" };

    [GeneratedRegex(@"\A---[ \t]*\n(?<yaml>(?:.*\n)*?)(?:---|\.\.\.)[ \t]*(?:\n|\z)")]
    private static partial Regex FrontMatter();

    [GeneratedRegex(@"\A\s*[\p{L}_][\p{L}\p{N}_.-]*[ \t]*:(?:\s|\z)")]
    private static partial Regex FirstKey();
}

using System.Net;
using System.Text;
using System.Text.RegularExpressions;
using Markdig;
using Markdig.Syntax;
using Markdig.Syntax.Inlines;

namespace Retro.Corpora;

/// <summary>What Markdown files say of themselves.</summary>
internal static partial class MarkdownText
{
    // A title stands at the head. Of deep nests of brackets and lists the parser takes a time that grows with the square of the length.
    private const int TitleCharacters = 1 << 16;

    // Blocks alone: what stands in them is only read of the title.
    private static readonly MarkdownPipeline s_blocks = BlocksOnly();

    /// <summary>
    /// The first heading of the first level outside of quotations and lists, in Markdown or in HTML, as plain text, without the attributes that some programs
    /// take from its end; before it the title that Pandoc takes from a first line "% Title". Null where there is none near the head.
    /// </summary>
    public static string? TitleOf(string body)
    {
        if (PandocTitle().Match(body) is { Success: true } first && PlainText(first.Groups["title"].Value) is { } said)
        {
            return said;
        }

        string head = body.Length <= TitleCharacters ? body : body[..Math.Max(0, body.LastIndexOf('\n', TitleCharacters))];
        try
        {
            MarkdownDocument page = Markdown.Parse(head, s_blocks);
            for (int i = 0; i < page.Count; i++)
            {
                string? title = page[i] switch
                {
                    HtmlBlock => HtmlText.Read(Html(page, i, head)).Title,
                    HeadingBlock { Level: 1 } => PlainText(Heading(page, i, head)),
                    _ => null,
                };
                if (title is not null)
                {
                    return title;
                }
            }
        }
        catch (ArgumentException)
        {
            // Nested deeper than any page: it has no title that could be found.
        }

        return null;
    }

    private static string Source(Block block, string head) => head.Substring(block.Span.Start, block.Span.Length);

    private static string Heading(MarkdownDocument page, int index, string head)
    {
        string text = Attributes().Replace(Source(page[index], head), "");

        // Whether brackets are a link depends on what the page defines.
        return text.Contains('[', StringComparison.Ordinal) && page.GetLinkReferenceDefinitions(addGroup: false) is { } definitions
            ? $"{text}\n\n{string.Concat(definitions.Links.Keys.Select(label => $"[{Escaped(label)}]: <>\n"))}"
            : text;
    }

    /// <summary>
    /// A block of HTML, which ends at an empty line (CommonMark 4.6); where a heading of the first level goes on behind it, with what follows to the heading's
    /// end, of which paragraphs are Markdown.
    /// </summary>
    private static string Html(MarkdownDocument page, int index, string head)
    {
        string own = Source(page[index], head);
        StringBuilder html = new(own);
        bool isOpen = own.LastIndexOf("<h1", StringComparison.OrdinalIgnoreCase) > own.LastIndexOf("</h1", StringComparison.OrdinalIgnoreCase);
        for (int next = index + 1; isOpen && next < page.Count && page[next] is HtmlBlock or ParagraphBlock; next++)
        {
            string text = Source(page[next], head);
            bool isHtml = page[next] is HtmlBlock;
            if (isHtml && text.Contains("<h1", StringComparison.OrdinalIgnoreCase))
            {
                break; // the one before has no end
            }

            html.Append(' ').Append(isHtml ? text : WebUtility.HtmlEncode(PlainText(text)));
            isOpen = !(isHtml && text.Contains("</h1", StringComparison.OrdinalIgnoreCase));
        }

        return isOpen ? own : html.ToString();
    }

    private static string? PlainText(string markdown)
    {
        StringBuilder text = new();
        RaisedText raised = new(text);
        foreach (Inline inline in Markdown.Parse(markdown).Descendants<Inline>())
        {
            if (inline is HtmlInline tag && Raised().Match(tag.Tag) is { Success: true } found)
            {
                raised.Tag(found.Groups["above"].Success, begins: !found.Groups["ends"].Success);
                continue;
            }

            text.Append(inline switch
            {
                LiteralInline literal => literal.Content.ToString(),
                CodeInline code => code.Content,
                AutolinkInline link => link.Url,
                HtmlEntityInline entity => entity.Transcoded.ToString(),
                DelimiterInline unpaired => unpaired.ToLiteral(),
                LineBreakInline => " ",
                HtmlInline html when LineBreak().IsMatch(html.Tag) => " ",
                _ => "",
            });
        }

        return Cleaning.Title(text.ToString());
    }

    private static string Escaped(string label)
        => label.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("[", "\\[", StringComparison.Ordinal).Replace("]", "\\]", StringComparison.Ordinal);

    // At the end of a heading, before the marks that may close it: {#id .class key=value -} of Pandoc, Hugo, kramdown and Docusaurus, with a colon in
    // Python-Markdown, and as a comment in MDX.
    [GeneratedRegex(
        """
        (?<!\\) \{ (?: :?\s*(?> (?: (?:[#.][^\s{}"'=]+ | - | [\w:.-]+=(?:"[^"\n]*"|'[^'\n]*'|[^\s{}"']+)) [ \t]* )+ ) | /\*[ \t]*\#[^\s*{}]+[ \t]*\*/ ) \}
        (?= [ \t]*\#*[ \t]* (?:\n[ \t]*=+[ \t]*)? \z )
        """,
        RegexOptions.IgnorePatternWhitespace)]
    private static partial Regex Attributes();

    [GeneratedRegex(@"\A<br\b", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex LineBreak();

    [GeneratedRegex(@"\A<(?<ends>/)?su(?:(?<above>p)|b)\b", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Raised();

    [GeneratedRegex(@"\A%[ \t]+(?<title>\S[^\n]*)")]
    private static partial Regex PandocTitle();

    private static MarkdownPipeline BlocksOnly()
    {
        MarkdownPipelineBuilder builder = new();
        builder.InlineParsers.Clear();
        return builder.Build();
    }
}

using System.Text;
using Markdig;
using Markdig.Syntax;
using Markdig.Syntax.Inlines;

namespace Retro.Corpora;

/// <summary>What Markdown files say of themselves.</summary>
internal static class MarkdownText
{
    // A title stands at the head. Of deep nests of brackets and lists the parser takes a time that grows with the square of the length.
    private const int TitleCharacters = 1 << 16;

    // Blocks alone: what stands in them is only read of the title.
    private static readonly MarkdownPipeline s_blocks = BlocksOnly();

    /// <summary>
    /// The first heading of the first level outside of quotations and lists, in Markdown or in HTML, as plain text; null where there is none near the head.
    /// </summary>
    public static string? TitleOf(string body)
    {
        string head = body.Length <= TitleCharacters ? body : body[..Math.Max(0, body.LastIndexOf('\n', TitleCharacters))];
        try
        {
            MarkdownDocument page = Markdown.Parse(head, s_blocks);
            foreach (Block block in page.Where(block => block is HtmlBlock or HeadingBlock { Level: 1 }))
            {
                string text = head.Substring(block.Span.Start, block.Span.Length);
                if (block is HeadingBlock
                    && text.Contains('[', StringComparison.Ordinal)
                    && page.GetLinkReferenceDefinitions(addGroup: false) is { } definitions)
                {
                    // Whether brackets are a link depends on what the page defines.
                    text = $"{text}\n\n{string.Concat(definitions.Links.Keys.Select(label => $"[{Escaped(label)}]: <>\n"))}";
                }

                if ((block is HtmlBlock ? HtmlText.Read(text).Title : PlainText(text)) is { } title)
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

    private static string? PlainText(string markdown)
    {
        StringBuilder text = new();
        foreach (Inline inline in Markdown.Parse(markdown).Descendants<Inline>())
        {
            text.Append(inline switch
            {
                LiteralInline literal => literal.Content.ToString(),
                CodeInline code => code.Content,
                AutolinkInline link => link.Url,
                HtmlEntityInline entity => entity.Transcoded.ToString(),
                DelimiterInline unpaired => unpaired.ToLiteral(),
                LineBreakInline => " ",
                _ => "",
            });
        }

        return Cleaning.Title(text.ToString());
    }

    private static string Escaped(string label)
        => label.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("[", "\\[", StringComparison.Ordinal).Replace("]", "\\]", StringComparison.Ordinal);

    private static MarkdownPipeline BlocksOnly()
    {
        MarkdownPipelineBuilder builder = new();
        builder.InlineParsers.Clear();
        return builder.Build();
    }
}

using System.Text;
using System.Text.RegularExpressions;
using AngleSharp.Html;
using AngleSharp.Html.Parser;
using AngleSharp.Html.Parser.Tokens;
using AngleSharp.Text;

namespace Retro.Corpora;

/// <summary>
/// The text of an HTML page and its title. It is read tag by tag, without a tree: a page may nest as deep as it likes, and the time grows with its length
/// alone.
/// </summary>
internal static partial class HtmlText
{
    // Where HTML has to name its encoding (https://html.spec.whatwg.org/multipage/semantics.html#charset).
    private const int HeadBytes = 1024;

    // Elements that begin and end lines: those that HTML shows as blocks, list items, or rows (https://html.spec.whatwg.org/multipage/rendering.html).
    private static readonly HashSet<string> s_blocks = new(StringComparer.OrdinalIgnoreCase)
    {
        "address", "article", "aside", "blockquote", "body", "br", "caption", "center", "dd", "details", "dialog", "dir", "div", "dl", "dt", "fieldset",
        "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header", "hgroup", "hr", "html", "legend", "li", "listing",
        "main", "menu", "nav", "ol", "optgroup", "option", "p", "plaintext", "pre", "search", "section", "summary", "table", "tbody", "tfoot", "thead", "title",
        "tr", "ul", "xmp",
    };

    // What is no text for a reader, to the end of the element.
    private static readonly HashSet<string> s_silent = new(StringComparer.OrdinalIgnoreCase)
    {
        "iframe", "noembed", "noframes", "noscript", "script", "style", "svg", "template", "textarea",
    };

    /// <summary>Whether an element's text is parted by lines from what stands before and after it.</summary>
    public static bool IsBlock(string element) => s_blocks.Contains(element);

    /// <summary>
    /// The encoding that a page names at its head, for <see cref="TextDecoding.Named"/>: as XML does, or in a <c>meta</c> element
    /// (https://html.spec.whatwg.org/multipage/parsing.html#prescan-a-byte-stream-to-determine-its-encoding); null where it names none that is known.
    /// </summary>
    public static string? EncodingOf(ReadOnlySpan<byte> page)
    {
        if (TextDecoding.DeclaredInXml(page) is { } declared)
        {
            return TextDecoding.NameOfLabel(declared);
        }

        HtmlTokenizer tokens = Tokens(Encoding.Latin1.GetString(page[..Math.Min(page.Length, HeadBytes)]));
        for (HtmlToken token = tokens.Get(); token.Type != HtmlTokenType.EndOfFile; token = tokens.Get())
        {
            if (token is not HtmlTagToken { Type: HtmlTokenType.StartTag } tag)
            {
                continue;
            }

            tokens.State = tag.IsSelfClosing ? HtmlParseMode.PCData : ContentOf(tag.Name);
            string label = tag.Name != "meta" ? ""
                : tag.GetAttribute("charset") is { Length: > 0 } charset ? charset
                : tag.GetAttribute("http-equiv").Equals("content-type", StringComparison.OrdinalIgnoreCase)
                    ? Charset().Match(tag.GetAttribute("content")).Groups["label"].Value
                : "";
            if (label.Length > 0 && TextDecoding.NameOfLabel(label.Trim()) is { } name)
            {
                return name;
            }
        }

        return null;
    }

    /// <summary>Reads a page.</summary>
    /// <param name="html">The page.</param>
    /// <returns>Its title, or its first heading of the first level, null where it has neither; and its text, a line for each block.</returns>
    public static (string? Title, string Text) Read(string html)
    {
        HtmlTokenizer tokens = Tokens(html);
        StringBuilder text = new(), title = new(), heading = new();
        StringBuilder? named = null;
        string? silent = null;
        int silentDepth = 0, kept = 0;
        for (HtmlToken token = tokens.Get(); token.Type != HtmlTokenType.EndOfFile; token = tokens.Get())
        {
            bool begins = token.Type == HtmlTokenType.StartTag;
            if (token.Type == HtmlTokenType.Character)
            {
                if (silent is null)
                {
                    string words = kept > 0 ? token.Data.Replace("\r\n", "\n", StringComparison.Ordinal).Replace(' ', Cleaning.KeptSpace)
                        : token.Data.Replace('\n', ' ').Replace('\r', ' ');
                    named?.Append(words);
                    if (!ReferenceEquals(named, title))
                    {
                        text.Append(words);
                    }
                }
            }
            else if (begins || token.Type == HtmlTokenType.EndTag)
            {
                // As in XHTML, an element that its own tag closes holds nothing: what follows is neither a script nor the title.
                bool closes = token is HtmlTagToken { IsSelfClosing: true };
                if (begins && !closes)
                {
                    tokens.State = ContentOf(token.Name);
                }

                if (silent is not null)
                {
                    // An element of the same name within counts, so that its end is not taken for the end.
                    silentDepth += token.Name != silent || closes ? 0 : begins ? 1 : -1;
                    silent = silentDepth > 0 ? silent : null;
                }
                else if (begins && !closes && s_silent.Contains(token.Name))
                {
                    (silent, silentDepth) = (token.Name, 1);
                }
                else
                {
                    Tag(token.Name, begins, closes);
                }
            }
        }

        string name = Cleaning.Collapse(title.ToString());
        name = name.Length > 0 ? name : Cleaning.Collapse(heading.ToString());
        return (name.Length > 0 ? name : null, Cleaning.Collapse(text.ToString()));

        void Tag(string element, bool begins, bool closes)
        {
            if (element == "title")
            {
                named = begins && !closes && title.Length == 0 ? title : null;
                return;
            }

            if (element == "h1")
            {
                named = begins && !closes && heading.Length == 0 ? heading : null;
            }

            kept = element == "pre" && !closes ? Math.Max(0, kept + (begins ? 1 : -1)) : kept;
            named?.Append(IsBlock(element) ? " " : "");
            text.Append(element is "td" or "th" ? " " : IsBlock(element) ? "\n" : "").Append(element == "li" && begins ? "- " : "");
        }
    }

    private static HtmlTokenizer Tokens(string html) => new(new TextSource(html), HtmlEntityProvider.Resolver);

    // The tokenizer leaves it to the tree's builder to say which elements hold no tags.
    private static HtmlParseMode ContentOf(string element) => element switch
    {
        "title" or "textarea" => HtmlParseMode.RCData,
        "script" => HtmlParseMode.Script,
        "style" or "xmp" or "iframe" or "noembed" or "noframes" => HtmlParseMode.Rawtext,
        "plaintext" => HtmlParseMode.Plaintext,
        _ => HtmlParseMode.PCData,
    };

    [GeneratedRegex("""charset\s*=\s*["']?\s*(?<label>[^\s;"']+)""", RegexOptions.IgnoreCase)]
    private static partial Regex Charset();
}

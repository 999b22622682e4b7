using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using System.Text.Unicode;
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

    // In the pages of Retro's tool.
    private static ReadOnlySpan<byte> OwnMark => "<meta name=\"generator\" content=\"Retro\">"u8;

    // Elements that begin and end lines: those that HTML shows as blocks, list items, or rows (https://html.spec.whatwg.org/multipage/rendering.html).
    private static readonly HashSet<string> s_blocks = new(StringComparer.OrdinalIgnoreCase)
    {
        "address", "article", "aside", "blockquote", "body", "br", "caption", "center", "dd", "details", "dialog", "dir", "div", "dl", "dt", "fieldset",
        "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header", "hgroup", "hr", "html", "legend", "li", "listing",
        "main", "menu", "nav", "ol", "optgroup", "option", "p", "plaintext", "pre", "search", "section", "select", "summary", "table", "tbody", "tfoot",
        "thead", "title", "tr", "ul", "xmp",
    };

    // What is no text for a reader, to the end of the element; of audio, canvas and video it is what stands in for them where they are not known, of a formula
    // its source (https://www.w3.org/TR/mathml-core/#semantics-and-presentation), which takes its place where it is TeX.
    private static readonly HashSet<string> s_silent = new(StringComparer.OrdinalIgnoreCase)
    {
        "annotation", "annotation-xml", "audio", "canvas", "datalist", "iframe", "noembed", "noframes", "noscript", "script", "style", "svg", "template",
        "textarea", "video",
    };

    // Those of them that hold no elements, or elements of their own: what ends around them ends none.
    private static readonly HashSet<string> s_sealed = new(StringComparer.OrdinalIgnoreCase)
    {
        "iframe", "noembed", "noframes", "noscript", "script", "style", "template", "textarea",
    };

    // Elements that have no end, or need none.
    private static readonly HashSet<string> s_openEnded = new(StringComparer.OrdinalIgnoreCase)
    {
        "body", "caption", "colgroup", "dd", "dt", "head", "html", "li", "optgroup", "option", "p", "rb", "rp", "rt", "rtc", "tbody", "td", "tfoot", "th",
        "thead", "tr",
    };

    // Where an element needs no end, another begins that ends it, unless it stands deeper, in something that holds such elements too
    // (https://html.spec.whatwg.org/multipage/syntax.html#optional-tags). A paragraph is ended by any block.
    private static readonly (string Elements, string Ended, string Holders)[] s_endedByBegins =
    [
        ("li", "li", "ul ol menu dir"), ("dd dt", "dd dt", "dl"), ("option", "option optgroup", "select datalist"), ("optgroup", "optgroup", "select"),
        ("rb rp rt rtc", "rb rp rt rtc", "ruby"), ("td th", "td th tr thead tbody tfoot", "table"), ("tr", "tr thead tbody tfoot", "table"),
        ("thead tbody tfoot", "thead tbody tfoot", "table"), ("caption colgroup", "colgroup tr thead tbody tfoot", "table"),
    ];

    // Elements that hold nothing.
    private static readonly HashSet<string> s_void = new(StringComparer.OrdinalIgnoreCase)
    {
        "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr",
    };

    // Elements that end a picture whose own end is missing, and those of a picture in which they may stand
    // (https://html.spec.whatwg.org/multipage/parsing.html#parsing-main-inforeign).
    private static readonly HashSet<string> s_endPicture = new(StringComparer.OrdinalIgnoreCase)
    {
        "b", "big", "blockquote", "body", "br", "center", "code", "dd", "div", "dl", "dt", "em", "embed", "h1", "h2", "h3", "h4", "h5", "h6", "head", "hr", "i",
        "img", "li", "listing", "menu", "meta", "nobr", "ol", "p", "pre", "ruby", "s", "small", "span", "strong", "strike", "sub", "sup", "table", "tt", "u",
        "ul", "var",
    };

    private static readonly HashSet<string> s_withinPicture = new(StringComparer.OrdinalIgnoreCase) { "desc", "foreignobject", "title" };

    private static readonly (int Value, string Letters)[] s_roman =
    [
        (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
    ];

    /// <summary>Whether a file is a page that Retro's tool wrote, as it says at its head: a report, with text of models and of held-out documents.</summary>
    public static bool IsOwn(string file)
    {
        try
        {
            byte[] head = new byte[HeadBytes];
            using FileStream stream = DocumentReader.Open(file);
            return head.AsSpan(0, stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false)).IndexOf(OwnMark) >= 0;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return false; // what cannot be read is told of when it is
        }
    }

    /// <summary>Whether an element's text is parted by lines from what stands before and after it.</summary>
    public static bool IsBlock(string element) => s_blocks.Contains(element);

    /// <summary>The number that an attribute gives to an item of a list, or to its first; null where it gives none.</summary>
    public static long? NumberOf(string? attribute)
        => int.TryParse(attribute, NumberStyles.Integer, CultureInfo.InvariantCulture, out int number) ? number : null;

    /// <summary>What stands before an item of a list, as in Markdown.</summary>
    /// <param name="number">The item's number; null where it has none.</param>
    /// <param name="type">Its kind: a, A, i or I for letters and Roman numerals, as far as they go.</param>
    public static string ItemMark(long? number, string? type) => number is { } counted ? $"{Numeral(counted, type)}. " : "- ";

    /// <summary>
    /// The encoding that a page names at its head, for <see cref="TextDecoding.Named"/>: as XML does, or in a <c>meta</c> element
    /// (https://html.spec.whatwg.org/multipage/parsing.html#prescan-a-byte-stream-to-determine-its-encoding), of a page that is not UTF-8 one that comes late
    /// in its head, too, as browsers do (#changing-the-encoding-while-parsing); null where it names none that is known.
    /// </summary>
    public static string? EncodingOf(ReadOnlySpan<byte> page)
    {
        if (TextDecoding.DeclaredInXml(page) is { } declared)
        {
            return TextDecoding.NameOfLabel(declared);
        }

        HtmlTokenizer tokens = Tokens(Encoding.Latin1.GetString(Utf8.IsValid(page) ? page[..Math.Min(page.Length, HeadBytes)] : page));
        for (HtmlToken token = tokens.Get(); token.Type != HtmlTokenType.EndOfFile; token = tokens.Get())
        {
            if (token is HtmlTagToken { Name: "head", Type: HtmlTokenType.EndTag } or HtmlTagToken { Name: "body", Type: HtmlTokenType.StartTag })
            {
                break;
            }

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
        StringBuilder text = new(), title = new();
        RaisedText raised = new(text);
        FormulaText formula = new(text);
        Stack<(long? Next, string Type)> lists = []; // of those that are open the next item's number, null where items have none, and its kind
        string? silent = null, heading = null;
        Dictionary<string, int> around = []; // open elements that are shown
        Dictionary<string, int>? within = null; // open elements of one that is silent, unless that is sealed
        int silentDepth = 0, withinPicture = 0, kept = 0, named = -1; // where in the text the heading begins that may be the title
        bool titled = false, worded = false; // within the title; the heading that is open has words
        bool marked = false, listed = false; // behind the mark of an item, or the begin of a list, words have yet to come
        for (HtmlToken token = tokens.Get(); token.Type != HtmlTokenType.EndOfFile; token = tokens.Get())
        {
            bool begins = token.Type == HtmlTokenType.StartTag;
            if (token.Type == HtmlTokenType.Character)
            {
                if (silent is null)
                {
                    string words = kept > 0 ? Cleaning.Keep(token.Data) : token.Data.Replace('\n', ' ').Replace('\r', ' ');
                    bool isSpace = string.IsNullOrWhiteSpace(words);
                    if (titled)
                    {
                        title.Append(title.Length > 0 || !isSpace ? words : ""); // it begins with its first word
                    }
                    else
                    {
                        text.Append(words);
                        marked &= isSpace;
                        worded |= !isSpace;
                    }
                }
                else
                {
                    formula.Hidden(token.Data);
                }
            }
            else if (begins || token.Type == HtmlTokenType.EndTag)
            {
                // As in XHTML, an element that its own tag closes holds nothing: what follows is neither a script nor the title.
                HtmlTagToken tag = token.AsTag();
                bool closes = tag.IsSelfClosing;
                if (begins && !closes)
                {
                    tokens.State = ContentOf(token.Name);
                }

                // Sections of text are XHTML's; where HTML has one, it is a comment.
                tokens.IsAcceptingCharacterData |= tag.Name == "html" && tag.GetAttribute("xmlns").Length > 0;

                if (silent == "svg" && !closes && s_withinPicture.Contains(token.Name))
                {
                    withinPicture = Math.Max(0, withinPicture + (begins ? 1 : -1));
                }
                else if (silent == "svg" && begins && withinPicture == 0 && s_endPicture.Contains(token.Name))
                {
                    silent = null;
                }

                // A silent element ends with what holds it, as a browser has it: one that is not closed would take the rest of the page. An end of what is open
                // nowhere ends nothing, nor does an end of a span or a link around it end a block, or one of anything around it what a picture holds of HTML.
                if (silent is not null && within is not null && begins && IsEndedBy(silent, token.Name, within))
                {
                    silent = null;
                }
                else if (silent is not null && within is not null && token.Name != silent && !closes
                    && !s_void.Contains(token.Name) && !(IsBlock(silent) && s_openEnded.Contains(token.Name)))
                {
                    bool ends = IsBlock(token.Name) || !IsBlock(silent) || token.Name is "button" or "object";
                    silent = Count(within) < 0 && ends && withinPicture == 0 && around.GetValueOrDefault(token.Name) > 0 ? null : silent;
                }

                if (silent is not null)
                {
                    // An element of the same name within counts, so that its end is not taken for the end.
                    silentDepth += token.Name != silent || closes ? 0 : begins ? 1 : -1;
                    silent = silentDepth > 0 ? silent : null;
                }
                else if (begins && !closes && ((s_silent.Contains(token.Name) && !IsShadow(tag)) || IsHidden(tag)))
                {
                    (silent, silentDepth, withinPicture) = (token.Name, 1, 0);
                    within = s_sealed.Contains(token.Name) ? null : [];
                    formula.BeginHidden(token.Name, tag.GetAttribute("encoding"));
                }
                else
                {
                    // An end of what is open nowhere ends nothing.
                    bool holds = !closes && !s_void.Contains(token.Name) && Count(around) >= 0;
                    Tag(tag, begins, closes);
                    if (holds)
                    {
                        Holder(tag, begins);
                    }

                    if (begins)
                    {
                        formula.Begin(token.Name, holds);
                    }
                    else if (holds)
                    {
                        formula.End(token.Name);
                    }
                }

                // How many are open of the tag's element; -1 where one ends that is not.
                int Count(Dictionary<string, int> opened)
                {
                    int open = opened.GetValueOrDefault(token.Name) + (begins ? 1 : -1);
                    opened[token.Name] = Math.Max(0, open);
                    return open;
                }
            }
        }

        EndHeading();
        return (Cleaning.Title(title.ToString()) ?? heading, Cleaning.Collapse(text.ToString()));

        void Tag(HtmlTagToken tag, bool begins, bool closes)
        {
            string element = tag.Name;

            // A heading ends at the end or begin of any, and, for one that is left open, where a block begins behind its words.
            if (element is "h1" or "h2" or "h3" or "h4" or "h5" or "h6" or "title" || (begins && worded && IsBlock(element) && element != "br"))
            {
                EndHeading();
            }

            if (element == "title")
            {
                titled = begins && !closes && title.Length == 0;
                return;
            }

            (named, worded) = element == "h1" && begins && !closes && heading is null ? (text.Length, false) : (named, worded);
            kept = element is "pre" or "listing" or "xmp" or "plaintext" && !closes ? Math.Max(0, kept + (begins ? 1 : -1)) : kept;
            if (IsBlock(element) || element is "td" or "th")
            {
                raised.Clear();
                formula.Leave();
            }

            // What begins an item stands behind its mark, but for code, whose lines stand one below the other.
            bool parts = IsBlock(element) && !(begins && marked && kept == 0 && (element != "li" || listed));
            text.Append(element is "td" or "th" or "mtd" ? " " : parts ? "\n" : "").Append(element == "li" && begins ? MarkOf(tag) : "");
            marked = element == "li" ? begins : marked && !parts;
            listed = begins && element is "ul" or "ol" or "menu" or "dir";
        }

        void EndHeading()
        {
            heading ??= named < 0 ? null : Cleaning.Title(text.ToString(named, text.Length - named));
            named = -1;
        }

        // What stands before an item, from whose number the next goes on.
        string MarkOf(HtmlTagToken item)
        {
            if (!lists.TryPeek(out (long? Next, string Type) list) || list.Next is null)
            {
                return ItemMark(null, null);
            }

            long? number = NumberOf(item.GetAttribute("value")) ?? list.Next;
            lists.Pop();
            lists.Push((number + 1, list.Type));
            return ItemMark(number, item.GetAttribute("type") is { Length: > 0 } own ? own : list.Type);
        }

        // Elements that do something to all that they hold.
        void Holder(HtmlTagToken tag, bool begins)
        {
            switch (tag.Name)
            {
                case "sup" or "sub":
                    raised.Tag(tag.Name == "sup", begins);
                    break;
                case "q":
                    text.Append('"');
                    marked = false;
                    break;
                case "ol" or "ul" or "menu" or "dir" when !begins:
                    lists.TryPop(out _);
                    break;
                case "ol" when !tag.Attributes.Exists(attribute => attribute.Name == "reversed"): // whose numbers go down to 1 from as many as there are
                    lists.Push((NumberOf(tag.GetAttribute("start")) ?? 1, tag.GetAttribute("type")));
                    break;
                case "ol" or "ul" or "menu" or "dir":
                    lists.Push((null, ""));
                    break;
            }
        }
    }

    private static string Numeral(long number, string? type) => type switch
    {
        "a" or "A" when number > 0 => Letters(number, type[0]),
        "i" when number is > 0 and < 4000 => Roman(number).ToLowerInvariant(),
        "I" when number is > 0 and < 4000 => Roman(number),
        _ => number.ToString(CultureInfo.InvariantCulture),
    };

    // a to z, aa, ab and so on.
    private static string Letters(long number, char first)
        => (number > 26 ? Letters((number - 1) / 26, first) : "") + (char)(first + ((number - 1) % 26));

    private static string Roman(long number)
    {
        StringBuilder numeral = new();
        foreach ((int value, string letters) in s_roman)
        {
            for (; number >= value; number -= value)
            {
                numeral.Append(letters);
            }
        }

        return numeral.ToString();
    }

    // What a program writes into a page as the content of the element around, which is shown
    // (https://html.spec.whatwg.org/multipage/scripting.html#attr-template-shadowrootmode).
    private static bool IsShadow(HtmlTagToken tag)
        => tag.Name == "template"
            && (tag.GetAttribute("shadowrootmode").Equals("open", StringComparison.OrdinalIgnoreCase)
                || tag.GetAttribute("shadowrootmode").Equals("closed", StringComparison.OrdinalIgnoreCase));

    // Not shown (https://html.spec.whatwg.org/multipage/rendering.html#hidden-elements, #flow-content-3 of dialogs), unless it is when it is searched for, or
    // its tab is chosen. Of a heading's link to itself that comes with the pointer alone, by the class that Sphinx and Python-Markdown give it.
    private static bool IsHidden(HtmlTagToken tag)
        => tag.Name is not ("body" or "head" or "html") && !s_void.Contains(tag.Name)
            && ((tag.Name == "dialog" && !tag.Attributes.Exists(attribute => attribute.Name == "open"))
                || (tag.Name == "a" && tag.GetAttribute("class").Split(' ').Contains("headerlink"))
                || (tag.Attributes.Exists(attribute => attribute.Name == "hidden"
                        && !attribute.Value.Equals("until-found", StringComparison.OrdinalIgnoreCase))
                    && tag.GetAttribute("role") != "tabpanel"));

    // Whether the begin of an element ends an open one that needs no end.
    private static bool IsEndedBy(string open, string begun, Dictionary<string, int> within)
        => open == "p" ? IsBlock(begun) && begun is not ("br" or "select" or "option" or "optgroup")
            : Array.Find(s_endedByBegins, one => one.Elements.Split(' ').Contains(open)) is { Ended: { } ended } found && ended.Split(' ').Contains(begun)
                && found.Holders.Split(' ').All(holder => within.GetValueOrDefault(holder) <= 0);

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

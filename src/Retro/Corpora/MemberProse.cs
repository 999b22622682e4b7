using System.Text;
using System.Xml.Linq;

namespace Retro.Corpora;

/// <summary>Entries of an XML documentation file as plain prose.</summary>
/// <param name="names">The names of the file's generic parameters.</param>
internal sealed class MemberProse(GenericNames names)
{
    private long? _next; // of the list that is being written the next item's number; null where items have none
    private string? _type; // and of which kind the numbers are

    /// <summary>Summary, type parameters, parameters, returns or value, exceptions, remarks and examples; "" where the entry says nothing.</summary>
    public string Render(XElement entry)
    {
        StringBuilder text = new();
        Plain(text, entry, "summary", "");
        Named(text, entry, "typeparam", "name", "");
        Named(text, entry, "param", "name", "");
        Plain(text, entry, "value", "Value: ");
        Plain(text, entry, "returns", "Returns: ");
        Named(text, entry, "exception", "cref", "Throws ");
        Plain(text, entry, "remarks", "");
        Plain(text, entry, "example", "Example: ");
        return text.ToString().Trim();
    }

    private void Plain(StringBuilder text, XElement entry, string element, string lead)
    {
        foreach (XElement part in entry.Elements(element))
        {
            if (Prose(part) is { Length: > 0 } prose)
            {
                text.Append(lead).Append(prose).Append('\n');
            }
        }
    }

    private void Named(StringBuilder text, XElement entry, string element, string attribute, string lead)
    {
        // The compiler joins what blocks of extensions with one head say.
        foreach (XElement part in entry.Elements(element).Distinct<XElement>(XNode.EqualityComparer))
        {
            string name = (string?)part.Attribute(attribute) ?? "";
            if (Prose(part) is { Length: > 0 } prose && name.Length > 0)
            {
                text.Append(lead).Append(attribute == "cref" ? MemberName.ShortReference(name, names) : name).Append(": ").Append(prose).Append('\n');
            }
        }
    }

    // White space means nothing in XML; paragraphs are marked while writing.
    private string Prose(XElement element)
    {
        StringBuilder raw = new();
        Write(element, raw);
        return Cleaning.Collapse(raw.ToString());
    }

    private void Write(XElement element, StringBuilder text)
    {
        foreach (XNode node in element.Nodes())
        {
            switch (node)
            {
                case XText words:
                    text.Append(words.Value.Replace('\n', ' ').Replace('\r', ' '));
                    break;
                case XElement child:
                    WriteElement(child, text);
                    break;
            }
        }
    }

    private void WriteElement(XElement element, StringBuilder text)
    {
        switch (element.Name.LocalName)
        {
            case var _ when Reference(element) is { } reference:
                text.Append(reference);
                break;
            case "item" or "li":
                long? number = _next is null ? null : HtmlText.NumberOf((string?)element.Attribute("value")) ?? _next;
                string mark = HtmlText.ItemMark(number, (string?)element.Attribute("type") ?? _type);
                _next = number + 1;
                StringBuilder item = new();
                Write(element, item);
                text.Append('\n').Append(mark).Append(item.ToString().TrimStart()); // an item may begin with a paragraph
                break;
            case "list" or "ol" or "ul" or "menu" or "dir":
                (long?, string?) around = (_next, _type);
                _type = (string?)element.Attribute("type");
                _next = _type == "number" || element.Name.LocalName == "ol"
                    ? HtmlText.NumberOf((string?)element.Attribute("start")) ?? 1
                    : null;
                text.Append('\n');
                Write(element, text);
                text.Append('\n');
                (_next, _type) = around;
                break;
            case "term" when element.NextNode is not null && element.ElementsAfterSelf("description").Any():
                Write(element, text);
                text.Append(": ");
                break;
            case "code" when element.Attribute("data-dev-comment-type") is not null: // so the .NET packs name a parameter, a keyword, or <c>
                Write(element, text);
                break;
            case "code" or "pre":
                text.Append('\n').Append(Cleaning.Keep(Code(element).Trim('\n'))).Append('\n');
                break;
            case "sup" or "sub":
                int start = text.Length;
                Write(element, text);
                RaisedText.Mark(text, start, element.Name.LocalName == "sup");
                break;
            case "td" or "th":
                text.Append(' ');
                Write(element, text);
                text.Append(' ');
                break;
            case var name:
                string parting = name is "para" or "note" or "listheader" or "block" || HtmlText.IsBlock(name) ? "\n" : "";
                text.Append(parting);
                Write(element, text);
                text.Append(parting);
                break;
        }
    }

    /// <summary>What an element without text refers to; null where it is none that refers.</summary>
    private string? Reference(XElement element) => element.Name.LocalName switch
    {
        "see" or "seealso" when string.IsNullOrWhiteSpace(element.Value)
            => element.Attribute("cref") is { } reference ? MemberName.ShortReference(reference.Value, names)
                : (string?)element.Attribute("langword") ?? (string?)element.Attribute("href") ?? "",
        "paramref" or "typeparamref" => (string?)element.Attribute("name") ?? "",
        "xref" when string.IsNullOrWhiteSpace(element.Value) => Uid((string?)element.Attribute("uid") ?? (string?)element.Attribute("href") ?? ""),
        _ => null,
    };

    /// <summary>
    /// What a uid names: an id without its kind. A method has its parameters behind it; other members and types look alike, and keep their full names.
    /// </summary>
    private string Uid(string uid) => uid.Contains('(', StringComparison.Ordinal)
        ? MemberName.ShortReference($"M:{uid}", names)
        : MemberName.Display(uid.TrimEnd('*'), names);

    /// <summary>The lines of code without what indents all of them; the compiler indents a file's entries.</summary>
    private string Code(XElement element)
    {
        StringBuilder code = new();
        WriteCode(element, code);
        string[] lines = code.ToString().Split('\n');

        // A first line behind the tag is indented as the line that the tag stands in.
        string? indentation = string.IsNullOrWhiteSpace(lines[0]) ? null
            : element.PreviousNode is XText before && before.Value.LastIndexOf('\n') is >= 0 and var end ? IndentationOf(before.Value[(end + 1)..])
            : "";
        foreach (string line in lines.Skip(1).Where(line => !string.IsNullOrWhiteSpace(line)))
        {
            string own = IndentationOf(line);
            indentation = own[..own.AsSpan().CommonPrefixLength(indentation ?? own)];
        }

        return string.Join('\n', lines.Select((line, i) => i > 0 && line.StartsWith(indentation ?? "", StringComparison.Ordinal)
            ? line[(indentation ?? "").Length..]
            : line));
    }

    private void WriteCode(XElement element, StringBuilder code)
    {
        foreach (XNode node in element.Nodes())
        {
            if (node is XText text)
            {
                code.Append(text.Value);
            }
            else if (node is XElement child)
            {
                if (Reference(child) is { } reference)
                {
                    code.Append(reference);
                    continue;
                }

                int start = code.Length;
                WriteCode(child, code);
                if (child.Name.LocalName is "sup" or "sub")
                {
                    RaisedText.Mark(code, start, child.Name.LocalName == "sup");
                }
            }
        }
    }

    private static string IndentationOf(string line) => line[..(line.Length - line.TrimStart().Length)];
}

using System.Text;
using System.Xml.Linq;

namespace Retro.Corpora;

/// <summary>An entry of an XML documentation file as plain prose.</summary>
internal static class MemberProse
{
    /// <summary>Summary, type parameters, parameters, returns or value, exceptions, remarks and examples; "" where the entry says nothing.</summary>
    public static string Render(XElement entry)
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

    private static void Plain(StringBuilder text, XElement entry, string element, string lead)
    {
        foreach (XElement part in entry.Elements(element))
        {
            if (Prose(part) is { Length: > 0 } prose)
            {
                text.Append(lead).Append(prose).Append('\n');
            }
        }
    }

    private static void Named(StringBuilder text, XElement entry, string element, string attribute, string lead)
    {
        foreach (XElement part in entry.Elements(element))
        {
            string name = (string?)part.Attribute(attribute) ?? "";
            if (Prose(part) is { Length: > 0 } prose && name.Length > 0)
            {
                text.Append(lead).Append(attribute == "cref" ? MemberName.ShortReference(name) : name).Append(": ").Append(prose).Append('\n');
            }
        }
    }

    private static string Prose(XElement element)
    {
        StringBuilder raw = new();
        Write(element, raw);

        // White space means nothing in XML; paragraphs were marked while writing.
        StringBuilder text = new();
        foreach (string paragraph in raw.ToString().Split('\n'))
        {
            string collapsed = string.Join(' ', paragraph.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
            if (collapsed.Length > 0)
            {
                text.Append(text.Length > 0 ? "\n" : "").Append(collapsed.Replace(CodeSpace, ' '));
            }
        }

        return text.ToString();
    }

    // Stands for a space of code until white space has been collapsed; a private use character that no documentation holds.
    private const char CodeSpace = '\uE000';

    private static void Write(XElement element, StringBuilder text)
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

    private static void WriteElement(XElement element, StringBuilder text)
    {
        switch (element.Name.LocalName)
        {
            case "see" or "seealso" when element.IsEmpty || element.Value.Length == 0:
                text.Append(element.Attribute("cref") is { } reference ? MemberName.ShortReference(reference.Value)
                    : (string?)element.Attribute("langword") ?? (string?)element.Attribute("href") ?? "");
                break;
            case "paramref" or "typeparamref":
                text.Append((string?)element.Attribute("name") ?? "");
                break;
            case "para" or "list" or "note" or "listheader" or "table" or "tr":
                text.Append('\n');
                Write(element, text);
                text.Append('\n');
                break;
            case "item":
                text.Append("\n- ");
                Write(element, text);
                break;
            case "term" when element.NextNode is not null && element.ElementsAfterSelf("description").Any():
                Write(element, text);
                text.Append(": ");
                break;
            case "br":
                text.Append('\n');
                break;
            case "code":
                text.Append('\n').Append(element.Value.Replace("\r\n", "\n", StringComparison.Ordinal).Trim('\n').Replace(' ', CodeSpace)).Append('\n');
                break;
            default:
                Write(element, text);
                break;
        }
    }
}

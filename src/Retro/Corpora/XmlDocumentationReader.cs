using System.Security.Cryptography;
using System.Text;
using System.Xml;
using System.Xml.Linq;

namespace Retro.Corpora;

/// <summary>
/// One document per type of .NET XML documentation files: what the type is for, then its members as prose. A type that several
/// files describe (packs overlap) is read from the first.
/// </summary>
internal sealed class XmlDocumentationReader(IReadOnlyList<string> files, string root, CorpusOptions options) : DocumentReader(files, root, options)
{
    // Documentation nests a dozen deep; what reads the tree goes as deep as the tree.
    private const int DeepestElement = 256;

    public override string Kind => ".NET XML documentation";

    public override IEnumerable<Document> Documents()
    {
        HashSet<string> seen = new(StringComparer.Ordinal);
        HashSet<string> contents = new(StringComparer.Ordinal);
        foreach (string file in Files)
        {
            // Packs hold copies of each other's files; parsing one twice would double the time.
            byte[]? bytes = Guarded(() => ReadBytes(file));
            if (bytes is null || !contents.Add(Convert.ToHexString(SHA256.HashData(bytes))))
            {
                continue;
            }

            foreach ((string type, List<XElement> members) in Guarded(() => Types(file, bytes)) ?? [])
            {
                if (seen.Add(type) && Checked(Render(type, members, NameOf(file))) is { } kept)
                {
                    yield return kept;
                }
            }
        }
    }

    /// <summary>The file's types in the order of their first appearance, each with its entries in the file's order, the type's own first.</summary>
    private static List<(string Type, List<XElement> Members)> Types(string file, byte[] bytes)
    {
        using MemoryStream stream = new(bytes, writable: false);
        List<(string Type, List<XElement> Members)> types = [];
        Dictionary<string, int> numbers = new(StringComparer.Ordinal);
        try
        {
            RequireShallow(file, bytes);
            XmlReaderSettings settings = new() { DtdProcessing = DtdProcessing.Prohibit, XmlResolver = null, IgnoreComments = true };
            using XmlReader reader = XmlReader.Create(stream, settings);
            if (reader.MoveToContent() != XmlNodeType.Element || reader.Name != "doc")
            {
                // XML of another kind beside the documentation is none of ours.
                return types;
            }

            while (reader.ReadToFollowing("member"))
            {
                XElement member = (XElement)XNode.ReadFrom(reader.ReadSubtree() is var part && part.Read() ? part : reader);
                MemberName name = MemberName.Parse((string?)member.Attribute("name") ?? "");
                if (name.Type.Length == 0)
                {
                    continue;
                }

                if (!numbers.TryGetValue(name.Type, out int number))
                {
                    numbers[name.Type] = number = types.Count;
                    types.Add((name.Type, []));
                }

                types[number].Members.Insert(name.IsType ? 0 : types[number].Members.Count, member);
            }
        }
        catch (XmlException exception)
        {
            throw new CorpusException(
                $"The file {file} is no well-formed XML: {exception.Message} Correct it, or skip what is broken (CorpusOptions.SkipBroken).", exception);
        }

        return types;
    }

    private static void RequireShallow(string file, byte[] bytes)
    {
        using XmlReader reader = XmlReader.Create(
            new MemoryStream(bytes, writable: false), new XmlReaderSettings { DtdProcessing = DtdProcessing.Prohibit, XmlResolver = null, CloseInput = true });
        while (reader.Read())
        {
            if (reader.Depth > DeepestElement)
            {
                throw new CorpusException(
                    $"The file {file} nests elements deeper than {DeepestElement} at line {((IXmlLineInfo)reader).LineNumber}, which no documentation "
                        + "does. Correct it, or skip what is broken (CorpusOptions.SkipBroken).");
            }
        }
    }

    private static Document Render(string type, List<XElement> members, string source)
    {
        StringBuilder text = new();
        string title = MemberName.Display(type);
        bool described = false;
        foreach (XElement member in members)
        {
            MemberName name = MemberName.Parse((string)member.Attribute("name")!);
            string prose = MemberProse.Render(member);
            if (prose.Length == 0)
            {
                continue;
            }

            if (!described)
            {
                text.Append(title).Append('\n');
            }

            if (!name.IsType)
            {
                text.Append('\n').Append(name.Signature(member)).Append('\n');
            }

            text.Append(prose).Append('\n');
            described = true;
        }

        return new Document(type, title, Cleaning.Clean(text.ToString()), source);
    }
}

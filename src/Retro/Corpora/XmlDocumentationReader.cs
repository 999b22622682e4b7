using System.Security.Cryptography;
using System.Text;
using System.Xml;
using System.Xml.Linq;

namespace Retro.Corpora;

/// <summary>
/// One document per type of .NET XML documentation files: what the type is for, then its members as prose. Of a type that an earlier file has described (packs
/// overlap, and libraries have types of one name) comes what is new.
/// </summary>
internal sealed class XmlDocumentationReader(string root, CorpusOptions options, ReadingCounts counts) : DocumentReader(root, options, counts)
{
    // Documentation nests a dozen deep; what reads the tree goes as deep as the tree.
    private const int DeepestElement = 256;

    private static readonly XmlReaderSettings s_settings = new() { DtdProcessing = DtdProcessing.Prohibit, XmlResolver = null, IgnoreComments = true };

    private readonly HashSet<string> _seen = new(StringComparer.Ordinal);
    private readonly HashSet<UInt128> _told = [];
    private readonly HashSet<string> _contents = new(StringComparer.Ordinal);

    /// <summary>Whether a file is documentation, or is broken before that can be told; XML of other kinds lies beside it in many folders.</summary>
    public static bool IsOne(string file)
    {
        try
        {
            using FileStream stream = Open(file);
            using XmlReader reader = XmlReader.Create(stream, s_settings);
            return reader.MoveToContent() == XmlNodeType.Element && reader.Name == "doc";
        }
        catch (Exception exception) when (exception is XmlException or IOException or UnauthorizedAccessException)
        {
            // A file that has a definition of its type, or another root, is none of ours; one that cannot be read is told of when it is.
            return exception is not XmlException || !exception.Message.Contains("DTD", StringComparison.Ordinal);
        }
    }

    public override IEnumerable<Document> Documents(string file)
    {
        // Packs hold copies of each other's files; parsing one twice would double the time.
        byte[]? bytes = Guarded(() => ReadBytes(file));
        if (bytes is null || !_contents.Add(Convert.ToHexString(SHA256.HashData(bytes))))
        {
            yield break;
        }

        List<(string Type, List<XElement> Members)> types = Guarded(() => Types(file, bytes)) ?? [];
        GenericNames names = new(types.ToDictionary(
            type => type.Type,
            type => type.Members.Find(member => MemberName.Parse((string)member.Attribute("name")!).IsType) is { } entry ? GenericNames.In(entry) : [],
            StringComparer.Ordinal));
        foreach ((string type, List<XElement> members) in types)
        {
            Document document = Render(type, members, names, NameOf(file));
            if ((document.Text.Length > 0 || !_seen.Contains(type)) && Checked(document) is { } kept)
            {
                _seen.Add(type);
                yield return kept;
            }
        }
    }

    /// <summary>The file's types in the order of their first appearance, each with its entries in the file's order, the type's own first.</summary>
    private List<(string Type, List<XElement> Members)> Types(string file, byte[] bytes)
    {
        string? declared = TextDecoding.DeclaredInXml(bytes);
        string? encoding = declared is not null && TextDecoding.Named(declared) is not null ? declared : Options.Encoding;
        string text = TextDecoding.Decode(bytes, $"The file {file}", encoding);
        List<(string Type, List<XElement> Members)> types = [];
        Dictionary<string, int> numbers = new(StringComparer.Ordinal);
        try
        {
            RequireShallow(file, text);
            using XmlReader reader = XmlReader.Create(new StringReader(text), s_settings);
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

    private static void RequireShallow(string file, string text)
    {
        using XmlReader reader = XmlReader.Create(new StringReader(text), s_settings);
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

    private Document Render(string type, List<XElement> members, GenericNames names, string source)
    {
        MemberProse writer = new(names);
        StringBuilder text = new();
        string title = MemberName.Display(type, names);
        bool described = false, again = _seen.Contains(type);
        foreach (XElement member in members)
        {
            string id = (string)member.Attribute("name")!, prose = writer.Render(member);
            MemberName name = MemberName.Parse(id);
            if (prose.Length == 0 || (!_told.Add(TextHash.Of($"{id} {prose}")) && again))
            {
                continue;
            }

            if (!described)
            {
                text.Append(title).Append('\n');
            }

            if (!name.IsType)
            {
                text.Append('\n').Append(name.Signature(member, names)).Append('\n');
            }

            text.Append(prose).Append('\n');
            described = true;
        }

        return new Document(again ? $"{type} ({source})" : type, title, Cleaning.Clean(text.ToString()), source);
    }
}

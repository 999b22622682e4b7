using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using System.Xml;
using System.Xml.Linq;

namespace Retro.Corpora;

/// <summary>
/// One document per type of .NET XML documentation files: what the type is for, then its members as prose. Its id is the type's name where the assembly's
/// begins it, and has the assembly's behind it elsewhere: libraries have types of one name (<c>Program</c>, <c>Extensions</c>), and which of them another file
/// describes must not change an id. Of a type of one assembly that an earlier file has described (packs overlap) comes what is new, under an id with the file's
/// name.
/// <para>So what a file gives depends on those before it: of a part of a corpus come all documents that the whole has of the types that the part describes. The
/// types of a file that is none of the whole's have the file's name in their ids.</para>
/// </summary>
/// <param name="root">Where the names of files begin.</param>
/// <param name="options">What is read.</param>
/// <param name="counts">What is left out.</param>
/// <param name="whole">The files of the corpus that a part is read of, in its order; null where it is read whole.</param>
internal sealed partial class XmlDocumentationReader(string root, CorpusOptions options, ReadingCounts counts, string[]? whole)
    : DocumentReader(root, options, counts)
{
    // Documentation nests a dozen deep; what reads the tree goes as deep as the tree.
    private const int DeepestElement = 256;

    // Before the root of a file stands its declaration, and perhaps a license.
    private const int HeadBytes = 1 << 14;

    private static readonly XmlReaderSettings s_settings = new() { DtdProcessing = DtdProcessing.Prohibit, XmlResolver = null, IgnoreComments = true };

    // What the names of .NET's own assemblies begin with, those of its desktop on Windows among them.
    private static readonly HashSet<string> s_shared = new(StringComparer.Ordinal)
    {
        "System", "Microsoft", "netstandard", "mscorlib", "Accessibility", "PresentationCore", "PresentationFramework", "ReachFramework", "UIAutomationClient",
        "UIAutomationClientSideProviders", "UIAutomationProvider", "UIAutomationTypes", "WindowsBase", "WindowsFormsIntegration",
    };

    private readonly HashSet<string> _seen = new(StringComparer.Ordinal);
    private readonly HashSet<UInt128> _told = [];
    private readonly HashSet<string> _contents = new(StringComparer.Ordinal);

    // Types without text, as long as no file has said something of them.
    private readonly Dictionary<string, Document> _silent = new(StringComparer.Ordinal);

    // Of a part: the whole's files, their names, whether any of the part's is one, and the types that those describe.
    private readonly string[]? _whole = whole;
    private readonly HashSet<string> _names = [.. (whole ?? []).Select(file => RelativePath(root, file))];
    private readonly HashSet<string> _asked = new(StringComparer.Ordinal);
    private bool _isAsked;

    /// <summary>Whether a file is documentation, or is broken before that can be told; XML of other kinds lies beside it in many folders.</summary>
    public static bool IsOne(string file)
    {
        byte[] bytes = new byte[HeadBytes];
        try
        {
            using FileStream stream = Open(file);
            bytes = bytes[..stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false)];
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return true; // what cannot be read is told of when it is
        }

        if (LfsPointer.Is(bytes) || PackedFile.EndingOf(bytes) is not null)
        {
            return true;
        }

        // The name of the root is of ASCII, which every encoding writes alike, but for a mark before it and bytes of zero between.
        string head = Encoding.Latin1.GetString(bytes).Replace("\0", "", StringComparison.Ordinal).TrimStart('\u00EF', '\u00BB', '\u00BF', '\u00FE', '\u00FF');
        try
        {
            using XmlReader reader = XmlReader.Create(new StringReader(head), s_settings);
            return reader.MoveToContent() == XmlNodeType.Element && reader.Name == "doc";
        }
        catch (XmlException exception)
        {
            // A file that has a definition of its type is none of ours, nor one that nowhere begins as the documentation does.
            return !exception.Message.Contains("DTD", StringComparison.Ordinal) && Root().IsMatch(head);
        }
    }

    public override IEnumerable<Document> Documents(string file)
    {
        if (!_names.Contains(NameOf(file)))
        {
            return Documents(file, isStranger: _whole is not null);
        }

        _isAsked = true;
        try
        {
            (string? assembly, List<(string Type, List<XElement> Members)> types) = Types(file, ReadBytes(file));
            _asked.UnionWith(types.Select(type => IdOf(type.Type, assembly, file)));
        }
        catch (CorpusException) when (Options.SkipBroken)
        {
            // It is counted where the whole is read.
        }

        return [];
    }

    public override IEnumerable<Document> Rest()
        => (_isAsked ? _whole! : []).SelectMany(file => Documents(file, isStranger: false))
            .Concat(_silent.Values.Where(document => Checked(document) is not null));

    private IEnumerable<Document> Documents(string file, bool isStranger)
    {
        // Packs hold copies of each other's files; parsing one twice would double the time.
        byte[]? bytes = Guarded(() => ReadBytes(file));
        if (bytes is null || (!isStranger && !_contents.Add(Convert.ToHexString(SHA256.HashData(bytes)))))
        {
            yield break;
        }

        (string? assembly, List<(string Type, List<XElement> Members)> types) = Guarded(() => Types(file, bytes)) ?? new(null, []);
        Dictionary<string, string[]> parameters = new(StringComparer.Ordinal);
        foreach (XElement member in types.SelectMany(type => type.Members))
        {
            if (MemberName.Parse((string)member.Attribute("name")!) is { Kind: 'T' } name)
            {
                parameters.TryAdd(name.Holder, GenericNames.In(member));
            }
        }

        GenericNames names = new(parameters);
        foreach ((string type, List<XElement> members) in types)
        {
            string name = NameOf(file), id = isStranger ? $"{type} ({name})" : IdOf(type, assembly, file);
            bool again = _seen.Contains(id), isAsked = _whole is null || isStranger || _asked.Contains(id);
            string title = MemberName.Display(type, names), text = Render(id, title, members, names, again);
            Document document = new(again ? $"{type} ({name})" : id, title, text, name);
            if (text.Length > 0)
            {
                _seen.Add(id);
                _silent.Remove(id);
                if (isAsked)
                {
                    yield return document;
                }
            }
            else if (!again && isAsked)
            {
                _silent.TryAdd(id, document);
            }
        }
    }

    /// <summary>The id of a type in an assembly, which no other assembly gives a type of its own but by chance.</summary>
    private static string IdOf(string type, string? assembly, string file)
    {
        assembly ??= Path.GetFileNameWithoutExtension(file);

        // The assemblies of .NET itself share their namespaces, and have no two public types of one name; an internal one that several describe is called as
        // it comes.
        bool isNamedByIt = type.StartsWith(assembly, StringComparison.Ordinal) && (type.Length == assembly.Length || type[assembly.Length] is '.' or '`');
        return isNamedByIt || s_shared.Contains(assembly.Split('.')[0]) ? type : $"{type} ({assembly})";
    }

    /// <summary>
    /// The assembly's name, where it is there, and its types in the order of their first appearance, each with its entries in the file's order, the type's own
    /// first.
    /// </summary>
    private Tuple<string?, List<(string Type, List<XElement> Members)>> Types(string file, byte[] bytes)
    {
        string? declared = TextDecoding.DeclaredInXml(bytes);
        string text = Decode(bytes, file, declared is not null && TextDecoding.Named(declared) is not null ? declared : null);
        string? assembly = null;
        List<(string Type, List<XElement> Members)> types = [];
        Dictionary<string, int> numbers = new(StringComparer.Ordinal);
        try
        {
            RequireShallow(file, text);
            using XmlReader reader = XmlReader.Create(new StringReader(text), s_settings);
            if (reader.MoveToContent() != XmlNodeType.Element || reader.Name != "doc")
            {
                // XML of another kind beside the documentation is none of ours.
                return new(null, types);
            }

            while (reader.Read())
            {
                if (reader.NodeType != XmlNodeType.Element || reader.Name is not ("assembly" or "member"))
                {
                    continue;
                }

                XElement member = (XElement)XNode.ReadFrom(reader.ReadSubtree() is var part && part.Read() ? part : reader);
                if (member.Name == "assembly")
                {
                    // With its version and more behind a comma in some.
                    assembly ??= ((string?)member.Element("name"))?.Split(',')[0].Trim() is { Length: > 0 } named ? named : null;
                    continue;
                }

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
            throw CorpusException.Broken(
                $"The file {file} is no well-formed XML: {exception.Message}", "Correct it, or skip what is broken (CorpusOptions.SkipBroken).", exception);
        }

        return new(assembly, types);
    }

    private static void RequireShallow(string file, string text)
    {
        using XmlReader reader = XmlReader.Create(new StringReader(text), s_settings);
        while (reader.Read())
        {
            if (reader.Depth > DeepestElement)
            {
                throw CorpusException.Broken(
                    $"The file {file} nests elements deeper than {DeepestElement} at line {((IXmlLineInfo)reader).LineNumber}, which no documentation does.",
                    "Correct it, or skip what is broken (CorpusOptions.SkipBroken).");
            }
        }
    }

    private string Render(string id, string title, List<XElement> members, GenericNames names, bool again)
    {
        MemberProse writer = new(names);
        StringBuilder text = new();
        bool described = false;
        foreach (XElement member in members)
        {
            string entry = (string)member.Attribute("name")!, prose = writer.Render(member);
            MemberName name = MemberName.Parse(entry);
            if (prose.Length == 0 || (!_told.Add(TextHash.Of($"{id} {entry} {prose}")) && again))
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

        return Cleaning.Clean(text.ToString());
    }

    [GeneratedRegex(@"<doc[\s>]")]
    private static partial Regex Root();
}

namespace Retro.Corpora;

/// <summary>
/// A collection of documents on disk, read one at a time: a folder of .txt and .md files (with those below it), a .jsonl file
/// (or a folder of them) with one object of <c>id</c>, <c>title</c> and <c>text</c> a line, or a folder of .NET XML documentation files.
/// Documents come in the same order every time.
/// </summary>
public sealed class Corpus
{
    private readonly DocumentReader _reader;

    private Corpus(string path, DocumentReader reader)
    {
        Path = path;
        _reader = reader;
    }

    /// <summary>Where the corpus lies.</summary>
    public string Path { get; }

    /// <summary>What it is made of: "text files", "JSON lines" or ".NET XML documentation".</summary>
    public string Kind => _reader.Kind;

    /// <summary>
    /// How many files, lines or types the last enumeration left out because they were broken; 0 unless <see cref="CorpusOptions.SkipBroken"/> is set.
    /// </summary>
    public int Skipped => _reader.Skipped;

    /// <summary>How many documents the last enumeration left out because they held no text.</summary>
    public int Empty => _reader.Empty;

    /// <summary>Opens a corpus.</summary>
    /// <param name="path">A folder or a file.</param>
    /// <param name="options">How to read it; null for the defaults.</param>
    /// <exception cref="CorpusException">There is nothing at the path, or nothing there that can be read.</exception>
    public static Corpus Open(string path, CorpusOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        options ??= new CorpusOptions();
        if (File.Exists(path))
        {
            return new Corpus(path, ReaderOf([path], System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path))!, options) ?? throw Unreadable(path));
        }

        if (!Directory.Exists(path))
        {
            throw new CorpusException(
                $"There is no folder or file {path}. Name a folder of .txt or .md files, a .jsonl file, or a folder of .NET XML documentation files.");
        }

        try
        {
            return new Corpus(path, ReaderOf(FilesBelow(path), path, options) ?? throw Unreadable(path));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CorpusException($"The folder {path} cannot be listed: {exception.Message} Give this user the right to read it.", exception);
        }
    }

    /// <summary>
    /// The XML documentation of the reference packs that come with the .NET SDK: tens of MB of real text on every machine that can build this.
    /// What several packs hold is read once.
    /// </summary>
    /// <exception cref="CorpusException">No reference pack with documentation is found beside the running .NET.</exception>
    public static Corpus DotNetReferencePacks()
    {
        List<string> looked = [];
        foreach (string root in DotNetRoots().Distinct(StringComparer.Ordinal))
        {
            string packs = System.IO.Path.Combine(root, "packs");
            looked.Add(packs);
            if (!Directory.Exists(packs))
            {
                continue;
            }

            string[] files = Directory.EnumerateDirectories(packs, "*.Ref")
                .SelectMany(pack => Directory.EnumerateFiles(pack, "*.xml", SearchOption.AllDirectories))
                .Where(file => System.IO.Path.GetRelativePath(packs, file).Split(System.IO.Path.DirectorySeparatorChar) is [_, _, "ref", _, _])
                .Order(StringComparer.Ordinal)
                .ToArray();
            if (files.Length > 0)
            {
                return new Corpus(packs, new XmlDocumentationReader(files, packs, new CorpusOptions()));
            }
        }

        throw new CorpusException(
            $"No reference pack with XML documentation was found (looked in {string.Join(", ", looked)}). Install the .NET SDK, or name a corpus of your own.");
    }

    /// <summary>Reads the documents, one at a time; every enumeration reads them anew.</summary>
    /// <exception cref="CorpusException">Something cannot be read, or the corpus holds no text at all.</exception>
    public IEnumerable<Document> Documents()
    {
        _reader.Reset();
        bool any = false;
        foreach (Document document in _reader.Documents())
        {
            any = true;
            yield return document;
        }

        if (!any)
        {
            throw new CorpusException(
                $"The corpus {Path} holds no text: {_reader.Empty} documents are empty and {_reader.Skipped} are broken. Name a folder or file with text.");
        }
    }

    private static DocumentReader? ReaderOf(IReadOnlyList<string> files, string root, CorpusOptions options)
    {
        string[] Ending(params string[] endings)
            => files.Where(file => endings.Contains(System.IO.Path.GetExtension(file), StringComparer.OrdinalIgnoreCase)).ToArray();

        if (Ending(".txt", ".md") is { Length: > 0 } texts)
        {
            return new TextFileReader(texts, root, options);
        }

        if (Ending(".jsonl") is { Length: > 0 } lines)
        {
            return new JsonLinesReader(lines, root, options);
        }

        return Ending(".xml") is { Length: > 0 } xml ? new XmlDocumentationReader(xml, root, options) : null;
    }

    /// <summary>Sorted by the relative path with '/', so that every system and every run sees the same order.</summary>
    private static string[] FilesBelow(string folder)
        => Directory.EnumerateFiles(
            folder,
            "*",
            new EnumerationOptions
            {
                RecurseSubdirectories = true,
                IgnoreInaccessible = false,
                AttributesToSkip = FileAttributes.Hidden | FileAttributes.System
            })
            .OrderBy(file => DocumentReader.RelativePath(folder, file), StringComparer.Ordinal)
            .ToArray();

    private static CorpusException Unreadable(string path)
        => new(
            $"{path} holds no .txt, .md, .jsonl or .xml file. Name a folder of .txt or .md files, a .jsonl file, or a folder of .NET XML documentation files.");

    private static IEnumerable<string> DotNetRoots()
    {
        // shared/Microsoft.NETCore.App/<version>/ lies three levels below the root of the installation that runs this.
        string? runtime = System.IO.Path.GetDirectoryName(typeof(object).Assembly.Location);
        if (!string.IsNullOrEmpty(runtime))
        {
            yield return System.IO.Path.GetFullPath(System.IO.Path.Combine(runtime, "..", "..", ".."));
        }

        if (Environment.GetEnvironmentVariable("DOTNET_ROOT") is { Length: > 0 } named)
        {
            yield return named;
        }

        if (System.IO.Path.GetDirectoryName(Environment.ProcessPath) is { Length: > 0 } host)
        {
            yield return host;
        }
    }
}

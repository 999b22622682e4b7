namespace Retro.Corpora;

/// <summary>
/// A collection of documents on disk, read one at a time: a file, or a folder with those below it, of the kinds that <see cref="DocumentKinds"/> names; every
/// kind that is there is read. Documents come in the same order every time. Left out, and counted in <see cref="LeftOut"/>, are files of other kinds, hidden
/// ones, pipes and devices, what a link leads to a second time, a tokenizer's vocab.txt and merges.txt beside its other files, folders that hold a
/// database or a run of Retro's own (unless one is the corpus itself), and pages that Retro's tool wrote, such as reports.
/// </summary>
public sealed class Corpus
{
    private const string Remedy =
        "Name a folder or file of text (.txt, .md, .html, .rst), of JSON lines (.jsonl, .json, packed: .gz, .zst), of tables with a column of texts (.csv, "
            + ".tsv, .parquet; CorpusOptions.Fields) or of .NET XML documentation (.xml).";

    private readonly CorpusFiles _files;
    private readonly string _root;
    private readonly CorpusOptions _options;
    private readonly string[]? _whole; // the names of the files of XML of the corpus that this is a part of
    private readonly Lazy<HashSet<string>> _names;
    private ReadingCounts _counts = new();

    private Corpus(string path, string root, CorpusFiles files, CorpusOptions options, string[]? whole = null)
    {
        Path = path;
        _root = root;
        _files = files;
        _options = options;
        _whole = whole;
        _names = new(() => [.. files.Files.Select(file => DocumentReader.RelativePath(root, file.Path))]);
        Files = files.Counts;
        string read = string.Join(", ", Files.Select(kind => $"{kind.Value} {kind.Key}"));
        Kind = files.LeftOut.Count == 0 ? read : $"{read} (left out: {Told(files.LeftOut)})";
    }

    /// <summary>Where the corpus lies.</summary>
    public string Path { get; }

    /// <summary>What it is made of and what was left out, in words: "12 Markdown, 1 JSON lines (left out: 3 .pdf)".</summary>
    public string Kind { get; }

    /// <summary>How many files are read of each kind, by its name.</summary>
    public IReadOnlyDictionary<string, int> Files { get; }

    /// <summary>How many files, or whole folders, are not read, by what they are: an ending such as ".pdf", a kind that was not asked for, "hidden".</summary>
    public IReadOnlyDictionary<string, int> LeftOut => _files.LeftOut;

    /// <summary>
    /// How many files, lines or types the last enumeration left out because they were broken; 0 unless <see cref="CorpusOptions.SkipBroken"/> is set.
    /// </summary>
    public int Skipped => _counts.Skipped;

    /// <summary>How many folders were left out because they cannot be listed, with <see cref="CorpusOptions.SkipBroken"/>.</summary>
    public int UnlistedFolders => _files.LeftOut.GetValueOrDefault(CorpusFiles.NotListed);

    /// <summary>The first of what is left out because it is broken, a sentence each that says why; folders that cannot be listed come first.</summary>
    public IReadOnlyList<string> SkippedExamples => [.. _files.Unlisted.Concat(_counts.Examples).Take(CleaningStepReport.MostExamples)];

    /// <summary>
    /// The patterns of <see cref="CorpusOptions.Include"/> and <see cref="CorpusOptions.Exclude"/> that no file of the folder matches; what is in folders that
    /// are left out whole is not looked at.
    /// </summary>
    public IReadOnlyList<string> Unmatched => _files.Unmatched;

    /// <summary>
    /// How many documents of the last enumeration held no text; they were left out unless <see cref="CorpusOptions.KeepEmpty"/> is set.
    /// </summary>
    public int Empty => _counts.Empty;

    /// <summary>Opens a corpus.</summary>
    /// <param name="path">A folder or a file.</param>
    /// <param name="options">What is read, and how; null for the defaults.</param>
    /// <exception cref="RetroOptionsException">An option is out of range.</exception>
    /// <exception cref="CorpusException">There is nothing at the path, or nothing there that can be read.</exception>
    public static Corpus Open(string path, CorpusOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        options = (options ?? new()).Validate();
        bool isFile = File.Exists(path);
        if (!isFile && !Directory.Exists(path))
        {
            throw new CorpusException($"There is no folder or file {path}. {Remedy}");
        }

        try
        {
            // Documents are read later, and more than once: they stay those of this folder wherever the process goes meanwhile.
            string full = System.IO.Path.GetFullPath(path), names = FolderOf(options.Root ?? full);
            CorpusFiles files = isFile ? CorpusFiles.Of(full, options) : CorpusFiles.Below(full, names, options);
            return files.Files.Count > 0 ? new Corpus(path, names, files, options, Whole(full, names, files, options))
                : options.Include.Intersect(files.Mistaken).Any() ? throw NotMatched(files.Mistaken, (path, files))
                : throw new CorpusException(
                    $"{path} holds no .txt, .md, .html, .rst, .jsonl, .csv, .parquet or .xml file that is asked for"
                        + $"{(files.LeftOut.Count > 0 ? $" (left out: {Told(files.LeftOut)})" : "")}. {Remedy}");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CorpusException($"The files of {path} cannot be listed: {exception.Message} Give this user the right to read them.", exception);
        }
    }

    /// <summary>
    /// Refuses patterns that no file matches, which may be meant otherwise, but for those of <see cref="CorpusOptions.Exclude"/> that may match what is in
    /// folders that are left out whole, as hidden ones are.
    /// </summary>
    /// <exception cref="CorpusException">There are some; the message says what files there are.</exception>
    public void RequireMatched() => RequireMatched([this]);

    /// <summary>The same of several corpora that are read together: a pattern that matches in one of them is none that is meant otherwise.</summary>
    /// <param name="corpora">The corpora, opened with the same patterns; a single file has none.</param>
    /// <exception cref="CorpusException">Some match in none of them; the message says what files there are.</exception>
    public static void RequireMatched(IReadOnlyList<Corpus> corpora)
    {
        ArgumentNullException.ThrowIfNull(corpora);
        string[] mistaken = corpora.Count == 0 ? []
            : [.. corpora[0]._files.Mistaken.Where(pattern => corpora.All(corpus => corpus._files.Mistaken.Contains(pattern)))];
        if (mistaken.Length > 0)
        {
            throw NotMatched(mistaken, [.. corpora.Select(corpus => (corpus.Path, corpus._files))]);
        }
    }

    /// <summary>
    /// Whether a document that came from here once, and is not among <see cref="Documents"/> now, is gone: its file is read and does not hold it any more, or
    /// is there no more. One whose file is left out now, by a pattern for instance, is not.
    /// </summary>
    /// <param name="location">The document's location, with the <see cref="CorpusOptions.Root"/> of this corpus.</param>
    /// <returns>Null: that cannot be told, since the file lies behind a link to nothing, as one to a disk that is away, or where this user may not
    /// look.</returns>
    public bool? IsGone(string location)
    {
        ArgumentNullException.ThrowIfNull(location);
        string withoutLine = location.TrimEnd("0123456789".ToCharArray());
        string[] names = withoutLine.Length < location.Length && withoutLine.EndsWith(':') ? [location, withoutLine[..^1]] : [location];
        if (names.Any(_names.Value.Contains))
        {
            return true;
        }

        bool?[] there = Array.ConvertAll(names, name => FileIdentity.IsThere(_root, name));
        return there.Contains(true) ? false : there.Contains(null) ? null : true;
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
                return new Corpus(packs, packs, CorpusFiles.Of(files, DocumentKinds.XmlDocumentation), new CorpusOptions());
            }
        }

        throw new CorpusException(
            $"No reference pack with XML documentation was found (looked in {string.Join(", ", looked)}). Install the .NET SDK, or name a corpus of your own.");
    }

    /// <summary>Reads the documents, one at a time; every enumeration reads them anew.</summary>
    /// <exception cref="CorpusException">Something cannot be read, or the corpus holds no text at all.</exception>
    public IEnumerable<Document> Documents()
    {
        ReadingCounts counts = _counts = new();
        Dictionary<DocumentKinds, DocumentReader> readers = [];
        bool any = false;
        foreach ((string file, DocumentKinds kind) in _files.Files)
        {
            if (!readers.TryGetValue(kind, out DocumentReader? reader))
            {
                readers[kind] = reader = kind switch
                {
                    DocumentKinds.JsonLines => new JsonLinesReader(_root, _options, counts),
                    DocumentKinds.Csv => new CsvReader(_root, _options, counts),
                    DocumentKinds.Parquet => new ParquetTableReader(_root, _options, counts),
                    DocumentKinds.XmlDocumentation => new XmlDocumentationReader(_root, _options, counts, _whole),
                    DocumentKinds.Text when _options.Separator is not null => new SeparatedTextReader(_root, _options, counts),
                    _ => new TextFileReader(kind, _root, _options, counts),
                };
            }

            foreach (Document document in reader.Documents(file))
            {
                any = true;
                yield return document;
            }
        }

        foreach (Document document in readers.Values.SelectMany(reader => reader.Rest()))
        {
            any = true;
            yield return document;
        }

        if (!any)
        {
            throw new CorpusException(
                $"The corpus {Path} holds no text: {counts.Empty} documents are empty and {counts.Skipped} are broken. Name a folder or file with text.");
        }
    }

    /// <summary>What a part's files of XML have to be read with, as the documents of one depend on those before it; null: nothing but themselves.</summary>
    private static string[]? Whole(string full, string names, CorpusFiles files, CorpusOptions options)
    {
        if (options.Root is null || files.Files.All(file => file.Kind != DocumentKinds.XmlDocumentation))
        {
            return null;
        }

        string root = System.IO.Path.GetFullPath(options.Root);
        if (System.IO.Path.TrimEndingDirectorySeparator(root) == System.IO.Path.TrimEndingDirectorySeparator(full))
        {
            return null;
        }

        CorpusFiles? whole = File.Exists(root) ? CorpusFiles.Of(root, options) : Directory.Exists(root) ? CorpusFiles.Below(root, names, options) : null;
        return [.. (whole?.Files ?? []).Where(file => file.Kind == DocumentKinds.XmlDocumentation).Select(file => file.Path)];
    }

    private static CorpusException NotMatched(IEnumerable<string> patterns, params (string Path, CorpusFiles Files)[] looked)
    {
        string paths = string.Join(" or ", looked.Select(one => one.Path)), named = string.Join(" or ", patterns.Select(pattern => $"\"{pattern}\""));
        string held = string.Join("; ", looked.Select(one => $"{(looked.Length == 1 ? "it" : one.Path)} holds {one.Files.Found}"));
        return new(
            $"No file of {paths} matches {named}; {held}. Give patterns of paths below it, such as \"guide/**/*.md\" or \"**/*.txt\", in which upper and lower "
                + "case differ (CorpusOptions.Include, CorpusOptions.Exclude).");
    }

    private static string FolderOf(string path)
        => System.IO.Path.GetFullPath(path) is var full && File.Exists(full) ? System.IO.Path.GetDirectoryName(full)! : full;

    private static string Told(IReadOnlyDictionary<string, int> counts) => string.Join(", ", counts.Select(count => $"{count.Value} {count.Key}"));

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

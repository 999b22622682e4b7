using Microsoft.Extensions.FileSystemGlobbing;

namespace Retro.Corpora;

/// <summary>The files of a corpus with the kind of each, and a count of all that was found and is left out.</summary>
internal sealed class CorpusFiles
{
    /// <summary>What <see cref="LeftOut"/> calls folders that cannot be listed.</summary>
    public const string NotListed = "folders that cannot be listed";

    // A folder that holds one of these was written by Retro or its tool: what is in it is no text to learn from.
    private static readonly string[] s_ownMarks = [".retro", "retro.json", "training.safetensors", Path.Combine("building", "journal.jsonl")];

    // Lists of a tokenizer's pieces, where one of these others lies beside them: models are met in folders of text, with their cards.
    private static readonly string[] s_pieces = ["vocab.txt", "merges.txt"], s_besidePieces = ["config.json", "tokenizer_config.json", "vocab.json"];

    private static readonly (DocumentKinds Kind, string Name, string[] Endings)[] s_kinds =
    [
        (DocumentKinds.Text, "text", [".txt", ".text"]),
        (DocumentKinds.Markdown, "Markdown", [".md", ".markdown"]),
        (DocumentKinds.Html, "HTML", [".html", ".htm", ".xhtml"]),
        (DocumentKinds.RestructuredText, "reStructuredText", [".rst"]),
        (DocumentKinds.JsonLines, "JSON lines", [".jsonl", ".ndjson"]),
        (DocumentKinds.XmlDocumentation, ".NET XML documentation", [".xml"]),
        (DocumentKinds.Csv, "CSV", [".csv", ".tsv"]),
        (DocumentKinds.Parquet, "Parquet", [".parquet"]),
    ];

    // Kinds that are read packed. Packed pages of HTML lie beside those that they were made of, for servers; Parquet packs by itself.
    private static readonly DocumentKinds[] s_packed =
        [DocumentKinds.Text, DocumentKinds.Markdown, DocumentKinds.RestructuredText, DocumentKinds.JsonLines, DocumentKinds.Csv];

    private readonly string _root;
    private readonly string _base; // where the paths begin that patterns are compared with
    private readonly CorpusOptions _options;
    private readonly Matcher _patterns = new(StringComparison.Ordinal);
    private readonly Matcher _folders = new(StringComparison.Ordinal); // of which nothing is read
    private readonly List<(string Pattern, Matcher Matcher)> _unmatched; // each by itself, as long as no file matches it
    private readonly HashSet<string> _unsure = new(StringComparer.Ordinal); // patterns that may match files in folders that were not entered
    private readonly SortedDictionary<string, int> _endings = new(StringComparer.Ordinal);
    private readonly List<string> _names = [];
    private readonly OrderedDictionary<string, string> _unlisted = new(StringComparer.Ordinal); // why, by folder
    private readonly HashSet<string> _seen = new(StringComparer.Ordinal);
    private List<(string Path, DocumentKinds Kind)> _files = [];
    private bool _isNamed; // one file alone, which is what is meant, whatever it holds
    private readonly SortedDictionary<string, int> _leftOut = new(StringComparer.Ordinal);

    private CorpusFiles(string root, string names, CorpusOptions options)
    {
        _root = root;
        _options = options;

        // A part of a corpus has the patterns of the whole.
        string way = DocumentReader.RelativePath(names, root);
        _base = way == ".." || way.StartsWith("../", StringComparison.Ordinal) || Path.IsPathRooted(way) ? root : names;
        _unmatched = [.. options.Include.Concat(options.Exclude).Distinct(StringComparer.Ordinal).Select(pattern
            => (pattern, new Matcher(StringComparison.Ordinal).AddInclude(pattern)))];
        _patterns.AddIncludePatterns(options.Include.DefaultIfEmpty("**/*"));
        _patterns.AddExcludePatterns(options.Exclude);
        _folders.AddIncludePatterns(options.Exclude.Where(pattern => pattern.EndsWith("/**", StringComparison.Ordinal)));
    }

    /// <summary>The files, sorted by their relative paths with '/', so that every system and every run sees the same order.</summary>
    public IReadOnlyList<(string Path, DocumentKinds Kind)> Files => _files;

    /// <summary>How many files there are of each kind, by the kind's name.</summary>
    public IReadOnlyDictionary<string, int> Counts
        => s_kinds.Select(kind => (kind.Name, Count: _files.Count(file => file.Kind == kind.Kind)))
            .Where(kind => kind.Count > 0)
            .ToDictionary(kind => kind.Name, kind => kind.Count, StringComparer.Ordinal);

    /// <summary>How many files, or folders, were left out, by what they are.</summary>
    public IReadOnlyDictionary<string, int> LeftOut => _leftOut;

    /// <summary>The patterns that no file matches.</summary>
    public IReadOnlyList<string> Unmatched => [.. _unmatched.Select(one => one.Pattern)];

    /// <summary>Those of <see cref="Unmatched"/> that ask for files, or cannot match what is in the folders that were not entered.</summary>
    public IReadOnlyList<string> Mistaken => [.. Unmatched.Where(pattern => !_unsure.Contains(pattern))];

    /// <summary>The folders that could not be listed, a sentence each, of the first of them.</summary>
    public IReadOnlyList<string> Unlisted => [.. _unlisted.Values.Take(CleaningStepReport.MostExamples)];

    /// <summary>What files there are, whatever the patterns say, in words.</summary>
    public string Found => _names.Count == 0
        ? "no file at all"
        : $"{string.Join(", ", _endings.Select(ending => $"{ending.Value} {ending.Key}"))}, such as {string.Join(", ", _names)}";

    /// <summary>One file that was named, by its full path; the patterns do not matter.</summary>
    public static CorpusFiles Of(string file, CorpusOptions options)
    {
        string folder = Path.GetDirectoryName(file)!;
        CorpusFiles files = new(folder, folder, options with { Include = [], Exclude = [] }) { _isNamed = true };
        files.Take(file, files.OnlyKind() is var only and not DocumentKinds.None ? only : KindOf(file));
        return files;
    }

    /// <summary>Files of a kind that are known to be there.</summary>
    public static CorpusFiles Of(IEnumerable<string> files, DocumentKinds kind)
    {
        CorpusFiles known = new(Path.DirectorySeparatorChar.ToString(), Path.DirectorySeparatorChar.ToString(), new());
        known._files.AddRange(files.Select(file => (file, kind)));
        return known;
    }

    /// <summary>
    /// The files of a folder and of those below it. Links are followed after all else, so that what has a place of its own is read there, once.
    /// </summary>
    /// <param name="folder">The folder's full path.</param>
    /// <param name="names">Where the paths of the documents begin.</param>
    /// <param name="options">What is read.</param>
    public static CorpusFiles Below(string folder, string names, CorpusOptions options)
    {
        CorpusFiles files = new(folder, names, options);
        Queue<string> links = [];
        files.Walk(folder, links);
        while (links.Count > 0)
        {
            string link = links.Dequeue();
            files.Ask(link, () => files.Follow(link, links));
        }

        files._files = [.. files._files.OrderBy(file => DocumentReader.RelativePath(folder, file.Path), StringComparer.Ordinal)];
        return files;
    }

    private static DocumentKinds KindOf(string file)
    {
        string ending = Path.GetExtension(PackedFile.WithoutEnding(file));
        DocumentKinds kind = Array.Find(s_kinds, kind => kind.Endings.Contains(ending, StringComparer.OrdinalIgnoreCase)).Kind;
        return s_packed.Contains(kind) || PackedFile.WithoutEnding(file) == file ? kind : DocumentKinds.None;
    }

    private static bool IsOwn(string folder)
        => Array.Exists(s_ownMarks, mark => File.Exists(Path.Combine(folder, mark)))
            || (File.Exists(Path.Combine(folder, "manifest.json")) && FoldersOfTokens(folder).Any(HoldsTokens));

    // Those of a database that was compacted lie below it alone.
    private static string[] FoldersOfTokens(string database)
    {
        string segments = Path.Combine(database, "segments");
        return Directory.Exists(segments) ? [database, .. Directory.EnumerateDirectories(segments)] : [database];
    }

    private static bool HoldsTokens(string folder) => Directory.EnumerateFiles(folder, "tokens*.bin").Any();

    private static bool IsOfTokenizer(string file)
        => s_pieces.Contains(Path.GetFileName(file)) && Array.Exists(s_besidePieces, other => File.Exists(Path.Combine(Path.GetDirectoryName(file)!, other)));

    // Whether files below a folder can match a pattern: part by part it has the names that lead there, or stands for any.
    private static bool MayMatchBelow(string pattern, string folder)
    {
        string[] parts = pattern.Split('/', '\\'), names = folder.Split('/');
        for (int i = 0; i < parts.Length && i < names.Length; i++)
        {
            if (parts[i] is "" or "." or ".." || parts[i].StartsWith("**", StringComparison.Ordinal))
            {
                return true;
            }

            if (parts[i] != names[i] && !parts[i].Contains('*', StringComparison.Ordinal))
            {
                return false;
            }
        }

        return parts.Length > names.Length;
    }

    private void Follow(string link, Queue<string> links)
    {
        if (!FileIdentity.LeadsSomewhere(link))
        {
            PassOver(link, isFolder: false, "links to nothing");
        }
        else if (Directory.Exists(link))
        {
            Walk(link, links);
        }
        else
        {
            TakeMatching(link);
        }
    }

    private void Walk(string start, Queue<string> links)
    {
        Stack<string> folders = new([start]);
        while (folders.Count > 0)
        {
            string folder = folders.Pop();
            FileSystemInfo[] entries = [];
            Ask(folder, () => entries = EntriesOf(folder));
            foreach (FileSystemInfo entry in entries)
            {
                // Of an entry that the system does not tell of, the folder is at fault, unless it is one itself, such as a mount that is gone.
                Ask(entry is DirectoryInfo ? entry.FullName : folder, () => Classify(entry, folders, links));
            }
        }
    }

    /// <summary>What lies in a folder, in the order of the names; nothing where it is left out.</summary>
    private FileSystemInfo[] EntriesOf(string folder)
    {
        if (!_seen.Add(FileIdentity.Of(folder)))
        {
            PassOver(folder, isFolder: true, "folders reached twice");
            return [];
        }

        if (folder != _root && IsOwn(folder))
        {
            PassOver(folder, isFolder: true, "folders that Retro wrote");
            return [];
        }

        return [.. new DirectoryInfo(folder).EnumerateFileSystemInfos().OrderBy(entry => entry.Name, StringComparer.Ordinal)];
    }

    private void Classify(FileSystemInfo entry, Stack<string> folders, Queue<string> links)
    {
        const string Hidden = "hidden";
        bool isFolder = entry is DirectoryInfo;

        if (entry.FullName.Length == 0)
        {
            throw new PathTooLongException("the path of a file in it is longer than the system takes."); // .NET gives such an entry no path at all
        }

        // Names come first: of what they leave out the system, which may not answer, is not asked.
        if (entry.Name.StartsWith('.'))
        {
            PassOver(entry.FullName, isFolder, Hidden);
        }
        else if (isFolder && _folders.Match(AnyBelow(entry.FullName)).HasMatches)
        {
            Match(AnyBelow(entry.FullName));
            PassOver(entry.FullName, isFolder, "by pattern");
        }
        else if ((int)entry.Attributes == -1)
        {
            // Nothing is there by the name that .NET gives: it has no other for a name of bytes that are no UTF-8.
            PassOver(entry.FullName, isFolder, entry.Name.Contains('\uFFFD', StringComparison.Ordinal) ? "names that are no UTF-8" : "gone meanwhile");
        }
        else if ((entry.Attributes & (FileAttributes.Hidden | FileAttributes.System)) != 0)
        {
            PassOver(entry.FullName, isFolder, Hidden);
        }
        else if (entry.LinkTarget is not null)
        {
            links.Enqueue(entry.FullName);
        }
        else if (isFolder)
        {
            folders.Push(entry.FullName);
        }
        else
        {
            TakeMatching(entry.FullName);
        }
    }

    /// <summary>Does what asks the system of a folder; where that does not answer, the folder is left out, if the options say so.</summary>
    private void Ask(string folder, Action ask)
    {
        try
        {
            ask();
        }
        catch (Exception exception) when (_options.SkipBroken && folder != _root && exception is IOException or UnauthorizedAccessException)
        {
            if (_unlisted.TryAdd(folder, $"The folder {folder} cannot be listed: {exception.Message}"))
            {
                PassOver(folder, isFolder: true, NotListed);
            }
        }
    }

    private void TakeMatching(string file)
    {
        string relative = DocumentReader.RelativePath(_base, file);
        DocumentKinds kind = KindOf(file);
        if (!FileIdentity.IsFile(file))
        {
            PassOver(file, isFolder: false, "pipes and devices");
            return;
        }

        Find(relative);
        if (!_patterns.Match(relative).HasMatches)
        {
            LeaveOut("by pattern");
        }
        else if (IsOfTokenizer(file))
        {
            LeaveOut("lists of a tokenizer's pieces");
        }
        else
        {
            Take(file, kind == DocumentKinds.None && _options.Include.Count > 0 ? OnlyKind() : kind);
        }
    }

    /// <summary>The one kind that is asked for; none where there are several.</summary>
    private DocumentKinds OnlyKind() => Array.Exists(s_kinds, kind => kind.Kind == _options.Kinds) ? _options.Kinds : DocumentKinds.None;

    private void Take(string file, DocumentKinds kind)
    {
        kind = kind == DocumentKinds.None && IsJsonLines(file) ? DocumentKinds.JsonLines : kind;
        if (kind == DocumentKinds.None)
        {
            LeaveOut(EndingOf(file));
        }
        else if ((kind & _options.Kinds) == 0)
        {
            LeaveOut(Array.Find(s_kinds, known => known.Kind == kind).Name);
        }
        else if (kind == DocumentKinds.XmlDocumentation && !XmlDocumentationReader.IsOne(file))
        {
            LeaveOut("other .xml");
        }
        else if (IsOtherTable(file, kind))
        {
            LeaveOut($"tables without a column \"{_options.Fields.Text}\"");
        }
        else if (kind == DocumentKinds.Html && HtmlText.IsOwn(file))
        {
            LeaveOut("pages that Retro wrote");
        }
        else if (!_seen.Add(FileIdentity.Of(file)))
        {
            LeaveOut("files reached twice");
        }
        else
        {
            _files.Add((file, kind));
        }
    }

    /// <summary>
    /// Whether a file is a table of something else than documents, such as one of numbers beside pages; what cannot be read may be one of documents.
    /// </summary>
    private bool IsOtherTable(string file, DocumentKinds kind)
    {
        try
        {
            return !_isNamed && OnlyKind() != kind && kind switch
            {
                DocumentKinds.Csv => !CsvReader.HasTexts(file, _options),
                DocumentKinds.Parquet => !ParquetTableReader.HasTexts(file, _options),
                _ => false,
            };
        }
        catch (CorpusException)
        {
            return false;
        }
    }

    /// <summary>Whether a file that may hold any JSON holds documents, line by line; what cannot be read may.</summary>
    private bool IsJsonLines(string file)
    {
        try
        {
            return (_options.Kinds & DocumentKinds.JsonLines) != 0
                && Path.GetExtension(PackedFile.WithoutEnding(file)).Equals(".json", StringComparison.OrdinalIgnoreCase)
                && (_isNamed || JsonLinesReader.HasTexts(file, _options));
        }
        catch (CorpusException)
        {
            return true;
        }
    }

    private static string EndingOf(string file)
    {
        // Of what is packed, with that of what it holds.
        string unpacked = PackedFile.WithoutEnding(file);
        string ending = (unpacked == file ? "" : Path.GetExtension(unpacked)) + Path.GetExtension(file);
        return ending.Length > 1 ? ending.ToLowerInvariant() : "without an ending";
    }

    private void Find(string relative)
    {
        const int MostNames = 3;
        _endings[EndingOf(relative)] = _endings.GetValueOrDefault(EndingOf(relative)) + 1;
        if (_names.Count < MostNames)
        {
            _names.Add(relative);
        }

        Match(relative);
    }

    // Patterns are compared with files: what leaves out this one, which need not be there, leaves out all that could be.
    private string AnyBelow(string folder) => DocumentReader.RelativePath(_base, folder) + "/any";

    private void Match(string relative) => _unmatched.RemoveAll(one => one.Matcher.Match(relative).HasMatches);

    /// <summary>Leaves out what is no file to read, or a whole folder: a pattern that leaves it out, too, or what may be in it, is no mistake.</summary>
    private void PassOver(string path, bool isFolder, string what)
    {
        LeaveOut(what);
        string relative = DocumentReader.RelativePath(_base, path);
        foreach ((string pattern, Matcher matcher) in _unmatched.Where(one => !_options.Include.Contains(one.Pattern)).ToList())
        {
            if (matcher.Match(relative).HasMatches || (isFolder && matcher.Match(AnyBelow(path)).HasMatches))
            {
                _unmatched.Remove((pattern, matcher));
            }
            else if (isFolder && MayMatchBelow(pattern, relative))
            {
                _unsure.Add(pattern);
            }
        }
    }

    private void LeaveOut(string what) => _leftOut[what] = _leftOut.GetValueOrDefault(what) + 1;
}

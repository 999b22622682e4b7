using Microsoft.Extensions.FileSystemGlobbing;

namespace Retro.Corpora;

/// <summary>What of a corpus is read, and how. Checked by <see cref="Validate"/>.</summary>
public sealed record CorpusOptions
{
    private const string Patterns = "patterns of paths, such as \"guide/**/*.md\", which have no \"..\" in their middle";

    /// <summary>
    /// The kinds of files that are read; all by default. Where one kind alone is named, a corpus of a single file is read as that kind whatever the file's
    /// ending, and of a folder the files that <see cref="Include"/> names are, unless their endings are those of another kind, which is left out. Such files
    /// may be packed with gzip or Zstandard.
    /// </summary>
    public DocumentKinds Kinds { get; init; } = DocumentKinds.All;

    /// <summary>
    /// Patterns of the files that are read, such as "guide/**/*.md", compared with paths relative to the corpus's folder, of a part of the corpus at
    /// <see cref="Root"/> with those from there; upper and lower case differ. Every file by default. What matches none is in <see cref="Corpus.Unmatched"/>.
    /// </summary>
    public IReadOnlyList<string> Include { get; init; } = [];

    /// <summary>
    /// Patterns of files that are left out, such as "**/LICENSE*"; they win over <see cref="Include"/>. Folders that one ending in "/**" leaves out whole, such
    /// as "**/node_modules/**", are not entered. None by default. What matches none is in <see cref="Corpus.Unmatched"/>.
    /// </summary>
    public IReadOnlyList<string> Exclude { get; init; } = [];

    /// <summary>
    /// The encoding of files that are not UTF-8, such as "windows-1252" or "utf-16"; null (the default), and there must be none. A file that is UTF-8 (of JSON
    /// lines, most of those that are not ASCII) is read as that in any case. HTML and XML files that name their encoding need no other, unless they are not of
    /// it, nor do files that begin with a mark of UTF-16 or UTF-32.
    /// </summary>
    public string? Encoding { get; init; }

    /// <summary>
    /// Bytes that a document may have, as they lie in its file or line; 128 MiB by default. A longer one is broken: while a document is read, a few times its
    /// length is held in memory.
    /// </summary>
    public int MaximumDocumentBytes { get; init; } = 1 << 27;

    /// <summary>
    /// Leaves out what cannot be read (bytes of another encoding, broken JSON lines, malformed XML, documents that are too long) and counts it in
    /// <see cref="Corpus.Skipped"/>, or in <see cref="Corpus.LeftOut"/> where it is a folder that cannot be listed, instead of stopping with a
    /// <see cref="CorpusException"/> that names file and place.
    /// </summary>
    public bool SkipBroken { get; init; }

    /// <summary>
    /// Keeps the YAML between two lines of "---", or the TOML between two of "+++", at the head of a Markdown file. It holds settings of a web site more often
    /// than text.
    /// </summary>
    public bool KeepFrontMatter { get; init; }

    /// <summary>
    /// The line that parts the documents of a file of plain text (.txt, .text), such as "&lt;|endoftext|&gt;" or "---", white space around it aside, and not of
    /// that alone; "" for empty lines. They are called by the file and a hash of their text ("stories.txt#93a44bbb96c75121"), as rows of JSON lines without an
    /// id are, so that one keeps its id when others come before it; a file may be of any length. Null (the default): a file is a document, which a model that
    /// reads other documents than its own has nothing to find in where it is the only one.
    /// </summary>
    public string? Separator { get; init; }

    /// <summary>What is called how in JSON lines, CSV and Parquet; "text", "id", "title" and "labels" by default.</summary>
    public DocumentFields Fields { get; init; } = new();

    /// <summary>
    /// Puts the file's name before the ids of JSON lines and of rows of tables ("part-1.jsonl:7"), for shards in which they start again. False by default: an
    /// id that comes twice is then reported when a database is built.
    /// </summary>
    public bool IdsByFile { get; init; }

    /// <summary>
    /// The folder, or that of the file, that paths in ids and locations begin at: a page, or a folder, of the corpus that a database was built of is then
    /// called as it is there, and one from elsewhere by the way to it ("../news/ferry.md"), so that it takes nobody's place. Of XML documentation, of
    /// which several files may describe one type, a part gives all documents that the whole has of the types in it, those in other files among them. Null (the
    /// default): the corpus's own folder, or that of its file.
    /// </summary>
    public string? Root { get; init; }

    /// <summary>
    /// Gives documents that hold no text, too, without one: what is there of them, <see cref="Database.ChunkDatabaseUpdate"/> takes out. False by default:
    /// they are left out. Counted in <see cref="Corpus.Empty"/> either way.
    /// </summary>
    public bool KeepEmpty { get; init; }

    /// <summary>Checks the values.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">Something is out of range; the exception lists every fault.</exception>
    public CorpusOptions Validate()
    {
        OptionFaults faults = new(nameof(CorpusOptions));
        faults.Require(Kinds != DocumentKinds.None && (Kinds & ~DocumentKinds.All) == 0, Kinds, "one or more of the kinds");
        faults.Require(Include is not null && Include.All(IsPattern), Include, Patterns);
        faults.Require(Exclude is not null && Exclude.All(IsPattern), Exclude, Patterns);
        faults.Require(Encoding is null || TextDecoding.Named(Encoding) is not null, Encoding, "the name of an encoding, such as windows-1252, or null");
        faults.Require(
            string.IsNullOrEmpty(Separator) || (Separator.AsSpan().Trim() is { IsEmpty: false } line && !line.ContainsAny('\n', '\r')),
            Separator,
            "one line that is not of white space alone, \"\" or null");
        faults.Require(
            Fields is not null && Fields.Names.All(name => !string.IsNullOrEmpty(name)), Fields, "names that are not empty, of text, id, title and labels");
        faults.Require(Root is null || !string.IsNullOrWhiteSpace(Root), Root, "a folder, or null");
        faults.Between(MaximumDocumentBytes, 1, 1 << 29); // of which a string can be made
        faults.Throw();
        return this;
    }

    private static bool IsPattern(string pattern)
    {
        try
        {
            return !string.IsNullOrWhiteSpace(pattern) && new Matcher().AddInclude(pattern) is not null;
        }
        catch (ArgumentException)
        {
            return false;
        }
    }
}

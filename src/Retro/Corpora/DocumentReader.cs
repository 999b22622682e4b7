namespace Retro.Corpora;

/// <summary>Reads the documents of one kind of files, and counts what it leaves out.</summary>
internal abstract class DocumentReader(IReadOnlyList<string> files, string root, CorpusOptions options)
{
    // A .NET string holds no more; a single document of this size is a corpus in one file.
    protected const int LongestDocument = 1 << 29;

    public abstract string Kind { get; }

    public int Skipped { get; private set; }

    public int Empty { get; private set; }

    protected IReadOnlyList<string> Files { get; } = files;

    protected CorpusOptions Options { get; } = options;

    public static string RelativePath(string root, string file)
        => Path.GetRelativePath(root, file).Replace(Path.DirectorySeparatorChar, '/');

    public abstract IEnumerable<Document> Documents();

    public void Reset()
    {
        Skipped = 0;
        Empty = 0;
    }

    protected string NameOf(string file) => RelativePath(root, file);

    /// <summary>Gives the document, or counts it where it holds no text.</summary>
    protected Document? Checked(Document document)
    {
        if (document.Text.Length > 0)
        {
            return document;
        }

        Empty++;
        return null;
    }

    /// <summary>Runs a read; what is broken is counted where the options say so.</summary>
    protected T? Guarded<T>(Func<T?> read)
        where T : class
    {
        try
        {
            return read();
        }
        catch (CorpusException) when (Options.SkipBroken)
        {
            Skipped++;
            return null;
        }
    }

    protected static byte[] ReadBytes(string file)
    {
        try
        {
            long length = new FileInfo(file).Length;
            return length <= LongestDocument
                ? File.ReadAllBytes(file)
                : throw new CorpusException(
                    $"The file {file} is {length} bytes long, more than the {LongestDocument} that one document may have. Split it into documents.");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(file, exception);
        }
    }

    protected static CorpusException Unreadable(string file, Exception exception)
        => new($"The file {file} cannot be read: {exception.Message} Give this user the right to read it, or take it out of the corpus.", exception);
}

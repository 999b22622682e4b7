namespace Retro.Corpora;

/// <summary>Reads the documents of one kind of files, and counts what it leaves out.</summary>
internal abstract class DocumentReader(string root, CorpusOptions options, ReadingCounts counts)
{
    protected CorpusOptions Options { get; } = options;

    public static string RelativePath(string root, string file)
        => Path.GetRelativePath(root, file).Replace(Path.DirectorySeparatorChar, '/');

    /// <summary>The documents of a file; the files of a reader come one after another.</summary>
    public abstract IEnumerable<Document> Documents(string file);

    /// <summary>The documents that only the last file decides of; asked for behind it.</summary>
    public virtual IEnumerable<Document> Rest() => [];

    protected string NameOf(string file) => RelativePath(root, file);

    /// <summary>Gives the document, and counts it where it holds no text; null where such a one is not to come.</summary>
    protected Document? Checked(Document document)
    {
        bool isEmpty = document.Text.Length == 0;
        counts.Empty += isEmpty ? 1 : 0;
        return isEmpty && !Options.KeepEmpty ? null : document;
    }

    /// <summary>Runs a read; what is broken is counted where the options say so.</summary>
    protected T? Guarded<T>(Func<T?> read)
        where T : class
    {
        try
        {
            return read();
        }
        catch (CorpusException fault) when (Options.SkipBroken)
        {
            counts.Skip(fault.What);
            return null;
        }
    }

    /// <summary>A file's bytes, as far as a document may have them. The length that the system tells is not relied on: some files have none.</summary>
    protected byte[] ReadBytes(string file)
    {
        try
        {
            using FileStream stream = Open(file);
            using MemoryStream bytes = new((int)Math.Min(stream.Length, Options.MaximumDocumentBytes));
            byte[] buffer = new byte[1 << 16];
            for (int read; (read = stream.Read(buffer)) > 0;)
            {
                if (read > Options.MaximumDocumentBytes - bytes.Length)
                {
                    throw CorpusException.Broken(
                        $"The file {file} is longer than the {Options.MaximumDocumentBytes} bytes that one document may have.",
                        "Name the line that parts its documents where it is plain text that holds several, split it, skip what is broken, or allow more "
                            + "(CorpusOptions.Separator, SkipBroken, MaximumDocumentBytes).");
                }

                bytes.Write(buffer, 0, read);
            }

            return bytes.Length == bytes.Capacity ? bytes.GetBuffer() : bytes.ToArray();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(file, exception);
        }
    }

    protected static FileStream Open(string file)
    {
        FileIdentity.RequireFile(file);
        return new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16, FileOptions.SequentialScan);
    }

    protected static CorpusException Unreadable(string file, Exception exception)
        => CorpusException.Broken(
            $"The file {file} cannot be read: {exception.Message}", "Give this user the right to read it, or take it out of the corpus.", exception);
}

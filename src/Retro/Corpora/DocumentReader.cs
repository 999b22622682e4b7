namespace Retro.Corpora;

/// <summary>Reads the documents of one kind of files, and counts what it leaves out.</summary>
internal abstract class DocumentReader(string root, CorpusOptions options, ReadingCounts counts)
{
    protected CorpusOptions Options { get; } = options;

    public static string RelativePath(string root, string file)
        => Path.GetRelativePath(root, file).Replace(Path.DirectorySeparatorChar, '/');

    /// <summary>Opens a file for reading; of a pipe, which can keep waiting whoever opens it, says what it is.</summary>
    public static FileStream Open(string file)
    {
        FileIdentity.RequireFile(file);
        return new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16, FileOptions.SequentialScan);
    }

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
    /// <param name="read">The read.</param>
    /// <param name="lines">How many lines are left out with what is broken.</param>
    protected T? Guarded<T>(Func<T?> read, int lines = 1)
        where T : class
    {
        try
        {
            return read();
        }
        catch (CorpusException fault) when (Options.SkipBroken)
        {
            counts.Skip(fault.What, lines);
            return null;
        }
    }

    /// <summary>Counts lines that are left out with what is broken before them.</summary>
    protected void Skip(int lines) => counts.Skip(lines);

    /// <summary>
    /// A file's bytes, unpacked where its ending says that it is packed, as far as a document may have them. The length that the system tells is not relied on:
    /// some files have none.
    /// </summary>
    protected byte[] ReadBytes(string file)
    {
        try
        {
            using FileStream packed = Open(file);
            using Stream stream = Unpacked(file, packed);
            using MemoryStream bytes = new((int)Math.Min(packed.Length, Options.MaximumDocumentBytes));
            byte[] buffer = new byte[1 << 16];
            for (int count; (count = stream.Read(buffer)) > 0;)
            {
                if (count > Options.MaximumDocumentBytes - bytes.Length)
                {
                    throw CorpusException.Broken(
                        $"The file {file} is longer than the {Options.MaximumDocumentBytes} bytes that one document may have.",
                        "Name the line that parts its documents where it is plain text that holds several, split it, skip what is broken, or allow more "
                            + "(CorpusOptions.Separator, SkipBroken, MaximumDocumentBytes).");
                }

                bytes.Write(buffer, 0, count);
            }

            byte[] read = bytes.Length == bytes.Capacity ? bytes.GetBuffer() : bytes.ToArray();

            // An encoding of a byte a character makes letters of whatever comes.
            return PackedFile.EndingOf(read) is not { } ending
                ? read
                : throw CorpusException.Broken(
                    $"The file {file} is packed, as files that end in {ending} are.", "Unpack it, or skip what is broken (CorpusOptions.SkipBroken).");
        }
        catch (Exception exception) when (PackedFile.IsDamage(exception))
        {
            throw Damaged(file, exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(file, exception);
        }
    }

    /// <summary>What a file holds, unpacked where its ending says that it is packed.</summary>
    /// <exception cref="CorpusException">It is a pointer to what it should hold.</exception>
    protected static Stream Unpacked(string file, FileStream packed)
    {
        byte[] head = new byte[LfsPointer.HeadBytes];
        int count = packed.ReadAtLeast(head, head.Length, throwOnEndOfStream: false);
        packed.Position = 0;
        return !LfsPointer.Is(head.AsSpan(0, count))
            ? PackedFile.Unpack(file, packed)
            : throw CorpusException.Broken($"The file {file} is {LfsPointer.Said}.", "Fetch it, or skip what is broken (CorpusOptions.SkipBroken).");
    }

    /// <summary>The text of a file that may name its encoding; where that is wrong, the one of the options counts.</summary>
    /// <param name="bytes">The file's bytes.</param>
    /// <param name="file">The file.</param>
    /// <param name="named">The encoding that it names; null: none.</param>
    protected string Decode(byte[] bytes, string file, string? named)
    {
        string where = $"The file {file}";
        try
        {
            return TextDecoding.Decode(bytes, where, named ?? Options.Encoding);
        }
        catch (CorpusException) when (named is not null && Options.Encoding is not null)
        {
            return TextDecoding.Decode(bytes, where, Options.Encoding);
        }
    }

    protected static CorpusException Damaged(string file, Exception exception)
        => CorpusException.Broken(
            $"The file {file} is damaged or cut short: {exception.Message.TrimEnd('.')}.",
            "Fetch it again, or skip what is broken (CorpusOptions.SkipBroken).",
            exception);

    protected static CorpusException Unreadable(string file, Exception exception)
        => CorpusException.Broken(
            $"The file {file} cannot be read: {exception.Message}", "Give this user the right to read it, or take it out of the corpus.", exception);
}

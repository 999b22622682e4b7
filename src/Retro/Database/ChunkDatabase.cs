using Retro.Tokenizers;

namespace Retro.Database;

/// <summary>
/// A retrieval database for reading: documents cut into chunks of <c>M</c> tokens that never cross a document (the paper's section 2.3).
/// A document's tokens are the end-of-text token, its text, and the end-of-text token again; its last chunk is padded with that token.
/// The continuation of a chunk is the next chunk of the same document. Files are read in place; reading is safe from several threads,
/// disposing while others read is not. No span taken from a database may be used after its disposal. What sources and neighbor tables have opened of its folder
/// is closed with it at the latest, so that whoever disposes the database need not dispose them.
/// <para>Documents that <see cref="ChunkDatabaseUpdate"/> adds or removes are seen by who opens the database afterwards; one that is open stays.</para>
/// </summary>
public sealed class ChunkDatabase : IDisposable
{
    // A segment has tokens and documents; a database of several segments has none of its own, and numbers those of the segments that were not removed.
    private readonly MappedFile? _tokens;
    private readonly DocumentTable? _documents;
    private readonly LiveDocuments? _live;

    // Where the right to change the database is taken: its segments are changed under the same. Null where several databases were opened as one, which has no
    // folder of its own.
    private readonly string? _lockFolder;

    // What was opened of the folder and is not closed yet; locked while it changes.
    private readonly HashSet<IDisposable> _opened = new(ReferenceEqualityComparer.Instance);

    // Files of later stages that the manifest on the disk lists and that cannot be used, with the reason.
    private Dictionary<string, string> _unusable = [];

    // What verifying found to be changed, by name and the checksum it should have.
    private HashSet<(string Name, string Sha256)> _changed = [];
    private readonly Lazy<DocumentLabels> _labels;
    private bool _disposed;

    private ChunkDatabase(string folder, string lockFolder, DatabaseManifest manifest, MappedFile tokens, DocumentTable documents)
        : this(folder, lockFolder, manifest.ChunkLength)
    {
        (_tokens, _documents) = (tokens, documents);
        ChunkCount = manifest.ChunkCount;
        Segments = [this];
        Manifest = Usable(manifest);
    }

    private ChunkDatabase(
        string folder, string? lockFolder, DatabaseManifest manifest, IReadOnlyList<ChunkDatabase> segments, IReadOnlyList<int[]> removed)
        : this(folder, lockFolder, manifest.ChunkLength)
    {
        _live = new LiveDocuments(segments, removed);
        ChunkCount = _live.ChunkCount;
        Segments = segments;
        Manifest = Usable(manifest);
    }

    private ChunkDatabase(string folder, string? lockFolder, int chunkLength)
    {
        (Folder, _lockFolder, ChunkLength) = (folder, lockFolder, chunkLength);
        Manifest = null!; // set by the others
        Segments = null!;
        _labels = new(() => new DocumentLabels(this));
    }

    /// <summary>
    /// The manifest as it was on opening, or after the last <see cref="Register"/>. A file of a later stage (keys, an index, a table) that is missing, of
    /// another size, made from other tokens or, where that was verified, changed is not listed: its stage counts as not made, and makes it again when it is
    /// run. <see cref="RequireFile"/> says why.
    /// </summary>
    public DatabaseManifest Manifest { get; private set; }

    /// <summary>The database's folder; the first one's where several are opened as one.</summary>
    public string Folder { get; }

    /// <summary>Tokens of a chunk, <c>M</c>.</summary>
    public int ChunkLength { get; }

    /// <summary>How many chunks there are; they are numbered from 0.</summary>
    public long ChunkCount { get; }

    /// <summary>The documents in their order. An entry is read from the disk each time it is asked for.</summary>
    public IReadOnlyList<DocumentEntry> Documents
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return (IReadOnlyList<DocumentEntry>?)_live ?? _documents!;
        }
    }

    /// <summary>
    /// What keeps files of later stages from being used, a sentence each; empty where all are whole as far as their sizes say, or, where that was verified,
    /// their checksums.
    /// </summary>
    public IReadOnlyList<string> Faults
        =>
        [
            .. _unusable.Values.Select(fault => $"{fault}; make it again with the stage that makes it."),
            .. _live is null ? [] : Segments.SelectMany(segment => segment.Faults),
        ];

    /// <summary>The files that the database consists of, those of all segments among them, whose names begin with the segment's folder.</summary>
    public IReadOnlyList<DatabaseFile> Files
        => _live is null
            ? Manifest.Files
            :
            [
                .. Segments.SelectMany(segment => segment.Manifest.Files.Select(file =>
                    file with { Name = Path.GetRelativePath(Folder, segment.PathOf(file.Name)).Replace(Path.DirectorySeparatorChar, '/') })),
                .. Manifest.Changes?.Removed is { } removed ? [removed] : Array.Empty<DatabaseFile>(),
                .. Manifest.Stages,
            ];

    /// <summary>
    /// The parts that a search asks one after the other: 1, and one more for each time documents were added, until the database is compacted
    /// (<see cref="Search.DatabaseCompaction"/>); those of all, where several databases are opened as one.
    /// </summary>
    public int SegmentCount => Segments.Count;

    /// <summary>
    /// What the files of later stages belong to, in order: the database itself, or, where documents were added or removed, the segments that it consists of.
    /// </summary>
    internal IReadOnlyList<ChunkDatabase> Segments { get; }

    /// <summary>Whether it consists of segments, documents of which may be removed; it has no tokens of its own then.</summary>
    internal bool IsChanged => _live is not null;

    /// <summary>Whether there is a folder of this database for files of later stages: not where several databases are opened as one.</summary>
    internal bool HasFolder => _lockFolder is not null;

    /// <summary>Whether it is what a database consisted of before anything was added to it.</summary>
    internal bool IsFirstSegment => Folder == _lockFolder;

    /// <summary>The documents' labels, and which chunks are seen with some; read when first asked for.</summary>
    internal DocumentLabels Labels => _labels.Value;

    /// <summary>
    /// Opens a database. The manifest and the size of every file are always checked. What later stages made never keeps a database from opening: of their
    /// files, those that do not match are not listed in <see cref="Manifest"/>.
    /// </summary>
    /// <param name="folder">The database's folder.</param>
    /// <param name="verify">Whether to check the content too: the checksum of every file and every token (reads the whole database).</param>
    /// <param name="progress">Progress of verifying, in bytes.</param>
    /// <param name="cancellationToken">Stops verifying.</param>
    /// <returns>The database; dispose it.</returns>
    /// <exception cref="DatabaseException">
    /// It is missing, unfinished or of another format, or its documents or tokens are damaged; the message says which file, and what was expected and found.
    /// </exception>
    public static ChunkDatabase Open(
        string folder, bool verify = false, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        DatabaseManifest manifest = DatabaseManifest.Load(folder);
        while (true)
        {
            try
            {
                return Open(folder, manifest, verify, progress, cancellationToken);
            }
            catch (DatabaseException) when (DatabaseManifest.Load(folder) is var now && !now.IsOf(manifest))
            {
                // Built anew or changed meanwhile: the files looked for were those of the version before.
                manifest = now;
            }
        }
    }

    /// <summary>
    /// Opens several databases as one for reading, as <see cref="Open(string, bool, IProgress{StageProgress}, CancellationToken)"/> opens each: its documents
    /// and chunks are numbered one database after the other. Sources over it use the indexes that each has. It has no folder of its own, so that nothing can be
    /// registered with it, and a document that stands in several of them comes several times.
    /// </summary>
    /// <param name="folders">The databases' folders.</param>
    /// <param name="verify">Whether to check the content too.</param>
    /// <param name="progress">Progress of verifying, in bytes.</param>
    /// <param name="cancellationToken">Stops verifying.</param>
    /// <returns>The database; dispose it.</returns>
    /// <exception cref="ArgumentException">No folder is named, or one twice.</exception>
    /// <exception cref="DatabaseException">One cannot be opened, or they were made with different tokenizers or chunk lengths, which are named.</exception>
    public static ChunkDatabase Open(
        IReadOnlyList<string> folders, bool verify = false, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(folders);
        if (folders.Count == 0 || folders.Select(Path.GetFullPath).Distinct(StringComparer.Ordinal).Count() < folders.Count)
        {
            throw new ArgumentException("Name at least one database, and each once.", nameof(folders));
        }

        List<ChunkDatabase> parts = [];
        try
        {
            foreach (string folder in folders)
            {
                parts.Add(Open(folder, verify, progress, cancellationToken));
                BuildSettings first = parts[0].Manifest.Settings;
                if (parts[^1].Manifest.Settings.DifferencesTo(first with { Cleaning = parts[^1].Manifest.Cleaning }) is { Count: > 0 } differences)
                {
                    throw new DatabaseException(
                        $"The databases in '{folder}' and '{folders[0]}' cannot be opened as one ({string.Join("; ", differences)}): build them with one "
                            + "tokenizer and chunk length.");
                }
            }

            return parts.Count == 1
                ? parts[0]
                : new(
                    folders[0],
                    null,
                    DatabaseManifest.Joint([.. parts.Select(part => part.Manifest)]),
                    [.. parts.SelectMany(part => part.Segments)],
                    [.. parts.SelectMany(part => part.Removed)]);
        }
        catch
        {
            parts.ForEach(part => part.Dispose());
            throw;
        }
    }

    private static ChunkDatabase Open(
        string folder, DatabaseManifest manifest, bool verify, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        List<ChunkDatabase> segments = [];
        try
        {
            segments.Add(OpenSegment(folder, folder, manifest));
            foreach (DatabaseSegment segment in manifest.Changes?.Segments ?? [])
            {
                string path = Path.Combine(folder, DatabaseChanges.FolderOf(segment.Number));
                DatabaseManifest own = DatabaseManifest.Load(path);
                if (own.TokensHash != segment.TokensHash || own.Settings.DifferencesTo(manifest.Settings) is { Count: > 0 })
                {
                    throw new DatabaseException(
                        $"The segment in '{path}' has tokens of checksum {own.TokensHash}, but the database's manifest says {segment.TokensHash}: it is "
                            + "damaged or belongs to another database; build the database again.");
                }

                segments.Add(OpenSegment(path, folder, own));
            }

            ChunkDatabase database = manifest.Changes is null
                ? segments[0]
                : new(folder, folder, manifest, segments, RemovedDocuments.Read(folder, manifest.Changes.Removed, segments));
            if (verify)
            {
                database.Verify(progress, cancellationToken);
            }

            return database;
        }
        catch
        {
            segments.ForEach(segment => segment.Dispose());
            throw;
        }
    }

    private static ChunkDatabase OpenSegment(string folder, string lockFolder, DatabaseManifest manifest)
    {
        foreach (DatabaseFile file in manifest.Files.Except(manifest.Stages))
        {
            if (FaultOf(manifest.HomeIn(folder), file) is { } fault)
            {
                throw new DatabaseException($"{fault}; build the database again.");
            }
        }

        MappedFile tokens = TokenFile.Open(folder, manifest);
        DocumentTable? documents = null;
        try
        {
            documents = DocumentTable.Open(folder, manifest);
            return new(folder, lockFolder, manifest, tokens, documents);
        }
        catch
        {
            documents?.Dispose();
            tokens.Dispose();
            throw;
        }
    }

    /// <summary>The tokens of a chunk.</summary>
    /// <param name="chunk">The chunk's number.</param>
    /// <returns><c>[M]</c> ids, where the file lies; beyond <see cref="TokenCount"/> they are padding (the end-of-text token).</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such chunk.</exception>
    /// <exception cref="DatabaseException">The file is damaged: one of them is no id of the vocabulary.</exception>
    /// <exception cref="ObjectDisposedException">The database was disposed.</exception>
    public ReadOnlySpan<int> Tokens(long chunk)
    {
        Check(chunk);
        (ChunkDatabase segment, chunk) = Place(chunk);
        return segment.Row(chunk, ChunkLength);
    }

    /// <summary>A token by its place in all chunks one after the other: that of token i of chunk c is c·M + i.</summary>
    internal int TokenAt(long place) => Tokens(place / ChunkLength)[(int)(place % ChunkLength)];

    /// <summary>The tokens of a document.</summary>
    internal int[] TokensOf(DocumentEntry document)
    {
        int[] tokens = new int[document.TokenCount];
        for (int start = 0; start < tokens.Length; start += ChunkLength)
        {
            int length = Math.Min(ChunkLength, tokens.Length - start);
            Tokens(document.FirstChunk + (start / ChunkLength))[..length].CopyTo(tokens.AsSpan(start));
        }

        return tokens;
    }

    /// <summary>How many tokens of a chunk belong to its document: <c>M</c>, or fewer in a document's last chunk.</summary>
    /// <param name="chunk">The chunk's number.</param>
    /// <returns>From 1 to <c>M</c>.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such chunk.</exception>
    public int TokenCount(long chunk)
    {
        Check(chunk);
        return (int)Math.Min(ChunkLength, TokensToDocumentEnd(chunk));
    }

    /// <summary>The document of a chunk.</summary>
    /// <param name="chunk">The chunk's number.</param>
    /// <returns>The number of the document in <see cref="Documents"/>.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such chunk.</exception>
    public int DocumentOf(long chunk)
    {
        Check(chunk);
        return _live?.DocumentOf(chunk) ?? _documents!.DocumentOf(chunk);
    }

    /// <summary>The chunk that continues another.</summary>
    /// <param name="chunk">The chunk's number.</param>
    /// <returns>The next chunk of the same document, or -1 where the document ends.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such chunk.</exception>
    public long Continuation(long chunk)
    {
        Check(chunk);
        return TokensToDocumentEnd(chunk) > ChunkLength ? chunk + 1 : -1;
    }

    /// <summary>
    /// Copies what a neighbor brings to the model: a chunk and what follows it in its document, <c>[N, F]</c> (the paper's section 2.3),
    /// cut or extended to <c>R</c> tokens. What lies beyond the document's end is filled with the end-of-text token and not valid.
    /// </summary>
    /// <param name="chunk">The chunk's number; -1 for a missing neighbor, of which nothing is valid.</param>
    /// <param name="tokens"><c>[R]</c> ids to fill; <c>R</c> is any length.</param>
    /// <param name="valid"><c>[R]</c> flags to fill: whether the token is one of the document's.</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no such chunk, and it is not -1.</exception>
    /// <exception cref="DatabaseException">The file is damaged: one of the tokens is no id of the vocabulary.</exception>
    public void CopyRetrieved(long chunk, Span<long> tokens, Span<bool> valid)
    {
        if (tokens.Length != valid.Length)
        {
            throw new ArgumentException($"Expected as many flags as tokens, got {valid.Length} flags for {tokens.Length} tokens.", nameof(valid));
        }

        int count = 0;
        if (chunk == -1)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
        }
        else
        {
            Check(chunk);
            (ChunkDatabase segment, chunk) = Place(chunk);
            count = (int)Math.Min(tokens.Length, segment.TokensToDocumentEnd(chunk));
            ReadOnlySpan<int> row = segment.Row(chunk, count);
            for (int token = 0; token < count; token++)
            {
                tokens[token] = row[token];
            }
        }

        tokens[count..].Fill(Manifest.EndOfText);
        valid[..count].Fill(true);
        valid[count..].Clear();
    }

    /// <summary>Makes sure that the database was made with a tokenizer.</summary>
    /// <param name="tokenizer">The tokenizer in use.</param>
    /// <exception cref="DatabaseException">It was made with another; the message names both.</exception>
    public void RequireTokenizer(RetroTokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        RequireTokenizer(tokenizer.Kind, tokenizer.Hash, tokenizer.VocabularySize);
    }

    /// <summary>Makes sure that the database has chunks of a length.</summary>
    /// <param name="chunkLength">The length wanted, <c>M</c>.</param>
    /// <exception cref="DatabaseException">It has another; the message names both.</exception>
    public void RequireChunkLength(int chunkLength)
    {
        if (chunkLength != ChunkLength)
        {
            throw new DatabaseException(
                $"The database in '{Folder}' has chunks of {ChunkLength} tokens, but {chunkLength} are needed; build it with that chunk length, or use a "
                    + $"model of chunk length {ChunkLength}.");
        }
    }

    /// <summary>The path of a file that a later stage has registered.</summary>
    /// <param name="name">The file's name.</param>
    /// <returns>Its path in the database's folder.</returns>
    /// <exception cref="DatabaseException">No such file is registered, or it is missing or changed.</exception>
    public string RequireFile(string name)
    {
        if (Manifest.Find(name) is not null)
        {
            return PathOf(name);
        }

        throw new DatabaseException(_unusable.TryGetValue(name, out string? fault)
            ? $"{fault}; make it again with the stage that makes it. The database itself is whole."
            : $"The database in '{Folder}' has no file '{name}'; run the stage that makes it first. It has "
                + $"{string.Join(", ", Manifest.Files.Select(file => file.Name))}.");
    }

    /// <summary>Registers a file that a later stage has completed in the database's folder, with its size and checksum.</summary>
    /// <param name="name">The file's name.</param>
    /// <param name="details">What is to be known of it, such as the embedder's identity or the index factory.</param>
    /// <param name="progress">Progress of the checksum, in bytes.</param>
    /// <param name="cancellationToken">Stops it; the manifest then stays as it was.</param>
    /// <exception cref="DatabaseException">
    /// The file cannot be read, the manifest cannot be written, the database on the disk is no longer the one opened, or another process or stage is changing
    /// the database: the message says which.
    /// </exception>
    public void Register(
        string name,
        IReadOnlyDictionary<string, string>? details = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        using WriterLock writing = Write($"register {name}");
        Enter(writing, name, details, progress, cancellationToken);
    }

    /// <summary>Takes the right to change the folder: a stage has it from before it touches its file until the manifest knows it.</summary>
    /// <param name="what">What is to be done, for whom it keeps out.</param>
    /// <exception cref="DatabaseException">Somebody else has it, in this process or another; or the database on the disk is no longer the one
    /// opened.</exception>
    internal WriterLock Write(string what)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        RequireFolder(what);
        WriterLock writing = WriterLock.Take(_lockFolder!, what);
        try
        {
            _ = Refresh();
            if (OnDisk(writing) is { Leaving: not null } stopped)
            {
                DatabaseFolder.Clean(Folder, stopped); // before anything is made under a name that is to go
            }

            return writing;
        }
        catch
        {
            writing.Dispose();
            throw;
        }
    }

    /// <summary>Makes sure that there is a folder of this database for files of later stages.</summary>
    /// <param name="what">What is to be done.</param>
    /// <exception cref="DatabaseException">Several databases are opened as one.</exception>
    internal void RequireFolder(string what)
    {
        if (_lockFolder is null)
        {
            throw new DatabaseException(
                $"The database in '{Folder}' is opened as one with others, and together they have no folder to {what} in: open each by itself for that.");
        }
    }

    /// <summary>Registers a file.</summary>
    internal void Enter(
        WriterLock writing, string name, IReadOnlyDictionary<string, string>? details, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
        => Enter(writing, name, details, FileHash.Sha256(PathOf(name), progress, cancellationToken));

    /// <summary>Registers a file whose checksum was taken while it was written.</summary>
    internal void Enter(WriterLock writing, string name, IReadOnlyDictionary<string, string>? details, string sha256)
    {
        DatabaseManifest registered = OnDisk(writing).WithFile(name, new FileInfo(PathOf(name)).Length, sha256, Manifest.TokensHash, details);
        registered.Save(Folder);
        _changed = [.. _changed.Where(file => file.Name != name)];
        Manifest = Usable(registered);
    }

    /// <summary>Closes the files, and the sources and tables that were opened of the folder; everything that reads throws afterwards.</summary>
    public void Dispose()
    {
        _disposed = true;
        IDisposable[] opened;
        lock (_opened)
        {
            opened = [.. _opened];
        }

        foreach (IDisposable one in opened)
        {
            one.Dispose();
        }

        if (_live is not null)
        {
            foreach (ChunkDatabase segment in Segments)
            {
                segment.Dispose();
            }
        }

        _documents?.Dispose();
        _tokens?.Dispose();
    }

    /// <summary>Notes what was opened of the folder, to be closed with the database where it is not before.</summary>
    internal T Opened<T>(T one)
        where T : IDisposable
    {
        lock (_opened)
        {
            _opened.Add(one);
        }

        return one;
    }

    /// <summary>Forgets what has been closed.</summary>
    internal void Closed(IDisposable one)
    {
        lock (_opened)
        {
            _opened.Remove(one);
        }
    }

    /// <summary>The path of a file of the manifest, whether it is there or not.</summary>
    internal string PathOf(string name) => Path.Combine(Manifest.HomeIn(Folder), name);

    /// <summary>The chunks of a document: the first, and how many.</summary>
    internal (long First, long Count) ChunksOf(int document)
    {
        if (_live is null)
        {
            return (_documents!.FirstChunk(document), DocumentTable.Chunks(_documents.TokenCount(document), ChunkLength));
        }

        (int segment, int local) = _live.Place(document);
        return (_live.FirstChunk(document), Segments[segment].ChunksOf(local).Count);
    }

    /// <summary>The tokens of a document's text, without those that bound it.</summary>
    internal int[] TextOf(DocumentEntry document)
    {
        int[] tokens = new int[document.TokenCount];
        for (int index = 0, done = 0; index < document.ChunkCount; index++)
        {
            ReadOnlySpan<int> row = Tokens(document.FirstChunk + index)[..TokenCount(document.FirstChunk + index)];
            row.CopyTo(tokens.AsSpan(done));
            done += row.Length;
        }

        return tokens[1..^1];
    }

    /// <summary>The segment of a document, and its number there.</summary>
    internal (int Segment, int Document) SegmentOf(int document) => _live?.Place(document) ?? (0, document);

    /// <summary>The segment of a chunk, and its number there.</summary>
    internal (int Segment, long Chunk) SegmentOf(long chunk) => _live?.Place(chunk) ?? (0, chunk);

    /// <summary>The number here of a segment's chunk that may come (<see cref="Among"/>).</summary>
    internal long Number(int segment, long chunk) => _live?.Number(segment, chunk) ?? chunk;

    /// <summary>A segment's chunks that may come: not removed, and shown by labels; null: all of them.</summary>
    internal ChunkSet? Among(int segment, IReadOnlyList<string>? labels)
    {
        ChunkSet? visible = labels is null ? null : Labels.Visible(labels);
        return _live is null ? visible : _live.Among(segment, visible);
    }

    /// <summary>The removed documents of each segment.</summary>
    internal IReadOnlyList<int[]> Removed => _live?.Removed ?? [[]];

    /// <summary>Takes over what other stages, of this process or another, have registered since the database was opened.</summary>
    /// <exception cref="DatabaseException">The database on the disk is no longer the one opened, or its manifest is damaged.</exception>
    internal DatabaseManifest Refresh()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return _lockFolder is null ? Manifest : Manifest = Usable(LoadSame());
    }

    /// <summary>Takes a file of a later stage out of the manifest, here and on the disk.</summary>
    internal void Forget(WriterLock writing, string name)
    {
        if (OnDisk(writing) is var onDisk && onDisk.Find(name) is not null)
        {
            DatabaseManifest without = onDisk.WithoutFile(name);
            without.Save(Folder);
            Manifest = Usable(without);
        }
    }

    internal void RequireTokenizer(string kind, string hash, int vocabularySize)
    {
        if (kind != Manifest.TokenizerKind || hash != Manifest.TokenizerHash || vocabularySize != Manifest.VocabularySize)
        {
            throw new DatabaseException(
                $"The database in '{Folder}' was made with the tokenizer {Manifest.TokenizerKind} of {Manifest.VocabularySize} ids, hash "
                    + $"{Manifest.TokenizerHash}, but the one in use is {kind} of {vocabularySize} ids, hash {hash}; use the tokenizer it was made with, or "
                    + "build it again.");
        }
    }

    /// <summary>What keeps a file of the manifest from being used, as far as its size tells; null where nothing does.</summary>
    private static string? FaultOf(string folder, DatabaseFile file)
    {
        FileInfo info = new(Path.Combine(folder, file.Name));
        if (!info.Exists)
        {
            return $"'{info.FullName}' is missing, though the manifest lists it";
        }

        return info.Length == file.Bytes ? null : $"'{info.FullName}' has {info.Length} bytes, but the manifest says {file.Bytes}: it is truncated or changed";
    }

    /// <summary>A manifest as this database sees it: without the files of later stages that cannot be used.</summary>
    private DatabaseManifest Usable(DatabaseManifest onDisk)
    {
        DatabaseManifest manifest = Seen(onDisk);
        Dictionary<string, string> unusable = new(StringComparer.Ordinal);
        IEnumerable<DatabaseFile> own = onDisk.Changes is null
            ? manifest.Stages
            : manifest.Stages.Where(file => file.MadeFrom == manifest.TokensHash); // the others belong to the first segment alone, or to all together
        foreach (DatabaseFile file in own)
        {
            string? fault = _changed.Contains((file.Name, file.Sha256))
                ? $"The content of '{Path.Combine(manifest.HomeIn(Folder), file.Name)}' does not have the checksum that the manifest says, {file.Sha256}"
                : file.MadeFrom != manifest.TokensHash
                    ? $"'{file.Name}' in '{Folder}' was made from tokens with checksum {file.MadeFrom ?? "(none)"}, but the database's tokens have "
                        + $"{manifest.TokensHash}"
                : FaultOf(manifest.HomeIn(Folder), file);
            if (fault is not null)
            {
                unusable[file.Name] = fault;
            }
        }

        _unusable = unusable;
        return manifest with { Files = [.. manifest.Files.Except(manifest.Stages), .. own.Where(file => !unusable.ContainsKey(file.Name))] };
    }

    /// <summary>A segment sees nothing of the changes; a database of several counts what was not removed from any.</summary>
    private DatabaseManifest Seen(DatabaseManifest onDisk)
        => _live is null
            ? onDisk with { Changes = null }
            : onDisk with
            {
                DocumentCount = _live.Count,
                ChunkCount = _live.ChunkCount,
                TokenCount = _live.TokenCount,
                ByteCount = _live.ByteCount,
                EmptyDocuments = Segments.Sum(segment => segment.Manifest.EmptyDocuments),
            };

    // The manifest to be changed: nobody else changes it while the right to is held.
    private DatabaseManifest OnDisk(WriterLock writing)
    {
        ArgumentNullException.ThrowIfNull(writing);
        ObjectDisposedException.ThrowIf(_disposed, this);
        return LoadSame();
    }

    private DatabaseManifest LoadSame()
    {
        DatabaseManifest onDisk = DatabaseManifest.Load(Folder);
        return onDisk.Home == Manifest.Home && Seen(onDisk).TokensHash == Manifest.TokensHash
            ? onDisk
            : throw new DatabaseException(
                $"The database in '{Folder}' was opened with tokens of checksum {Manifest.TokensHash}, and was built anew or changed since and "
                    + $"has {onDisk.TokensHash}; open it again.");
    }

    private void Check(long chunk)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if ((ulong)chunk >= (ulong)ChunkCount)
        {
            throw new ArgumentOutOfRangeException(nameof(chunk), chunk, $"The database has the chunks 0 to {ChunkCount - 1}.");
        }
    }

    private (ChunkDatabase Segment, long Chunk) Place(long chunk)
    {
        if (_live is null)
        {
            return (this, chunk);
        }

        (int segment, chunk) = _live.Place(chunk);
        return (Segments[segment], chunk);
    }

    // Opening does not read the tokens, and whoever gets one counts on an id of the vocabulary; looking at a row costs next to nothing beside what is done
    // with it.
    private ReadOnlySpan<int> Row(long chunk, int count)
    {
        ReadOnlySpan<int> tokens = _tokens!.Values<int>(TokenFile.HeaderBytes + chunk * ChunkLength * sizeof(int), count);
        return tokens.IndexOfAnyExceptInRange(0, Manifest.VocabularySize - 1) is var at and >= 0
            ? throw new DatabaseException(
                $"'{_tokens.Path}' is damaged: chunk {chunk + at / ChunkLength} holds token {tokens[at]}, but the vocabulary has {Manifest.VocabularySize}; "
                    + "build the database again.")
            : tokens;
    }

    // From the chunk's first token to the end of its document.
    private long TokensToDocumentEnd(long chunk)
    {
        if (_live is not null)
        {
            (ChunkDatabase segment, chunk) = Place(chunk);
            return segment.TokensToDocumentEnd(chunk);
        }

        int document = _documents!.DocumentOf(chunk);
        return _documents.TokenCount(document) - (chunk - _documents.FirstChunk(document)) * ChunkLength;
    }

    /// <summary>
    /// Makes sure that tokens and documents have their checksums. Whoever writes them anew asks first: what was damaged would have a checksum of its own then.
    /// </summary>
    /// <exception cref="DatabaseException">One has another.</exception>
    internal void RequireWhole(IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        foreach (ChunkDatabase segment in Segments)
        {
            foreach (DatabaseFile file in segment.Manifest.Files.Except(segment.Manifest.Stages))
            {
                string path = segment.PathOf(file.Name);
                if (FileHash.Sha256(path, progress, cancellationToken) is var found && found != file.Sha256)
                {
                    throw new DatabaseException(
                        $"'{path}' has checksum {found}, but the manifest says {file.Sha256}: it was changed; build the database again.");
                }
            }
        }
    }

    private void Verify(IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        if (_live is not null)
        {
            foreach (ChunkDatabase segment in Segments)
            {
                segment.Verify(progress, cancellationToken);
            }
        }
        else
        {
            RequireWhole(progress, cancellationToken);
        }

        foreach (DatabaseFile file in Manifest.Stages)
        {
            string? found = null;
            try
            {
                found = FileHash.Sha256(PathOf(file.Name), progress, cancellationToken);
            }
            catch (DatabaseException)
            {
                // One that cannot be read costs its stage, as a changed one does.
            }

            if (found != file.Sha256)
            {
                _changed.Add((file.Name, file.Sha256));
            }
        }

        _ = Refresh(); // of the disk's manifest: what opening left out of ours is a fault still
        if (_live is not null)
        {
            return;
        }

        // The checksums hold, so the database is as it was built; this finds a tokenizer that gave ids beyond its own vocabulary.
        for (long chunk = 0; chunk < ChunkCount; chunk++)
        {
            if ((chunk & 0xfff) == 0)
            {
                cancellationToken.ThrowIfCancellationRequested();
                progress?.Report(new StageProgress("check tokens", chunk, ChunkCount));
            }

            // Reading a chunk checks it.
            _ = Tokens(chunk);
        }

        for (int document = 0; document < _documents!.Count; document++)
        {
            // Decoding an entry checks it.
            _ = _documents[document];
        }
    }
}

using Retro.Corpora;
using Retro.Tokenizers;

namespace Retro.Database;

/// <summary>
/// A retrieval database for reading: documents cut into chunks of <c>M</c> tokens that never cross a document (the paper's section 2.3).
/// A document's tokens are the end-of-text token, its text, and the end-of-text token again; its last chunk is padded with that token.
/// The continuation of a chunk is the next chunk of the same document. Reading is safe from several threads, and disposing while others read or search: they
/// end with what they read or with <see cref="ObjectDisposedException"/>. What sources and neighbor tables have opened of its folder is closed with it at the
/// latest, so that whoever disposes the database need not dispose them.
/// <para>Documents that <see cref="ChunkDatabaseUpdate"/> adds or removes are seen by who opens the database afterwards; one that is open stays.</para>
/// </summary>
public sealed partial class ChunkDatabase : IDisposable
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
    private readonly Lazy<Dictionary<UInt128, int>> _numbers; // by hashes of their ids, which are small
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
        string folder,
        string? lockFolder,
        DatabaseManifest manifest,
        IReadOnlyList<ChunkDatabase> segments,
        IReadOnlyList<int[]> removed,
        IReadOnlyList<ChunkDatabase>? parts = null)
        : this(folder, lockFolder, manifest.ChunkLength)
    {
        _live = new LiveDocuments(segments, removed);
        ChunkCount = _live.ChunkCount;
        Segments = segments;
        Parts = parts ?? [this];
        Manifest = Usable(manifest);
    }

    private ChunkDatabase(string folder, string? lockFolder, int chunkLength)
    {
        (Folder, _lockFolder, ChunkLength) = (folder, lockFolder, chunkLength);
        Manifest = null!; // set by the others
        Segments = null!;
        Parts = [this];
        _labels = new(() => new DocumentLabels(this));
        _numbers = new(NumbersById);
    }

    /// <summary>
    /// The manifest as it was on opening, or when a stage was last made or looked for over it. A file of a later stage (keys, an index, a table) that is
    /// missing, of another size, made from other tokens or, where that was verified, changed is not listed: its stage counts as not made, and makes it again
    /// when it is run. <see cref="RequireFile"/> says why.
    /// </summary>
    public DatabaseManifest Manifest { get; private set; }

    /// <summary>The full path of the database's folder; of the first one's where several are opened as one.</summary>
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
    /// The parts that a search asks one after the other: 1, and one more for each time documents were added, until the database is compacted
    /// (<see cref="Search.DatabaseCompaction"/>); those of all, where several databases are opened as one.
    /// </summary>
    public int SegmentCount => Segments.Count;

    /// <summary>
    /// What the files of later stages belong to, in order: the database itself, or, where documents were added or removed, the segments that it consists of.
    /// </summary>
    internal IReadOnlyList<ChunkDatabase> Segments { get; }

    /// <summary>The databases that are opened as one, in order; of one alone itself.</summary>
    internal IReadOnlyList<ChunkDatabase> Parts { get; }

    /// <summary>Whether it consists of segments, documents of which may be removed; it has no tokens of its own then.</summary>
    internal bool IsChanged => _live is not null;

    /// <summary>What is opened and closed with it: its segments where it was changed, or the databases that are opened as one; a segment has none.</summary>
    private IReadOnlyList<ChunkDatabase> Inner => _live is null ? [] : HasFolder ? Segments : Parts;

    /// <summary>Whether there is a folder of this database for files of later stages: not where several databases are opened as one.</summary>
    internal bool HasFolder => _lockFolder is not null;

    /// <summary>
    /// SHA-256 over every document in order, as <see cref="DatabaseManifest.CorpusHash"/> says it, with those that were added since and those of all databases
    /// that are opened as one; which of them were removed <see cref="DatabaseManifest.TokensHash"/> says.
    /// </summary>
    internal string CorpusHash => IsChanged && HasFolder
        ? IdentityHash.Of(IdentityHash.SourceEnd, ["changed", .. Segments.Select(segment => segment.Manifest.CorpusHash)])
        : Manifest.CorpusHash;

    /// <summary>Whether it is what a database consisted of before anything was added to it.</summary>
    internal bool IsFirstSegment => Folder == _lockFolder && ToJoin is null;

    /// <summary>The database that it is to be a segment of, and is not yet; null: none.</summary>
    internal ChunkDatabase? ToJoin { get; set; }

    /// <summary>The documents' labels, and which chunks are seen with some; read when first asked for.</summary>
    internal DocumentLabels Labels => _labels.Value;

    /// <summary>The tokens of a chunk.</summary>
    /// <param name="chunk">The chunk's number.</param>
    /// <returns><c>[M]</c> ids, a copy; beyond <see cref="TokenCount"/> they are padding (the end-of-text token).</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such chunk.</exception>
    /// <exception cref="DatabaseException">The file is damaged: one of them is no id of the vocabulary.</exception>
    /// <exception cref="ObjectDisposedException">The database was disposed.</exception>
    public ReadOnlySpan<int> Tokens(long chunk)
    {
        Check(chunk);
        (ChunkDatabase segment, chunk) = Place(chunk);
        using SharedHandle.Held held = segment.HoldTokens();
        return segment.Row(chunk, ChunkLength).ToArray();
    }

    /// <summary>The tokens of a chunk that belong to its document.</summary>
    /// <param name="chunk">The chunk's number.</param>
    /// <returns>Its first <see cref="TokenCount"/> ids, a copy.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such chunk.</exception>
    /// <exception cref="DatabaseException">The file is damaged: one of them is no id of the vocabulary.</exception>
    /// <exception cref="ObjectDisposedException">The database was disposed.</exception>
    public ReadOnlySpan<int> OwnTokens(long chunk) => Tokens(chunk)[..TokenCount(chunk)];

    /// <summary>A token by its place in all chunks one after the other: that of token i of chunk c is c·M + i.</summary>
    internal int TokenAt(long place)
    {
        long chunk = place / ChunkLength;
        Check(chunk);
        (ChunkDatabase segment, chunk) = Place(chunk);
        using SharedHandle.Held held = segment.HoldTokens();
        return segment.Row(chunk, ChunkLength)[(int)(place % ChunkLength)];
    }

    /// <summary>Keeps the tokens of a segment there for <see cref="HeldTokens"/>, once for whoever reads many chunks.</summary>
    /// <exception cref="ObjectDisposedException">The database was disposed.</exception>
    internal SharedHandle.Held HoldTokens() => _tokens!.Hold();

    /// <summary>What <see cref="OwnTokens"/> says of a segment's chunk, in place, for who holds its tokens.</summary>
    internal ReadOnlySpan<int> HeldTokens(long chunk) => Row(chunk, TokenCount(chunk));

    /// <summary>The tokens of a document.</summary>
    /// <param name="document">One of <see cref="Documents"/>.</param>
    /// <returns>All of them, in order.</returns>
    /// <exception cref="ArgumentException">No document here has these chunks: the entry is of another database, or of this one before a change.</exception>
    public int[] TokensOf(DocumentEntry document)
    {
        ArgumentNullException.ThrowIfNull(document);
        long first = document.FirstChunk;
        int number = first >= 0 && first < ChunkCount ? DocumentOf(first) : -1;
        if (number < 0 || ChunksOf(number) != (first, document.ChunkCount) || TokenCountOf(number) != document.TokenCount)
        {
            throw new ArgumentException(
                $"No document of {Folder} has the chunks of \"{document.Id}\": its entry is of another database, or of this one before a change; take it from "
                    + $"{nameof(Documents)}.",
                nameof(document));
        }

        int[] tokens = new int[document.TokenCount];
        for (int start = 0; start < tokens.Length; start += ChunkLength)
        {
            int length = Math.Min(ChunkLength, tokens.Length - start);
            Tokens(document.FirstChunk + (start / ChunkLength))[..length].CopyTo(tokens.AsSpan(start));
        }

        return tokens;
    }

    /// <summary>The text of a chunk.</summary>
    /// <param name="chunk">The chunk's number.</param>
    /// <param name="tokenizer">The tokenizer of the database.</param>
    /// <returns>Its text; a first or last character that the chunk's border cuts is left out.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such chunk.</exception>
    /// <exception cref="DatabaseException">The database was made with another tokenizer, or the file is damaged.</exception>
    public string Text(long chunk, RetroTokenizer tokenizer)
    {
        RequireTokenizer(tokenizer);
        return tokenizer.DecodePart(OwnTokens(chunk), begins: ChunksOf(DocumentOf(chunk)).First == chunk, ends: Continuation(chunk) < 0);
    }

    /// <summary>The document of an id. The first call reads the entries of all documents.</summary>
    /// <param name="id">The id.</param>
    /// <returns>Its entry, of the first one where several databases are opened as one and more than one has it; null: there is none.</returns>
    /// <exception cref="DatabaseException">The file is damaged.</exception>
    public DocumentEntry? FindDocument(string id) => NumberOf(id) is >= 0 and int document ? Documents[document] : null;

    /// <summary>The number of the document of an id; -1: there is none.</summary>
    internal int NumberOf(string id)
    {
        ArgumentNullException.ThrowIfNull(id);
        ObjectDisposedException.ThrowIf(_disposed, this);
        return _numbers.Value.GetValueOrDefault(TextHash.Of(id), -1);
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

    /// <summary>R, of neighbors from here: what was asked for, or else two chunks, a neighbor and what continues it.</summary>
    /// <param name="wanted">Tokens of a neighbor, its continuation among them; null: nothing was asked for.</param>
    public int RetrievedLength(int? wanted = null) => wanted ?? 2 * ChunkLength;

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
            using SharedHandle.Held held = segment.HoldTokens();
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
        string hash = tokenizer.Hashes.Contains(Manifest.TokenizerHash) ? Manifest.TokenizerHash : tokenizer.Hash;
        RequireTokenizer(tokenizer.Kind, hash, tokenizer.VocabularySize);
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

    /// <summary>
    /// A text that somebody asks with, in the form of the database's own: where their cleaning brought those into Unicode's form C
    /// (<see cref="CleaningStep.Unicode"/>), the same is done to it. What is typed or copied in another form looks alike, but has other tokens, and finds other
    /// chunks. <see cref="Generation.RetroGenerator"/> does so with prompts by itself.
    /// </summary>
    /// <param name="text">The text.</param>
    /// <returns>The text as the cleaning would have left it.</returns>
    public string AsCleaned(string text)
    {
        ArgumentNullException.ThrowIfNull(text);

        // Of several databases that were opened as one, a text that has that form already loses nothing by it in the others.
        return Segments.Any(segment => segment.Manifest.Cleaning.Split(", ").Contains(UnicodeStep.Called)) ? UnicodeStep.Plain(text) : text;
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

        foreach (ChunkDatabase one in Inner)
        {
            one.Dispose();
        }

        _documents?.Dispose();
        _tokens?.Dispose();
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

    /// <summary>How many tokens a document has, those that bound it included, without its entry's texts being read.</summary>
    internal int TokenCountOf(int document)
    {
        (int segment, int local) = SegmentOf(document);
        return _live is null ? _documents!.TokenCount(document) : Segments[segment].TokenCountOf(local);
    }

    /// <summary>The numbers of a document's chunks.</summary>
    internal IEnumerable<long> ChunkNumbersOf(int document)
    {
        (long first, long count) = ChunksOf(document);
        for (long chunk = first; chunk < first + count; chunk++)
        {
            yield return chunk;
        }
    }

    /// <summary>The tokens of a document's text, without those that bound it.</summary>
    internal int[] TextOf(DocumentEntry document) => TokensOf(document)[1..^1];

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

    /// <summary>Whether another database has the same chunks, such as this one opened again: a chunk's number is that of both then.</summary>
    internal bool HasSameChunks(ChunkDatabase? other) => other?.Manifest.TokensHash == Manifest.TokensHash;

    /// <summary>
    /// Says of two databases that have not the same chunks what they are: those of other folders, or of the same ones opened before and after a change.
    /// </summary>
    /// <param name="uses">Who uses the other one, such as "The source bm25 searches".</param>
    /// <param name="other">The other one; null: none.</param>
    /// <param name="serves">What this one is for, such as "the passages are in".</param>
    /// <param name="remedy">What to do where the folders are two.</param>
    internal string Unlike(string uses, ChunkDatabase? other, string serves, string remedy)
    {
        string same = Parts.Count == 1 ? "the same folder in another state: it was" : "the same folders in another state: one of them was";
        return other is not null && Identities(other).SequenceEqual(Identities(this), StringComparer.Ordinal)
            ? $"{uses} {Folders(this)}, and {serves} {same} changed between the two openings; open it once, and use that for both."
            : $"{uses} {(other is null ? "no database" : Folders(other))}, and {serves} {Folders(this)}; {remedy}.";

        static IEnumerable<string> Identities(ChunkDatabase one) => one.Parts.Select(part => DatabaseFolder.IdentityOf(part.Folder));
        static string Folders(ChunkDatabase one) => string.Join(" with ", one.Parts.Select(part => part.Folder));
    }

    /// <summary>Makes sure that another database's chunks are of the same tokenizer, so that they can be read together.</summary>
    /// <exception cref="DatabaseException">They are of another; the message names both.</exception>
    internal void RequireSameTokenizer(ChunkDatabase other)
    {
        if (!Manifest.Settings.HasTokenizerOf(other.Manifest.Settings))
        {
            throw new DatabaseException(
                $"The database in {Folder} was made with the tokenizer {Manifest.TokenizerHash} and the one in {other.Folder} with "
                    + $"{other.Manifest.TokenizerHash}: make both with one tokenizer.");
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

    private Dictionary<UInt128, int> NumbersById()
    {
        Dictionary<UInt128, int> numbers = [];
        for (int document = 0; document < Documents.Count; document++)
        {
            numbers.TryAdd(TextHash.Of(Documents[document].Id), document);
        }

        return numbers;
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

    // Tokens of a segment, in place, for who holds them. Opening does not read the tokens, and whoever gets one counts on an id of the vocabulary; looking at
    // a row costs next to nothing beside what is done with it.
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
}

using System.Collections.Concurrent;
using System.Globalization;
using Retro.Database;

namespace Retro.Search;

/// <summary>The terms of a document; any integers, repeated as often as they occur, in any order.</summary>
/// <param name="document">The document's number.</param>
internal delegate ReadOnlySpan<int> TermsOf(long document);

/// <summary>
/// BM25 over documents of integer terms (here: chunks of token ids), in flat arrays that are built in memory or mapped from a file.
/// <para>score(q, d) = Σ over the terms t of q, each as often as it stands there, of idf(t) · f / (f + k1 · (1 - b + b · |d| / mean |d|)), with f the
/// occurrences of t in d, and idf(t) = ln(1 + (N - n + 0.5) / (n + 0.5)) for a term in n of N documents: Robertson and Zaragoza, "The Probabilistic Relevance
/// Framework", 2009, in the form of Lucene, which leaves out the constant factor k1 + 1.</para>
/// <para>The result is exact and does not depend on the route: the search reads the lists of the query's terms in the order of the most that each can add,
/// stops when no document outside of those seen can enter the best, and computes the scores of those that still can from their own terms, in double precision,
/// in the order of the terms.</para>
/// Searching from several threads at once is safe, and disposing beside it.
/// </summary>
internal sealed class Bm25Index : IDisposable
{
    private const string Stage = "make the keyword index";
    private const string K1Detail = "k1";
    private const string BDetail = "b";

    private readonly Bm25Image _image;
    private readonly ConcurrentBag<Bm25Search> _searches = [];
    private Bm25Statistics _statistics;

    internal Bm25Index(Bm25Image image) => (_image, _statistics) = (image, Bm25Statistics.Of(image));

    /// <summary>Documents in the index.</summary>
    public long Count => _image.Documents;

    /// <summary>Different terms in the index.</summary>
    public int TermCount => _image.Terms;

    /// <summary>k1, with which it was built.</summary>
    public double K1 => _image.K1;

    /// <summary>b, with which it was built.</summary>
    public double B => _image.B;

    /// <summary>Makes the keyword index of a database's chunks in its folder, where it is not there with these constants, and opens it.</summary>
    /// <param name="database">The database.</param>
    /// <param name="options">The constants of BM25.</param>
    /// <param name="progress">Receives how much of the work is done.</param>
    /// <param name="cancellationToken">Stops the work; the next run starts over.</param>
    /// <returns>The index, memory-mapped; dispose it.</returns>
    /// <exception cref="RetroOptionsException">An option is out of range.</exception>
    /// <exception cref="DatabaseException">The file cannot be written, or read.</exception>
    public static Bm25Index Build(
        ChunkDatabase database,
        KeywordNeighborOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        options = (options ?? new()).Validate();
        RequireSize(database);
        Dictionary<string, string> details = DetailsOf(options);
        string path = database.PathOf(StageNames.Keywords);
        if (StageFile.IsMade(database, StageNames.Keywords, details))
        {
            try
            {
                return OpenMade();
            }
            catch (DatabaseException)
            {
                // It is damaged: building replaces it, which is what the message would ask for, and nobody is to take it for made meanwhile. Another process
                // may have made it anew, byte for byte; and what could only not be read now is no damage.
                using WriterLock writing = database.Write(Stage);
                try
                {
                    return OpenMade();
                }
                catch (DatabaseException fault) when (fault.InnerException is not (IOException or UnauthorizedAccessException) || !File.Exists(path))
                {
                    database.Forget(writing, StageNames.Keywords);
                }
            }
        }

        // What is too large for the memory is made in as many blocks as that takes, as if by several machines.
        RemoveOthers(database, path, progress);
        WorkShare all = new(1, 1);
        if (BlocksOf(database, all, options) is { Length: > 1 } blocks && ShareName.Begun(path) is var begun
            && (begun.Length == 0 || begun[0].Count == blocks.Length))
        {
            BuildShare(database, all, options, progress, cancellationToken);
        }

        using (WriterLock writing = database.Write(Stage))
        {
            if (StageFile.IsMade(database, StageNames.Keywords, details)) // by another, until there was the right to write
            {
                ShareName.Remove(path);
            }
            else
            {
                Make(writing);
            }
        }

        return Open(database, options with { Verify = false }, progress, cancellationToken);

        // Shares beside it may be of one with other constants that is to be.
        Bm25Index OpenMade() => Open(database, options, progress, cancellationToken);

        void Make(WriterLock writing)
        {
            WorkShare[] shares = [.. ShareName.Finished(path)];
            using StagedFiles file = new(Path.GetDirectoryName(path)!, DatabaseException.Of);
            if (shares.Length > 0)
            {
                Join(database, shares, options, file, progress, cancellationToken);
            }
            else
            {
                using SharedHandle.Held held = database.HoldTokens();
                using Bm25Index index = Build(
                    database.ChunkCount, chunk => KeywordNeighborSource.TermsOf(database, database.HeldTokens(chunk)), options, progress, cancellationToken);
                file.Write(path, index._image.CopyTo);
            }

            database.Forget(writing, StageNames.Keywords);
            file.Commit();
            string sha256 = FileHash.Sha256(path, progress, cancellationToken);

            // When little is left that could fail, and before the manifest has the index: from then on nobody looks for them.
            ShareName.Remove(path);
            database.Enter(writing, StageNames.Keywords, details, sha256);
        }
    }

    /// <summary>Indexes a share of a database's chunks, in files beside the keyword index, where it is not there with these constants.</summary>
    /// <param name="database">The database, or the segment of one.</param>
    /// <param name="share">The share: of one file, or of as many as the memory takes.</param>
    /// <param name="options">The constants of BM25, and the memory.</param>
    /// <param name="progress">Receives how much of the work is done.</param>
    /// <param name="cancellationToken">Stops the work; the next run goes on with the files that are there.</param>
    /// <exception cref="RetroOptionsException">An option is out of range.</exception>
    /// <exception cref="DatabaseException">Another process makes the same share, or it cannot be written.</exception>
    public static void BuildShare(
        ChunkDatabase database,
        WorkShare share,
        KeywordNeighborOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        options = (options ?? new()).Validate();
        RequireSize(database);
        Dictionary<string, string> details = DetailsOf(options);
        foreach (WorkShare block in BlocksOf(database, share, options))
        {
            StageFile.MakeShare(database, StageNames.Keywords, block, Stage, details, own => Make(own, block));
        }

        void Make(string own, WorkShare block)
        {
            byte[] part = PartOf(database, block);
            if (IsWhole(own, part, progress, cancellationToken))
            {
                return;
            }

            (long first, long end) = block.Of(database.ChunkCount);
            using SharedHandle.Held held = database.HoldTokens();
            using Bm25Image image = Bm25Image.Build(
                (int)(end - first),
                document => KeywordNeighborSource.TermsOf(database, database.HeldTokens(first + document)),
                k1: 0,
                b: 0,
                part,
                options.Threads,
                progress,
                cancellationToken);
            _ = database.Refresh(); // making it has taken a while: nothing is written into the folder of another database, or one that has gone
            image.Save(own);
        }
    }

    /// <summary>Opens the keyword index of a database, memory-mapped.</summary>
    /// <param name="database">The database.</param>
    /// <param name="options">The constants that it has to have been built with; null for whatever there are.</param>
    /// <param name="progress">Receives the number of bytes checked.</param>
    /// <param name="cancellationToken">Stops the checking.</param>
    /// <returns>The index; dispose it.</returns>
    /// <exception cref="RetroOptionsException">An option is out of range.</exception>
    /// <exception cref="DatabaseException">There is none, it is damaged, or it was built with other constants.</exception>
    public static Bm25Index Open(
        ChunkDatabase database,
        KeywordNeighborOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        options?.Validate();
        (string path, _) = StageFile.Require(database, StageNames.Keywords);
        Bm25Index index = Open(path, options?.Verify ?? true, progress, cancellationToken);
        if (options is not null && (options.K1, options.B) != (index.K1, index.B))
        {
            string message = string.Create(
                CultureInfo.InvariantCulture,
                $"The keyword index {path} was built with k1 {index.K1} and b {index.B}, and k1 {options.K1} and b {options.B} are asked for: ask for the former, or build the index again.");
            index.Dispose();
            throw new DatabaseException(message);
        }

        return index;
    }

    /// <summary>Builds an index in memory.</summary>
    /// <param name="count">How many documents there are; fewer than 2³¹.</param>
    /// <param name="terms">Gives the terms of documents 0 to <paramref name="count"/> - 1; asked twice for each, by several
    /// threads at once, with the same answer.</param>
    /// <param name="options">The constants of BM25.</param>
    /// <param name="progress">Told how many documents are done.</param>
    /// <param name="cancellationToken">Stops the build.</param>
    /// <exception cref="ArgumentOutOfRangeException">The count is out of range.</exception>
    /// <exception cref="RetroOptionsException">A constant is out of range.</exception>
    public static Bm25Index Build(
        long count,
        TermsOf terms,
        KeywordNeighborOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(terms);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(count, int.MaxValue);
        options = (options ?? new()).Validate();
        return new(Bm25Image.Build((int)count, terms, options.K1, options.B, part: null, options.Threads, progress, cancellationToken));
    }

    /// <summary>Opens an index file, memory-mapped.</summary>
    /// <param name="path">The file.</param>
    /// <param name="verify">Compares the checksum as well; without it only sizes and the tables of contents are checked.</param>
    /// <param name="progress">Receives the number of bytes checked.</param>
    /// <param name="cancellationToken">Stops the checking.</param>
    /// <exception cref="DatabaseException">The file is missing, cut short, damaged or of another version.</exception>
    public static Bm25Index Open(string path, bool verify = true, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        return new(Bm25Image.Open(path, verify, part: null, progress, cancellationToken));
    }

    /// <summary>Writes the index; the name never stands for half a file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="DatabaseException">It cannot be written.</exception>
    public void Save(string path)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        _image.Save(path);
    }

    /// <summary>Makes indexes the parts of one collection, before any is searched.</summary>
    /// <param name="parts">The indexes.</param>
    /// <param name="removed">The documents of each that count no more.</param>
    public static void Join(IReadOnlyList<Bm25Index> parts, IReadOnlyList<IEnumerable<long>> removed)
    {
        Bm25Statistics[] statistics = Bm25Statistics.Of([.. parts.Select(part => part._image)], removed);
        for (int part = 0; part < parts.Count; part++)
        {
            parts[part]._statistics = statistics[part];
        }
    }

    /// <summary>The inverse document frequency of a term, 0 for one that no document has.</summary>
    /// <param name="term">The term.</param>
    public double InverseDocumentFrequency(int term)
    {
        using SharedHandle.Held held = _image.Hold();
        return _image.Rank(term) is var rank and >= 0 ? _statistics.InverseDocumentFrequency(rank) : 0;
    }

    /// <summary>The score of one document.</summary>
    /// <param name="query">The query's terms; a repeated one counts each time.</param>
    /// <param name="document">The document's number.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such document.</exception>
    /// <exception cref="DatabaseException">The file is damaged, and was opened without comparing its checksum.</exception>
    public double Score(ReadOnlySpan<int> query, long document)
    {
        if (document < 0 || document >= Count)
        {
            throw new ArgumentOutOfRangeException(nameof(document), document, $"The index holds the documents 0 to {Count - 1}.");
        }

        using SharedHandle.Held held = _image.Hold();
        Bm25Search search = Rent();
        double score = search.Score(query, (int)document);
        _searches.Add(search);
        return score;
    }

    /// <summary>What of a document's terms is not as it is in the index; null: all is.</summary>
    /// <param name="document">The document's number.</param>
    /// <param name="terms">Its terms.</param>
    public string? FaultOf(long document, ReadOnlySpan<int> terms)
    {
        using SharedHandle.Held held = _image.Hold();
        return _image.FaultOf((int)document, terms);
    }

    /// <summary>Finds the documents of the highest scores above 0.</summary>
    /// <param name="query">The query's terms; a repeated one counts each time, one that no document has counts nothing.</param>
    /// <param name="documents">Room for the numbers of as many documents as are wanted, best first, ties by number; -1 where no more document has any term of
    /// the query.</param>
    /// <param name="scores">Room for their scores, as long; NaN beside -1.</param>
    /// <param name="excluded">Documents that must not come.</param>
    /// <param name="among">The documents that may come; null: all.</param>
    /// <returns>How many were found.</returns>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    /// <exception cref="DatabaseException">The file is damaged, and was opened without comparing its checksum.</exception>
    public int Search(
        ReadOnlySpan<int> query, Span<long> documents, Span<double> scores, ExcludedChunks excluded = default, ChunkSet? among = null)
    {
        if (documents.Length != scores.Length)
        {
            throw new ArgumentException($"Expected as much room for scores as for documents ({documents.Length}), got {scores.Length}.", nameof(scores));
        }

        using SharedHandle.Held held = _image.Hold();
        Bm25Search search = Rent();
        int found = search.Find(query, documents, scores, excluded, among);

        // A search that threw is not given back: its buffers are in no known state.
        _searches.Add(search);
        return found;
    }

    /// <inheritdoc/>
    public void Dispose() => _image.Dispose();

    private static void RequireSize(ChunkDatabase database)
    {
        if (database.ChunkCount >= int.MaxValue)
        {
            throw new DatabaseException(
                $"The database in '{database.Folder}' has {database.ChunkCount} chunks, and a keyword index takes fewer than {int.MaxValue}: make several "
                    + "databases of it, and open them as one.");
        }
    }

    private static Dictionary<string, string> DetailsOf(KeywordNeighborOptions options) => new()
    {
        [K1Detail] = options.K1.ToString(CultureInfo.InvariantCulture),
        [BDetail] = options.B.ToString(CultureInfo.InvariantCulture),
    };

    /// <summary>
    /// The files of a share: itself, or, where it would take more memory than it may, the shares of a greater number that have the same chunks together. How
    /// many depends on the database, the number of shares and the memory, so that all shares are cut alike.
    /// </summary>
    private static WorkShare[] BlocksOf(ChunkDatabase database, WorkShare share, KeywordNeighborOptions options)
    {
        // Of a token its rank and its posting; of a chunk where its tokens begin.
        const int BytesOfAToken = sizeof(int) + sizeof(int) + sizeof(byte), BytesOfAChunk = sizeof(long), LeastChunks = 1024;
        double bytes = ((double)BytesOfAToken * database.Manifest.TokenCount) + ((double)BytesOfAChunk * database.ChunkCount);
        long most = Math.Max(1, Math.Min(database.ChunkCount / LeastChunks, int.MaxValue) / share.Count);
        int blocks = (int)Math.Clamp(Math.Ceiling(bytes / share.Count / options.Memory), 1, most);
        return [.. Enumerable.Range(((share.Index - 1) * blocks) + 1, blocks).Select(index => new WorkShare(index, share.Count * blocks))];
    }

    /// <summary>
    /// Removes shares that were made of other chunks: what a build that was stopped has left of the database before this one would keep it from ever getting an
    /// index.
    /// </summary>
    private static void RemoveOthers(ChunkDatabase database, string path, IProgress<StageProgress>? progress)
    {
        foreach (WorkShare share in ShareName.Near(path))
        {
            string own = ShareName.PathOf(path, share);
            AtomicFile.Guard(own, DatabaseException.Of, () =>
            {
                if (File.Exists(own) && Bm25Image.IsOfAnother(own, PartOf(database, share)))
                {
                    using FileStream held = ShareName.Hold(own);
                    File.Delete(own);
                    progress?.Report(new("index terms", 0, database.ChunkCount, $"The share {own} was made of other chunks, and is removed."));
                }
            });
        }
    }

    /// <summary>What a share is a part of.</summary>
    private static byte[] PartOf(ChunkDatabase database, WorkShare share)
        => Convert.FromHexString(NeighborQueries.Identity("part of bm25", database.Manifest.TokensHash, share))[..Bm25Image.PartBytes];

    private static bool IsWhole(string path, byte[] part, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        try
        {
            using Bm25Image? image = File.Exists(path) ? Bm25Image.Open(path, verify: true, part, progress, cancellationToken) : null;
            return image is not null;
        }
        catch (DatabaseException)
        {
            return false; // making it replaces it
        }
    }

    private static void Join(
        ChunkDatabase database,
        WorkShare[] shares,
        KeywordNeighborOptions options,
        StagedFiles file,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        List<Bm25Image> parts = [];
        string path = database.PathOf(StageNames.Keywords);
        try
        {
            foreach (WorkShare share in shares)
            {
                string own = ShareName.PathOf(path, share);
                Bm25Image part = Bm25Image.Open(own, verify: true, PartOf(database, share), progress, cancellationToken);
                parts.Add(part);
                if (share.Of(database.ChunkCount) is var (first, end) && part.Documents != end - first)
                {
                    throw new DatabaseException($"The share {own} has {part.Documents} chunks and should have {end - first}: make it again, or delete it.");
                }
            }

            file.Write(path, stream => Bm25Image.Merge(stream, parts, options.K1, options.B, progress, cancellationToken));
        }
        finally
        {
            parts.ForEach(part => part.Dispose());
        }
    }

    private Bm25Search Rent() => _searches.TryTake(out Bm25Search? search) ? search : new Bm25Search(_image, _statistics);
}

using System.Globalization;
using Retro.Database;

namespace Retro.Search;

/// <content>How a table is made.</content>
public sealed unsafe partial class NeighborTable
{
    /// <summary>Rows that are found and written at once.</summary>
    internal const int BlockRows = 1024;

    // A block of more could not be held.
    private const int MostCount = int.MaxValue / (BlockRows * sizeof(long));

    private const string Stage = "find neighbors";

    /// <summary>
    /// Finds the neighbors of every chunk of a database, and opens the table: a file <c>neighbors-(source's name)-(number).bin</c> in the database's folder,
    /// whose number stands for the source's identity and the settings, so that two sources of one kind have tables of their own. In blocks, resumable; the
    /// table that is there is not made again, and rows that a share holds (<see cref="BuildShare"/>) are taken from there. Tables of what a source's database
    /// was before it changed stay, for who has it open still; they may be deleted by hand.
    /// </summary>
    /// <param name="queries">The database whose chunks get neighbors.</param>
    /// <param name="source">Finds them, in the same database or another.</param>
    /// <param name="count">Neighbors for each chunk: more than are used, so that the filter of windows leaves enough; at most 262,143.</param>
    /// <param name="excludeOwnDocument">
    /// Whether to leave out a chunk's own document: that document itself where the neighbors come from the same database, and in any case every document of the
    /// same id or the same text.
    /// </param>
    /// <param name="progress">Receives the number of chunks done.</param>
    /// <param name="cancellationToken">Stops between blocks; the next run goes on there.</param>
    /// <returns>The table; dispose it, or the database of the queries.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The count is not positive, or too large.</exception>
    /// <exception cref="ArgumentException">The source's name cannot stand in a file name.</exception>
    /// <exception cref="DatabaseException">The file cannot be written, or the two databases have chunks of different tokenizers.</exception>
    public static NeighborTable Build(
        ChunkDatabase queries,
        INeighborSource source,
        int count = UsualCount,
        bool excludeOwnDocument = true,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(queries);
        ArgumentNullException.ThrowIfNull(source);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        string name = FileName(queries, source, count, excludeOwnDocument);
        byte[] header = HeaderOf(queries, source, count, excludeOwnDocument);
        Dictionary<string, string> details = Details(source, count, excludeOwnDocument);
        if (StageFile.IsMade(queries, name, details)
            && TryOpen(queries.PathOf(name), header, source.Database ?? queries, progress, cancellationToken) is { } there)
        {
            return there.ClosedWith(queries);
        }

        using WriterLock writing = queries.Write(Stage);
        queries.Forget(writing, name);
        NeighborTable table = Build(queries.PathOf(name), header, queries, source, count, excludeOwnDocument, progress, cancellationToken);
        try
        {
            // The table is whole, and stands under its name whatever happens before the manifest knows.
            ShareFiles.Remove(queries.PathOf(name), BlocksOf(header, queries, count));
            queries.Enter(writing, name, details, progress, cancellationToken);
            return table.ClosedWith(queries);
        }
        catch
        {
            table.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Finds the neighbors of a share of the chunks, for several machines or processes at once on one storage: a file of its own beside the table
    /// (<c>neighbors-bm25-(number).3-of-8.bin</c>), in blocks, resumable. The whole
    /// <see cref="Build(ChunkDatabase, INeighborSource, int, bool, IProgress{StageProgress}, CancellationToken)"/> then takes the rows from the shares that
    /// are there, whatever they are a share of, finds what is missing, and removes them; the table is that of a build without shares, byte for byte where
    /// all machines compute alike.
    /// </summary>
    /// <param name="queries">The database whose chunks get neighbors, which may be changed by nobody meanwhile.</param>
    /// <param name="source">Finds them, in the same database or another; of one identity on every machine.</param>
    /// <param name="share">The share.</param>
    /// <param name="count">Neighbors for each chunk.</param>
    /// <param name="excludeOwnDocument">Whether to leave out a chunk's own document, and those of the same id or text.</param>
    /// <param name="progress">Receives the number of chunks of the share done.</param>
    /// <param name="cancellationToken">Stops between blocks; the next run goes on there.</param>
    /// <exception cref="ArgumentOutOfRangeException">The count is not positive, or too large.</exception>
    /// <exception cref="ArgumentException">The source's name cannot stand in a file name.</exception>
    /// <exception cref="DatabaseException">Another process makes the same share, its file cannot be written, or the two databases have chunks of different
    /// tokenizers.</exception>
    public static void BuildShare(
        ChunkDatabase queries,
        INeighborSource source,
        WorkShare share,
        int count = UsualCount,
        bool excludeOwnDocument = true,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(queries);
        ArgumentNullException.ThrowIfNull(source);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        byte[] header = HeaderOf(queries, source, count, excludeOwnDocument); // refuses a name that leads elsewhere before anything is made there
        StageFile.MakeShare(
            queries, FileName(queries, source, count, excludeOwnDocument), share, Stage, Details(source, count, excludeOwnDocument), Make);

        void Make(string own)
        {
            RowBlocks blocks = BlocksOf(header, queries, count);
            using NeighborRows rows = new(queries, source, count, excludeOwnDocument, progress, cancellationToken);
            ShareFiles.Make(own, blocks, share, Stage, rows.Find, progress, cancellationToken);
        }
    }

    /// <summary>Finds the neighbors of every chunk of a database into a file of any name.</summary>
    internal static NeighborTable Build(
        string path,
        ChunkDatabase queries,
        INeighborSource source,
        int count,
        bool excludeOwnDocument,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
        => Build(path, HeaderOf(queries, source, count, excludeOwnDocument), queries, source, count, excludeOwnDocument, progress, cancellationToken);

    private static NeighborTable Build(
        string path,
        byte[] header,
        ChunkDatabase queries,
        INeighborSource source,
        int count,
        bool excludeOwnDocument,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        if (TryOpen(path, header, source.Database ?? queries, progress, cancellationToken) is { } made)
        {
            return made;
        }

        RowBlocks blocks = BlocksOf(header, queries, count);
        using (NeighborRows rows = new(queries, source, count, excludeOwnDocument, progress, cancellationToken))
        using (ShareFiles shares = ShareFiles.Open(path, blocks, Stage, progress))
        using (ResumableFile file = ResumableFile.Open(path, Convert.ToHexStringLower(header), header, blocks.RowBytes, BlockRows, blocks.Rows))
        {
            for (long first = file.Rows; first < queries.ChunkCount; first += BlockRows)
            {
                cancellationToken.ThrowIfCancellationRequested();
                progress?.Report(new(Stage, first, queries.ChunkCount));
                int some = (int)Math.Min(BlockRows, queries.ChunkCount - first);
                byte[] block = new byte[some * blocks.RowBytes];
                if (!shares.TryRead(first, block))
                {
                    rows.Find(first, block);
                }

                file.Append(block, some);
            }

            file.CompleteSealed(header);
        }

        progress?.Report(new(Stage, queries.ChunkCount, queries.ChunkCount));
        return Open(path, source.Database ?? queries, progress, cancellationToken);
    }

    /// <summary>Finds some rows of the tables that a source has made for its own database's chunks once more.</summary>
    internal static IEnumerable<StageCheck> Check(ChunkDatabase database, INeighborSource source, long[] chunks, CancellationToken cancellationToken)
    {
        foreach (DatabaseFile file in database.Manifest.Stages.Where(file => file.Details.GetValueOrDefault("source") == source.Identity).ToArray())
        {
            using NeighborTable table = Open(database.RequireFile(file.Name), source.Database ?? database, cancellationToken: cancellationToken);
            using NeighborRows rows = new(database, source, table.Count, table.ExcludesOwnDocument, null, cancellationToken);
            long wrong = 0;
            string? example = null;
            foreach (long chunk in chunks)
            {
                cancellationToken.ThrowIfCancellationRequested();
                NeighborQuery query = rows.QueryOf(chunk);
                long[] row = table.Row(chunk).ToArray();
                (long[] found, float[] scores) = source.Ask([query], table.Count, cancellationToken);
                if (!row.AsSpan().SequenceEqual(found) && !IsAsGood(row, source, query, found, scores, cancellationToken))
                {
                    wrong++;
                    example ??= $"chunk {chunk}: its neighbors are {string.Join(' ', found)}, and {string.Join(' ', row)} in the table";
                }
            }

            yield return new(file.Name, chunks.Length, wrong, example);
        }
    }

    /// <summary>
    /// Whether another row than a source finds is as good: of chunks that may come, each once, and at every place one whose score rounding alone may tell from
    /// that of the chunk that is found there.
    /// </summary>
    private static bool IsAsGood(
        long[] row, INeighborSource source, NeighborQuery query, long[] found, float[] scores, CancellationToken cancellationToken)
    {
        // What was drawn has no scores that could be equal, though all say 0.
        if (source is RandomNeighborSource || source.Database is not { } database)
        {
            return false;
        }

        // A chunk that is not among twice as many either is at most as good as the last of them; where that is missing, its score is NaN, and near to none.
        (long[] more, float[] further) = source.Ask([query], 2 * row.Length, cancellationToken);
        Dictionary<long, float> known = [];
        foreach ((long chunk, float score) in found.Zip(scores).Concat(more.Zip(further)))
        {
            known.TryAdd(chunk, score);
        }

        HashSet<long> taken = [];
        return Enumerable.Range(0, row.Length).All(i => row[i] < 0 || found[i] < 0
            ? row[i] == found[i]
            : taken.Add(row[i])
                && query.Admits(database, row[i])
                && Math.Abs(known.GetValueOrDefault(row[i], further[^1]) - scores[i]) <= IndexRecall.RoundingOf(scores[i]));
    }

    /// <summary>A table's rows, as they are made.</summary>
    private static RowBlocks BlocksOf(byte[] header, ChunkDatabase queries, int count)
        => new(header, queries.ChunkCount, (long)count * sizeof(long), BlockRows);

    private static byte[] HeaderOf(ChunkDatabase queries, INeighborSource source, int count, bool excludeOwnDocument)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, MostCount);
        return NeighborTableHeader.Of(queries, source, IdentityOf(queries, source, excludeOwnDocument), count, excludeOwnDocument).ToBytes();
    }

    /// <summary>
    /// What the neighbors depend on beside the tokens: the source, and, of another database than the chunks' own, which documents are left out, since these go
    /// by the ids and texts of both.
    /// </summary>
    private static string IdentityOf(ChunkDatabase queries, INeighborSource source, bool excludeOwnDocument)
        => excludeOwnDocument && source.Database is { } other && DocumentsOf(other) is var there && DocumentsOf(queries) is var own && there != own
            ? NeighborQueries.Identity(source.Identity, own, there)
            : source.Identity;

    // The number of a change would not tell: copies of a database have the same for changes of their own. The space at the end stays, as tables that are there
    // go by it.
    private static string DocumentsOf(ChunkDatabase database) => $"{database.Manifest.TokensHash} {database.CorpusHash} ";

    private static string FileName(ChunkDatabase queries, INeighborSource source, int count, bool excludeOwnDocument)
        => StageNames.OfTable(
            source.Name,
            NeighborQueries.Identity(
                IdentityOf(queries, source, excludeOwnDocument), source.Database?.Manifest.TokensHash, count, excludeOwnDocument));

    private static Dictionary<string, string> Details(INeighborSource source, int count, bool excludeOwnDocument) => new()
    {
        ["source"] = source.Identity,
        ["count"] = count.ToString(CultureInfo.InvariantCulture),
        ["excludeOwnDocument"] = excludeOwnDocument ? "true" : "false",
        ["database"] = source.Database?.Manifest.TokensHash ?? "",
    };

    /// <summary>The table at a path if it was made of the same things; a damaged or a different one is made again.</summary>
    private static NeighborTable? TryOpen(
        string path, ReadOnlySpan<byte> header, ChunkDatabase retrieval, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        if (!File.Exists(path))
        {
            return null;
        }

        try
        {
            NeighborTable table = Open(path, retrieval, progress, cancellationToken);
            if (new ReadOnlySpan<byte>(table._memory.Pointer, NeighborTableHeader.HashAt).SequenceEqual(header[..NeighborTableHeader.HashAt]))
            {
                return table;
            }

            table.Dispose();
        }
        catch (DatabaseException)
        {
            // Building replaces it, which is what the message would ask for.
        }

        return null;
    }
}

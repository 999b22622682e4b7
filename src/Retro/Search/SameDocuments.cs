using Retro.Corpora;
using Retro.Database;

namespace Retro.Search;

/// <summary>
/// Which documents of two databases are the same one: those of one id, those of one text, and those that a chain of such pairs connects. A copy would show a
/// window its own future, and so would a document that was edited since.
/// </summary>
internal sealed class SameDocuments
{
    /// <summary>What is done, in reports, and after how many documents there is one.</summary>
    internal const string Stage = "compare documents";

    /// <inheritdoc cref="Stage"/>
    internal const int ReportEvery = 1 << 12;

    private readonly int[] _queryGroups;
    private readonly int[] _retrievalGroups;

    // The documents of the retrieval database in the order of their groups, and each behind the number of its group.
    private readonly long[] _numbered;
    private readonly int[] _retrievalDocuments;

    /// <param name="queries">The database whose chunks are asked for.</param>
    /// <param name="retrieval">The database of the neighbors; may be the same.</param>
    /// <param name="progress">Receives the number of documents compared; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two documents.</param>
    public SameDocuments(
        ChunkDatabase queries, ChunkDatabase retrieval, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        bool one = ReferenceEquals(queries, retrieval);
        int count = queries.Documents.Count + (one ? 0 : retrieval.Documents.Count), next = 0;
        int[] parents = [.. Enumerable.Range(0, count)];
        Dictionary<UInt128, int> byId = [], byText = []; // of hashes, which are small
        foreach (DocumentEntry entry in queries.Documents.Concat(one ? [] : retrieval.Documents))
        {
            if (next % ReportEvery == 0)
            {
                cancellationToken.ThrowIfCancellationRequested();
                progress?.Report(new(Stage, next, count));
            }

            Join(byId, TextHash.Of(entry.Id), next);
            Join(byText, entry.ContentNumber, next++);
        }

        progress?.Report(new(Stage, count, count));
        int[] groups = [.. parents.Select((_, document) => Root(document))];
        _queryGroups = groups[..queries.Documents.Count];
        _retrievalGroups = one ? _queryGroups : groups[queries.Documents.Count..];
        _numbered = [.. _retrievalGroups.Select((group, document) => Numbered(group, document))];
        Array.Sort(_numbered);
        _retrievalDocuments = Array.ConvertAll(_numbered, document => (int)document);

        void Join(Dictionary<UInt128, int> known, UInt128 key, int document)
        {
            if (!known.TryAdd(key, document))
            {
                parents[Root(document)] = Root(known[key]);
            }
        }

        int Root(int document)
        {
            while (parents[document] != document)
            {
                // Halving the path keeps it short.
                document = parents[document] = parents[parents[document]];
            }

            return document;
        }
    }

    /// <summary>The documents of the retrieval database that are the same as one of the other, in order.</summary>
    /// <param name="document">Number of a document of the database whose chunks are asked for.</param>
    /// <returns>A part of one array, and so nothing is copied where many are the same; lists of one group are equal.</returns>
    public IReadOnlyList<int> Of(int document)
    {
        long group = _queryGroups[document];
        int first = FirstOf(group);
        return new ArraySegment<int>(_retrievalDocuments, first, FirstOf(group + 1) - first);
    }

    /// <summary>What documents are the same by: equal for those that are.</summary>
    /// <param name="document">Number of a document of the database whose chunks are asked for.</param>
    public int Group(int document) => _queryGroups[document];

    /// <summary>
    /// Keeps the first neighbors that are in none of a window's documents: a neighbor must share no document with the window it is used in (arXiv 2112.04426,
    /// section 2.3), whichever of the window's.
    /// </summary>
    /// <param name="retrieval">The database of the neighbors.</param>
    /// <param name="candidates">Chunk numbers, best first; -1 where there is none.</param>
    /// <param name="window">The groups of the documents that have a token in the window.</param>
    /// <param name="kept">Filled with the first that remain, -1 behind them.</param>
    /// <returns>How many remain, at most the length of <paramref name="kept"/>.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A candidate is no chunk of the database.</exception>
    public int Keep(ChunkDatabase retrieval, ReadOnlySpan<long> candidates, IReadOnlySet<int> window, Span<long> kept)
    {
        int count = 0;
        foreach (long chunk in candidates)
        {
            if (count == kept.Length)
            {
                break;
            }

            if (chunk != -1 && !window.Contains(_retrievalGroups[retrieval.DocumentOf(chunk)]))
            {
                kept[count++] = chunk;
            }
            else if (chunk != -1)
            {
                RetroTelemetry.Rejected.Add(1);
            }
        }

        kept[count..].Fill(-1);
        return count;
    }

    // Where the documents of a group begin.
    private int FirstOf(long group)
    {
        int found = Array.BinarySearch(_numbered, Numbered(group, 0));
        return found < 0 ? ~found : found;
    }

    private static long Numbered(long group, int document) => (group << 32) + document;
}

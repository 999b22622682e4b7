using Retro.Database;
using Retro.Tokenizers;

namespace Retro.Search;

/// <summary>Asks sources with texts.</summary>
public static class NeighborSearch
{
    /// <summary>Finds the passages that fit a text best, such as a question.</summary>
    /// <param name="source">Finds chunks of its database.</param>
    /// <param name="text">The text, as <see cref="NeighborQuery.Of"/> asks with it.</param>
    /// <param name="tokenizer">The tokenizer of the database.</param>
    /// <param name="count">K, passages at most.</param>
    /// <param name="labels">The labels that whoever asks may see (<see cref="NeighborQuery.Labels"/>); null: all documents come.</param>
    /// <param name="excludedDocuments">Numbers of documents that must not come, such as <see cref="ExcludedDocuments.Of"/> gives of ids; null: none.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    /// <returns>At most K passages, best first, each with the next chunk of its document; none where the text has no tokens.</returns>
    /// <exception cref="ArgumentException">The source has no database, or an excluded document does not exist.</exception>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="count"/> is less than 1.</exception>
    /// <exception cref="DatabaseException">The database was made with another tokenizer or is damaged, or the source finds what the query does not
    /// admit.</exception>
    /// <exception cref="OperationCanceledException">Canceled.</exception>
    public static IReadOnlyList<RetrievedNeighbor> Search(
        this INeighborSource source,
        string text,
        RetroTokenizer tokenizer,
        int count = 5,
        IReadOnlyList<string>? labels = null,
        IReadOnlyList<int>? excludedDocuments = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        ChunkDatabase database = source.Database
            ?? throw new ArgumentException($"The source {source.Name} has no database to find passages in; give one that has.", nameof(source));
        NeighborQuery query = NeighborQuery.Of(text, database, tokenizer) with { ExcludedDocuments = excludedDocuments ?? [], Labels = labels };
        if (query.Tokens.IsEmpty)
        {
            return [];
        }

        (long[] chunks, float[] scores) = source.Ask([query], NeighborQueries.Most(database, count), cancellationToken);
        return [.. chunks.Zip(scores).Where(found => found.First >= 0).Select(found =>
        {
            DocumentEntry document = database.Documents[database.DocumentOf(found.First)];
            long next = database.Continuation(found.First);
            return new RetrievedNeighbor(
                found.First,
                document.Id,
                document.Title,
                document.Location,
                found.First - document.FirstChunk,
                database.Text(found.First, tokenizer),
                next < 0 ? "" : database.Text(next, tokenizer),
                found.Second);
        })];
    }
}

using Retro.Database;
using Retro.Search;

namespace Retro.Generation;

/// <summary>
/// Finds the documents of a database that are one of those named, or a copy of one, by the rule that training windows and neighbor tables go by
/// (the same id or the same text).
/// </summary>
public sealed class ExcludedDocuments
{
    private readonly SameDocuments _same;
    private readonly Dictionary<string, int> _numbers = new(StringComparer.Ordinal);

    /// <summary>Reads the entries of all documents.</summary>
    /// <param name="database">The database.</param>
    /// <param name="cancellationToken">Stops between documents.</param>
    /// <exception cref="OperationCanceledException">Canceled.</exception>
    public ExcludedDocuments(ChunkDatabase database, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        _same = new(database, database, cancellationToken: cancellationToken);
        for (int document = 0; document < database.Documents.Count; document++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            _numbers.TryAdd(database.Documents[document].Id, document);
        }
    }

    /// <summary>
    /// Numbers of the documents that are named by their ids, and of all that are the same as one of them; an id that no document has names none.
    /// </summary>
    /// <param name="ids">The ids.</param>
    /// <returns>Numbers in the database, ascending.</returns>
    public int[] Of(IReadOnlyList<string> ids)
        => [.. ids.Where(_numbers.ContainsKey).SelectMany(id => _same.Of(_numbers[id])).Distinct().Order()];
}

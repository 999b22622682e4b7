using Retro.Database;
using Retro.Search;

namespace Retro.Generation;

/// <summary>
/// Finds the documents of a database that are one of those named, or a copy of one, by the rule that training windows and neighbor tables go by
/// (<see cref="SameDocuments"/>).
/// </summary>
internal sealed class ExcludedDocuments
{
    private readonly SameDocuments _same;
    private readonly Dictionary<string, int> _numbers = new(StringComparer.Ordinal);

    /// <summary>Reads the entries of all documents.</summary>
    public ExcludedDocuments(ChunkDatabase database, CancellationToken cancellationToken)
    {
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
    public int[] Of(IReadOnlyList<string> ids)
        => [.. ids.Where(_numbers.ContainsKey).SelectMany(id => _same.Of(_numbers[id])).Distinct().Order()];
}

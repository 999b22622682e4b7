using Retro.Database;

namespace Retro.Search;

/// <summary>
/// Finds the documents of a database that are one of those named, or a copy of one, by the rule that training windows and neighbor tables go by
/// (the same id or the same text).
/// </summary>
public sealed class ExcludedDocuments
{
    private readonly SameDocuments _same;
    private readonly ChunkDatabase _named;

    /// <summary>Reads the entries of all documents.</summary>
    /// <param name="database">The database.</param>
    /// <param name="cancellationToken">Stops between documents.</param>
    /// <exception cref="OperationCanceledException">Canceled.</exception>
    public ExcludedDocuments(ChunkDatabase database, CancellationToken cancellationToken = default)
        : this(database, database, cancellationToken)
    {
    }

    /// <summary>Reads the entries of all documents, where those that are named are another database's, such as held-out ones.</summary>
    /// <param name="named">The database of the documents that are named.</param>
    /// <param name="database">The database in which they and their copies are looked for.</param>
    /// <param name="cancellationToken">Stops between documents.</param>
    /// <exception cref="OperationCanceledException">Canceled.</exception>
    public ExcludedDocuments(ChunkDatabase named, ChunkDatabase database, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(named);
        ArgumentNullException.ThrowIfNull(database);
        _named = named;
        _same = new(named, database, cancellationToken: cancellationToken);
    }

    /// <summary>
    /// Numbers of the documents that are named by their ids, and of all that are the same as one of them; an id that no document has names none.
    /// </summary>
    /// <param name="ids">The ids.</param>
    /// <returns>Numbers in the database, ascending.</returns>
    public int[] Of(IReadOnlyList<string> ids)
        => [.. ids.Select(_named.NumberOf).Where(document => document >= 0).SelectMany(_same.Of).Distinct().Order()];
}

namespace Retro.Corpora;

/// <summary>Finds ids that come twice; hashes in place of the ids themselves keep millions of documents small.</summary>
/// <param name="documents">The documents, which are gone through again where an id is found twice.</param>
internal sealed class DocumentIds(IEnumerable<Document> documents)
{
    private readonly HashSet<UInt128> _ids = [];

    /// <summary>Takes a document's id.</summary>
    /// <param name="document">The next document.</param>
    /// <returns>What is wrong where another had it before; null: nothing.</returns>
    public string? Enter(Document document)
    {
        if (_ids.Add(TextHash.Of(document.Id)))
        {
            return null;
        }

        string first = documents.First(other => other.Id == document.Id).Location;
        return $"Two documents have the id '{document.Id}', one from {first} and one from {document.Location}; give each an id of its own"
            + $" (where ids start again in every file of rows, {nameof(CorpusOptions)}.{nameof(CorpusOptions.IdsByFile)} tells them apart).";
    }
}

using Retro.Corpora;

namespace Retro.Database;

/// <summary>Gathers documents into blocks and finds ids that come twice.</summary>
internal sealed class BlockReader(IEnumerable<Document> documents, ChunkDatabaseOptions options) : IDisposable
{
    private const int BlockDocuments = 1 << 16;

    private readonly IEnumerator<Document> _documents = documents.GetEnumerator();
    private readonly DocumentIds _ids = new(documents);

    public long Count { get; private set; }

    /// <summary>The next block: of a number of documents, or of about as much text as the options say.</summary>
    public List<Document> Next(int? count)
    {
        List<Document> block = [];
        long characters = 0;
        while ((count is { } wanted ? block.Count < wanted : characters < options.BlockCharacters && block.Count < BlockDocuments) && _documents.MoveNext())
        {
            Document document = _documents.Current;
            Enter(document, Count + block.Count + 1);
            block.Add(document);
            characters += document.Text.Length;
        }

        Count += block.Count;
        return block;
    }

    public void Dispose() => _documents.Dispose();

    /// <summary>
    /// Refuses what is null where there has to be text, a label that is empty, and an id or a label that holds half a surrogate pair: in the file it would be a
    /// sign of replacement, as another's would, so that what is asked for by the one or hidden by the other could be another document.
    /// </summary>
    /// <param name="document">The document.</param>
    /// <param name="number">Which one of those that came it is, from 1.</param>
    public static void RequireText(Document? document, long number)
    {
        if (document is null)
        {
            throw new DatabaseException($"Document number {number} of those given is null; leave out what is none.");
        }

        string? missing = Missing(document);
        if (missing is not null)
        {
            throw new DatabaseException(
                $"Document number {number} of those given, with the id '{document.Id}', has null for its {missing}; what has none is empty.");
        }

        if (document.Labels.Contains(""))
        {
            throw new DatabaseException(
                $"Document number {number} of those given, with the id '{document.Id}', has an empty label; one that all may see has none.");
        }

        if (document.Labels.Append(document.Id).FirstOrDefault(name => !TextDecoding.IsText(name)) is { } broken)
        {
            throw new DatabaseException(
                $"The id or a label of a document from {document.Location} is no text: '{broken}' holds half a surrogate pair; give it another.");
        }

        static string? Missing(Document document) => document.Id is null ? nameof(document.Id)
            : document.Title is null ? nameof(document.Title)
            : document.Text is null ? nameof(document.Text)
            : document.Location is null ? nameof(document.Location)
            : document.Labels is null || document.Labels.Contains(null!) ? nameof(document.Labels)
            : null;
    }

    private void Enter(Document document, long number)
    {
        RequireText(document, number);
        if (document.Id.Length == 0)
        {
            throw new DatabaseException($"A document from {document.Location} has an empty id; every document needs an id of its own.");
        }

        if (_ids.Enter(document) is { } fault)
        {
            throw new DatabaseException(fault);
        }
    }
}

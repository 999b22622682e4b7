using System.Text;
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
            Enter(document);
            block.Add(document);
            characters += document.Text.Length;
        }

        Count += block.Count;
        return block;
    }

    public void Dispose() => _documents.Dispose();

    /// <summary>
    /// Refuses an id or a label that holds half a surrogate pair: in the file it would be a sign of replacement, as another's would, so that what is asked for
    /// by the one or hidden by the other could be another document.
    /// </summary>
    public static void RequireText(Document document)
    {
        if (document.Labels.Append(document.Id).FirstOrDefault(name => !IsText(name)) is { } broken)
        {
            throw new DatabaseException(
                $"The id or a label of a document from {document.Location} is no text: '{broken}' holds half a surrogate pair; give it another.");
        }

        static bool IsText(string name)
            => !name.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF') || Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(name)) == name;
    }

    private void Enter(Document document)
    {
        if (document.Id.Length == 0)
        {
            throw new DatabaseException($"A document from {document.Location} has an empty id; every document needs an id of its own.");
        }

        RequireText(document);
        if (_ids.Enter(document) is { } fault)
        {
            throw new DatabaseException(fault);
        }
    }
}

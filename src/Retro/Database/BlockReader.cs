using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Retro.Corpora;

namespace Retro.Database;

/// <summary>Gathers documents into blocks and finds ids that come twice.</summary>
internal sealed class BlockReader(IEnumerable<Document> documents, ChunkDatabaseOptions options) : IDisposable
{
    private const int BlockDocuments = 1 << 16;

    private readonly IEnumerator<Document> _documents = documents.GetEnumerator();

    // Hashes in place of the ids themselves keep millions of documents small.
    private readonly HashSet<UInt128> _ids = [];

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
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(Encoding.UTF8.GetBytes(document.Id), hash);
        if (!_ids.Add(MemoryMarshal.Read<UInt128>(hash)))
        {
            string first = documents.First(other => other.Id == document.Id).Location;
            throw new DatabaseException(
                $"Two documents have the id '{document.Id}', one from {first} and one from {document.Location}; give each an id of its own"
                    + $" (where ids begin anew in every file of JSON lines, {nameof(CorpusOptions)}.{nameof(CorpusOptions.IdsByFile)} tells them apart).");
        }
    }
}

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

    private void Enter(Document document)
    {
        if (document.Id.Length == 0)
        {
            throw new DatabaseException($"A document from {document.Location} has an empty id; every document needs an id of its own.");
        }

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

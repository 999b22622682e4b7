using System.Security.Cryptography;
using System.Text;
using Retro.Corpora;

namespace Retro.Database;

/// <summary>A document with what is made of it.</summary>
internal sealed record PreparedDocument(Document Document, byte[] Hash, byte[] ContentHash, long Bytes, int[] Ids)
{
    public static PreparedDocument Of(Document document, TokenizerFacts? tokenizer, EarlierTokens? earlier)
    {
        byte[] text = Encoding.UTF8.GetBytes(document.Text);
        byte[] contentHash = SHA256.HashData(text);
        byte[] hash = DocumentRecord.HashOf(document.Id, document.Title, document.Location, document.Labels, text.Length, contentHash);
        int[] ids = tokenizer is null ? [] : earlier?.Find(contentHash) ?? tokenizer.Encode(document.Text);
        if (tokenizer is not null)
        {
            foreach (int id in ids)
            {
                if ((uint)id >= (uint)tokenizer.VocabularySize)
                {
                    throw new DatabaseException(
                        $"The tokenizer gave id {id} for document '{document.Id}', but its vocabulary has {tokenizer.VocabularySize}; its files do not "
                            + "fit each other.");
                }
            }
        }

        return new PreparedDocument(document, hash, contentHash, text.Length, ids);
    }

    /// <summary>SHA-256 over the hashes of documents, in their order.</summary>
    public static string HashOf(IEnumerable<PreparedDocument> documents)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (PreparedDocument document in documents)
        {
            hash.AppendData(document.Hash);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>A document of a database, of which there is no text any more.</summary>
    public static PreparedDocument Of(ChunkDatabase database, int number)
    {
        DocumentEntry entry = database.Documents[number];
        Document document = new(entry.Id, entry.Title, "", entry.Location) { Labels = entry.Labels };
        return Of(document, Convert.FromHexString(entry.ContentHash), entry.ByteCount, database.TextOf(entry));
    }

    /// <summary>A document of which all is known but the text.</summary>
    public static PreparedDocument Of(Document document, byte[] contentHash, long bytes, int[] ids)
        => new(
            document,
            DocumentRecord.HashOf(document.Id, document.Title, document.Location, document.Labels, bytes, contentHash),
            contentHash,
            bytes,
            ids);
}

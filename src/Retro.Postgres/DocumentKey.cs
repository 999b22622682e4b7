using System.Security.Cryptography;
using Retro.Database;

namespace Retro.Postgres;

/// <summary>
/// What names a document's rows: the first half of SHA-256 over its id, title, location, labels and text. The same document has the same rows whenever it
/// comes, and one that was changed in anything has others.
/// </summary>
internal static class DocumentKey
{
    public static Guid Of(DocumentEntry entry)
        => new(
            SHA256.HashData(DocumentRecord.Write(
                entry.Id, entry.Title, entry.Location, entry.Labels, 0, entry.ByteCount, Convert.FromHexString(entry.ContentHash))).AsSpan(0, 16),
            bigEndian: true);
}

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
            DocumentRecord.HashOf(entry.Id, entry.Title, entry.Location, entry.Labels, entry.ByteCount, Convert.FromHexString(entry.ContentHash)).AsSpan(0, 16),
            bigEndian: true);
}

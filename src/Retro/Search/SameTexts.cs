using Retro.Database;
using Retro.Embedders;

namespace Retro.Search;

/// <summary>
/// The keys of a segment's chunks that other segments of the database have: a document whose place, title or labels were changed, and whose text was not, came
/// into a segment of its own and keeps its keys.
/// </summary>
internal sealed class SameTexts : IDisposable
{
    private readonly ChunkDatabase _segment;
    private readonly List<KeyFile> _files = [];
    private readonly Dictionary<string, (KeyFile Keys, DocumentEntry Document)> _known = new(StringComparer.Ordinal);

    private SameTexts(ChunkDatabase segment) => _segment = segment;

    /// <summary>Opens the keys of the other segments that have some by the same function.</summary>
    /// <param name="database">The database.</param>
    /// <param name="segment">Its segment whose keys are to be made.</param>
    /// <param name="keyer">The function from chunk to key.</param>
    public static SameTexts Open(ChunkDatabase database, ChunkDatabase segment, IChunkKeyer keyer)
    {
        SameTexts same = new(segment);
        HashSet<string> wanted = database.Segments.Count == 1 ? [] : [.. segment.Documents.Select(document => document.ContentHash)];
        foreach (ChunkDatabase other in database.Segments.Where(other => other != segment && wanted.Count > 0))
        {
            KeyFile keys;
            try
            {
                keys = KeyFile.Open(other);
            }
            catch (DatabaseException)
            {
                continue; // it has none yet, or damaged ones
            }

            same._files.Add(keys);
            if ((keys.Identity, keys.Dimensions) == (keyer.Identity, keyer.Dimensions))
            {
                foreach (DocumentEntry document in other.Documents.Where(document => wanted.Contains(document.ContentHash)))
                {
                    same._known.TryAdd(document.ContentHash, (keys, document));
                }
            }
        }

        return same;
    }

    /// <summary>Copies the key of a chunk of the segment, where another segment has it.</summary>
    public bool TryRead(long chunk, Span<float> key)
    {
        DocumentEntry document = _segment.Documents[_segment.DocumentOf(chunk)];
        if (!_known.TryGetValue(document.ContentHash, out (KeyFile Keys, DocumentEntry Document) there) || there.Document.TokenCount != document.TokenCount)
        {
            return false;
        }

        try
        {
            there.Keys.Row(there.Document.FirstChunk + (chunk - document.FirstChunk)).CopyTo(key);
            return true;
        }
        catch (DatabaseException)
        {
            return false; // damaged: it is made
        }
    }

    public void Dispose() => _files.ForEach(file => file.Dispose());
}

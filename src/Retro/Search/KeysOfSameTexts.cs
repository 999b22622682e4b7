using Retro.Database;
using Retro.Embedders;

namespace Retro.Search;

/// <summary>
/// The keys of a segment's chunks that other segments of the database have: a document whose place, title or labels were changed, and whose text was not, came
/// into a segment of its own and keeps its keys.
/// </summary>
internal sealed class KeysOfSameTexts : IDisposable
{
    private readonly ChunkDatabase _segment;
    private readonly List<KeyFile> _files = [];
    private readonly Dictionary<UInt128, (KeyFile Keys, long FirstChunk, int TokenCount)> _known = [];

    private KeysOfSameTexts(ChunkDatabase segment) => _segment = segment;

    /// <summary>Opens the keys of the other segments that have some by the same function.</summary>
    /// <param name="database">The database.</param>
    /// <param name="segment">Its segment whose keys are to be made.</param>
    /// <param name="keyer">The function from chunk to key.</param>
    public static KeysOfSameTexts Open(ChunkDatabase database, ChunkDatabase segment, IChunkKeyer keyer)
    {
        KeysOfSameTexts same = new(segment);
        try
        {
            List<ChunkDatabase> others = [];
            foreach (ChunkDatabase other in database.Segments.Where(other => other != segment))
            {
                if (TryOpen(other, keyer) is { } keys)
                {
                    same._files.Add(keys);
                    others.Add(other);
                }
            }

            same.Note(others);
            return same;
        }
        catch
        {
            same.Dispose();
            throw;
        }
    }

    /// <summary>Copies the key of a chunk of the segment, where another segment has it.</summary>
    public bool TryRead(long chunk, Span<float> key)
    {
        if (_known.Count == 0)
        {
            return false;
        }

        DocumentEntry document = _segment.Documents[_segment.DocumentOf(chunk)];
        if (!_known.TryGetValue(document.ContentNumber, out (KeyFile Keys, long FirstChunk, int TokenCount) there) || there.TokenCount != document.TokenCount)
        {
            return false;
        }

        try
        {
            there.Keys.Row(there.FirstChunk + (chunk - document.FirstChunk)).CopyTo(key);
            return true;
        }
        catch (DatabaseException)
        {
            return false; // damaged: it is made
        }
    }

    public void Dispose() => _files.ForEach(file => file.Dispose());

    private static KeyFile? TryOpen(ChunkDatabase segment, IChunkKeyer keyer)
    {
        KeyFile keys;
        try
        {
            keys = KeyFile.Open(segment);
        }
        catch (DatabaseException)
        {
            return null; // it has none yet, or damaged ones
        }

        if ((keys.Identity, keys.Dimensions) == (keyer.Identity, keyer.Dimensions))
        {
            return keys;
        }

        keys.Dispose();
        return null;
    }

    /// <summary>Notes where the texts are. Of the two sides the one of fewer documents is held: the other may be millions.</summary>
    private void Note(List<ChunkDatabase> others)
    {
        HashSet<UInt128>? wanted = others.Sum(other => (long)other.Documents.Count) is var there && there <= _segment.Documents.Count
            ? null
            : [.. _segment.Documents.Select(document => document.ContentNumber)];
        for (int i = 0; i < others.Count; i++)
        {
            foreach (DocumentEntry document in others[i].Documents)
            {
                if (document.ContentNumber is var text && wanted?.Contains(text) != false)
                {
                    _known.TryAdd(text, (_files[i], document.FirstChunk, document.TokenCount));
                }
            }
        }
    }
}

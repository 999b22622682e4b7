using Retro.Database;

namespace Retro.Search;

/// <summary>
/// The keys of a segment's chunks that other segments have, which are those of the same texts: a document whose place, title or labels were changed, and whose
/// text was not, came into a segment of its own and keeps its keys; and a database that is compacted keeps all that its segments have, as one that is built
/// anew keeps those of the texts that were there (<see cref="EarlierKeys"/>).
/// </summary>
internal sealed class KeysOfSameTexts : IDisposable
{
    private ChunkDatabase? _segment;
    private readonly List<KeyFile> _files = [];
    private readonly Dictionary<UInt128, (KeyFile Keys, long FirstChunk, int TokenCount)> _known = [];

    // Where the keys of the document are whose chunk was asked for last: chunks are asked for one after the other.
    private (long First, long End, KeyFile? Keys, long There) _document;

    private KeysOfSameTexts(ChunkDatabase? segment) => _segment = segment;

    /// <summary>Opens the keys by one function that there are of some databases.</summary>
    /// <param name="others">The databases.</param>
    /// <param name="segment">The database, or segment, whose keys are wanted; its chunks are as long as theirs. Null: it is not there yet (<see cref="For"/>),
    /// and all texts are noted.</param>
    /// <param name="layout">The layout of its keys, which names the function.</param>
    public static KeysOfSameTexts Open(IEnumerable<ChunkDatabase> others, ChunkDatabase? segment, KeyFileLayout layout)
    {
        KeysOfSameTexts same = new(segment);
        try
        {
            List<ChunkDatabase> with = [];
            foreach (ChunkDatabase other in others)
            {
                if (KeyFile.TryOpen(other, layout.KeyerIdentity, layout.Dimensions) is not { } keys)
                {
                    continue;
                }

                same._files.Add(keys);
                with.Add(other);
            }

            same.Note(with);
            return same;
        }
        catch
        {
            same.Dispose();
            throw;
        }
    }

    /// <summary>Says whose keys are wanted.</summary>
    public void For(ChunkDatabase segment) => (_segment, _document) = (segment, default);

    /// <summary>Tokens of the document that has a text, where its keys are there; 0 where they are not.</summary>
    public int TokensOf(UInt128 text) => _known.TryGetValue(text, out (KeyFile, long, int TokenCount) there) ? there.TokenCount : 0;

    /// <summary>Copies the key of a chunk of the segment, where another segment has it.</summary>
    public bool TryRead(long chunk, Span<float> key)
    {
        if (_known.Count == 0 || _segment is null)
        {
            return false;
        }

        if (chunk < _document.First || chunk >= _document.End)
        {
            DocumentEntry document = _segment.Documents[_segment.DocumentOf(chunk)];
            _document = (document.FirstChunk, document.FirstChunk + document.ChunkCount, null, 0);
            if (_known.TryGetValue(document.ContentNumber, out (KeyFile Keys, long FirstChunk, int TokenCount) there)
                && there.TokenCount == document.TokenCount)
            {
                (_document.Keys, _document.There) = (there.Keys, there.FirstChunk);
            }
        }

        return _document.Keys?.TryRead(_document.There + (chunk - _document.First), key) == true;
    }

    public void Dispose() => _files.ForEach(file => file.Dispose());

    /// <summary>Notes where the texts are. Of the two sides the one of fewer documents is held: the other may be millions.</summary>
    private void Note(List<ChunkDatabase> others)
    {
        HashSet<UInt128>? wanted = _segment is null || others.Sum(other => (long)other.Documents.Count) <= _segment.Documents.Count
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

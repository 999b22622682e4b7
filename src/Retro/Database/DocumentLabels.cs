namespace Retro.Database;

/// <summary>
/// The labels of a database's documents, and which chunks somebody may see who may see some labels: those of the documents all of whose labels are among them,
/// so that another label of a document never shows it to more. A document without labels is seen by everybody.
/// </summary>
internal sealed class DocumentLabels
{
    // Sets that are kept, of a bit for each chunk: as many as there are groups of readers that take turns. Of more, the one that is longest there goes.
    private const int Kept = 64;

    // Sets that are kept of what is hidden, which take some forty bytes for each document: enough for the texts of requests that are answered at once.
    private const int KeptHidden = 4;

    private readonly ChunkDatabase _database;

    // Which of the combinations that occur each document has; null where no document has a label.
    private readonly int[]? _documents;
    private readonly List<IReadOnlyList<string>> _combinations = [];
    private readonly HashSet<string> _labels;
    private readonly OrderedDictionary<string, Lazy<ChunkSet?>> _sets = new(StringComparer.Ordinal);
    private readonly OrderedDictionary<string, Lazy<HashSet<int>>> _hidden = new(StringComparer.Ordinal);

    /// <summary>Reads the entries of all documents.</summary>
    public DocumentLabels(ChunkDatabase database)
    {
        _database = database;
        int[] documents = new int[database.Documents.Count];
        Dictionary<string, int> known = new(StringComparer.Ordinal);
        for (int document = 0; document < documents.Length; document++)
        {
            string[] labels = [.. database.Documents[document].Labels.Distinct().Order(StringComparer.Ordinal)];
            string key = KeyOf(labels);
            if (!known.TryGetValue(key, out documents[document]))
            {
                documents[document] = known[key] = _combinations.Count;
                _combinations.Add(labels);
            }
        }

        _labels = [.. _combinations.SelectMany(labels => labels)];
        _documents = _combinations.Exists(labels => labels.Count > 0) ? documents : null;
    }

    /// <summary>The chunks that may be seen.</summary>
    /// <param name="labels">The labels that may be seen; null: all of them.</param>
    /// <returns>The chunks; null: every one.</returns>
    public ChunkSet? Visible(IReadOnlyList<string>? labels)
    {
        if (labels is null || _documents is null)
        {
            return null;
        }

        return Known<ChunkSet?>(_sets, Kept, labels, seen => Array.TrueForAll(seen, visible => visible) ? null : new(_database.ChunkCount, Chunks(seen)));
    }

    /// <summary>The documents that may not be seen.</summary>
    /// <param name="labels">The labels that may be seen; null: all of them.</param>
    /// <returns>Their numbers, for reading alone.</returns>
    public HashSet<int> Hidden(IReadOnlyList<string>? labels)
    {
        if (labels is null || _documents is null)
        {
            return [];
        }

        return Known<HashSet<int>>(
            _hidden, KeptHidden, labels, seen => [.. Enumerable.Range(0, _documents.Length).Where(document => !seen[_documents[document]])]);
    }

    /// <summary>A set of those that are kept, or a new one.</summary>
    /// <param name="sets">The sets that are kept.</param>
    /// <param name="most">How many.</param>
    /// <param name="labels">The labels that may be seen.</param>
    /// <param name="make">Makes it of which combinations may be seen.</param>
    private T Known<T>(OrderedDictionary<string, Lazy<T>> sets, int most, IReadOnlyList<string> labels, Func<bool[], T> make)
    {
        // Labels that no document has change nothing. The set, which takes a pass over all documents, is made outside of the lock.
        string[] own = [.. labels.Where(_labels.Contains).Distinct().Order(StringComparer.Ordinal)];
        string key = KeyOf(own);
        Lazy<T>? set;
        lock (sets)
        {
            if (!sets.TryGetValue(key, out set))
            {
                if (sets.Count >= most)
                {
                    sets.RemoveAt(0);
                }

                sets.Add(key, set = new(() => make(Seen(own))));
            }
        }

        return set.Value;
    }

    private static string KeyOf(string[] labels) => string.Concat(labels.Select(label => $"{label.Length}:{label}"));

    private bool[] Seen(IReadOnlyList<string> labels)
    {
        HashSet<string> shown = [.. labels];
        return [.. _combinations.Select(combination => combination.All(shown.Contains))];
    }

    private IEnumerable<(long First, long Count)> Chunks(bool[] seen)
    {
        for (int document = 0; document < _documents!.Length; document++)
        {
            if (seen[_documents[document]])
            {
                yield return _database.ChunksOf(document);
            }
        }
    }
}

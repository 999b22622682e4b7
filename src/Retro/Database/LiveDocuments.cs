using System.Collections;
using System.Runtime.CompilerServices;

namespace Retro.Database;

/// <summary>
/// The documents of several segments that were not removed, numbered one after the other as if they had been built together, and so their chunks: whoever reads
/// the database sees neither segments nor gaps.
/// </summary>
internal sealed class LiveDocuments : IReadOnlyList<DocumentEntry>
{
    private readonly IReadOnlyList<ChunkDatabase> _segments;

    // Of each document: the segment, its number there, and its first chunk here.
    private readonly int[] _segmentOf;
    private readonly int[] _localOf;
    private readonly long[] _firstChunks;

    // Of each segment: the number here of each of its documents, -1 of a removed one.
    private readonly int[][] _numbers;

    // Of each segment: the chunks that count; null: all.
    private readonly ChunkSet?[] _live;
    private readonly ConditionalWeakTable<ChunkSet, ChunkSet?[]> _visible = [];

    /// <param name="segments">The segments; they stay the caller's.</param>
    /// <param name="removed">Of each, the removed documents, ascending.</param>
    public LiveDocuments(IReadOnlyList<ChunkDatabase> segments, IReadOnlyList<int[]> removed)
    {
        _segments = segments;
        long count = segments.Sum(segment => (long)segment.Documents.Count) - removed.Sum(documents => (long)documents.Length);
        if (count > int.MaxValue)
        {
            throw new DatabaseException($"The database has {count} documents, but one holds at most {int.MaxValue}; split it into several.");
        }

        _segmentOf = new int[count];
        _localOf = new int[count];
        _firstChunks = new long[count];
        _numbers = new int[segments.Count][];
        int next = 0;
        for (int segment = 0; segment < segments.Count; segment++)
        {
            ChunkDatabase database = segments[segment];
            int[] gone = removed[segment], numbers = new int[database.Documents.Count];
            for (int local = 0, passed = 0; local < numbers.Length; local++)
            {
                if (passed < gone.Length && gone[passed] == local)
                {
                    numbers[local] = -1;
                    passed++;
                    continue;
                }

                (_segmentOf[next], _localOf[next], _firstChunks[next]) = (segment, local, ChunkCount);
                ChunkCount += database.ChunksOf(local).Count;
                numbers[local] = next++;
            }

            _numbers[segment] = numbers;
            TokenCount += database.Manifest.TokenCount;
            ByteCount += database.Manifest.ByteCount;
            foreach (int local in gone)
            {
                DocumentEntry entry = database.Documents[local];
                TokenCount -= entry.TokenCount;
                ByteCount -= entry.ByteCount;
            }
        }

        Removed = removed;
        _live = [.. segments.Select((_, segment) => removed[segment].Length == 0 ? null : SetOf(segment, _ => true))];
    }

    /// <inheritdoc/>
    public int Count => _firstChunks.Length;

    public long ChunkCount { get; }

    public long TokenCount { get; }

    public long ByteCount { get; }

    /// <summary>Of each segment, the removed documents, ascending.</summary>
    public IReadOnlyList<int[]> Removed { get; }

    /// <inheritdoc/>
    public DocumentEntry this[int index]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfNegative(index);
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, Count);
            return _segments[_segmentOf[index]].Documents[_localOf[index]] with { FirstChunk = _firstChunks[index] };
        }
    }

    /// <summary>The document of a chunk that exists.</summary>
    public int DocumentOf(long chunk) => Ascending.LastAtMost(_firstChunks, chunk);

    /// <summary>The segment of a document, and its number there.</summary>
    public (int Segment, int Document) Place(int document) => (_segmentOf[document], _localOf[document]);

    /// <summary>The segment of a chunk, and its number there.</summary>
    public (int Segment, long Chunk) Place(long chunk)
    {
        int document = DocumentOf(chunk);
        return (_segmentOf[document], _segments[_segmentOf[document]].ChunksOf(_localOf[document]).First + chunk - _firstChunks[document]);
    }

    /// <summary>The number here of a segment's chunk that was not removed.</summary>
    public long Number(int segment, long chunk)
    {
        ChunkDatabase database = _segments[segment];
        int local = database.DocumentOf(chunk);
        return _firstChunks[_numbers[segment][local]] + chunk - database.ChunksOf(local).First;
    }

    /// <summary>The first chunk of a document.</summary>
    public long FirstChunk(int document) => _firstChunks[document];

    /// <summary>A segment's chunks that may come; null: all of them.</summary>
    /// <param name="segment">The segment.</param>
    /// <param name="visible">The chunks, numbered as here, that may be seen; null: all.</param>
    public ChunkSet? Among(int segment, ChunkSet? visible)
    {
        if (visible is null)
        {
            return _live[segment];
        }

        ChunkSet?[] sets = _visible.GetValue(visible, _ => new ChunkSet?[_segments.Count]);
        lock (sets)
        {
            return sets[segment] ??= SetOf(segment, document => visible.Contains(_firstChunks[document]));
        }
    }

    /// <inheritdoc/>
    public IEnumerator<DocumentEntry> GetEnumerator()
    {
        for (int index = 0; index < Count; index++)
        {
            yield return this[index];
        }
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private ChunkSet SetOf(int segment, Func<int, bool> holds)
    {
        ChunkDatabase database = _segments[segment];
        int[] numbers = _numbers[segment];
        return new(
            database.ChunkCount,
            Enumerable.Range(0, numbers.Length)
                .Where(local => numbers[local] >= 0 && holds(numbers[local]))
                .Select(local => database.ChunksOf(local))
                .Select(chunks => (chunks.First, (long)chunks.Count)));
    }
}

using System.Runtime.InteropServices;
using System.Text;

namespace Retro.Tokenizers;

/// <summary>The merges of byte pair encoding, learned from word counts with pair counts kept up to date.</summary>
internal sealed class MergeLearner
{
    private readonly int[][] _words;
    private readonly int[] _lengths;
    private readonly long[] _counts;
    private readonly Dictionary<ulong, long> _pairCounts = [];
    private readonly Dictionary<ulong, List<int>> _pairWords = [];

    public MergeLearner(Dictionary<string, long> words)
    {
        int[] idOfByte = new int[256];
        int next = 0;
        foreach (byte value in ByteSymbols.GptOrder)
        {
            idOfByte[value] = next++;
        }

        // Sorted, so that nothing depends on the order in which the words came.
        KeyValuePair<string, long>[] sorted = words.OrderBy(word => word.Key, StringComparer.Ordinal).ToArray();
        _counts = Array.ConvertAll(sorted, word => word.Value);
        _words = Array.ConvertAll(sorted, word => Array.ConvertAll(Encoding.UTF8.GetBytes(word.Key), value => idOfByte[value]));
        _lengths = Array.ConvertAll(_words, word => word.Length);
        for (int w = 0; w < _words.Length; w++)
        {
            for (int i = 0; i + 1 < _lengths[w]; i++)
            {
                Count(Key(_words[w][i], _words[w][i + 1]), _counts[w], w);
            }
        }
    }

    /// <summary>Learns merges and appends their bytes to the pieces.</summary>
    public List<(int Left, int Right)> Learn(int count, List<byte[]> pieces, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        PriorityQueue<ulong, (long MinusCount, ulong Pair)> queue = new();
        foreach ((ulong pair, long occurrences) in _pairCounts)
        {
            queue.Enqueue(pair, (-occurrences, pair));
        }

        List<(int Left, int Right)> merges = new(count);
        HashSet<ulong> changed = [];
        Dictionary<string, int> known = new(StringComparer.Ordinal);
        int wanted = pieces.Count + count;
        while (pieces.Count < wanted && queue.TryDequeue(out ulong pair, out (long MinusCount, ulong Pair) priority))
        {
            long current = _pairCounts.GetValueOrDefault(pair);
            if (current != -priority.MinusCount)
            {
                // The count has changed since; an entry with the present one stands in the queue.
                continue;
            }

            if (current < 2)
            {
                break;
            }

            int left = (int)(pair >> 32);
            int right = (int)(pair & uint.MaxValue);
            byte[] piece = [.. pieces[left], .. pieces[right]];
            // A rule must not look like the head of merges.txt.
            if (pieces[left].AsSpan().StartsWith("#version"u8))
            {
                _pairCounts.Remove(pair);
                continue;
            }

            cancellationToken.ThrowIfCancellationRequested();
            // Two ways to the same bytes (a + aa, aa + a) are two rules and one piece.
            string bytes = Convert.ToHexString(piece);
            if (!known.TryGetValue(bytes, out int merged))
            {
                known[bytes] = merged = pieces.Count;
                pieces.Add(piece);
            }

            merges.Add((left, right));
            changed.Clear();
            Apply(pair, left, right, merged, changed);
            foreach (ulong other in changed)
            {
                if (_pairCounts.GetValueOrDefault(other) is > 1 and long occurrences)
                {
                    queue.Enqueue(other, (-occurrences, other));
                }
            }

            progress?.Report(new StageProgress("learn merges", count - (wanted - pieces.Count), count));
        }

        return merges;
    }

    private static ulong Key(int left, int right) => ((ulong)(uint)left << 32) | (uint)right;

    private void Apply(ulong pair, int left, int right, int merged, HashSet<ulong> changed)
    {
        _pairCounts.Remove(pair);
        if (!_pairWords.Remove(pair, out List<int>? words))
        {
            return;
        }

        foreach (int w in words)
        {
            int[] word = _words[w];
            long count = _counts[w];
            int length = _lengths[w];
            int to = 0;
            for (int i = 0; i < length; i++)
            {
                if (word[i] != left || i + 1 >= length || word[i + 1] != right)
                {
                    word[to++] = word[i];
                    continue;
                }

                // The pairs across the merged one's edges go, those with the new piece come.
                if (to > 0)
                {
                    Change(Key(word[to - 1], left), -count, -1);
                    Change(Key(word[to - 1], merged), count, w);
                }

                if (i + 2 < length)
                {
                    Change(Key(right, word[i + 2]), -count, -1);
                    Change(Key(merged, word[i + 2]), count, w);
                }

                word[to++] = merged;
                i++;
            }

            _lengths[w] = to;
        }

        void Change(ulong other, long by, int w)
        {
            if (other == pair)
            {
                return;
            }

            Count(other, by, w);
            changed.Add(other);
        }
    }

    private void Count(ulong pair, long by, int word)
    {
        CollectionsMarshal.GetValueRefOrAddDefault(_pairCounts, pair, out _) += by;
        if (by > 0)
        {
            ref List<int>? words = ref CollectionsMarshal.GetValueRefOrAddDefault(_pairWords, pair, out _);
            words ??= [];
            if (words.Count == 0 || words[^1] != word)
            {
                words.Add(word);
            }
        }
    }
}

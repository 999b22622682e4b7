namespace Retro.Tokenizers;

/// <summary>The merge rules of byte pair encoding over symbol numbers: the pair with the lowest rank is merged first, of equal ones the leftmost.</summary>
internal sealed class PairMerges
{
    // Below this length looking through all pairs is faster than a heap.
    private const int HeapFrom = 64;
    private const int Dead = int.MinValue;
    private readonly Dictionary<ulong, (int Rank, int Result)> _rules = [];
    private long _candidates;

    /// <summary>Adds a rule; of two for one pair the last counts, as in the originals.</summary>
    public void Add(int left, int right, int rank, int result) => _rules[Key(left, right)] = (rank, result);

    /// <summary>Candidates that long texts have put into the queue so far, which is what their time goes with.</summary>
    internal long Candidates => Interlocked.Read(ref _candidates);

    /// <summary>Merges in place; each symbol has a length (characters or bytes), and lengths add up.</summary>
    /// <returns>How many symbols remain.</returns>
    public int Merge(Span<int> symbols, Span<int> lengths)
        => symbols.Length < HeapFrom ? MergeShort(symbols, lengths) : MergeLong(symbols, lengths);

    private static ulong Key(int left, int right) => ((ulong)(uint)left << 32) | (uint)right;

    private int Rank(int left, int right) => _rules.TryGetValue(Key(left, right), out (int Rank, int Result) rule) ? rule.Rank : int.MaxValue;

    private int MergeShort(Span<int> symbols, Span<int> lengths)
    {
        int count = symbols.Length;
        Span<int> ranks = stackalloc int[HeapFrom];
        for (int i = 0; i + 1 < count; i++)
        {
            ranks[i] = Rank(symbols[i], symbols[i + 1]);
        }

        while (count > 1)
        {
            int best = 0;
            for (int i = 1; i < count - 1; i++)
            {
                if (ranks[i] < ranks[best])
                {
                    best = i;
                }
            }

            if (ranks[best] == int.MaxValue)
            {
                break;
            }

            symbols[best] = _rules[Key(symbols[best], symbols[best + 1])].Result;
            lengths[best] += lengths[best + 1];
            symbols[(best + 2)..count].CopyTo(symbols[(best + 1)..]);
            lengths[(best + 2)..count].CopyTo(lengths[(best + 1)..]);
            count--;
            ranks[(best + 1)..count].CopyTo(ranks[best..]);
            if (best > 0)
            {
                ranks[best - 1] = Rank(symbols[best - 1], symbols[best]);
            }

            if (best + 1 < count)
            {
                ranks[best] = Rank(symbols[best], symbols[best + 1]);
            }
        }

        return count;
    }

    private int MergeLong(Span<int> symbols, Span<int> lengths)
    {
        int[] next = new int[symbols.Length];
        int[] previous = new int[symbols.Length];
        PriorityQueue<(int At, int Left, int Right), (int Rank, int At)> queue = new();
        long offered = 0;
        for (int i = 0; i < symbols.Length; i++)
        {
            next[i] = i + 1;
            previous[i] = i - 1;
            if (i + 1 < symbols.Length)
            {
                offered += Offer(queue, symbols, i, i + 1);
            }
        }

        while (queue.TryDequeue(out (int At, int Left, int Right) candidate, out _))
        {
            (int at, int left, int right) = candidate;
            int other = next[at];
            // A neighbor that was merged since makes the candidate stale.
            if (other >= symbols.Length || symbols[at] != left || symbols[other] != right)
            {
                continue;
            }

            symbols[at] = _rules[Key(left, right)].Result;
            lengths[at] += lengths[other];
            symbols[other] = Dead;
            next[at] = next[other];
            if (next[at] < symbols.Length)
            {
                previous[next[at]] = at;
                offered += Offer(queue, symbols, at, next[at]);
            }

            if (previous[at] >= 0)
            {
                offered += Offer(queue, symbols, previous[at], at);
            }
        }

        Interlocked.Add(ref _candidates, offered);
        int count = 0;
        for (int i = 0; i < symbols.Length; i = next[i])
        {
            (symbols[count], lengths[count]) = (symbols[i], lengths[i]);
            count++;
        }

        return count;
    }

    private int Offer(PriorityQueue<(int At, int Left, int Right), (int Rank, int At)> queue, Span<int> symbols, int at, int other)
    {
        int rank = Rank(symbols[at], symbols[other]);
        if (rank == int.MaxValue)
        {
            return 0;
        }

        queue.Enqueue((at, symbols[at], symbols[other]), (rank, at));
        return 1;
    }
}

namespace Retro.Vectors;

/// <summary>
/// The best of what is offered, in room given by the caller: higher scores first, ties by lower number. A heap with the worst on top until sorted.
/// </summary>
internal ref struct Ranking(Span<long> items, Span<double> scores, int count = 0)
{
    private readonly Span<long> _items = items;
    private readonly Span<double> _scores = scores;

    /// <summary>How many are held; a ranking can be left and taken up again by giving the count that it had.</summary>
    public int Count { get; private set; } = count;

    /// <summary>Once the room is full, a score below this cannot enter; before, every score can.</summary>
    public readonly double Least => Count < _items.Length || Count == 0 ? double.NegativeInfinity : _scores[0];

    public void Offer(long item, double score)
    {
        if (Count < _items.Length)
        {
            Rise(Count++, item, score);
        }
        else if (Count > 0 && IsWorse(_items[0], _scores[0], item, score))
        {
            Sink(0, Count, item, score);
        }
    }

    /// <summary>Puts the best first and gives their number.</summary>
    public readonly int Sort()
    {
        for (int end = Count - 1; end > 0; end--)
        {
            (long item, double score) = (_items[end], _scores[end]);
            (_items[end], _scores[end]) = (_items[0], _scores[0]);
            Sink(0, end, item, score);
        }

        return Count;
    }

    /// <summary>Sorts, with -1 behind the last and, in room for each item's score as it is given out, NaN; gives their number.</summary>
    public readonly int Finish(Span<float> scores)
    {
        int found = Sort();
        _items[found..].Fill(-1);
        for (int i = 0; i < found; i++)
        {
            scores[i] = (float)_scores[i];
        }

        scores[found..].Fill(float.NaN);
        return found;
    }

    private static bool IsWorse(long item, double score, long other, double otherScore)
        => score != otherScore ? score < otherScore : item > other;

    private readonly void Rise(int at, long item, double score)
    {
        while (at > 0 && (at - 1) / 2 is var parent && IsWorse(item, score, _items[parent], _scores[parent]))
        {
            (_items[at], _scores[at]) = (_items[parent], _scores[parent]);
            at = parent;
        }

        (_items[at], _scores[at]) = (item, score);
    }

    private readonly void Sink(int at, int count, long item, double score)
    {
        while (2 * at + 1 is var child && child < count)
        {
            if (child + 1 < count && IsWorse(_items[child + 1], _scores[child + 1], _items[child], _scores[child]))
            {
                child++;
            }

            if (!IsWorse(_items[child], _scores[child], item, score))
            {
                break;
            }

            (_items[at], _scores[at]) = (_items[child], _scores[child]);
            at = child;
        }

        (_items[at], _scores[at]) = (item, score);
    }
}

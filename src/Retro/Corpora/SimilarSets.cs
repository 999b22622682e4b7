namespace Retro.Corpora;

/// <summary>
/// Sets of grams, added one by one, among which those are looked for that a given one is similar to, without comparing it with each. Two sets of a and d
/// members and Jaccard similarity s have at least s / (1 + s) (a + d) in common. Where the first gram that they share, in an order of all, stands at place i
/// of one and j of the other, they share at most a - i and d - j (the prefix and the position filter of Xiao et al., "Efficient similarity joins for near
/// duplicate detection", 2008). So each gram bounds the sizes of the sets that can be similar, and these alone are looked at: forms that differ in as much as
/// keeps them apart are not, however many there are.
/// </summary>
/// <param name="similarity">From where on two sets are similar.</param>
internal sealed class SimilarSets(double similarity)
{
    /// <summary>A little, so that rounding never leaves out a pair.</summary>
    private const double Slack = 1e-9;

    private readonly Dictionary<ulong, SortedSet<Entry>> _having = [];

    /// <summary>How many of a set's grams, those first that come first in the order, have to be known of it.</summary>
    /// <param name="size">Members of the set.</param>
    public int PrefixLength(int size) => size - (int)Math.Ceiling((similarity * size) - Slack) + 1;

    /// <summary>Adds a set.</summary>
    /// <param name="number">What it is called; each has its own.</param>
    /// <param name="size">Its members.</param>
    /// <param name="prefix">The first of these, as many as <see cref="PrefixLength"/> says, each with its place; without those that no other has.</param>
    public void Add(int number, int size, IEnumerable<(ulong Gram, int Place)> prefix)
    {
        foreach ((ulong gram, int place) in prefix)
        {
            if (!_having.TryGetValue(gram, out SortedSet<Entry>? entries))
            {
                _having.Add(gram, entries = []);
            }

            entries.Add(new(size, number, Reach(size, place)));
        }
    }

    /// <summary>The sets that may be similar to a given one, each once; all that are so are among them.</summary>
    /// <param name="size">Members of the given set.</param>
    /// <param name="prefix">Its first, as for <see cref="Add"/>.</param>
    public IEnumerable<int> Candidates(int size, IEnumerable<(ulong Gram, int Place)> prefix)
    {
        HashSet<int> seen = [];
        int least = (int)Math.Ceiling((similarity * size) - Slack);
        foreach ((ulong gram, int place) in prefix)
        {
            int most = Reach(size, place);
            if (most < least || !_having.TryGetValue(gram, out SortedSet<Entry>? entries))
            {
                continue;
            }

            foreach (Entry entry in entries.GetViewBetween(new(least, int.MinValue, 0), new(most, int.MaxValue, 0)))
            {
                if (entry.Reach >= size && seen.Add(entry.Number))
                {
                    yield return entry.Number;
                }
            }
        }
    }

    /// <summary>The members of the greatest set that is similar to one of which no gram before a place is in it.</summary>
    private int Reach(int size, int place) => (int)Math.Floor(((size - place) * (1 + similarity) / similarity) - size + Slack);

    private readonly record struct Entry(int Size, int Number, int Reach) : IComparable<Entry>
    {
        public int CompareTo(Entry other) => (Size, Number).CompareTo((other.Size, other.Number));
    }
}

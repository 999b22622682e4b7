using System.Numerics;

namespace Retro.Corpora;

/// <summary>
/// Finds, among some texts, the one that a given text resembles or holds, or is an excerpt of, exactly and without comparing with each. A text T and a text of
/// Jaccard similarity s to it have at least s |T| grams in common, and one that holds the share c of it c |T|; so they share one of any
/// |T| - ceil(min(s, c) |T|) + 1 grams of T (the prefix filter of set similarity joins). Taken are those that the fewest of the texts have, so that boilerplate
/// leads to hardly any comparison; and of a given text likewise, where the share c of its own grams is to stand in T.
/// </summary>
internal sealed class NearDuplicateIndex
{
    private readonly List<ulong[]> _texts;
    private readonly HeldOutOptions _options;

    // Every gram of every text, ascending, with its text, first those of whose prefix it is one, which are the complements of their numbers; and where the
    // grams with equal first bits begin.
    private readonly ulong[] _grams;
    private readonly int[] _of;
    private readonly int[] _starts;
    private readonly int _shift;

    /// <summary>Indexes texts as their ascending grams.</summary>
    /// <param name="texts">The texts.</param>
    /// <param name="options">From where on one is found.</param>
    public NearDuplicateIndex(List<ulong[]> texts, HeldOutOptions options)
    {
        _texts = texts;
        _options = options;
        int count = checked(texts.Sum(text => text.Length));
        (_grams, _of) = (new ulong[count], new int[count]);
        for (int text = 0, place = 0; text < texts.Count; place += texts[text++].Length)
        {
            texts[text].CopyTo(_grams, place);
            Array.Fill(_of, text, place, texts[text].Length);
        }

        Array.Sort(_grams, _of);
        int bits = Math.Max(1, BitOperations.Log2((uint)count));
        _shift = 64 - bits;
        _starts = new int[(1 << bits) + 1];
        foreach (ulong gram in _grams)
        {
            _starts[(gram >> _shift) + 1]++;
        }

        for (int i = 1; i < _starts.Length; i++)
        {
            _starts[i] += _starts[i - 1];
        }

        double least = Math.Min(options.Similarity, options.Containment);
        for (int text = 0; text < texts.Count; text++)
        {
            foreach (ulong gram in Prefix(texts[text], least, gram => Places(gram).Count))
            {
                (int start, int having) = Places(gram);
                Span<int> of = _of.AsSpan(start, having);
                of[of.IndexOf(text)] = ~text;
            }
        }

        for (int start = 0, end; start < count; start = end)
        {
            end = First(_grams[start], start + 1, count, beyond: true);
            _of.AsSpan(start, end - start).Sort(); // those of prefixes first
        }
    }

    /// <summary>
    /// The rarest of a text's ascending grams, so many that two texts that have a share of each one's grams in common have one of these in common. Of equally
    /// rare ones the lesser come first, in any text.
    /// </summary>
    public static IEnumerable<ulong> Prefix(ulong[] grams, double share, Func<ulong, int> frequency)
        => grams.OrderBy(frequency).Take(PrefixLength(grams.Length, share));

    /// <summary>
    /// The text that is most similar, of those the one of which the most is held, the first of several; null for none. Safe from several threads.
    /// </summary>
    /// <param name="grams">The given text's ascending grams.</param>
    /// <param name="among">Which texts are looked at; null: all.</param>
    /// <returns>The text, the Jaccard similarity, the share of that text that the given one holds, and that of the given one that stands in it.</returns>
    public (int Text, double Similarity, double Containment, double Excerpt)? Find(ulong[] grams, Func<int, bool>? among = null)
    {
        HashSet<int> candidates = [];
        List<(int Start, int Count)> known = []; // the places of the given text's grams
        foreach (ulong gram in grams)
        {
            (int start, int count) = Places(gram);
            if (count > 0)
            {
                known.Add((start, count));
            }

            for (int place = start; place < start + count && _of[place] < 0; place++)
            {
                candidates.Add(~_of[place]);
            }
        }

        // Grams that no text has are the rarest.
        int unknown = grams.Length - known.Count, prefix = PrefixLength(grams.Length, _options.Containment) - unknown;
        foreach ((int start, int count) in prefix > 0 ? known.OrderBy(places => places.Count).Take(prefix) : [])
        {
            foreach (int text in _of.AsSpan(start, count))
            {
                candidates.Add(text < 0 ? ~text : text);
            }
        }

        (int Text, double Similarity, double Containment, double Excerpt)? best = null;
        foreach (int text in among is null ? candidates : candidates.Where(among))
        {
            int common = WordGrams.Common(grams, _texts[text]);
            double similarity = (double)common / (grams.Length + _texts[text].Length - common);
            double containment = (double)common / _texts[text].Length, excerpt = (double)common / grams.Length;
            if ((similarity >= _options.Similarity || containment >= _options.Containment || excerpt >= _options.Containment)
                && (best is not { } other
                    || (similarity, containment, -text).CompareTo((other.Similarity, other.Containment, -other.Text)) > 0))
            {
                best = (text, similarity, containment, excerpt);
            }
        }

        return best;
    }

    // A little below the product, so that rounding never makes the prefix too short.
    private static int PrefixLength(int grams, double share) => grams - (int)Math.Ceiling(share * grams - 1e-9) + 1;

    private (int Start, int Count) Places(ulong gram)
    {
        int bucket = (int)(gram >> _shift), start = First(gram, _starts[bucket], _starts[bucket + 1], beyond: false);
        return (start, First(gram, start, _starts[bucket + 1], beyond: true) - start);
    }

    /// <summary>The first place from start to end of a gram, or of what is beyond it.</summary>
    private int First(ulong gram, int start, int end, bool beyond)
    {
        while (start < end)
        {
            int middle = start + (end - start) / 2;
            (start, end) = _grams[middle] < gram || (beyond && _grams[middle] == gram) ? (middle + 1, end) : (start, middle);
        }

        return start;
    }
}

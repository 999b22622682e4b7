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
    /// <summary>Once one is found, how many more are compared for the one that is most similar, which is told.</summary>
    public const int MostBesides = 64;

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
            foreach (ulong gram in texts[text].OrderBy(gram => Places(gram).Count).Take(PrefixLength(texts[text].Length, least)))
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
    /// The text that is most similar, of those the one of which the most is held, the first of several; null for none. Of many, such as filled-in forms, the
    /// best of the first that are looked at. Safe from several threads.
    /// </summary>
    /// <param name="grams">The given text's ascending grams.</param>
    /// <returns>The text, the Jaccard similarity, the share of that text that the given one holds, and that of the given one that stands in it.</returns>
    public (int Text, double Similarity, double Containment, double Excerpt)? Find(ulong[] grams)
    {
        (int Text, double Similarity, double Containment, double Excerpt)? best = null;
        int besides = 0;
        foreach (int text in Candidates(grams))
        {
            if (Compare(grams, text) is { } found
                && (best is not { } other
                    || (found.Similarity, found.Containment, -text).CompareTo((other.Similarity, other.Containment, -other.Text)) > 0))
            {
                best = (text, found.Similarity, found.Containment, found.Excerpt);
            }

            if (best is not null && ++besides > MostBesides)
            {
                break;
            }
        }

        return best;
    }

    /// <summary>Whether one of some texts would be found. Safe from several threads.</summary>
    /// <param name="grams">The given text's ascending grams.</param>
    /// <param name="among">Which texts are looked at; null: all.</param>
    public bool Finds(ulong[] grams, Func<int, bool>? among = null)
        => Candidates(grams).Any(text => among?.Invoke(text) != false && Compare(grams, text) is not null);

    /// <summary>How alike a given text and one of the index are; null: not so much that it is found.</summary>
    private (double Similarity, double Containment, double Excerpt)? Compare(ulong[] grams, int text)
    {
        int common = WordGrams.Common(grams, _texts[text]);
        double similarity = (double)common / (grams.Length + _texts[text].Length - common);
        double containment = (double)common / _texts[text].Length, excerpt = (double)common / grams.Length;
        return similarity >= _options.Similarity || containment >= _options.Containment || excerpt >= _options.Containment
            ? (similarity, containment, excerpt)
            : null;
    }

    /// <summary>The texts that may be found, each once; looked for while they are enumerated.</summary>
    internal IEnumerable<int> Candidates(ulong[] grams)
    {
        HashSet<int> seen = [];
        List<(int Start, int Count)> known = []; // the places of the given text's grams
        foreach (ulong gram in grams)
        {
            (int start, int count) = Places(gram);
            if (count > 0)
            {
                known.Add((start, count));
            }

            int end = start;
            while (end < start + count && _of[end] < 0)
            {
                end++;
            }

            for (int place = end - 1; place >= start; place--) // the first text, which is one that others are found to repeat, is the last of the complements
            {
                if (seen.Add(~_of[place]))
                {
                    yield return ~_of[place];
                }
            }
        }

        // Grams that no text has are the rarest.
        int unknown = grams.Length - known.Count, prefix = PrefixLength(grams.Length, _options.Containment) - unknown;
        foreach ((int start, int count) in prefix > 0 ? known.OrderBy(places => places.Count).Take(prefix) : [])
        {
            for (int place = start; place < start + count; place++)
            {
                int text = _of[place] < 0 ? ~_of[place] : _of[place];
                if (seen.Add(text))
                {
                    yield return text;
                }
            }
        }
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

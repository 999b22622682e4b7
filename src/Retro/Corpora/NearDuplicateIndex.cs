namespace Retro.Corpora;

/// <summary>
/// Finds, among some texts, the one that a given text resembles or holds, exactly and without comparing with each. A text T and a text of Jaccard similarity s
/// to it have at least s |T| grams in common, and one that holds the share c of it c |T|; so they share one of any |T| - ceil(min(s, c) |T|) + 1 grams of T
/// (the prefix filter of set similarity joins). Taken are those that the fewest of the texts have, so that boilerplate leads to hardly any comparison.
/// </summary>
internal sealed class NearDuplicateIndex
{
    private readonly List<ulong[]> _texts;
    private readonly HeldOutOptions _options;
    private readonly Dictionary<ulong, List<int>> _prefixes = [];

    /// <summary>Indexes texts as their ascending grams.</summary>
    /// <param name="texts">The texts.</param>
    /// <param name="options">From where on one is found.</param>
    public NearDuplicateIndex(List<ulong[]> texts, HeldOutOptions options)
    {
        _texts = texts;
        _options = options;
        Dictionary<ulong, int> frequency = [];
        foreach (ulong gram in texts.SelectMany(grams => grams))
        {
            frequency[gram] = frequency.GetValueOrDefault(gram) + 1;
        }

        double least = Math.Min(options.Similarity, options.Containment);
        for (int text = 0; text < texts.Count; text++)
        {
            foreach (ulong gram in Prefix(texts[text], least, gram => frequency[gram]))
            {
                if (!_prefixes.TryGetValue(gram, out List<int>? with))
                {
                    _prefixes[gram] = with = [];
                }

                with.Add(text);
            }
        }
    }

    /// <summary>
    /// The rarest of a text's ascending grams, so many that two texts that have a share of each one's grams in common have one of these in common. Of equally
    /// rare ones the lesser come first, in any text.
    /// </summary>
    public static IEnumerable<ulong> Prefix(ulong[] grams, double share, Func<ulong, int> frequency)
    {
        // A little below the product, so that rounding never makes the prefix too short.
        int length = grams.Length - (int)Math.Ceiling(share * grams.Length - 1e-9) + 1;
        return grams.OrderBy(frequency).Take(length);
    }

    /// <summary>
    /// The text that is most similar, of those the one of which the most is held, the first of several; null for none. Safe from several threads.
    /// </summary>
    /// <param name="grams">The given text's ascending grams.</param>
    public (int Text, double Similarity, double Containment)? Find(ulong[] grams)
    {
        (int Text, double Similarity, double Containment)? best = null;
        HashSet<int>? seen = null;
        foreach (ulong gram in grams)
        {
            foreach (int text in _prefixes.TryGetValue(gram, out List<int>? texts) ? texts : [])
            {
                if (!(seen ??= []).Add(text))
                {
                    continue;
                }

                int common = WordGrams.Common(grams, _texts[text]);
                double similarity = (double)common / (grams.Length + _texts[text].Length - common), containment = (double)common / _texts[text].Length;
                if ((similarity >= _options.Similarity || containment >= _options.Containment)
                    && (best is not { } other
                        || (similarity, containment, -text).CompareTo((other.Similarity, other.Containment, -other.Text)) > 0))
                {
                    best = (text, similarity, containment);
                }
            }
        }

        return best;
    }
}

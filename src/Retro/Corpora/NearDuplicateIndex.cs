namespace Retro.Corpora;

/// <summary>
/// Finds, among some texts, the one most similar to a given text, exactly and without comparing with each. Two sets of Jaccard similarity
/// s share one of the first |A| - ceil(s |A|) + 1 grams of either in any fixed order of the grams (the prefix filter of set similarity
/// joins); the order here puts grams that few of the texts have first, so that boilerplate leads to hardly any comparison.
/// </summary>
internal sealed class NearDuplicateIndex
{
    private readonly List<ulong[]> _texts;
    private readonly double _similarity;
    private readonly Dictionary<ulong, int> _frequency = [];
    private readonly Dictionary<ulong, List<int>> _prefixes = [];

    /// <summary>Indexes texts as their ascending grams.</summary>
    public NearDuplicateIndex(List<ulong[]> texts, double similarity)
    {
        _texts = texts;
        _similarity = similarity;
        foreach (ulong gram in texts.SelectMany(grams => grams))
        {
            _frequency[gram] = _frequency.GetValueOrDefault(gram) + 1;
        }

        for (int text = 0; text < texts.Count; text++)
        {
            foreach (ulong gram in Prefix(texts[text]))
            {
                if (!_prefixes.TryGetValue(gram, out List<int>? with))
                {
                    _prefixes[gram] = with = [];
                }

                with.Add(text);
            }
        }
    }

    /// <summary>The most similar text, the first of several; -1 where none is similar enough. Safe from several threads.</summary>
    public (int Text, double Similarity) Find(ulong[] grams)
    {
        (int Text, double Similarity) best = (-1, 0);
        HashSet<int>? seen = null;
        foreach (ulong gram in Prefix(grams))
        {
            if (!_prefixes.TryGetValue(gram, out List<int>? texts))
            {
                continue;
            }

            seen ??= [];
            foreach (int text in texts)
            {
                int other = _texts[text].Length;
                if (Math.Min(other, grams.Length) < _similarity * Math.Max(other, grams.Length) - 1e-9 || !seen.Add(text))
                {
                    continue;
                }

                double similarity = WordGrams.Similarity(grams, _texts[text]);
                if (similarity >= _similarity && (similarity > best.Similarity || (similarity == best.Similarity && text < best.Text)))
                {
                    best = (text, similarity);
                }
            }
        }

        return best;
    }

    private ulong[] Prefix(ulong[] grams)
    {
        // A little below the product, so that rounding never makes the prefix too short.
        int needed = (int)Math.Ceiling(_similarity * grams.Length - 1e-9);
        int length = Math.Min(grams.Length, grams.Length - needed + 1);
        ulong[] ordered = (ulong[])grams.Clone();
        int[] frequencies = Array.ConvertAll(ordered, gram => _frequency.GetValueOrDefault(gram));

        // The grams ascend and the sort by frequency must keep that order among equals, so both are compared.
        int[] places = new int[ordered.Length];
        for (int place = 0; place < places.Length; place++)
        {
            places[place] = place;
        }

        Array.Sort(places, (a, b) => frequencies[a] != frequencies[b] ? frequencies[a].CompareTo(frequencies[b]) : a.CompareTo(b));
        return Array.ConvertAll(places[..length], place => ordered[place]);
    }
}

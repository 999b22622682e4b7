using System.Globalization;

namespace Retro.Corpora;

/// <summary>
/// Of documents that are nearly the same the first stays, and each that some may see who may see no earlier one. A first pass finds which documents may be the
/// same as any other: by MinHash (Broder, "On the resemblance and containment of documents", 1997) those that share a band of equal minima (Leskovec, Rajaraman
/// and Ullman, "Mining of Massive Datasets", 3.4). The second holds the grams of these alone, and compares those that can be similar by the rarest grams that
/// they share (<see cref="SimilarSets"/>): pages of one template share bands, but hardly any gram of their own.
/// </summary>
internal sealed class NearDuplicateStep : CleaningStep
{
    private const int Minima = 128;
    private const double MostMissed = 1e-3;
    private const int FrequencyPlaces = 1 << 22;

    private readonly double _similarity;
    private readonly int _gramWords;
    private readonly int _rows;

    public NearDuplicateStep(double similarity, int gramWords)
    {
        if (similarity is not (>= 0.3 and <= 1))
        {
            throw new ArgumentOutOfRangeException(nameof(similarity), similarity, "Documents are nearly the same from a similarity between 0.3 and 1 on.");
        }

        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(gramWords);
        (_similarity, _gramWords, _rows) = (similarity, gramWords, 1);

        // The longest bands, which lead to the fewest comparisons, by which hardly a pair of that similarity is missed.
        while (Minima / (_rows + 1) is var bands and > 0 && Math.Pow(1 - Math.Pow(similarity, _rows + 1), bands) <= MostMissed)
        {
            _rows++;
        }
    }

    public override string Name => string.Create(CultureInfo.InvariantCulture, $"near duplicates {_similarity} of {_gramWords}");

    public override IEnumerable<Document> Apply(IEnumerable<Document> documents, CleaningStepReport report)
    {
        // How often the grams come, by hash: several may count as one, and as more frequent than they are.
        int[] frequencies = new int[FrequencyPlaces];
        HashSet<int> involved = Involved(documents, frequencies);
        SimilarSets sets = new(_similarity);
        Dictionary<int, (string Id, IReadOnlyList<string> Labels, ulong[] Grams)> kept = [];
        int number = -1;
        foreach (Document document in documents)
        {
            if (!involved.Contains(++number))
            {
                yield return document;
                continue;
            }

            // No other document has what comes once.
            ulong[] grams = WordGrams.Of(document.Text, _gramWords);
            (ulong Gram, int Place)[] rare =
            [
                .. grams.OrderBy(Frequency).Take(sets.PrefixLength(grams.Length)).Select((gram, place) => (gram, place)).Where(one => Frequency(one.gram) != 1),
            ];
            if (Like(document, grams, sets.Candidates(grams.Length, rare).Select(other => kept[other])) is { } found)
            {
                report.Remove(document, string.Create(CultureInfo.InvariantCulture, $"{found.Similarity:0.00} of it is {found.Id}"));
                continue;
            }

            kept.Add(number, (document.Id, document.Labels, grams));
            sets.Add(number, grams.Length, rare);
            yield return document;
        }

        int Frequency(ulong gram) => frequencies[gram % FrequencyPlaces];
    }

    /// <summary>The one of some documents that a document repeats; null: it repeats none.</summary>
    private (double Similarity, string Id)? Like(
        Document document, ulong[] grams, IEnumerable<(string Id, IReadOnlyList<string> Labels, ulong[] Grams)> others)
    {
        (double Similarity, string Id)? like = null;
        int besides = 0;
        foreach ((string id, _, ulong[] known) in others.Where(other => document.HasAll(other.Labels)))
        {
            int common = WordGrams.Common(grams, known);
            double similarity = (double)common / (grams.Length + known.Length - common);
            if (similarity >= _similarity && (like is null || similarity > like.Value.Similarity))
            {
                like = (similarity, id);
            }

            if (like is not null && ++besides > NearDuplicateIndex.MostBesides)
            {
                break;
            }
        }

        return like;
    }

    private HashSet<int> Involved(IEnumerable<Document> documents, int[] frequencies)
    {
        HashSet<int> involved = [];
        Dictionary<ulong, int> first = [];
        int number = 0;
        foreach (Document document in documents)
        {
            ulong[] grams = WordGrams.Of(document.Text, _gramWords);
            foreach (ulong gram in grams)
            {
                frequencies[gram % FrequencyPlaces]++;
            }

            foreach (ulong band in Bands(grams))
            {
                if (!first.TryAdd(band, number) && first[band] != number)
                {
                    involved.Add(first[band]);
                    involved.Add(number);
                }
            }

            number++;
        }

        return involved;
    }

    /// <summary>A number for each band of minima; none for a text without words.</summary>
    private ulong[] Bands(ulong[] grams)
    {
        if (grams.Length == 0)
        {
            return [];
        }

        ulong[] minima = new ulong[Minima];
        Array.Fill(minima, ulong.MaxValue);
        foreach (ulong gram in grams)
        {
            for (int i = 0; i < minima.Length; i++)
            {
                minima[i] = Math.Min(minima[i], SeededRandom.Mix(gram + (ulong)(i + 1) * 0x9e3779b97f4a7c15));
            }
        }

        ulong[] bands = new ulong[Minima / _rows];
        for (int band = 0; band < bands.Length; band++)
        {
            bands[band] = (ulong)band;
            for (int row = band * _rows; row < (band + 1) * _rows; row++)
            {
                bands[band] = SeededRandom.Mix(bands[band] ^ minima[row]);
            }
        }

        return bands;
    }
}

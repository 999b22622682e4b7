using System.Runtime.InteropServices;

namespace Retro.Search;

/// <summary>
/// What BM25 knows of the whole collection: how many documents there are, how long on average, and in how many each term occurs. An index that is one of
/// several parts of a collection scores by those of all, so that scores of different parts can be compared, and are the same as if there were one index.
/// </summary>
internal sealed class Bm25Statistics
{
    private readonly Bm25Image _image;
    private readonly double[] _inverseDocumentFrequencies;

    private Bm25Statistics(Bm25Image image, long documents, long tokens, Func<int, long> frequencyOf)
    {
        _image = image;
        MeanLength = Bm25Image.Mean(tokens, documents);

        // The impacts in the image are bounds for its own mean; where documents are longer on average, each adds more, and at most so many times as much.
        Slack = Math.Max(1, MeanLength / image.MeanLength);
        _inverseDocumentFrequencies = new double[image.Terms];
        for (int rank = 0; rank < image.Terms; rank++)
        {
            double n = frequencyOf(rank);
            _inverseDocumentFrequencies[rank] = Math.Log(1 + (documents - n + 0.5) / (n + 0.5));
        }
    }

    /// <summary>Tokens of a document on average; 1 where there are none at all.</summary>
    public double MeanLength { get; }

    /// <summary>By what the image's impacts have to be multiplied to be bounds.</summary>
    public double Slack { get; }

    /// <summary>Those of a collection that is one index.</summary>
    public static Bm25Statistics Of(Bm25Image image) => new(image, image.Documents, image.Tokens, rank => image.DocumentFrequency(rank));

    /// <summary>Those of a collection of several indexes, some of whose documents count no more.</summary>
    /// <param name="images">The parts.</param>
    /// <param name="removed">The documents of each part that count no more.</param>
    /// <returns>As seen from each part.</returns>
    public static Bm25Statistics[] Of(IReadOnlyList<Bm25Image> images, IReadOnlyList<IEnumerable<long>> removed)
    {
        Dictionary<int, long> frequencies = [];
        long documents = 0, tokens = 0;
        for (int part = 0; part < images.Count; part++)
        {
            Bm25Image image = images[part];
            documents += image.Documents;
            tokens += image.Tokens;
            for (int rank = 0; rank < image.Terms; rank++)
            {
                Add(image.TermList[rank], image.DocumentFrequency(rank));
            }

            foreach (long document in removed[part])
            {
                ReadOnlySpan<int> ranks = image.TokensOf((int)document);
                documents--;
                tokens -= ranks.Length;
                for (int i = 0; i < ranks.Length; i++)
                {
                    if (i == 0 || ranks[i] != ranks[i - 1])
                    {
                        Add(image.Term(ranks[i]), -1);
                    }
                }
            }
        }

        return [.. images.Select(image => new Bm25Statistics(image, documents, tokens, rank => frequencies[image.TermList[rank]]))];

        void Add(int term, long count) => CollectionsMarshal.GetValueRefOrAddDefault(frequencies, term, out _) += count;
    }

    /// <summary>ln(1 + (N - n + 0.5) / (n + 0.5)) of a term of the image.</summary>
    public double InverseDocumentFrequency(int rank) => _inverseDocumentFrequencies[rank];

    /// <summary>k1 · (1 - b + b · length / mean length).</summary>
    public double Norm(int length) => _image.K1 * (1 - _image.B + _image.B * length / MeanLength);
}

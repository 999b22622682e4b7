using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Extensions.AI;

namespace Retro.Embedders;

/// <summary>A bag of words and word parts, hashed into a vector of length 1: needs no training, and gives the same vectors everywhere.</summary>
/// <remarks>
/// Each word (a run of letters, marks and digits, composed and lower-cased) and each three-letter part of a word adds ±1 at a place that its hash names
/// (Weinberger et al., "Feature hashing for large scale multitask learning", arXiv 0902.2206); parts weigh half, and the count of a feature enters by its
/// square root. Texts that share words are near. A text without any letter, mark or digit gives the zero vector.
/// </remarks>
public sealed class HashingEmbedder : ITextEmbedder, IEmbeddingGenerator<string, Embedding<float>>
{
    /// <summary>The default of <see cref="Dimensions"/>.</summary>
    public const int DefaultDimensions = 256;

    private const double PartWeight = 0.5;
    private const int PartLength = 3;

    /// <summary>Creates the embedder.</summary>
    /// <param name="dimensions">Length of the vectors.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="dimensions"/> is not positive.</exception>
    public HashingEmbedder(int dimensions = DefaultDimensions)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(dimensions);
        Dimensions = dimensions;
        Identity = IdentityHash.Of(IdentityHash.KeyEnd, "hashing embedder 2", dimensions);
    }

    /// <inheritdoc/>
    public int Dimensions { get; }

    /// <inheritdoc/>
    public string Identity { get; }

    /// <inheritdoc/>
    public void Embed(IReadOnlyList<string> texts, Span<float> vectors, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        EmbeddingResults.RequireTexts(texts, nameof(texts));
        EmbeddingResults.RequireRoom(texts.Count, Dimensions, vectors.Length, nameof(vectors));
        float[] made = new float[vectors.Length]; // spans cannot go to other threads
        ParallelLoop.For(texts.Count, i => Embed(texts[i], made.AsSpan(i * Dimensions, Dimensions)), 0, cancellationToken);
        made.CopyTo(vectors);
    }

    /// <inheritdoc/>
    public Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
        IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
        => EmbeddingResults.Generate(this, values, options, cancellationToken);

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null) => EmbeddingResults.Service(this, serviceType, serviceKey);

    /// <inheritdoc/>
    public void Dispose()
    {
    }

    private void Embed(string text, Span<float> vector)
    {
        Dictionary<ulong, double> weights = [];
        List<Rune> word = [];
        foreach (Rune rune in UnicodeForms.ToFormC(text).EnumerateRunes())
        {
            if (Rune.IsLetterOrDigit(rune) || IsMark(rune))
            {
                word.Add(Rune.ToLowerInvariant(rune));
            }
            else
            {
                AddWord(word, weights);
            }
        }

        AddWord(word, weights);

        // In the order of the hashes: the sum of floating-point numbers depends on their order, that of a dictionary on its history.
        double[] sum = new double[Dimensions];
        foreach ((ulong hash, double weight) in weights.OrderBy(pair => pair.Key))
        {
            sum[(hash >> 1) % (ulong)Dimensions] += (hash & 1) == 0 ? Math.Sqrt(weight) : -Math.Sqrt(weight);
        }

        double length = Math.Sqrt(sum.Sum(x => x * x));
        for (int i = 0; i < sum.Length; i++)
        {
            vector[i] = length > 0 ? (float)(sum[i] / length) : 0;
        }
    }

    private static void AddWord(List<Rune> word, Dictionary<ulong, double> weights)
    {
        if (word.Count == 0)
        {
            return;
        }

        ReadOnlySpan<Rune> runes = CollectionsMarshal.AsSpan(word);
        Add(weights, Hash(runes, 1), 1);
        for (int start = 0; start + PartLength <= runes.Length; start++)
        {
            Add(weights, Hash(runes.Slice(start, PartLength), 2), PartWeight * PartWeight);
        }

        word.Clear();
    }

    private static void Add(Dictionary<ulong, double> weights, ulong hash, double weight)
        => CollectionsMarshal.GetValueRefOrAddDefault(weights, hash, out _) += weight;

    private static bool IsMark(Rune rune)
        => Rune.GetUnicodeCategory(rune) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark;

    // FNV-1a over the code points, then mixed, since FNV's low bits alone are weak.
    private static ulong Hash(ReadOnlySpan<Rune> runes, ulong kind)
    {
        ulong hash = 14695981039346656037UL ^ kind;
        foreach (Rune rune in runes)
        {
            hash = (hash ^ (uint)rune.Value) * 1099511628211UL;
        }

        return SeededRandom.Mix(hash);
    }
}

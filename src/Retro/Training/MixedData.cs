using System.Globalization;

namespace Retro.Training;

/// <summary>
/// Batches of several data, each in proportion to a weight: which one gives a batch is drawn by its number, and each gives its own in their order.
/// </summary>
public sealed class MixedData : ITrainingData
{
    private readonly (ITrainingData Data, double Share)[] _parts;
    private readonly long _seed;
    private readonly Lock _counting = new();
    private readonly long[] _given;
    private long _next;

    /// <summary>Mixes data.</summary>
    /// <param name="parts">The data and their weights, of which the ratios count.</param>
    /// <param name="seed">Decides which of them gives which batch.</param>
    /// <exception cref="ArgumentException">There are none, a weight is not above 0, their sum is not finite, or they are of several tokenizers.</exception>
    public MixedData(IReadOnlyList<(ITrainingData Data, double Weight)> parts, long seed = 0)
    {
        ArgumentNullException.ThrowIfNull(parts);
        double sum = parts.Sum(part => part.Weight);
        if (parts.Count == 0 || parts.Any(part => part.Data is null || part.Weight <= 0) || !double.IsFinite(sum))
        {
            throw new ArgumentException(
                "Expected data, each with a weight above 0 and all with a finite sum, got the weights "
                    + $"[{string.Join(", ", parts.Select(part => part.Weight))}].",
                nameof(parts));
        }

        if (parts.Select(part => part.Data.TokenizerHash).OfType<string>().Distinct().Skip(1).Any())
        {
            throw new ArgumentException("The data are of several tokenizers, whose ids mean different texts; make all with one.", nameof(parts));
        }

        _parts = [.. parts.Select(part => (part.Data, part.Weight / sum))];
        _seed = seed;
        _given = new long[parts.Count];
        IEnumerable<string> shares = _parts.Select(part => string.Create(CultureInfo.InvariantCulture, $"{part.Share:R} of ({part.Data.Identity})"));
        Identity = string.Create(CultureInfo.InvariantCulture, $"mixed with seed {seed}: {string.Join("; ", shares)}");
    }

    /// <inheritdoc/>
    public string Identity { get; }

    /// <inheritdoc/>
    public string? TokenizerHash => _parts.Select(part => part.Data.TokenizerHash).FirstOrDefault(hash => hash is not null);

    /// <inheritdoc/>
    public TokenBatch Batch(long index, double progress)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        int chosen = Choose(index);
        long number;

        // A training asks on a thread of its own, beside whoever looks at a batch.
        lock (_counting)
        {
            if (index < _next)
            {
                Array.Clear(_given);
                _next = 0;
            }

            // How many each has given before follows from the numbers before; trainings ask for one after the other.
            for (; _next < index; _next++)
            {
                _given[Choose(_next)]++;
            }

            number = _given[chosen];
        }

        return _parts[chosen].Data.Batch(number, progress);
    }

    private int Choose(long index)
    {
        double drawn = new SeededRandom(_seed, Purpose.DataMixture, index).NextDouble();
        int part = 0;
        while (part < _parts.Length - 1 && drawn >= _parts[part].Share)
        {
            drawn -= _parts[part++].Share;
        }

        return part;
    }
}

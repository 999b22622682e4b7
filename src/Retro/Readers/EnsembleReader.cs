using Retro.Modeling;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Readers;

/// <summary>
/// Reads every neighbor by itself in front of the text, and mixes the distributions: p(y) = Σ_k λ_k p(y | passage k, text), λ = softmax(scores / temperature)
/// of what the neighbor source says (REPLUG, arXiv 2301.12652, section 3.2). A decoder without a step of training; K passes for every chunk.
/// </summary>
/// <remarks>
/// The paper's scores are cosines. Those of other sources have other scales, to which <see cref="Fit"/> fits the temperature: as it grows the passages weigh
/// the same, as it falls the best one has all. Where a score is infinite the weights are the limit: infinite scores share everything among each other, and
/// where all are minus infinity all weigh the same.
/// </remarks>
public sealed partial class EnsembleReader : PromptReader
{
    /// <summary>Creates the reader.</summary>
    /// <remarks>What is read has to bear its scores, unless the temperature is infinite: neighbors that come from a table have none.</remarks>
    /// <param name="model">The decoder, which stays the caller's; of a model that retrieves, retrieval is off. Reading puts it into evaluation mode.</param>
    /// <param name="tokenizer">The tokenizer that it was trained with, for the template.</param>
    /// <param name="options">How each passage is written in front of the text; null takes the defaults.</param>
    /// <param name="temperature">Divides the scores; infinite: all passages weigh the same, and no scores are needed.</param>
    /// <param name="name">The name in reports; null: made of the settings.</param>
    /// <exception cref="RetroOptionsException">A setting is outside its range, or does not fit template and model.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The temperature is not positive.</exception>
    public EnsembleReader(RetroModel model, RetroTokenizer tokenizer, InContextOptions? options = null, double temperature = 1, string? name = null)
        : this(model, PromptOf(model, tokenizer, options), options ?? new(), temperature, name)
    {
    }

    internal EnsembleReader(RetroModel model, PassagePrompt prompt, InContextOptions options, double temperature, string? name = null)
        : base(model, prompt, options, name ?? $"ensemble, k = {options.Neighbors}")
    {
        if (!(temperature > 0))
        {
            throw new ArgumentOutOfRangeException(nameof(temperature), temperature, "A temperature has to be positive; infinity gives equal weights.");
        }

        Temperature = temperature;
    }

    /// <summary>Divides the scores.</summary>
    public double Temperature { get; }

    private protected override bool WeighsByScores => double.IsFinite(Temperature);

    private protected override string IdentityOf(int version) => IdentityHash.Of(IdentityHash.KeyEnd, base.IdentityOf(version), Temperature);

    internal override IReadOnlyList<(long[] Prefix, double LogWeight)> Prefixes(RetrievedTokens retrieved, int row, int chunk)
        => [.. Weighed(retrieved, row, chunk).Select(one => (Prompt.Prefix([retrieved.Passage(row, chunk, one.Neighbor)]), one.LogWeight))];

    internal override Range[] ReadOf(RetrievedTokens retrieved, int row, int chunk)
    {
        Range[] read = new Range[retrieved.Neighbors];
        foreach ((int neighbor, _) in Weighed(retrieved, row, chunk))
        {
            read[neighbor] = Prompt.Fit([retrieved.Passage(row, chunk, neighbor)])[0];
        }

        return read;
    }

    /// <summary>The neighbors of a chunk that are read, with their weights: one of 0 adds nothing.</summary>
    private IEnumerable<(int Neighbor, double LogWeight)> Weighed(RetrievedTokens retrieved, int row, int chunk)
    {
        int[] there = There(retrieved, row, chunk);
        double[] scores = [.. there.Select(k => Scaled(retrieved.ScoreOf(row, chunk, k), Temperature))];
        return there.Zip(LogSoftmax(scores, Name)).Where(one => one.Second > double.NegativeInfinity);
    }

    /// <summary>The neighbors of a chunk that have a text.</summary>
    private int[] There(RetrievedTokens retrieved, int row, int chunk)
        => [.. Enumerable.Range(0, Math.Min(Neighbors, retrieved.Neighbors)).Where(k => Prompt.TextOf(retrieved.Passage(row, chunk, k)).Length > 0)];

    /// <summary>A score over a temperature; under an infinite one all are alike, those that are not known among them.</summary>
    private static double Scaled(double score, double temperature) => double.IsInfinity(temperature) ? 0 : score / temperature;

    /// <summary>Log-weights of scores, infinite ones included.</summary>
    private static double[] LogSoftmax(double[] scores, string name)
    {
        if (scores.Length < 2)
        {
            return [.. scores.Select(_ => 0.0)]; // one alone weighs 1, whatever its score
        }

        if (scores.Any(double.IsNaN))
        {
            throw new ArgumentException(
                $"{name} weighs passages by their scores, and not every neighbor has one: measure with the source itself, since a table holds no scores, or "
                    + "take an infinite temperature, which weighs all the same.",
                nameof(scores));
        }

        double most = scores.Max();
        scores = double.IsInfinity(most) ? [.. scores.Select(score => score == most ? 0 : double.NegativeInfinity)] : [.. scores.Select(score => score - most)];
        double all = Math.Log(scores.Sum(Math.Exp));
        return [.. scores.Select(score => score - all)];
    }
}

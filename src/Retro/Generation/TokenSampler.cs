namespace Retro.Generation;

/// <summary>Draws tokens from logits: repetition penalty, temperature, top-k, top-p, in this order.</summary>
/// <remarks>Ties go to the lower id, so that a draw depends on nothing but logits and seed. Not safe for concurrent use.</remarks>
internal sealed class TokenSampler
{
    private readonly GenerationOptions _options;
    private readonly Random _random;
    private readonly HashSet<int> _seen = [];

    public TokenSampler(GenerationOptions options)
    {
        _options = options;
        _random = new Random(SeededRandom.Fold(options.Seed));
    }

    /// <summary>A token that may become drawn, with its probability.</summary>
    internal readonly record struct Candidate(int Token, double Probability);

    /// <summary>Notes tokens of the text, for the repetition penalty.</summary>
    public void See(ReadOnlySpan<int> tokens)
    {
        if (_options.RepetitionPenalty != 1)
        {
            foreach (int token in tokens)
            {
                _seen.Add(token);
            }
        }
    }

    /// <summary>Draws the next token.</summary>
    /// <param name="logits">One number per token of the vocabulary; changed by the repetition penalty and by what is refused.</param>
    /// <param name="refused">Whether a token must not come; asked of those that are drawn, until one may. Null: any may.</param>
    /// <returns>The token's id.</returns>
    /// <exception cref="RetroException">A logit is not a number, or no token may come.</exception>
    public int Next(Span<float> logits, Func<int, bool>? refused = null)
    {
        foreach (int token in _seen)
        {
            logits[token] = logits[token] > 0 ? (float)(logits[token] / _options.RepetitionPenalty) : (float)(logits[token] * _options.RepetitionPenalty);
        }

        int next = Draw(logits);
        while (refused?.Invoke(next) == true)
        {
            logits[next] = float.NegativeInfinity;
            if (logits.IndexOfAnyExcept(float.NegativeInfinity) < 0)
            {
                throw new RetroException("No token may follow: what is banned leaves none. Ban less, or let the text end.");
            }

            next = Draw(logits);
        }

        return next;
    }

    private int Draw(ReadOnlySpan<float> logits)
    {
        IReadOnlyList<Candidate> candidates = Candidates(logits, _options.Temperature, _options.TopK, _options.TopP);
        double drawn = candidates.Count == 1 ? 0 : _random.NextDouble();
        foreach (Candidate candidate in candidates)
        {
            drawn -= candidate.Probability;
            if (drawn < 0)
            {
                return candidate.Token;
            }
        }

        return candidates[^1].Token; // the probabilities summed up to a little less than 1
    }

    /// <summary>The tokens that may become drawn, the most probable first, with probabilities that sum up to 1.</summary>
    internal static IReadOnlyList<Candidate> Candidates(ReadOnlySpan<float> logits, double temperature, int topK, double topP)
    {
        int best = 0;
        for (int token = 0; token < logits.Length; token++)
        {
            if (float.IsNaN(logits[token]) || float.IsPositiveInfinity(logits[token]))
            {
                throw new RetroException($"The model's logit of token {token} is {logits[token]}; its weights are damaged, or training diverged.");
            }

            best = logits[token] > logits[best] ? token : best;
        }

        if (float.IsNegativeInfinity(logits[best]))
        {
            throw new RetroException("The model rules out every token; its weights are damaged.");
        }

        if (temperature == 0 || topK == 1)
        {
            return [new Candidate(best, 1)];
        }

        double sum = 0;
        Candidate[] all = new Candidate[logits.Length];
        for (int token = 0; token < all.Length; token++)
        {
            all[token] = new Candidate(token, Math.Exp(((double)logits[token] - logits[best]) / temperature));
            sum += all[token].Probability;
        }

        Array.Sort(all, static (a, b) => a.Probability != b.Probability ? b.Probability.CompareTo(a.Probability) : a.Token.CompareTo(b.Token));
        int kept = topK == 0 ? all.Length : Math.Min(topK, all.Length);
        double limit = topP < 1 ? topP * all.Take(kept).Sum(candidate => candidate.Probability) : double.PositiveInfinity;
        double reached = 0;
        int count = 0;
        while (count < kept && (count == 0 || (reached < limit && all[count].Probability > 0)))
        {
            reached += all[count++].Probability;
        }

        return all.Take(count).Select(candidate => candidate with { Probability = candidate.Probability / reached }).ToArray();
    }
}

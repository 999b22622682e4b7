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
        if (_options is { Temperature: > 0, TopK: 0, TopP: 1 })
        {
            // All may come: only those before the one that does have to be in order.
            (Candidate[] all, double sum) = Weights(logits, Best(logits), _options.Temperature);
            double left = sum * _random.NextDouble();
            return Drawn(Leading(all, all.Length, left), left);
        }

        IReadOnlyList<Candidate> candidates = Candidates(logits, _options.Temperature, _options.TopK, _options.TopP);
        return Drawn(candidates, candidates.Count == 1 ? 0 : _random.NextDouble());
    }

    private static int Drawn(IReadOnlyList<Candidate> candidates, double left)
    {
        foreach (Candidate candidate in candidates)
        {
            left -= candidate.Probability;
            if (left < 0)
            {
                return candidate.Token;
            }
        }

        return candidates.Last(candidate => candidate.Probability > 0).Token; // the probabilities summed up to a little less
    }

    /// <summary>The tokens that may become drawn, the most probable first, with probabilities that sum up to 1.</summary>
    internal static IReadOnlyList<Candidate> Candidates(ReadOnlySpan<float> logits, double temperature, int topK, double topP)
    {
        int best = Best(logits);
        if (temperature == 0 || topK == 1)
        {
            return [new Candidate(best, 1)];
        }

        (Candidate[] all, double sum) = Weights(logits, best, temperature);
        int kept = topK == 0 ? all.Length : Math.Min(topK, all.Length);
        Candidate[] leading = Leading(all, kept, topK == 0 && topP < 1 ? topP * sum : double.PositiveInfinity);
        double whole = topK == 0 ? sum : leading.Take(kept).Sum(candidate => candidate.Probability);
        double limit = topP < 1 ? topP * whole : double.PositiveInfinity, reached = 0;
        int count = 0;
        while (count < Math.Min(kept, leading.Length) && (count == 0 || (reached < limit && leading[count].Probability > 0)))
        {
            reached += leading[count++].Probability;
        }

        return leading.Take(count).Select(candidate => candidate with { Probability = candidate.Probability / reached }).ToArray();
    }

    /// <summary>
    /// The most probable tokens in order, at least so many of them or the fewest that hold so much, and perhaps more: a vocabulary is not sorted for the few
    /// that matter.
    /// </summary>
    private static Candidate[] Leading(Candidate[] all, int count, double weight)
    {
        Candidate[] found = all;
        List<Candidate> some = [];
        for (double least = 0.7; least > 1e-9 && (count < all.Length || double.IsFinite(weight)); least *= 0.3)
        {
            some.Clear();
            double sum = 0;
            foreach (Candidate candidate in all)
            {
                if (candidate.Probability >= least)
                {
                    some.Add(candidate);
                    sum += candidate.Probability;
                }
            }

            // A little more than the weight, since it is summed in another order then.
            if (some.Count >= count || sum > (1 + 1e-9) * weight)
            {
                found = [.. some];
                break;
            }
        }

        Array.Sort(found, static (a, b) => a.Probability != b.Probability ? b.Probability.CompareTo(a.Probability) : a.Token.CompareTo(b.Token));
        return found;
    }

    /// <summary>The tokens' probabilities as shares of the best one's, and their sum.</summary>
    private static (Candidate[] All, double Sum) Weights(ReadOnlySpan<float> logits, int best, double temperature)
    {
        double sum = 0;
        Candidate[] all = new Candidate[logits.Length];
        for (int token = 0; token < all.Length; token++)
        {
            all[token] = new Candidate(token, Math.Exp(((double)logits[token] - logits[best]) / temperature));
            sum += all[token].Probability;
        }

        return (all, sum);
    }

    private static int Best(ReadOnlySpan<float> logits)
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

        return !float.IsNegativeInfinity(logits[best]) ? best : throw new RetroException("The model rules out every token; its weights are damaged.");
    }
}

using System.Buffers;
using System.Numerics.Tensors;
using TorchSharp;

namespace Retro.Generation;

/// <summary>Draws tokens from logits: repetition penalty, temperature, top-k, top-p, in this order.</summary>
/// <remarks>
/// A draw goes down the tokens in the order of their probabilities, ties by id, so that it depends on nothing but logits and seed. A vocabulary is not sorted
/// for that: tokens fall into buckets by their distance from the best one, and of these only the one in which a cut or the draw falls is put in order. Not safe
/// for concurrent use.
/// </remarks>
internal sealed class TokenSampler
{
    private const int Buckets = 2048;

    /// <summary>Buckets for each factor of e; what is less probable than the best by more than e^64 is in the last one.</summary>
    private const double BucketsPerNat = 32;

    /// <summary>Tokens whose numbers stay in the processor's first cache.</summary>
    private const int Together = 1024;

    /// <summary>Tokens that a thread takes at once.</summary>
    private const int TokensOfPart = 1 << 15;

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

    /// <summary>Another that has seen the same, and draws as one that has drawn nothing.</summary>
    public TokenSampler Copy()
    {
        TokenSampler copy = new(_options);
        copy._seen.UnionWith(_seen);
        return copy;
    }

    /// <summary>Draws the next token.</summary>
    /// <param name="logits">
    /// One number per token of the vocabulary, minus infinity for those that must not come; changed by the repetition penalty and by what is refused.
    /// </param>
    /// <param name="refused">Whether a token must not come; asked of those that are drawn, until one may. Null: any may.</param>
    /// <returns>The token's id.</returns>
    /// <exception cref="RetroException">A logit is not a number, or no token may come.</exception>
    public int Next(Span<float> logits, Func<int, bool>? refused = null)
    {
        foreach (int token in _seen)
        {
            double logit = logits[token], changed = logit > 0 ? logit / _options.RepetitionPenalty : logit * _options.RepetitionPenalty;

            // However large the penalty, a token that may come still may, and no logit becomes infinite that was not.
            logits[token] = double.IsFinite(logit) ? (float)Math.Clamp(changed, float.MinValue, float.MaxValue) : (float)logit;
        }

        int next = Draw(logits);
        while (refused?.Invoke(next) == true)
        {
            logits[next] = float.NegativeInfinity;
            next = Draw(logits);
        }

        return next;
    }

    private int Draw(ReadOnlySpan<float> logits)
    {
        int best = Best(logits);
        if (_options.DrawnTemperature == 0 || _options.TopK == 1)
        {
            return best;
        }

        using Order order = new(logits, best, _options.DrawnTemperature);
        (int kept, double mass) = order.Cut(_options.TopK, _options.TopP);
        return kept == 1 ? best : order.At(mass * _random.NextDouble(), kept);
    }

    /// <summary>The tokens that may become drawn, the most probable first, with probabilities that sum up to 1.</summary>
    internal static IReadOnlyList<Candidate> Candidates(ReadOnlySpan<float> logits, double temperature, int topK, double topP)
    {
        int best = Best(logits);
        if (temperature == 0 || topK == 1)
        {
            return [new Candidate(best, 1)];
        }

        using Order order = new(logits, best, temperature);
        (int kept, double mass) = order.Cut(topK, topP);
        return [.. order.First(kept).Select(one => one with { Probability = one.Probability / mass })];
    }

    private static int Best(ReadOnlySpan<float> logits)
    {
        int best = TensorPrimitives.IndexOfMax(logits); // the first of equal ones, or the first that is no number
        return float.IsNaN(logits[best]) || float.IsPositiveInfinity(logits[best])
            ? throw new RetroException($"The model's logit of token {best} is {logits[best]}; its weights are damaged, or training diverged.")
            : !float.IsNegativeInfinity(logits[best]) ? best
            : throw new RetroException("No token may follow: the model's weights are damaged, or what is banned leaves none; ban less, or let the text end.");
    }

    /// <summary>The tokens in the order of their probabilities, as far as it is asked for.</summary>
    private readonly ref struct Order : IDisposable
    {
        private readonly int _size;
        private readonly int _parts;
        private readonly double[] _distances; // nats below the best
        private readonly double[] _weights; // shares of the best one's probability
        private readonly int[] _counts; // of each bucket, all parts together
        private readonly double[] _masses;
        private readonly int[] _countsOfParts;

        public unsafe Order(ReadOnlySpan<float> logits, int best, double temperature)
        {
            int size = logits.Length, parts = (size + TokensOfPart - 1) / TokensOfPart;
            double[] distances = ArrayPool<double>.Shared.Rent(size), weights = ArrayPool<double>.Shared.Rent(size);
            double[] masses = ArrayPool<double>.Shared.Rent(parts * Buckets);
            int[] counts = ArrayPool<int>.Shared.Rent(parts * Buckets);
            float highest = logits[best];
            fixed (float* first = logits)
            {
                float* all = first;
                OnTeam(parts, part =>
                {
                    Span<int> countsOfPart = counts.AsSpan(part * Buckets, Buckets);
                    Span<double> massesOfPart = masses.AsSpan(part * Buckets, Buckets);
                    countsOfPart.Clear();
                    massesOfPart.Clear();
                    int end = Start(part + 1, parts, size);
                    for (int start = Start(part, parts, size); start < end; start += Together)
                    {
                        ReadOnlySpan<float> some = new(all + start, Math.Min(Together, end - start));
                        Span<double> ofDistances = distances.AsSpan(start, some.Length), ofWeights = weights.AsSpan(start, some.Length);
                        TensorPrimitives.ConvertTruncating(some, ofDistances);
                        TensorPrimitives.Subtract(ofDistances, highest, ofDistances);
                        TensorPrimitives.Divide(ofDistances, temperature, ofDistances);
                        TensorPrimitives.Exp(ofDistances, ofWeights);
                        for (int i = 0; i < ofDistances.Length; i++)
                        {
                            if (ofWeights[i] > 0)
                            {
                                int bucket = Bucket(ofDistances[i]);
                                countsOfPart[bucket]++;
                                massesOfPart[bucket] += ofWeights[i];
                            }
                        }
                    }
                });
            }

            (_size, _parts, _distances, _weights, _countsOfParts) = (size, parts, distances, weights, counts);
            (_counts, _masses) = (new int[Buckets], new double[Buckets]);
            for (int part = 0; part < parts; part++)
            {
                TensorPrimitives.Add(_counts, counts.AsSpan(part * Buckets, Buckets), _counts);
                TensorPrimitives.Add(_masses, masses.AsSpan(part * Buckets, Buckets), _masses);
            }

            ArrayPool<double>.Shared.Return(masses);
        }

        /// <summary>How many tokens are kept, and what they weigh together.</summary>
        public (int Count, double Mass) Cut(int topK, double topP)
        {
            (int count, double mass) = Reach(topK == 0 ? int.MaxValue : topK, double.PositiveInfinity);
            return topP < 1 ? Reach(count, Math.Max(topP * mass, double.Epsilon)) : (count, mass); // one at least
        }

        /// <summary>The token in which a sum of weights falls, of the first so many.</summary>
        public int At(double left, int count)
        {
            for (int bucket = 0; ; bucket++)
            {
                if (left >= _masses[bucket] && count > _counts[bucket])
                {
                    (left, count) = (left - _masses[bucket], count - _counts[bucket]);
                    continue;
                }

                int last = -1;
                foreach (Candidate candidate in Sorted(bucket).Take(count))
                {
                    (left, last) = (left - candidate.Probability, candidate.Token);
                    if (left < 0)
                    {
                        break;
                    }
                }

                return last; // the weights of a bucket summed up to a little less where none was left over
            }
        }

        /// <summary>The first so many, with their weights.</summary>
        public List<Candidate> First(int count)
        {
            List<Candidate> first = [];
            for (int bucket = 0; first.Count < count; bucket++)
            {
                first.AddRange(Sorted(bucket).Take(count - first.Count));
            }

            return first;
        }

        public void Dispose()
        {
            ArrayPool<double>.Shared.Return(_distances);
            ArrayPool<double>.Shared.Return(_weights);
            ArrayPool<int>.Shared.Return(_countsOfParts);
        }

        /// <summary>The fewest tokens that are so many, or weigh so much; all, where they are fewer and weigh less.</summary>
        private (int Count, double Mass) Reach(int most, double weight)
        {
            int count = 0;
            double mass = 0;
            for (int bucket = 0; bucket < Buckets && count < most && mass < weight; bucket++)
            {
                if (count + _counts[bucket] <= most && mass + _masses[bucket] < weight)
                {
                    (count, mass) = (count + _counts[bucket], mass + _masses[bucket]);
                    continue;
                }

                foreach (Candidate candidate in Sorted(bucket))
                {
                    if (count == most || mass >= weight)
                    {
                        break;
                    }

                    (count, mass) = (count + 1, mass + candidate.Probability);
                }
            }

            return (count, mass);
        }

        private Candidate[] Sorted(int bucket)
        {
            (int size, int parts, double[] distances, double[] weights, int[] counts) = (_size, _parts, _distances, _weights, _countsOfParts);
            Candidate[] found = new Candidate[_counts[bucket]];
            OnTeam(parts, part =>
            {
                int at = 0;
                for (int before = 0; before < part; before++)
                {
                    at += counts[(before * Buckets) + bucket];
                }

                int last = at + counts[(part * Buckets) + bucket];
                for (int token = Start(part, parts, size); at < last; token++)
                {
                    if (weights[token] > 0 && Bucket(distances[token]) == bucket)
                    {
                        found[at++] = new(token, weights[token]);
                    }
                }
            });
            Array.Sort(found, static (a, b) => a.Probability != b.Probability ? b.Probability.CompareTo(a.Probability) : a.Token.CompareTo(b.Token));
            return found;
        }

        /// <summary>The first token of a part.</summary>
        private static int Start(int part, int parts, int size) => (int)((long)size * part / parts);

        /// <summary>The parts are the same whatever the number of threads, so that the sums' bits are, too.</summary>
        private static void OnTeam(int parts, Action<int> body) => WorkerTeam.Shared.Run(parts, parts == 1 ? 1 : torch.get_num_threads(), body);

        private static int Bucket(double distance)
        {
            double place = -distance * BucketsPerNat;
            return place < Buckets - 1 ? double.ConvertToIntegerNative<int>(place) : Buckets - 1; // a plain cast checks the bounds again
        }
    }
}

using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using TorchSharp;

namespace Retro.Generation;

/// <summary>Draws tokens from logits: bias, penalties, temperature, top-k, top-p and min-p, in this order.</summary>
/// <remarks>
/// A draw goes down the tokens in the order of their probabilities, ties by id, so that it depends on nothing but logits and seed. A vocabulary is not sorted
/// for that: of it the K highest are taken first, where only so many may come; these or all fall into buckets by their distance from the best one, and only the
/// bucket in which a cut or the draw falls is put in order. Not safe for concurrent use.
/// </remarks>
internal sealed class TokenSampler
{
    private const int Buckets = 2048;

    /// <summary>Buckets for each factor of e; what is less probable than the best by more than e^64 is in the last one.</summary>
    private const double BucketsPerNat = 32;

    /// <summary>In nats from the best: what is farther off never comes, and e to it is a number still.</summary>
    private const double Farthest = -700;

    /// <summary>Tokens whose numbers stay in the processor's first cache.</summary>
    private const int Together = 1024;

    /// <summary>Tokens that a thread takes at once.</summary>
    private const int TokensOfPart = 1 << 15;

    private readonly GenerationOptions _options;
    private readonly Random _random;
    private readonly HashSet<int> _seen = []; // for the repetition penalty, and otherwise empty
    private readonly Dictionary<int, int> _generated = []; // how often, for the other penalties, and otherwise empty

    public TokenSampler(GenerationOptions options)
    {
        _options = options;
        _random = new Random(SeededRandom.Fold(options.Seed));
    }

    /// <summary>A token that may become drawn, with its probability.</summary>
    internal readonly record struct Candidate(int Token, double Probability);

    /// <summary>Notes tokens of the text.</summary>
    /// <param name="tokens">The tokens.</param>
    /// <param name="generated">Whether they were generated, and are not the prompt's.</param>
    public void See(ReadOnlySpan<int> tokens, bool generated)
    {
        foreach (int token in tokens)
        {
            if (_options.RepetitionPenalty != 1)
            {
                _seen.Add(token);
            }

            if (generated && (_options.FrequencyPenalty != 0 || _options.PresencePenalty != 0))
            {
                CollectionsMarshal.GetValueRefOrAddDefault(_generated, token, out _)++;
            }
        }
    }

    /// <summary>Another that has seen the same, and draws as one that has drawn nothing.</summary>
    public TokenSampler Copy(GenerationOptions options)
    {
        TokenSampler copy = new(options);
        copy._seen.UnionWith(_seen);
        foreach ((int token, int times) in _generated)
        {
            copy._generated.Add(token, times);
        }

        return copy;
    }

    /// <summary>Changes logits as the options say: by a bias, then by penalties.</summary>
    /// <param name="logits">One number per token of the vocabulary, minus infinity for those that must not come.</param>
    public void Adjust(Span<float> logits)
    {
        foreach ((int token, double bias) in _options.LogitBias)
        {
            if (token < logits.Length) // special tokens may have no logit
            {
                logits[token] = Changed(logits[token], logits[token] + bias);
            }
        }

        foreach (int token in _seen)
        {
            double logit = logits[token];
            logits[token] = Changed(logits[token], logit > 0 ? logit / _options.RepetitionPenalty : logit * _options.RepetitionPenalty);
        }

        foreach ((int token, int times) in _generated)
        {
            logits[token] = Changed(logits[token], logits[token] - (times * _options.FrequencyPenalty) - _options.PresencePenalty);
        }

        // However large the change, a token that may come still may, and no logit becomes infinite that was not.
        static float Changed(float logit, double changed) => float.IsFinite(logit) ? (float)Math.Clamp(changed, float.MinValue, float.MaxValue) : logit;
    }

    /// <summary>Draws the next token.</summary>
    /// <param name="logits">One number per token of the vocabulary, minus infinity for those that must not come.</param>
    /// <returns>The token's id.</returns>
    /// <exception cref="RetroException">A logit is not a number.</exception>
    /// <exception cref="RetroOptionsException">No token may come.</exception>
    public int Next(ReadOnlySpan<float> logits)
    {
        int best = Best(logits);
        if (_options.DrawnTemperature == 0 || _options.TopK == 1)
        {
            return best;
        }

        Choice choice = new(logits, best, _options.DrawnTemperature, _options.TopK);
        (int kept, double mass) = choice.Cut(_options.TopP, _options.MinP);
        return kept == 1 ? best : choice.At(mass * _random.NextDouble(), kept);
    }

    /// <summary>The tokens that may become drawn, the most probable first, with probabilities that sum up to 1.</summary>
    internal static IReadOnlyList<Candidate> Candidates(ReadOnlySpan<float> logits, double temperature, int topK, double topP, double minP = 0)
    {
        int best = Best(logits);
        if (temperature == 0 || topK == 1)
        {
            return [new Candidate(best, 1)];
        }

        Choice choice = new(logits, best, temperature, topK);
        (int kept, double mass) = choice.Cut(topP, minP);
        return [.. choice.First(kept).Select(one => one with { Probability = one.Probability / mass })];
    }

    private static int Best(ReadOnlySpan<float> logits)
    {
        int best = TensorPrimitives.IndexOfMax(logits); // the first of equal ones, or the first that is no number
        return float.IsNaN(logits[best]) || float.IsPositiveInfinity(logits[best])
            ? throw new RetroException($"The model's logit of token {best} is {logits[best]}; its weights are damaged, or training diverged.")
            : !float.IsNegativeInfinity(logits[best]) ? best
            : throw NoneMayFollow();
    }

    /// <summary>A fault of whoever asked, and of no model: what may come is ruled out by what is asked for.</summary>
    public static RetroOptionsException NoneMayFollow() => new(
        nameof(GenerationOptions), ["No token may follow: what is banned leaves none of those that are allowed. Ban less, allow more, or let the text end."]);

    /// <summary>The so many tokens with the highest logits, of equal ones those with the lowest ids, by id; those that must not come are left out.</summary>
    private static int[] Highest(ReadOnlySpan<float> logits, int count)
    {
        // What is no higher than the last of those found so far can be passed over, and most of a vocabulary is, without a look at single tokens.
        const int Block = 64;
        ulong[] found = new ulong[Math.Min(logits.Length, 2 * Math.Max(count, Block)) + Block];
        int taken = 0;
        float least = float.NegativeInfinity;
        for (int start = 0; start < logits.Length; start += Block)
        {
            ReadOnlySpan<float> some = logits.Slice(start, Math.Min(Block, logits.Length - start));
            if (!(TensorPrimitives.Max(some) > least))
            {
                continue;
            }

            for (int i = 0; i < some.Length; i++)
            {
                if (some[i] > least)
                {
                    found[taken++] = Rank(some[i], start + i);
                }
            }

            if (taken > found.Length - Block)
            {
                Keep(logits, found);
            }
        }

        Keep(logits, found);
        int[] tokens = Array.ConvertAll(found[..taken], Token);
        Array.Sort(tokens);
        return tokens;

        void Keep(ReadOnlySpan<float> logits, ulong[] found)
        {
            Array.Sort(found, 0, taken);
            if (taken >= count)
            {
                taken = count;
                least = logits[Token(found[count - 1])];
            }
        }
    }

    /// <summary>A number that is the lower, the higher the logit, and of equal ones the lower the id.</summary>
    private static ulong Rank(float logit, int token)
    {
        uint bits = BitConverter.SingleToUInt32Bits(logit + 0f); // of the two zeros, the one
        return ((ulong)((bits & 0x8000_0000) == 0 ? 0x7FFF_FFFF - bits : bits) << 32) | (uint)token;
    }

    private static int Token(ulong rank) => (int)(uint)rank;

    /// <summary>The tokens that may become drawn, in the order of their probabilities, as far as it is asked for.</summary>
    private readonly ref struct Choice
    {
        private readonly ReadOnlySpan<float> _logits;
        private readonly int[]? _tokens; // whose logits they are; null: a token's place is its id
        private readonly float _highest;
        private readonly double _temperature;
        private readonly int[] _counts; // of each bucket
        private readonly double[] _masses; // in shares of the best token's probability

        public Choice(ReadOnlySpan<float> logits, int best, double temperature, int topK)
        {
            _logits = logits;
            (_highest, _temperature) = (logits[best], temperature);
            if (topK > 0 && topK < logits.Length)
            {
                _tokens = Highest(logits, topK);
                float[] few = new float[_tokens.Length];
                for (int i = 0; i < few.Length; i++)
                {
                    few[i] = logits[_tokens[i]];
                }

                _logits = few;
            }

            (_counts, _masses) = Weigh(_logits, _highest, temperature);
        }

        /// <summary>
        /// The fewest tokens that have this share of all tokens' probability, as far as they have that share of the best one's, and what they weigh together.
        /// </summary>
        public (int Count, double Mass) Cut(double topP, double minP)
        {
            double whole = 0, mass = 0;
            int count = 0;
            foreach (double ofBucket in _masses)
            {
                whole += ofBucket;
            }

            double enough = topP < 1 ? Math.Max(topP * whole, double.Epsilon) : double.PositiveInfinity; // one token at least
            for (int bucket = 0; bucket < Buckets && mass < enough; bucket++)
            {
                if (_counts[bucket] == 0)
                {
                    continue; // of which all logits would be looked through
                }

                bool isAllThatProbable = minP == 0 || (bucket < Buckets - 1 && Math.Exp(-(bucket + 1) / BucketsPerNat) >= minP);
                if (mass + _masses[bucket] < enough && isAllThatProbable)
                {
                    (count, mass) = (count + _counts[bucket], mass + _masses[bucket]);
                    continue;
                }

                foreach (Candidate candidate in Sorted(bucket))
                {
                    if (mass >= enough || candidate.Probability < minP)
                    {
                        return (count, mass);
                    }

                    (count, mass) = (count + 1, mass + candidate.Probability);
                }
            }

            return (count, mass);
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

        private Candidate[] Sorted(int bucket)
        {
            // All that is in the bucket and a little more, since these are other roundings; by vectors, so that few single tokens are asked for their bucket.
            double most = _highest - (bucket / BucketsPerNat * _temperature), least = _highest - ((bucket + 1) / BucketsPerNat * _temperature);
            double slack = 1e-9 * (Math.Abs(most) + Math.Abs(least));
            Vector256<float> from = Vector256.Create(bucket < Buckets - 1 ? MathF.BitDecrement((float)(least - slack)) : float.MinValue);
            Vector256<float> to = Vector256.Create(MathF.BitIncrement((float)(most + slack)));

            ulong[] found = new ulong[_counts[bucket]];
            int taken = 0;
            for (int start = 0; start < _logits.Length; start += Vector256<float>.Count)
            {
                ReadOnlySpan<float> some = _logits[start..];
                uint inside = some.Length < Vector256<float>.Count ? (1u << some.Length) - 1 : Inside(Vector256.Create(some), from, to);
                for (; inside != 0; inside &= inside - 1)
                {
                    int place = BitOperations.TrailingZeroCount(inside);
                    double distance = Distance(some[place]);
                    if (distance > Farthest && Bucket(distance) == bucket)
                    {
                        found[taken++] = Rank(some[place], start + place);
                    }
                }
            }

            Array.Sort(found);
            Candidate[] sorted = new Candidate[taken];
            for (int i = 0; i < taken; i++)
            {
                int place = Token(found[i]);
                sorted[i] = new(_tokens is null ? place : _tokens[place], Math.Exp(Distance(_logits[place])));
            }

            return sorted;

            static uint Inside(Vector256<float> some, Vector256<float> from, Vector256<float> to)
                => (Vector256.GreaterThanOrEqual(some, from) & Vector256.LessThanOrEqual(some, to)).ExtractMostSignificantBits();
        }

        private double Distance(float logit) => (logit - (double)_highest) / _temperature;

        /// <summary>How many tokens there are in each bucket, and what they weigh together.</summary>
        private static unsafe (int[] Counts, double[] Masses) Weigh(ReadOnlySpan<float> logits, float highest, double temperature)
        {
            // The parts are the same whatever the number of threads, so that the sums' bits are, too.
            int size = logits.Length, parts = (size + TokensOfPart - 1) / TokensOfPart;
            int[][] counts = new int[parts][];
            double[][] masses = new double[parts][];
            fixed (float* first = logits)
            {
                float* all = first;
                WorkerTeam.Shared.Run(parts, parts == 1 ? 1 : torch.get_num_threads(), part =>
                {
                    int[] countsOfPart = counts[part] = new int[Buckets];
                    double[] massesOfPart = masses[part] = new double[Buckets];
                    Span<double> distances = stackalloc double[Together], weights = stackalloc double[Together];
                    int end = Start(part + 1);
                    for (int start = Start(part); start < end; start += Together)
                    {
                        ReadOnlySpan<float> some = new(all + start, Math.Min(Together, end - start));
                        TensorPrimitives.ConvertTruncating(some, distances);
                        Span<double> ofSome = distances[..some.Length];
                        TensorPrimitives.Subtract(ofSome, highest, ofSome);
                        TensorPrimitives.Divide(ofSome, temperature, ofSome);
                        TensorPrimitives.Exp(ofSome, weights);
                        for (int i = 0; i < ofSome.Length; i++)
                        {
                            if (ofSome[i] > Farthest)
                            {
                                int bucket = Bucket(ofSome[i]);
                                countsOfPart[bucket]++;
                                massesOfPart[bucket] += weights[i];
                            }
                        }
                    }
                });
            }

            for (int part = 1; part < parts; part++)
            {
                TensorPrimitives.Add(counts[0], counts[part], counts[0]);
                TensorPrimitives.Add(masses[0], masses[part], masses[0]);
            }

            return (counts[0], masses[0]);

            int Start(int part) => (int)((long)size * part / parts);
        }

        private static int Bucket(double distance)
        {
            double place = -distance * BucketsPerNat;
            return place < Buckets - 1 ? double.ConvertToIntegerNative<int>(place) : Buckets - 1; // a plain cast checks the bounds again
        }
    }
}

using FsCheck;
using FsCheck.Fluent;
using Retro.Generation;

namespace Retro.Tests.Generation;

public class TokenSamplerTests
{
    private static readonly Gen<float[]> s_logits = Gen.Choose(-300, 300).Select(x => x / 50f).ArrayOf().Where(logits => logits.Length > 0);

    [Fact]
    public void A_seed_below_0_draws_otherwise_than_the_one_above()
    {
        long[] seeds = [0, 1, 5, -1, -5, int.MaxValue, -int.MaxValue, int.MinValue, long.MaxValue, -long.MaxValue];
        Assert.Equal(seeds.Length, seeds.Select(seed => new Random(SeededRandom.Fold(seed)).NextInt64()).Distinct().Count());
        Assert.Equal(5, SeededRandom.Fold(5));
    }

    [Fact]
    public void Candidates_are_the_most_probable_tokens_in_order_and_sum_up_to_one()
        => Check((logits, temperature, topK, topP) =>
        {
            IReadOnlyList<TokenSampler.Candidate> candidates = TokenSampler.Candidates(logits, temperature, topK, topP);
            int[] order = Enumerable.Range(0, logits.Length).OrderByDescending(token => logits[token]).ThenBy(token => token).ToArray();

            Assert.Equal(order.Take(candidates.Count), candidates.Select(candidate => candidate.Token));
            Assert.Equal(1, candidates.Sum(candidate => candidate.Probability), 1e-12);
            Assert.True(topK == 0 || candidates.Count <= topK);
        });

    [Fact]
    public void Top_p_keeps_the_fewest_tokens_that_reach_it()
        => Check((logits, temperature, topK, topP) =>
        {
            double[] all = Softmax(logits.Select(x => x / temperature).ToArray()).OrderDescending().ToArray();
            double[] kept = all.Take(topK == 0 ? all.Length : topK).ToArray();
            double whole = kept.Sum();
            int count = TokenSampler.Candidates(logits, temperature, topK, topP).Count;

            Assert.True(topP == 1 || kept.Take(count).Sum() / whole >= topP - 1e-9, "too few");
            Assert.True(count == 1 || topP == 1 || kept.Take(count - 1).Sum() / whole < topP + 1e-9, "too many");
            Assert.True(topP < 1 || count == kept.Count(probability => probability > 0), "top-p of 1 is no filter");
        });

    [Fact]
    public void Without_filters_the_probabilities_are_the_softmax()
        => Check((logits, temperature, _, _) =>
        {
            double[] expected = Softmax(logits.Select(x => x / temperature).ToArray());
            foreach (TokenSampler.Candidate candidate in TokenSampler.Candidates(logits, temperature, 0, 1))
            {
                Assert.Equal(expected[candidate.Token], candidate.Probability, 1e-9);
            }
        });

    [Theory]
    [InlineData(32_768)]
    [InlineData(32_769)]
    [InlineData(100_003)]
    public void A_large_vocabulary_is_shared_out_and_stays_in_order(int vocabulary)
    {
        Random random = new(8);
        float[] logits = [.. Enumerable.Range(0, vocabulary).Select(_ => MathF.Round((float)(12 * random.NextDouble()), 2))]; // with ties
        int[] order = [.. Enumerable.Range(0, vocabulary).OrderByDescending(token => logits[token]).ThenBy(token => token)];
        double[] expected = Softmax([.. logits.Select(x => x / 0.7)]);

        IReadOnlyList<TokenSampler.Candidate> all = TokenSampler.Candidates(logits, 0.7, 0, 1), some = TokenSampler.Candidates(logits, 0.7, 5000, 0.4);

        Assert.True(order.AsSpan().SequenceEqual([.. all.Select(candidate => candidate.Token)]));
        Assert.InRange(all.Max(candidate => Math.Abs(expected[candidate.Token] - candidate.Probability)), 0, 1e-12);
        Assert.True(order.AsSpan(0, some.Count).SequenceEqual([.. some.Select(candidate => candidate.Token)]));
        Assert.InRange(some.Count, 2, 4999);
    }

    [Fact]
    public void Temperature_zero_takes_the_most_probable_and_the_lowest_id_among_equals()
    {
        Assert.Equal([new TokenSampler.Candidate(1, 1)], TokenSampler.Candidates([1, 3, 3, 2], 0, 0, 1));
        Assert.Equal([new TokenSampler.Candidate(1, 1)], TokenSampler.Candidates([1, 3, 3, 2], 1, 1, 1));
        Assert.Equal([new TokenSampler.Candidate(2, 1)], TokenSampler.Candidates([float.NegativeInfinity, -9, 8], 1e-9, 0, 1));
    }

    [Fact]
    public void Tokens_are_drawn_as_often_as_their_probabilities_say()
    {
        TokenSampler sampler = new(new GenerationOptions { Temperature = 1, TopP = 1, Seed = 6 });
        double[] probabilities = [0.5, 0.3, 0.15, 0.05];
        int[] counts = new int[4];
        const int Draws = 20_000;
        for (int i = 0; i < Draws; i++)
        {
            counts[sampler.Next(probabilities.Select(p => (float)Math.Log(p)).ToArray())]++;
        }

        // Chi-squared with 3 degrees of freedom: 16.3 is passed once in a thousand seeds.
        double distance = counts.Zip(probabilities, (count, p) => Math.Pow(count - Draws * p, 2) / (Draws * p)).Sum();
        Assert.True(distance < 16.3, $"chi-squared {distance}");
    }

    [Theory]
    [InlineData(0, 1, 1, 0)]
    [InlineData(0, 0.9, 1, 0)]
    [InlineData(40, 1, 1, 0)]
    [InlineData(40, 0.9, 1, 0)]
    [InlineData(0, 0, 1, 0)]
    [InlineData(3, 0.5, 3, 0)]
    [InlineData(0, 0.9, 0.05, 0)]
    [InlineData(900, 0.999, 2, 0)]
    [InlineData(0, 1, 1, 0.01)]
    [InlineData(0, 1, 9, 1e-3)]
    [InlineData(0, 1, 0.05, 1e-40)] // in the last bucket, of all that is less probable
    [InlineData(0, 0.9, 2, 0.3)]
    [InlineData(40, 0.99, 4, 0.5)]
    [InlineData(0, 1, 1, 1)]
    public void A_large_vocabulary_gives_what_sorting_all_of_it_gives(int topK, double topP, double temperature, double minP)
    {
        Random random = new(5);
        float[] logits = [.. Enumerable.Range(0, 3000).Select(_ => (float)Math.Round(30 * Math.Pow(random.NextDouble(), 4), 1))];
        double best = logits.Max();
        (int Token, double Weight)[] sorted = [.. logits.Select((logit, token) => (token, Math.Exp((logit - best) / temperature)))
            .OrderByDescending(pair => pair.Item2)
            .ThenBy(pair => pair.token)
            .Take(topK == 0 ? logits.Length : topK)];
        double whole = sorted.Sum(pair => pair.Weight), reached = 0;
        List<(int Token, double Weight)> kept = [];
        foreach ((int token, double weight) in sorted.TakeWhile(
            pair => (topP == 1 || kept.Count == 0 || reached < topP * whole) && pair.Weight >= minP))
        {
            kept.Add((token, weight));
            reached += weight;
        }

        Assert.Equal(
            kept.Where(pair => pair.Weight > 0).Select(pair => pair.Token),
            TokenSampler.Candidates(logits, temperature, topK, topP, minP).Select(candidate => candidate.Token));

        // And whoever draws of it draws what the order says.
        GenerationOptions options = new() { Temperature = temperature, TopK = topK, TopP = topP, MinP = minP, Seed = 7 };
        TokenSampler sampler = new(options);
        Random same = new(SeededRandom.Fold(options.Seed));
        for (int i = 0; i < 50; i++)
        {
            double left = kept.Count == 1 ? 0 : same.NextDouble() * reached;
            int expected = kept.First(pair => (left -= pair.Weight) < 0).Token;
            Assert.Equal(expected, sampler.Next([.. logits]));
        }
    }

    [Fact]
    public void The_same_seed_draws_the_same_tokens()
    {
        int[] Draw(int seed)
        {
            TokenSampler sampler = new(new GenerationOptions { Seed = seed, Temperature = 1 });
            return Enumerable.Range(0, 50).Select(_ => sampler.Next(Enumerable.Range(0, 30).Select(i => (float)Math.Sin(i)).ToArray())).ToArray();
        }

        Assert.Equal(Draw(1), Draw(1));
        Assert.NotEqual(Draw(1), Draw(2));
    }

    [Fact]
    public void Repetition_makes_seen_tokens_less_probable_whatever_their_sign()
    {
        TokenSampler sampler = new(new GenerationOptions { Temperature = 0, RepetitionPenalty = 2 });
        sampler.See([0, 3], generated: false);
        float[] logits = [3, 2, -1, -1];
        sampler.Adjust(logits);

        Assert.Equal([1.5f, 2, -1, -2], logits);
        Assert.Equal(1, sampler.Next(logits));
    }

    /// <summary>The order is that of the fields of OpenAI's requests: what is generated counts, the prompt does not.</summary>
    [Fact]
    public void A_bias_stands_before_the_penalties_of_what_was_generated()
    {
        TokenSampler sampler = new(new GenerationOptions
        {
            RepetitionPenalty = 2, FrequencyPenalty = 0.5, PresencePenalty = 0.25,
            LogitBias = new Dictionary<int, double> { [0] = 1, [3] = -2, [4] = 5, [99] = 1 },
        });
        sampler.See([0, 1], generated: false);
        sampler.See([1, 3, 3], generated: true);
        float[] logits = [3, 2, -1, 1, float.NegativeInfinity], copied = [.. logits];
        sampler.Adjust(logits);
        sampler.Copy(new GenerationOptions { RepetitionPenalty = 2, FrequencyPenalty = 0.5, PresencePenalty = 0.25 }).Adjust(copied);

        Assert.Equal([2, 1 - 0.75f, -1, -2 - 1.25f, float.NegativeInfinity], logits);
        Assert.Equal([1.5f, 1 - 0.75f, -1, 0.5f - 1.25f, float.NegativeInfinity], copied);
    }

    [Theory]
    [InlineData(1e-300)]
    [InlineData(1e300)]
    public void No_penalty_makes_a_logit_infinite_or_rules_a_token_out(double penalty)
    {
        TokenSampler sampler = new(new GenerationOptions { Temperature = 0, RepetitionPenalty = penalty });
        sampler.See([0, 1, 2], generated: false);
        float[] logits = [3, 2, float.NegativeInfinity];
        sampler.Adjust(logits);

        Assert.InRange(sampler.Next(logits), 0, 1);
        Assert.Equal(float.NegativeInfinity, logits[2]);
        float[] negative = [-3, -2, float.NegativeInfinity];
        sampler.Adjust(negative);
        Assert.InRange(sampler.Next(negative), 0, 1);
        Assert.All(logits[..2].Concat(negative[..2]), logit => Assert.True(float.IsFinite(logit)));
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void A_logit_that_is_no_number_is_refused(float logit)
        => Assert.Contains(
            "logit of token 1", Assert.Throws<RetroException>(() => TokenSampler.Candidates([0, logit], 1, 0, 1)).Message, StringComparison.Ordinal);

    [Fact]
    public void A_model_that_rules_out_everything_is_refused()
        => Assert.Throws<RetroOptionsException>(() => TokenSampler.Candidates([float.NegativeInfinity, float.NegativeInfinity], 1, 0, 1));

    private static double[] Softmax(double[] logits)
    {
        double largest = logits.Max();
        double[] exponents = logits.Select(x => Math.Exp(x - largest)).ToArray();
        double sum = exponents.Sum();
        return exponents.Select(x => x / sum).ToArray();
    }

    private static void Check(Action<float[], double, int, double> property)
    {
        Gen<(float[], double, int, double)> cases = s_logits.SelectMany(logits =>
            Gen.Choose(1, 40).SelectMany(temperature => Gen.Choose(0, 12).SelectMany(topK => Gen.Choose(1, 20)
            .Select(topP => (logits, temperature / 10.0, topK, topP / 20.0)))));
        Prop.ForAll(cases.ToArbitrary(), one => property(one.Item1, one.Item2, one.Item3, one.Item4)).QuickCheckThrowOnFailure();
    }
}

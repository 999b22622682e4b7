using Retro.Answering;
using Retro.Evaluation;

namespace Retro.Tests.Answering;

/// <summary>Values computed by hand after SQuAD's evaluate-v1.1.py.</summary>
public sealed class AnswerMatchTests
{
    [Theory]
    [InlineData("The Eiffel-Tower!", "eiffeltower")]
    [InlineData("  a  cat, an apple,\tand the (other) one ", "cat apple and other one")]
    [InlineData("2,381,740 sq km", "2381740 sq km")]
    [InlineData("$5 + 3 = 8 ~ `x`", "5 3 8 x")]
    [InlineData("Theology of Anne", "theology of anne")]
    [InlineData("São Tomé — the", "são tomé —")]
    [InlineData("The, a. an!", "")]
    [InlineData("The A½, a², a_, aⅫ", "a½ a² aⅻ")]
    [InlineData("a\u0301 b", "\u0301 b")]
    [InlineData("ΟΔΟΣ", "οδος")]
    [InlineData("the𝐚 𝐚an a😀", "the𝐚 𝐚an 😀")]
    [InlineData("ΣΑΣ, ΟΔΟΣ ΣΑΣ.", "σας οδος σας")]
    [InlineData("\u0130zmir", "i\u0307zmir")]
    [InlineData("a\u001Cred\u001Froof\u001D", "red roof")]
    public void An_answer_is_normalized_as_the_script_does(string answer, string expected) => Assert.Equal(expected, AnswerMatch.Normalize(answer));

    [Theory]
    [InlineData("the red roof", "Red roof.", 1, 1)]
    [InlineData("red", "red roof", 0, 2.0 / 3)]
    [InlineData("red red roof", "red roof roof", 0, 2.0 / 3)]
    [InlineData("blue", "red roof", 0, 0)]
    [InlineData("", "red", 0, 0)]
    [InlineData("the", "a", 1, 1)]
    [InlineData("ΟΔΟΣ", "οδος", 1, 1)]
    public void Exact_match_and_f1_count_words(string answer, string right, double exact, double f1)
    {
        Assert.Equal(exact, AnswerMatch.Exact(answer, [right]));
        Assert.Equal(f1, AnswerMatch.F1(answer, [right]), 1e-12);
    }

    [Fact]
    public void Of_several_right_answers_the_best_counts_and_of_none_nothing()
    {
        Assert.Equal(1, AnswerMatch.Exact("4 km", ["four kilometers", "4 km"]));
        Assert.Equal(2.0 / 3, AnswerMatch.F1("4 km", ["four kilometers", "4"]), 1e-12);
        Assert.Equal((0, 0), (AnswerMatch.Exact("4", []), AnswerMatch.F1("4", [])));
    }

    [Fact]
    public void A_mean_has_an_interval_over_documents_where_there_are_enough()
    {
        MeanInterval none = MeanInterval.Of([]), few = MeanInterval.Of([("a", 1), ("a", 0), ("b", 0)]);
        Assert.Equal(("-", false), (none.ToString(), none.HasInterval));
        Assert.Equal((1 / 3.0, false, "0.33", 2), (few.Value, few.HasInterval, few.ToString(), few.Documents));

        // All of a document is drawn together: twenty documents of five equal values are no hundred independent ones.
        MeanInterval many = MeanInterval.Of(Enumerable.Range(0, 100).Select(i => ($"{i / 5}", i / 5 % 2 == 0 ? 1.0 : 0)));
        MeanInterval independent = MeanInterval.Of(Enumerable.Range(0, 100).Select(i => ($"{i}", i / 5 % 2 == 0 ? 1.0 : 0)));
        Assert.Equal(0.5, many.Value);
        Assert.InRange(many.High - many.Low, 0.35, 0.5); // 2 · 1.96 · 0.5 / √20 is 0.44
        Assert.InRange(independent.High - independent.Low, 0.15, 0.25); // and over √100 0.20
        Assert.StartsWith("0.50 [0.", many.ToString(), StringComparison.Ordinal);
        Assert.Equal("0.050 [0.004, 0.120]", new MeanInterval(0.05, 0.004, 0.12, 60).ToString());
    }

    /// <summary>That none of 27 did, or all, tells that fewer than an eighth do or do not; not that none does, or that all do.</summary>
    [Fact]
    public void What_all_documents_have_in_common_is_not_certain_of_others()
    {
        (string, double)[] Of(double value, int each) => [.. Enumerable.Range(0, 27 * each).Select(i => ($"{i % 27}", value))];

        double missed = 1 - Math.Pow(0.025, 1 / 27.0);
        MeanInterval none = MeanInterval.Of(Of(0, 1), least: 0, most: 1), all = MeanInterval.Of(Of(1, 4), least: 0, most: 1);
        Assert.Equal((0.0, 1.0), (none.Low, all.High));
        Assert.Equal(missed, none.High, 1e-12);
        Assert.Equal(1 - missed, all.Low, 1e-12);
        Assert.Equal(("0.00 [0.00, 0.13]", "1.00 [0.87, 1.00]"), (none.ToString(), all.ToString()));
        Assert.Equal("0.00 [-0.13, 0.13]", $"{MeanInterval.Of(Of(0, 4), least: -1, most: 1)}");

        // Of what may be anything, nothing can be told.
        MeanInterval bits = MeanInterval.Of(Of(3, 1));
        Assert.Equal((false, "3.00"), (bits.HasInterval, bits.ToString()));
    }

    /// <summary>Exact binomial sums: the interval holds the true share in 95 of 100 samples or more, near 0 and 1 too.</summary>
    [Theory]
    [InlineData(20, 0.16)]
    [InlineData(30, 0.11)]
    [InlineData(30, 0.89)]
    [InlineData(50, 0.065)]
    [InlineData(100, 0.034)]
    [InlineData(30, 0.3)]
    public void The_interval_of_a_share_holds_it_as_often_as_it_says(int documents, double share)
    {
        double held = 0, probability = Math.Pow(1 - share, documents), none = 0;
        for (int count = 0; count <= documents; count++)
        {
            MeanInterval found = MeanInterval.Of(Enumerable.Range(0, documents).Select(i => ($"{i}", i < count ? 1.0 : 0)), least: 0, most: 1);
            held += found.Low <= share && found.High >= share ? probability : 0;
            probability *= (double)(documents - count) / (count + 1) * share / (1 - share);
            none = count == 0 ? found.High : none;
            Assert.True(found.High >= none, $"{count} successes reach to {found.High}, none to {none}");
        }

        Assert.InRange(held, 0.95, 1);
    }

    /// <summary>Clopper's and Pearson's of 1 of 20 and 7 of 30 (exact binomial tails), and of five values a document that go together.</summary>
    [Fact]
    public void The_interval_of_a_share_is_that_of_as_many_values_as_are_independent()
    {
        Assert.All([(20, 1), (30, 7), (100, 98)], one =>
        {
            (int n, int k) = one;
            (double low, double high) = ShareInterval.Bounds((double)k / n, n);
            Assert.Equal(0.025, Enumerable.Range(k, n - k + 1).Sum(i => Binomial(n, i, low)), 1e-9);
            Assert.Equal(0.025, Enumerable.Range(0, k + 1).Sum(i => Binomial(n, i, high)), 1e-9);
        });
        (double Below, double Above) alone = ShareInterval.Reach(Of(20, 1, i => i < 2), 0, 1), together = ShareInterval.Reach(Of(20, 5, i => i / 5 < 2), 0, 1);
        Assert.Equal(alone.Above, together.Above, 0.03);
        (double Below, double Above) independent = ShareInterval.Reach(Of(20, 5, i => i % 10 == 0), 0, 1);
        Assert.InRange(independent.Above, 0.05, 0.09); // 10 of 100: 0.176

        // A difference: five of 100 rise and none falls, which is hardly more than nothing; four are not (McNemar's exact test: 0.06 and 0.13).
        Assert.InRange(MeanInterval.Of(Rising(5), least: -1, most: 1).Low, -0.01, 0.01);
        Assert.InRange(MeanInterval.Of(Rising(4), least: -1, most: 1).Low, -0.03, 0);
        Assert.InRange(MeanInterval.Of(Rising(20), least: -1, most: 1).Low, 0.1, 0.15);

        static double[][] Of(int documents, int each, Func<int, bool> succeeds)
            => [.. Enumerable.Range(0, documents * each).Select(i => succeeds(i) ? 1.0 : 0).Chunk(each)];

        static IEnumerable<(string, double)> Rising(int count) => Enumerable.Range(0, 100).Select(i => ($"{i}", i < count ? 1.0 : 0));

        static double Binomial(int n, int k, double p)
            => Enumerable.Range(1, k).Aggregate(Math.Pow(p, k) * Math.Pow(1 - p, n - k), (value, i) => value * (n - k + i) / i);
    }
}

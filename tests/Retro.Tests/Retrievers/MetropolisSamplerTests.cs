using Retro.Retrievers;
using static Retro.Tests.Retrievers.ToyPosterior;

namespace Retro.Tests.Retrievers;

public class MetropolisSamplerTests
{
    private const int Draws = 20_000;

    // Quantile 0.999 of the chi-square distribution with 4 degrees of freedom.
    private const double Critical = 18.467;

    private static readonly ToyPosterior s_toy = new(5);

    /// <summary>A draw is the last of 25 steps, each chain going on where it was: what they have in common by then is nothing.</summary>
    [Fact]
    public void Visits_are_those_of_the_exact_posterior()
    {
        foreach (int b in Rows)
        {
            (double statistic, double acceptance) = ChiSquare(Joint(b), Proposal(b), z => s_toy.Posterior(b, z));
            TestContext.Current.SendDiagnosticMessage($"Row {b}: chi-square {statistic:F2} of at most {Critical}, {acceptance:P0} of the proposals taken.");
            Assert.True(statistic < Critical, $"Row {b}: chi-square {statistic} with 4 degrees of freedom.");
            Assert.Equal(ExactAcceptance(b), acceptance, 0.01);
        }
    }

    /// <summary>
    /// The published code averages the log-likelihood over the target's tokens within the acceptance ratio: its chain has another stationary distribution,
    /// which the same test refuses.
    /// </summary>
    [Fact]
    public void Averaging_the_likelihood_over_tokens_would_sample_something_else()
    {
        foreach (int b in Rows)
        {
            double[] averaged = [.. Passages.Select(z => Math.Log(s_toy.Prior(b, z)) + (Math.Log(s_toy.Likelihood(b, z)) / T))];
            (double statistic, _) = ChiSquare(averaged, Proposal(b), z => s_toy.Posterior(b, z));
            Assert.True(statistic > 10 * Critical, $"Row {b}: chi-square {statistic}, as if nothing had been averaged.");
        }
    }

    /// <summary>Unlike the published code, which stacks rows and so takes one example a batch: each has its own number of passages.</summary>
    [Fact]
    public void Passages_that_are_missing_or_of_no_share_are_never_visited()
    {
        double[] joint = [double.NegativeInfinity, -1, -2, -0.5, -3, -1], proposal = [0, double.NegativeInfinity, -1, double.NegativeInfinity, 0, -1e6];

        MetropolisVisits visits = MetropolisSampler.Run(joint, proposal, 1, 10_000, 1, 1);

        Assert.Equal([true, false, true, false, true, false], visits.Frequencies.Select(share => share > 0).Take(6).Select((some, i) => i == 0 || some));
        Assert.True(visits.Frequencies[0] < 0.01, "a passage of no probability is left at once, and never gone back to");
        double odds = Math.Exp(-2 - -3);
        Assert.Equal(odds / (1 + odds), visits.Frequencies[2], 0.03);
        Assert.Equal(1, visits.Frequencies.Sum(), 1e-12);
    }

    [Fact]
    public void A_run_goes_on_where_the_last_one_ended_and_is_the_same_for_the_same_seed_and_place()
    {
        double[] joint = Joint(0), proposal = Proposal(0);
        MetropolisVisits first = MetropolisSampler.Run(joint, proposal, 3, 50, 7, 9), again = MetropolisSampler.Run(joint, proposal, 3, 50, 7, 9);
        Assert.Equal(first.Frequencies, again.Frequencies);
        Assert.NotEqual(first.Frequencies, MetropolisSampler.Run(joint, proposal, 3, 50, 7, 10).Frequencies);

        // A proposal that is never taken: the chain stays where it was.
        MetropolisVisits stays = MetropolisSampler.Run([0, -1e9], [-700, 0], 0, 100, 1, 1);
        Assert.Equal((0, 0.0, 1.0), (stays.Last, stays.AcceptanceRate, stays.Frequencies[0]));
    }

    [Fact]
    public void With_one_passage_it_is_visited_always()
    {
        MetropolisVisits visits = MetropolisSampler.Run([-500], [3], null, 10, 1, 1);
        Assert.Equal([1.0], visits.Frequencies);
        Assert.Equal((0, 1.0), (visits.Last, visits.AcceptanceRate));
    }

    [Fact]
    public void What_cannot_be_sampled_is_refused()
    {
        Assert.Contains("None of 0 passages", Refusal([], []), StringComparison.Ordinal);
        Assert.Contains("None of 2 passages", Refusal([double.NegativeInfinity, 0], [0, double.NegativeInfinity]), StringComparison.Ordinal);
        Assert.Contains("Passage 1 has the joint log-probability NaN", Refusal([0, double.NaN], [0, 0]), StringComparison.Ordinal);
        Assert.Contains("the proposal Infinity", Refusal([0, 0], [0, double.PositiveInfinity]), StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => MetropolisSampler.Run([0], [0, 0], null, 1, 1, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => MetropolisSampler.Run([0], [0], 1, 1, 1, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => MetropolisSampler.Run([0], [0], null, 0, 1, 1));

        static string Refusal(double[] joint, double[] proposal)
            => Assert.Throws<TrainingException>(() => MetropolisSampler.Run(joint, proposal, null, 10, 1, 1)).Message;
    }

    private static double[] Joint(int b) => [.. Passages.Select(z => Math.Log(s_toy.Prior(b, z) * s_toy.Likelihood(b, z)))];

    private static double[] Proposal(int b) => [.. Passages.Select(z => Math.Log(s_toy.Tower(b, z)))];

    /// <summary>Σ_z p(z|x,y) Σ_z' q(z') min(1, w(z')/w(z)).</summary>
    private static double ExactAcceptance(int b)
    {
        double Weight(int z) => s_toy.Posterior(b, z) / s_toy.Tower(b, z);
        return Passages.Sum(z => s_toy.Posterior(b, z) * Passages.Sum(other => s_toy.Tower(b, other) * Math.Min(1, Weight(other) / Weight(z))));
    }

    private static (double Statistic, double Acceptance) ChiSquare(double[] joint, double[] proposal, Func<int, double> expected)
    {
        int[] counts = new int[K];
        int? at = null;
        double acceptance = 0;
        for (int draw = 0; draw < Draws; draw++)
        {
            MetropolisVisits visits = MetropolisSampler.Run(joint, proposal, at, 25, seed: 17, draw);
            at = visits.Last;
            counts[visits.Last]++;
            acceptance += visits.AcceptanceRate / Draws;
        }

        return (Passages.Sum(z => Math.Pow(counts[z] - (Draws * expected(z)), 2) / (Draws * expected(z))), acceptance);
    }
}

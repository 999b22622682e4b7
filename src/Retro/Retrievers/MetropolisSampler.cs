using System.Globalization;

namespace Retro.Retrievers;

/// <summary>
/// The Metropolis independence sampler of JSA: a chain over the passages of one example whose stationary distribution is the true posterior
/// p(z|x,y) ∝ p(z|x) p(y|x,z). A passage z' is proposed from q(z|x,y), wherever the chain is, and taken with probability min(1, w(z')/w(z)),
/// w(z) = p(z|x) p(y|x,z) / q(z|x,y) (Cao et al., arXiv 2508.18168, section 3.2).
/// </summary>
/// <remarks>
/// The likelihood in w is that of the whole target. The code that was published with the paper puts the mean over tokens there, which makes the chain's
/// stationary distribution another one, flatter the longer the targets are; and it takes one example at a time, where rows here have as many passages as each
/// of them has.
/// </remarks>
internal static class MetropolisSampler
{
    /// <summary>Runs a chain.</summary>
    /// <param name="joint">log p(z|x) + log p(y|x,z) of each passage, [K], up to a constant; −∞ for what can never be.</param>
    /// <param name="proposal">log q(z|x,y), [K], up to a constant; −∞ for what is never proposed, such as a missing passage.</param>
    /// <param name="start">Where the chain is; null, or a passage that is never proposed: at its first proposal.</param>
    /// <param name="steps">Proposals, at least 1.</param>
    /// <param name="seed">Decides the proposals and what is taken, together with <paramref name="place"/>.</param>
    /// <param name="place">Number of the run, so that no two runs of one seed are the same.</param>
    /// <returns>What the chain did.</returns>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no step, or no such passage to begin with.</exception>
    /// <exception cref="TrainingException">A number is +∞ or none at all, or no passage that is proposed has a probability.</exception>
    public static MetropolisVisits Run(ReadOnlySpan<double> joint, ReadOnlySpan<double> proposal, int? start, int steps, long seed, long place)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(steps);
        if (joint.Length != proposal.Length)
        {
            throw new ArgumentException($"Expected as many joint log-probabilities as proposals, got {joint.Length} and {proposal.Length}.", nameof(joint));
        }

        if (start is { } first)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(first, nameof(start));
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(first, joint.Length, nameof(start));
        }

        (double[] sums, double[] weights) = Prepare(joint, proposal);
        int last = Array.IndexOf(sums, sums[^1]); // the last with a share of its own
        SeededRandom random = new(seed, Purpose.Metropolis, place);
        int at = start is { } known && !double.IsNegativeInfinity(proposal[known]) ? known : Propose(ref random);
        double[] visits = new double[joint.Length];
        int taken = 0;
        for (int step = 0; step < steps; step++)
        {
            int next = Propose(ref random);

            // One random number a step whatever the weights are, and −∞ against −∞ is an even trade.
            double chance = Math.Log(1 - random.NextDouble());
            if (weights[next] >= weights[at] || chance < weights[next] - weights[at])
            {
                at = next;
                taken++;
            }

            visits[at]++;
        }

        for (int passage = 0; passage < visits.Length; passage++)
        {
            visits[passage] /= steps;
        }

        return new MetropolisVisits(visits, at, (double)taken / steps);

        int Propose(ref SeededRandom from)
        {
            // The first whose sum lies above: one of no share has the sum of the passage before it, and is never the first.
            double drawn = from.NextDouble() * sums[^1];
            int found = 0;
            while (found < last && drawn >= sums[found])
            {
                found++;
            }

            return found;
        }
    }

    /// <summary>The running sums of q, and log w.</summary>
    private static (double[] Sums, double[] Weights) Prepare(ReadOnlySpan<double> joint, ReadOnlySpan<double> proposal)
    {
        double best = double.NegativeInfinity, sum = 0;
        bool possible = false;
        for (int passage = 0; passage < joint.Length; passage++)
        {
            if (double.IsNaN(joint[passage]) || double.IsNaN(proposal[passage]) || double.IsPositiveInfinity(Math.Max(joint[passage], proposal[passage])))
            {
                throw new TrainingException(string.Create(
                    CultureInfo.InvariantCulture,
                    $"Passage {passage} has the joint log-probability {joint[passage]} and the proposal {proposal[passage]}; expected numbers."));
            }

            best = Math.Max(best, proposal[passage]);
            possible |= !double.IsNegativeInfinity(joint[passage]) && !double.IsNegativeInfinity(proposal[passage]);
        }

        if (!possible)
        {
            throw new TrainingException(
                $"None of {joint.Length} passages is both proposed and of any probability, so that there is no posterior to sample; leave the example out, or "
                    + "look at the reader.");
        }

        double[] sums = new double[joint.Length], weights = new double[joint.Length];
        for (int passage = 0; passage < joint.Length; passage++)
        {
            sums[passage] = sum += Math.Exp(proposal[passage] - best);
            weights[passage] = double.IsNegativeInfinity(proposal[passage]) ? double.NegativeInfinity : joint[passage] - proposal[passage];
        }

        return (sums, weights);
    }
}

namespace Retro.Evaluation;

/// <summary>
/// How far a ratio of sums over documents may be from the true one: the percentiles of a bootstrap over documents (Efron, "Bootstrap methods", 1979), widened
/// as Student's t is for few documents, since percentiles alone are too narrow then (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015).
/// </summary>
internal static class DocumentBootstrap
{
    private const int Draws = 2000;
    private const int MostDigits = 8;

    /// <summary>What rounding makes of documents that all have the same ratio.</summary>
    public const double Rounding = 1e-9;

    /// <summary>The 95 % interval's reach.</summary>
    /// <param name="documents">What is summed of each document; the ratio is of the sum of the parts to that of the wholes.</param>
    /// <param name="seed">Decides what is drawn.</param>
    /// <param name="purpose">What is drawn for.</param>
    /// <returns>How far below and above the ratio it ends; both 0 where all draws are the same, so that they tell nothing.</returns>
    public static (double Below, double Above) Reach(IReadOnlyList<(double Part, double Whole)> documents, long seed, Purpose purpose)
    {
        double[] drawn = new double[Draws];
        for (int draw = 0; draw < Draws; draw++)
        {
            SeededRandom random = new(seed, purpose, draw);
            double part = 0, whole = 0;
            for (int i = 0; i < documents.Count; i++)
            {
                (double some, double of) = documents[random.Below(documents.Count)];
                (part, whole) = (part + some, whole + of);
            }

            drawn[draw] = part / whole;
        }

        Array.Sort(drawn);
        if (drawn[^1] - drawn[0] <= Rounding * Math.Max(Math.Abs(drawn[0]), Math.Abs(drawn[^1])))
        {
            return (0, 0);
        }

        double value = documents.Sum(document => document.Part) / documents.Sum(document => document.Whole);
        double wider = StudentT.Bound((int)Effective(documents) - 1) / StudentT.Normal;
        return (wider * Math.Max(0, value - Percentile(drawn, 0.025)), wider * Math.Max(0, Percentile(drawn, 0.975) - value));
    }

    /// <summary>As many documents of one size as say what these say (Kish, 1965): fewer where a few are most of the text.</summary>
    public static double Effective(IReadOnlyList<(double Part, double Whole)> documents)
        => Math.Pow(documents.Sum(document => document.Whole), 2) / documents.Sum(document => document.Whole * document.Whole);

    /// <summary>
    /// Digits behind the point, at least some, with which an interval that does not hold 0 can be seen not to: rounded to "0.0", its end would.
    /// </summary>
    public static int Digits(double low, double high, int least)
    {
        double nearest = low > 0 ? low : high < 0 ? -high : double.PositiveInfinity;
        return Enumerable.Range(least, MostDigits - least).FirstOrDefault(digits => Math.Round(nearest * Math.Pow(10, digits)) >= 1, MostDigits);
    }

    private static double Percentile(double[] sorted, double share)
    {
        double at = share * (sorted.Length - 1);
        int below = (int)at;
        return sorted[below] + ((at - below) * (sorted[Math.Min(below + 1, sorted.Length - 1)] - sorted[below]));
    }
}

namespace Retro.Evaluation;

/// <summary>Student's t: how many standard errors a 95 % interval reaches to either side, by the degrees of freedom.</summary>
internal static class StudentT
{
    /// <summary>What it comes to with many degrees: the normal distribution's.</summary>
    public const double Normal = 1.959964;

    private static readonly double[] s_few = [12.706205, 4.302653, 3.182446, 2.776445];

    /// <summary>The bound; of fewer than one degree, that of one.</summary>
    public static double Bound(int degrees)
    {
        if (degrees <= s_few.Length)
        {
            return s_few[Math.Max(degrees, 1) - 1];
        }

        // Abramowitz and Stegun 26.7.5 at 0.975; from five degrees on it is right to three decimals.
        double inverse = 1.0 / degrees;
        return Normal + (inverse * (2.372271 + (inverse * (2.822497 + (inverse * (2.555854 + (inverse * 1.589536)))))));
    }
}

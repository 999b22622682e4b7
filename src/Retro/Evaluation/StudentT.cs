namespace Retro.Evaluation;

/// <summary>Student's t: how many standard errors a 95 % interval reaches to either side, by the degrees of freedom.</summary>
internal static class StudentT
{
    private const double Upper = 0.975;

    /// <summary>What it comes to with many degrees: the normal distribution's.</summary>
    public static double Normal { get; } = MathNet.Numerics.Distributions.Normal.InvCDF(0, 1, Upper);

    /// <summary>The bound; of fewer than one degree, that of one.</summary>
    public static double Bound(int degrees) => MathNet.Numerics.Distributions.StudentT.InvCDF(0, 1, Math.Max(degrees, 1), Upper);
}

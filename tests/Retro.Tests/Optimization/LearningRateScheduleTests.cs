using Retro.Optimization;

namespace Retro.Tests.Optimization;

public class LearningRateScheduleTests
{
    [Fact]
    public void Rates_rise_linearly_then_fall_by_a_cosine()
    {
        LearningRateSchedule schedule = new(peak: 0.003, final: 0.0003, warmupSteps: 5, steps: 25);

        double[] warm = [.. Enumerable.Range(0, 5).Select(step => schedule.Rate(step))];
        Assert.Equal([0.0006, 0.0012, 0.0018, 0.0024, 0.003], warm, (a, b) => Math.Abs(a - b) < 1e-15);
        Assert.Equal(0.003, schedule.Rate(5), 15);
        Assert.Equal((0.003 + 0.0003) / 2, schedule.Rate(15), 15);
        Assert.Equal(0.0003 + 0.00135 * (1 + Math.Cos(Math.PI * 19 / 20)), schedule.Rate(24), 15);
        Assert.Equal(0.0003, schedule.Rate(25), 15);
        Assert.Equal(0.0003, schedule.Rate(1000), 15);
    }

    /// <summary>A twentieth of the steps up, where there are as many, and down to a tenth.</summary>
    [Theory]
    [InlineData(100, new[] { 0, 4, 5, 100 }, new[] { 0.2, 1, 1, 0.1 })]
    [InlineData(105, new[] { 0, 55, 105 }, new[] { 0.2, 0.55, 0.1 })]
    [InlineData(10, new[] { 0, 5, 10 }, new[] { 1, 0.55, 0.1 })]
    public void What_is_fitted_in_few_steps_has_the_schedule_that_is_told_of_it(long steps, int[] at, double[] rates)
    {
        LearningRateSchedule schedule = LearningRateSchedule.Short(2, steps);
        double[] came = [.. at.Select(step => schedule.Rate(step) / 2)];
        Assert.Equal(rates, came, (a, b) => Math.Abs(a - b) < 1e-12);
    }

    [Fact]
    public void The_share_of_a_run_gives_the_rate_of_that_step()
    {
        LearningRateSchedule schedule = new(1, 0.1, 10, 200);
        for (int step = 0; step < 200; step++)
        {
            Assert.Equal(schedule.Rate(step), schedule.RateAt(step / 200.0), 12);
        }

        Assert.Equal(schedule.Rate(0), schedule.RateAt(-1));
        Assert.Equal(0.1, schedule.RateAt(2), 15);
        // Between two steps the rate never exceeds the peak.
        Assert.All(Enumerable.Range(0, 1000), i => Assert.InRange(schedule.RateAt(i / 1000.0), 0.1, 1));
    }

    [Fact]
    public void A_schedule_without_warmup_starts_at_the_peak_and_one_of_warmup_alone_ends_there()
    {
        Assert.Equal(2, new LearningRateSchedule(2, 0, 0, 4).Rate(0), 15);
        Assert.Equal(2, new LearningRateSchedule(2, 0, 4, 4).Rate(3), 15);
        Assert.Equal(0, new LearningRateSchedule(2, 0, 4, 4).Rate(4), 15);
    }

    [Theory]
    [InlineData(0, 0, 0, 1, "peak")]
    [InlineData(double.NaN, 0, 0, 1, "peak")]
    [InlineData(1, 2, 0, 1, "final")]
    [InlineData(1, -1, 0, 1, "final")]
    [InlineData(1, 0, 2, 1, "warmupSteps")]
    [InlineData(1, 0, -1, 1, "warmupSteps")]
    [InlineData(1, 0, 0, 0, "steps")]
    public void Impossible_schedules_are_refused(double peak, double final, long warmup, long steps, string parameter)
        => Assert.Equal(parameter, Assert.Throws<ArgumentOutOfRangeException>(() => new LearningRateSchedule(peak, final, warmup, steps)).ParamName);
}

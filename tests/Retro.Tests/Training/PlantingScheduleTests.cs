using Retro.Training;

namespace Retro.Tests.Training;

public class PlantingScheduleTests
{
    [Theory]
    [InlineData(0, 0.8, 0, 0)]
    [InlineData(0.15, 0.64, 0, 0)]
    [InlineData(0.45, 0.32, 20, 0.2)]
    [InlineData(0.6, 0.16, 30, 0.3)]
    [InlineData(0.75, 0, 40, 0.4)]
    [InlineData(1, 0, 40, 0.4)]
    public void Planting_falls_while_shift_and_damage_grow(double progress, double share, int shift, double noise)
    {
        (double Share, int Shift, double Noise) came = new PlantingSchedule().At(progress);
        Assert.Equal(share, came.Share, 12);
        Assert.Equal(shift, came.Shift);
        Assert.Equal(noise, came.Noise, 12);
    }

    [Theory]
    [InlineData(0.4999, 0, 0, 0)]
    [InlineData(0.5, 0.8, 0, 0)]
    [InlineData(0.725, 0.32, 20, 0.2)]
    [InlineData(0.875, 0, 40, 0.4)]
    public void Nothing_is_planted_before_the_beginning_and_shares_are_of_the_rest(double progress, double share, int shift, double noise)
    {
        (double Share, int Shift, double Noise) came = new PlantingSchedule { Begin = 0.5 }.At(progress);
        Assert.Equal(share, came.Share, 12);
        Assert.Equal(shift, came.Shift);
        Assert.Equal(noise, came.Noise, 12);
    }

    [Fact]
    public void A_schedule_that_never_plants_or_never_grows_is_finite()
    {
        Assert.Equal((0.0, 40, 0.4), new PlantingSchedule { End = 0, AlignedUntil = 0 }.At(0));
        Assert.Equal((0.4, 0, 0.0), new PlantingSchedule { End = 1, AlignedUntil = 1 }.At(0.5));
    }
}

using System.Globalization;
using Retro.Search;

namespace Retro.Tests.Search;

public class VectorIndexPlanTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(30_000)]
    [InlineData(VectorIndexPlan.ExactLimit)]
    public void Small_databases_are_searched_exactly(long count)
        => Assert.Equal(new VectorIndexPlan("Flat", 0, ""), VectorIndexPlan.For(count, 384));

    [Theory]
    [InlineData(VectorIndexPlan.ExactLimit + 1, 128, "IVF1024,Flat")]
    [InlineData(1_000_000, 384, "IVF2048,Flat")]
    [InlineData(10_000_000, 384, "IVF8192,SQ8")]
    [InlineData(10_000_000_000, 1024, "IVF131072,SQ8")]
    public void Large_ones_get_lists_and_never_ask_for_more_training_vectors_than_there_are(long count, int dimensions, string factory)
    {
        VectorIndexPlan plan = VectorIndexPlan.For(count, dimensions);
        int lists = int.Parse(factory[3..factory.IndexOf(',', StringComparison.Ordinal)], CultureInfo.InvariantCulture);

        Assert.Equal(factory, plan.Factory);
        Assert.InRange(plan.TrainingVectors, 39 * lists, count);
        Assert.Equal($"nprobe={lists / 16}", plan.Parameters);
        using VectorIndex index = VectorIndex.Create(dimensions, plan.Factory, parameters: plan.Parameters);
        Assert.Equal(lists, index.ListCount);
        Assert.Equal(lists / 16, index.ProbedLists);
    }

    [Fact]
    public void Impossible_sizes_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => VectorIndexPlan.For(-1, 8));
        Assert.Throws<ArgumentOutOfRangeException>(() => VectorIndexPlan.For(5, 0));
    }
}

using System.Globalization;
using Retro.Search;
using Retro.Vectors;

namespace Retro.Tests.Vectors;

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
    [InlineData(100_000_000, 384, "IVF32768,PQ32np")]
    [InlineData(10_000_000_000, 1024, "IVF131072,PQ64np")]
    [InlineData(100_000_000, 7, "IVF32768,Flat")]
    public void Large_ones_get_lists_and_never_ask_for_more_training_vectors_than_there_are(long count, int dimensions, string factory)
    {
        VectorIndexPlan plan = VectorIndexPlan.For(count, dimensions);
        string ofLists = factory[factory.IndexOf("IVF", StringComparison.Ordinal)..];
        int lists = int.Parse(ofLists[3..ofLists.IndexOf(',', StringComparison.Ordinal)], CultureInfo.InvariantCulture);

        Assert.Equal(factory, plan.Factory);
        Assert.InRange(plan.TrainingVectors, 39 * lists, count);
        Assert.Equal($"nprobe={lists / 16}", plan.Parameters);
        using VectorIndex index = VectorIndex.Create(dimensions, plan.Factory, parameters: plan.Parameters);
        Assert.Equal(lists, index.ListCount);
        Assert.Equal(lists / 16, index.ProbedLists);
    }

    [Theory]
    [InlineData(1_000_000, 128, 1L << 30, "IVF2048,Flat", 587)]
    [InlineData(1_000_000, 128, 300L << 20, "IVF2048,SQ8", 203)]
    [InlineData(1_000_000, 128, 80L << 20, "IVF2048,PQ64np", 139)]
    [InlineData(1_000_000, 128, 1, "IVF2048,PQ8np", 83)]
    [InlineData(1_000_000, 101, 1, "IVF2048,SQ8", 161)]
    public void Vectors_are_kept_as_whole_as_the_memory_allows(long count, int dimensions, long memory, string factory, int megabytes)
    {
        VectorIndexPlan plan = VectorIndexPlan.For(count, dimensions, memory);
        Assert.Equal(factory, plan.Factory);
        Assert.Equal(!factory.EndsWith("Flat", StringComparison.Ordinal), plan.IsCoded);
        Assert.Equal(!plan.IsCoded, VectorIndexPlan.HoldsWhole(plan.Factory));
        Assert.Equal(megabytes, plan.Bytes(count, dimensions) / 1_000_000);
    }

    /// <summary>What is asked for by name may be of any kind, and is planned as whole where the name does not tell.</summary>
    [Theory]
    [InlineData("Flat", 400)]
    [InlineData("IVF16,Flat", 408)]
    [InlineData("HNSW32", 408)]
    [InlineData("IVF16,PQ4x4fs", 408)]
    [InlineData("OPQ8,IVF16,PQ8np", 16)]
    [InlineData("IVF16,SQ8", 108)]
    public void An_index_of_any_kind_takes_bytes(string factory, long bytes) => Assert.Equal(bytes, new VectorIndexPlan(factory, 0, "").Bytes(1, 100));

    [Fact]
    public void Impossible_sizes_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => VectorIndexPlan.For(5, 8, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => VectorIndexPlan.For(-1, 8));
        Assert.Throws<ArgumentOutOfRangeException>(() => VectorIndexPlan.For(5, 0));
    }
}

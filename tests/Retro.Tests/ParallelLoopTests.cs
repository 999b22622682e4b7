namespace Retro.Tests;

public sealed class ParallelLoopTests
{
    [Fact]
    public void Every_number_comes_once_and_a_fault_comes_out_as_it_is()
    {
        int[] seen = new int[1000];
        ParallelLoop.For(seen.Length, i => Interlocked.Increment(ref seen[i]), threads: 3, TestContext.Current.CancellationToken);
        Assert.All(seen, count => Assert.Equal(1, count));

        Assert.Throws<CorpusException>(() =>
            ParallelLoop.For(100, i => throw new CorpusException($"number {i}"), cancellationToken: TestContext.Current.CancellationToken));
        Assert.ThrowsAny<OperationCanceledException>(() => ParallelLoop.For(100, _ => { }, cancellationToken: new CancellationToken(true)));
    }
}

namespace Retro.Tests;

public sealed class SynchronousProgressTests
{
    [Fact]
    public void Each_report_is_told_on_its_own_thread_before_the_next()
    {
        List<(int Value, int Thread)> told = [];
        SynchronousProgress<int> progress = new(value => told.Add((value, Environment.CurrentManagedThreadId)));
        for (int i = 0; i < 100; i++)
        {
            progress.Report(i);
            Assert.Equal((i, Environment.CurrentManagedThreadId), told[^1]);
        }

        Assert.Equal(100, told.Count);
    }

    [Fact]
    public void Several_are_told_one_after_the_other_and_a_missing_one_is_passed_over()
    {
        List<string> told = [];
        IProgress<int> One(string name) => new SynchronousProgress<int>(value => told.Add($"{name}{value}"));
        SynchronousProgress<int> progress = new(One("a"), null, One("b"));
        progress.Report(1);
        progress.Report(2);
        Assert.Equal(["a1", "b1", "a2", "b2"], told);
        Assert.Throws<InvalidDataException>(() => new SynchronousProgress<int>(One("a"), new SynchronousProgress<int>(_ => throw new InvalidDataException()))
            .Report(3));
    }
}

namespace Retro.Tests;

/// <summary>Loops of microseconds, one after another, from several callers, with and without pauses.</summary>
public sealed class WorkerTeamTests
{
    [Theory]
    [InlineData(1, 4)]
    [InlineData(2, 1)]
    [InlineData(7, 2)]
    [InlineData(64, 3)]
    public void Every_number_comes_once(int count, int threads)
    {
        for (int round = 0; round < 20_000; round++)
        {
            int[] seen = new int[count];
            WorkerTeam.Shared.Run(count, threads, i => Interlocked.Increment(ref seen[i]));
            Assert.All(seen, times => Assert.Equal(1, times));
            if (round % 1000 == 0)
            {
                Thread.Sleep(2); // long enough for the others to fall asleep
            }
        }
    }

    [Fact]
    public void Callers_at_once_and_loops_within_loops_all_come_to_an_end()
    {
        long sum = 0;
        Thread[] callers = [.. Enumerable.Range(0, 4).Select(caller => new Thread(() =>
        {
            for (int round = 0; round < 5_000; round++)
            {
                WorkerTeam.Shared.Run(5, 2, i => WorkerTeam.Shared.Run(2, 2, j => Interlocked.Add(ref sum, (10 * i) + j)));
            }
        }))];
        Array.ForEach(callers, caller => caller.Start());
        Array.ForEach(callers, caller => caller.Join());
        Assert.Equal(4L * 5_000 * ((2 * 10 * (0 + 1 + 2 + 3 + 4)) + (5 * 1)), sum);
    }

    [Fact]
    public void A_fault_comes_out_as_it_is_once_all_have_come_back_and_the_team_goes_on()
    {
        for (int round = 0; round < 1000; round++)
        {
            int working = 0;
            FormatException fault = Assert.Throws<FormatException>(() => WorkerTeam.Shared.Run(8, 2, i =>
            {
                Interlocked.Increment(ref working);
                try
                {
                    if (i == round % 8)
                    {
                        throw new FormatException($"{i}");
                    }
                }
                finally
                {
                    Interlocked.Decrement(ref working);
                }
            }));
            Assert.Equal($"{round % 8}", fault.Message);
            Assert.Equal(0, working);
        }
    }
}

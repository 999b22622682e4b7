using System.Collections.Concurrent;
using Retro.Modeling;
using Retro.Tests.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

/// <summary>The internal thread team, seen through InternalsVisibleTo.</summary>
public class TorchThreadsTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(17)]
    public void Every_piece_runs_once_and_the_number_of_threads_is_as_before(int count)
    {
        int[] runs = new int[count];
        With(3, () =>
        {
            TorchThreads.Run(count, CPU, i =>
            {
                using Tensor one = ones(8, 8);
                using Tensor product = one.mm(one);
                Interlocked.Add(ref runs[i], (int)product[0, 0].item<float>() / 8);
            });
            Assert.Equal(3, get_num_threads());
        });
        Assert.All(runs, n => Assert.Equal(1, n));
    }

    [Fact]
    public void A_piece_has_its_share_of_the_threads()
    {
        List<int> seen = [];
        With(4, () => TorchThreads.Run(2, CPU, _ =>
        {
            lock (seen)
            {
                seen.Add(get_num_threads());
            }
        }));
        Assert.Equal([2, 2], seen);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    public void A_piece_that_is_too_small_to_be_shared_has_one_thread(int count)
    {
        ConcurrentBag<int> seen = [];
        With(4, () =>
        {
            TorchThreads.Run(count, CPU, _ => seen.Add(get_num_threads()), oneThreadEach: true);
            Assert.Equal(4, get_num_threads());
        });
        Assert.Equal(Enumerable.Repeat(1, count), seen);
    }

    [Fact]
    public void A_thread_that_meets_torch_meanwhile_has_the_processs_threads()
    {
        ConcurrentBag<int> seen = [];
        With(3, () => TorchThreads.Run(3, CPU, _ =>
        {
            Thread other = new(() => seen.Add(get_num_threads()));
            other.Start();
            other.Join();
            seen.Add(-get_num_threads());
        }));

        Assert.Equal([-1, -1, -1, 3, 3, 3], seen.Order());
    }

    [Fact]
    public void Pieces_that_run_pieces_keep_their_share_and_the_process_its_threads()
    {
        ConcurrentBag<int> inner = [], outer = [];
        With(12, () =>
        {
            TorchThreads.Run(2, CPU, _ =>
            {
                TorchThreads.Run(2, CPU, _ => inner.Add(get_num_threads()));
                outer.Add(get_num_threads());
            });
            int later = 0;
            Thread other = new(() => later = get_num_threads());
            other.Start();
            other.Join();
            Assert.Equal((12, 12), (get_num_threads(), later));
        });

        Assert.Equal([3, 3, 3, 3], inner.Order());
        Assert.Equal([6, 6], outer.Order());
    }

    [Fact]
    public void A_fault_comes_out_as_it_was_and_ends_the_run()
    {
        int runs = 0;
        With(2, () =>
        {
            InvalidOperationException fault = Assert.Throws<InvalidOperationException>(() => TorchThreads.Run(1000, CPU, i =>
            {
                Interlocked.Increment(ref runs);
                throw new InvalidOperationException($"piece {i}");
            }));
            Assert.StartsWith("piece ", fault.Message, StringComparison.Ordinal);
            Assert.Equal(2, get_num_threads());
        });
        Assert.InRange(runs, 1, 2);
    }

    [Fact]
    public void Cancelling_ends_the_run()
    {
        using CancellationTokenSource source = new();
        int runs = 0;
        With(2, () => Assert.Throws<OperationCanceledException>(() => TorchThreads.Run(
            1000,
            CPU,
            _ =>
            {
                Interlocked.Increment(ref runs);
                source.Cancel();
            },
            cancellationToken: source.Token)));
        Assert.InRange(runs, 1, 2);
    }

    private static void With(int threads, Action work)
    {
        using ThreadCount set = new(threads);
        work();
    }
}

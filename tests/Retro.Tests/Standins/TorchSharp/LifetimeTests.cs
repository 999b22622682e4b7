using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Standins.TorchSharp;

/// <summary>What lives how long: scopes, their counts, the collector as the net, memory over many steps.</summary>
public sealed class LifetimeTests
{
    [Fact]
    public void AScopeDisposesWhatWasMadeInIt()
    {
        Tensor inner, outer, kept;
        using (DisposeScope one = NewDisposeScope())
        {
            using (DisposeScope two = NewDisposeScope())
            {
                inner = zeros(1);
                outer = zeros(1).MoveToOuterDisposeScope();
                kept = zeros(1).DetachFromDisposeScope();
                Assert.Equal(1, two.DisposablesCount);
                Assert.True(two.Contains(inner));
                Assert.True(one.Contains(outer));
            }

            Assert.True(inner.IsInvalid);
            Assert.False(outer.IsInvalid);
            Assert.False(kept.IsInvalid);
        }

        Assert.True(outer.IsInvalid);
        Assert.False(kept.IsInvalid);
        kept.Dispose();
    }

    [Fact]
    public void AScopeIsOfItsThread()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor? elsewhere = null;
        Thread thread = new(() => elsewhere = zeros(1));
        thread.Start();
        thread.Join();
        Assert.Equal(0, scope.DisposablesCount);
        scope.DisposeEverything();
        Assert.False(elsewhere!.IsInvalid);
        elsewhere.Dispose();
    }

    [Fact]
    public void EverythingButIsKept()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor left = zeros(1);
        Tensor kept = zeros(1);
        scope.DisposeEverythingBut(kept);
        Assert.True(left.IsInvalid);
        Assert.False(kept.IsInvalid);
        Assert.Equal(1, scope.DisposablesCount);
        scope.Detach(kept);
        Assert.Equal(0, scope.DisposablesCount);
        scope.Attach(kept);
        Assert.Equal(1, scope.DisposablesCount);
    }

    [Fact]
    public void CountsAddUp()
    {
        LifetimeStatistics counts = DisposeScopeManager.Statistics.TensorStatistics;
        DisposeScopeManager.Statistics.Reset();
        zeros(1).Dispose();
        using (DisposeScope scope = NewDisposeScope())
        {
            _ = zeros(1);
            _ = zeros(1).MoveToOuterDisposeScope();
        }

        Assert.Equal((1, 1), (counts.CreatedOutsideScopeCount, counts.DisposedOutsideScopeCount));
        Assert.Equal((2, 1), (counts.CreatedInScopeCount, counts.DisposedInScopeCount));
        Assert.Equal((0, 1), (counts.AttachedToScopeCount, counts.DetachedFromScopeCount));
        Assert.Equal(1, counts.ThreadTotalLiveCount);
    }

    [Fact]
    public void AModuleOutlivesTheScopeItWasMadeIn()
    {
        Linear linear;
        Parameter loose;
        using (DisposeScope scope = NewDisposeScope())
        {
            linear = nn.Linear(2, 2);
            loose = new Parameter(zeros(2));
            Assert.Equal(1, scope.DisposablesCount);
        }

        Assert.False(linear.weight.IsInvalid);
        Assert.True(loose.IsInvalid);
        linear.Dispose();
    }

    [Fact]
    public void WrappersWithoutAScopeAreCollected()
    {
        // 64 times 64 MiB would not fit; the collector hears of the memory behind the wrappers.
        long before = LiveTensors.Settled();
        Produce();
        long left = LiveTensors.Settled() - before;
        Assert.True(left < 32, $"{left} of 64 tensors are still there");

        [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
        static void Produce()
        {
            for (int i = 0; i < 64; i++)
            {
                _ = zeros(16, 1024);
            }
        }
    }

    [Fact]
    public void TwoThousandTrainingStepsKeepMemoryFlat()
    {
        manual_seed(1);
        using Sequential model = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.LayerNorm(128), nn.Dropout(0.1), nn.Linear(128, 16));
        using OptimizerHelper optimizer = optim.AdamW(model.parameters(), 1e-3, weight_decay: 0.1);
        using Tensor inputs = randn(32, 64);
        using Tensor targets = randint(16, [32]);
        double first = 0, last = 0;
        for (int step = 0; step < 50; step++)
        {
            first = Step();
        }

        long live = LiveTensors.Settled();
        long resident = Resident();
        for (int step = 50; step < 2000; step++)
        {
            last = Step();
        }

        Assert.Equal(live, Tensor.TotalCount);
        Assert.True(Resident() - resident < 48L << 20, $"the resident set grew by {(Resident() - resident) >> 20} MiB");
        Assert.True(last < first, $"the loss went from {first} to {last}");

        double Step()
        {
            using DisposeScope scope = NewDisposeScope();
            optimizer.zero_grad();
            Tensor loss = nn.functional.cross_entropy(model.call(inputs), targets);
            loss.backward();
            nn.utils.clip_grad_norm_(model.parameters(), 1);
            optimizer.step();
            return loss.item<float>();
        }

        static long Resident()
        {
            using System.Diagnostics.Process process = System.Diagnostics.Process.GetCurrentProcess();
            return process.WorkingSet64;
        }
    }

    [Fact]
    public void ManyThreadsComputeAtOnce()
    {
        using Tensor shared = arange(1000, float64);
        double[] results = new double[8];
        Thread[] threads = [.. Enumerable.Range(0, results.Length).Select(number => new Thread(() =>
        {
            using Generator generator = new((ulong)number);
            for (int i = 0; i < 50; i++)
            {
                using DisposeScope scope = NewDisposeScope();
                Tensor weight = ones([1000], float64, requires_grad: true);
                weight.mul(shared).mul(number).sum().backward();
                _ = rand([100], generator: generator);
                Assert.Throws<System.Runtime.InteropServices.ExternalException>(() => shared.mm(shared));
                results[number] = weight.grad!.sum().item<double>();
            }
        }))];
        foreach (Thread thread in threads)
        {
            thread.Start();
        }

        foreach (Thread thread in threads)
        {
            thread.Join();
        }

        Assert.Equal(Enumerable.Range(0, results.Length).Select(number => number * 499500.0), results);
    }
}

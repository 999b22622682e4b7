using System.Runtime.CompilerServices;
using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using Retro.Retrievers;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tests.Readers;
using Retro.Tests.Retrievers;
using Retro.Tests.Training;
using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests;

public class FinalizerGateTests
{
    private static readonly RetroConfig s_config = RetroConfig.Tiny with
    {
        VocabularySize = 16,
        Retrieval = RetroConfig.Tiny.Retrieval! with { ChunkLength = 4, RetrievedLength = 8 }
    };

    [Fact]
    public void While_the_gate_is_closed_no_finalizer_runs_and_afterwards_all_do()
    {
        Finalized finalized = new();
        for (int round = 1; round <= 20; round++)
        {
            using (FinalizerGate.Close())
            {
                Leave(finalized, 10);
                GC.Collect();
                Thread.Sleep(2);
                Assert.Equal((round - 1) * 10, finalized.Count);
            }

            GC.WaitForPendingFinalizers();
            Assert.Equal(round * 10, finalized.Count);
        }
    }

    [Fact]
    public void A_hold_inside_a_hold_opens_nothing()
    {
        Finalized finalized = new();
        using (FinalizerGate.Close())
        {
            using (FinalizerGate.Close())
            {
                Leave(finalized, 1);
            }

            GC.Collect();
            Thread.Sleep(20);
            Assert.Equal(0, finalized.Count);
        }

        GC.WaitForPendingFinalizers();
        Assert.Equal(1, finalized.Count);
    }

    [Fact]
    public void Of_several_threads_the_last_opens_the_gate()
    {
        Finalized finalized = new();
        using Barrier both = new(2), left = new(2);
        Exception? fault = null;
        Thread other = new(() => fault = Record.Exception(() =>
        {
            using (FinalizerGate.Close())
            {
                both.SignalAndWait(TestContext.Current.CancellationToken);
                left.SignalAndWait(TestContext.Current.CancellationToken);
                Leave(finalized, 1);
                GC.Collect();
                Thread.Sleep(20);
                Assert.Equal(0, finalized.Count);
            }
        }));
        other.Start();
        using (FinalizerGate.Close())
        {
            both.SignalAndWait(TestContext.Current.CancellationToken);
        }

        left.SignalAndWait(TestContext.Current.CancellationToken);
        other.Join();
        Assert.Null(fault);
        GC.WaitForPendingFinalizers();
        Assert.Equal(1, finalized.Count);
    }

    /// <summary>Three threads, one of which always holds the gate unless those that come wait for its opening.</summary>
    [Fact]
    [Trait("Category", "Long")]
    public void Finalizers_run_also_where_holds_overlap_without_end()
    {
        Finalized finalized = new();
        using CancellationTokenSource end = new(TimeSpan.FromMinutes(1));
        Thread[] threads = new Thread[3];
        for (int i = 0; i < threads.Length; i++)
        {
            int number = i;
            threads[i] = new Thread(() =>
            {
                while (finalized.Count == 0 && !end.IsCancellationRequested)
                {
                    using FinalizerGate.Hold gate = FinalizerGate.Close();
                    Leave(finalized, 1);
                    Thread.Sleep(30 + (10 * number));
                    GC.Collect();
                }
            });
        }

        using (FinalizerGate.Close())
        {
            Array.ForEach(threads, thread => thread.Start());
            Thread.Sleep(200);
        }

        Array.ForEach(threads, thread => thread.Join());
        Assert.False(end.IsCancellationRequested);
    }

    /// <summary>Where the machine lets a thread wait for longer than the gate lingers, another attempt is made.</summary>
    [Fact]
    public void A_gate_that_lingers_is_closed_again_without_a_collection_and_opens_by_itself()
    {
        Finalized finalized = new();
        bool without = false;
        for (int attempt = 0; attempt < 100 && !without; attempt++)
        {
            using (FinalizerGate.Close(true, lingers: true))
            {
                Leave(finalized, 1);
            }

            int collections = GC.CollectionCount(0);
            using (FinalizerGate.Close(true, lingers: true))
            {
                without = GC.CollectionCount(0) == collections;
            }
        }

        Assert.True(without);
        GC.Collect();
        GC.WaitForPendingFinalizers();
        Assert.True(finalized.Count > 0);
    }

    [Fact]
    public void A_fault_inside_opens_the_gate()
    {
        Finalized finalized = new();
        try
        {
            using FinalizerGate.Hold gate = FinalizerGate.Close();
            Leave(finalized, 1);
            throw new InvalidOperationException("inside");
        }
        catch (InvalidOperationException exception) when (exception.Message == "inside")
        {
        }

        GC.Collect();
        GC.WaitForPendingFinalizers();
        Assert.Equal(1, finalized.Count);
    }

    [Fact]
    public void Models_of_Retros_own_layers_do_not_need_the_gate_and_others_do()
    {
        using RetroModel model = new(s_config), hooked = new(s_config), added = new(s_config);
        using RetroModel dense = new(
            RetroConfig.Tiny with
            {
                VocabularySize = 16,
                Retrieval = null,
                Norm = NormKind.LayerNorm,
                Positions = PositionKind.Learned,
                MaximumLength = 8,
                Dropout = 0.1
            });
        Assert.False(FinalizerGate.IsNeededFor(model));
        Assert.False(FinalizerGate.IsNeededFor(dense));

        hooked.Layers[1].FeedForward.register_forward_hook((_, _, y) => y);
        added.register_module("other", nn.GELU());
        using CustomLayer.GatedCrossAttention other = new(s_config);

        Assert.True(FinalizerGate.IsNeededFor(hooked));
        Assert.True(FinalizerGate.IsNeededFor(added));
        Assert.True(FinalizerGate.IsNeededFor(other));
    }

    [Fact]
    public void A_training_step_of_a_model_with_a_hook_keeps_the_gate_closed()
    {
        using RetroModel model = new(s_config);
        using Trainer trainer = new(model, TrainingOptions.SmallModel with { Steps = 5, WarmupSteps = 1 });
        Finalized finalized = new();
        List<int> before = [], inside = [];
        model.Layers[0].FeedForward.register_forward_hook((_, _, y) =>
        {
            before.Add(finalized.Count);
            Leave(finalized, 3);
            GC.Collect();
            Thread.Sleep(20);
            inside.Add(finalized.Count);
            return y;
        });

        trainer.Run(new CopyingData(s_config, 2, 3, seed: 1));

        Assert.Equal(5, inside.Count);
        Assert.Equal(before, inside);
        GC.Collect();
        GC.WaitForPendingFinalizers();
        Assert.Equal(15, finalized.Count);
    }

    [Fact]
    public void A_retrievers_step_keeps_the_gate_closed_for_a_custom_objective()
    {
        using RetrieverWorld world = new();
        Finalized finalized = new();
        List<int> before = [], inside = [];
        RetrieverObjective own = new("own", batch =>
        {
            before.Add(finalized.Count);
            Leave(finalized, 3);
            GC.Collect();
            Thread.Sleep(20);
            inside.Add(finalized.Count);
            return RetrieverObjectives.Emdr2(batch.Likelihoods, batch.Scores, batch.Present) * 0.5;
        });
        using RetrieverTrainer trainer = world.Trainer(own);

        trainer.Run(cancellationToken: TestContext.Current.CancellationToken);

        Assert.Equal(4, inside.Count);
        Assert.Equal(before, inside);
        GC.Collect();
        GC.WaitForPendingFinalizers();
        Assert.Equal(12, finalized.Count);
        Assert.True(own.IsCustom);
        Assert.All(
            [RetrieverObjective.Realm, RetrieverObjective.Emdr2, RetrieverObjective.LeaveOneOut(), RetrieverObjective.JointStochastic()],
            one => Assert.False(one.IsCustom));
    }

    /// <summary>Also behind the states, where the head is computed for some targets after the other.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Readers_on_a_model_with_a_hook_on_its_head_keep_the_gate_closed(bool copies)
    {
        using TestDatabases databases = new();
        using ChunkDatabase database = databases.Build(TestDatabases.Documents(2, seed: 2, maximumLength: 30), 8);
        using RetroModel model = new(TinyRetro.Config with { Retrieval = null });
        nn.Module<Tensor, Tensor> head = (nn.Module<Tensor, Tensor>)model.named_modules().Single(module => module.name == "head").module;
        Finalized finalized = new();
        List<int> before = [], inside = [];
        using TokenStore store = TokenStore.Build(model, database);
        using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        using CopyReader copying = CopyReader.Fit(
            model, database, source, new() { Neighbors = 1, Stride = 4, Steps = 1, WindowLength = 24, RetrievedLength = 8 });
        IReader reader = copies ? copying : new NearestNeighborReader(model, store, 0.3, 0.8, 2);
        head.register_forward_hook((_, _, logits) =>
        {
            before.Add(finalized.Count);
            Leave(finalized, 3);
            GC.Collect();
            Thread.Sleep(20);
            inside.Add(finalized.Count);
            return logits;
        });

        reader.LogLikelihoods(ReaderContract.Batch(TinyRetro.Config.VocabularySize, 2, 9, 4, 1, 8, seed: 3));

        Assert.NotEmpty(inside);
        Assert.Equal(before, inside);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Leave(Finalized finalized, int count)
    {
        for (int i = 0; i < count; i++)
        {
            _ = new Left(finalized);
        }
    }

    private sealed class Finalized
    {
        private int _count;

        public int Count => Volatile.Read(ref _count);

        public void Add() => Interlocked.Increment(ref _count);
    }

    private sealed class Left(Finalized finalized)
    {
        ~Left() => finalized.Add();
    }
}

using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>The gradient of a step: the batches side by side or one after the other, weighed by their targets, with what dropout drops.</summary>
/// <param name="model">The model.</param>
/// <param name="optimizer">Holds the parameters that the gradient is of.</param>
/// <param name="together">The processes, which have the other batches of a step.</param>
/// <param name="seed">Decides what dropout drops.</param>
/// <param name="recompute">Whether activations are computed again in backward rather than kept.</param>
/// <param name="sideBySide">Batches that may be computed side by side; null: as many as there are threads, and one where custom branches keep
/// buffers.</param>
internal sealed class StepGradients(
    RetroModel model, ITrainingOptimizer optimizer, Together together, long seed, bool recompute = false, int? sideBySide = null)
{
    private readonly StepDropout _dropout = new(model, seed, together);

    private bool _hasOwn; // in this step
    private int? _most; // of this step's batches side by side; null: any number

    /// <summary>Adds the gradient of the mean loss over all targets to that of the parameters. Where it throws, no gradient is left behind.</summary>
    /// <param name="batches">The step's batches; of several processes, this one's.</param>
    /// <param name="step">Number of the step, from 0.</param>
    /// <param name="hasOwn">Whether the model has a custom branch or hook (<see cref="FinalizerGate.IsNeededFor"/>), which may come between two
    /// steps.</param>
    /// <returns>That loss, a scalar of float64 on the model's device, which nobody has waited for; how many targets there are, and how many tokens were read,
    /// of all processes. Without any target the loss is 0.</returns>
    public (Tensor Loss, long Targets, long Tokens) Add(StepBatch[] batches, long step, bool hasOwn)
    {
        using DisposeScope scope = NewDisposeScope();
        _hasOwn = hasOwn;

        // A buffer that every batch changes, such as a running mean, would otherwise depend on which came first.
        _most = sideBySide ?? (hasOwn && Checkpoint.Buffers(model).Any() ? 1 : null);
        try
        {
            bool reads = batches.Any(batch => batch.Neighbors is not null && batch.Targets.Count > 0);
            long[] sums = [batches.Sum(batch => batch.Targets.Count), batches.Sum(batch => batch.Tokens.numel()), reads ? 1 : 0, IsOnePiece ? 1 : 0];
            sums = together.Sum(sums);
            if (together.Exchange is not { } exchange || sums[0] == 0)
            {
                return (Backward(batches, sums[0], step).MoveToOuterDisposeScope(), sums[0], sums[1]);
            }

            (int Segment, bool NeedsNeighbors)[] places = SegmentedGradients.Places(model, optimizer.Parameters);
            bool early = sums[3] == 0, retrieves = sums[2] > 0;
            using SharedGradients shared = new(
                exchange,
                optimizer,
                [.. places.Select(place => early && (retrieves || !place.NeedsNeighbors) ? (int?)place.Segment : null)],
                LastGroup(batches.Length));
            Tensor loss = Backward(batches, sums[0], step, early ? shared : null);
            optimizer.Accumulate();
            shared.Finish();
            exchange.Sum(loss);
            return (loss.MoveToOuterDisposeScope(), sums[0], sums[1]);
        }
        catch
        {
            optimizer.ClearGradients();
            throw;
        }
    }

    /// <summary>
    /// Whether nothing is summed before backward is done: within one machine sums take the cores that backward needs, a GPU's would wait for all that it is to
    /// compute, and a custom branch may connect layers by more than their states, so that the graph cannot be cut between them. One process in which it
    /// is so decides for all.
    /// </summary>
    private bool IsOnePiece => together.Exchange is { IsRemote: false } || model.Device.type != DeviceType.CPU || _hasOwn;

    /// <summary>How many batches are computed side by side at the end of a step.</summary>
    private int LastGroup(int batches)
    {
        int parallel = TorchThreads.Workers(batches, model.Device, _most), over = batches % parallel;
        return over == 0 ? parallel : over;
    }

    private Tensor Backward(StepBatch[] batches, long all, long step, SharedGradients? shared = null)
    {
        using IDisposable? kept = _dropout.BeginStep(_hasOwn);
        int parallel = TorchThreads.Workers(batches.Length, model.Device, _most);
        Tensor?[] losses = new Tensor?[batches.Length];

        // Those that make whole groups follow one another without waiting for a group's slowest; the last group, whose gradients may be shared early or whose
        // batches have more threads each, comes by itself.
        int last = shared is null && batches.Length % parallel == 0 ? 0 : LastGroup(batches.Length);
        SideBySide(0, batches.Length - last, null);
        SideBySide(batches.Length - last, last, shared);

        Tensor sum = zeros([], ScalarType.Float64, model.Device);
        foreach (Tensor loss in losses.OfType<Tensor>())
        {
            sum.AddInPlace(loss);
            loss.Dispose();
        }

        return sum;

        // Gradients are summed in the batches' order, as one after the other would: a batch that is done waits for those before it, so that gradients take no
        // more memory than there are threads.
        void SideBySide(int first, int count, SharedGradients? complete)
        {
            InOrder order = new();
            IList<Tensor?>[] kept = new IList<Tensor?>[count];
            TorchThreads.Run(count, model.Device, i =>
            {
                try
                {
                    using DisposeScope scope = NewDisposeScope();
                    Action<int, IList<Tensor?>>? after = complete is null ? null : (segment, some) => complete.Add(i, segment, some);
                    (losses[first + i], IList<Tensor?> gradients) = OfBatch(batches[first + i], all, step, first + i, add: parallel == 1, after);
                    losses[first + i]?.DetachFromDisposeScope();
                    if (complete is null)
                    {
                        order.Take(i, () => Sum(gradients));
                        return;
                    }

                    complete.Add(i, SegmentedGradients.Last(model), gradients);
                    scope.Detach(gradients.OfType<Tensor>().Where(gradient => !gradient.IsInvalid));
                    kept[i] = gradients;
                }
                catch
                {
                    order.End();
                    throw;
                }
            }, most: _most);
            Array.ForEach(complete is null ? [] : kept, Sum);
        }

        void Sum(IList<Tensor?> gradients)
        {
            if (gradients.Count > 0)
            {
                optimizer.AddGradients(gradients);
            }
        }
    }

    /// <summary>A batch's part of the step's loss, and its gradients where they are not added to those of the parameters at once.</summary>
    private (Tensor? Loss, IList<Tensor?> Gradients) OfBatch(
        StepBatch batch, long all, long step, int number, bool add, Action<int, IList<Tensor?>>? after)
    {
        if (batch.Targets.Count == 0)
        {
            return (null, []);
        }

        double share = batch.Targets.Count / (double)all;
        using IDisposable? numbers = _dropout.Begin(step, number);
        if (recompute || after is not null)
        {
            SegmentedGradients segments = new(model, optimizer.Parameters, recompute ? layer => _dropout.Seed(step, number, layer) : null, after, _hasOwn);
            (Tensor mean, Tensor?[] gradients) = segments.Of(batch, share);
            return (mean.Times(share), gradients);
        }

        return OfWhole(batch, share, add);
    }

    /// <summary>The same of one graph for the whole model.</summary>
    private (Tensor? Loss, IList<Tensor?> Gradients) OfWhole(StepBatch batch, double share, bool add)
    {
        Tensor normed = model.Normed(model.Decode(batch.Tokens, batch.Neighbors, rows: batch.Rows).States);
        (Tensor loss, (Tensor Output, Tensor Gradient)[] outputs) = HeadLoss.Of(model, normed, batch.Targets, share);

        // None, where all that is trained reads neighbors and the batch has none.
        outputs = [.. outputs.Where(one => one.Output.requires_grad)];
        IList<Tensor> parameters = optimizer.Parameters;
        int[] asked = Gradients.Asked(parameters);
        if (outputs.Length == 0 || asked.Length == 0)
        {
            return (loss.Times(share), []);
        }

        // Of these parameters alone: what is not the optimizer's gets no gradient that nobody would clear.
        IList<Tensor> given = [.. outputs.Select(one => one.Output)], gradientsOf = [.. outputs.Select(one => one.Gradient)];
        IList<Tensor> inputs = [.. asked.Select(i => parameters[i])];
        Tensor?[] apart = [];
        if (add)
        {
            autograd.backward(given, gradientsOf, inputs: inputs);
            optimizer.Accumulate();
        }
        else
        {
            apart = new Tensor?[parameters.Count];
            // Two parameters may get one tensor for their gradients, as those of y = a + b do: to add to one would add to both. Only custom branches
            // have such.
            foreach ((int i, Tensor gradient) in asked.Zip(autograd.grad(given, inputs, gradientsOf, allow_unused: true)))
            {
                apart[i] = _hasOwn && !gradient.IsInvalid ? gradient.clone() : gradient;
            }
        }

        return (loss.Times(share), apart);
    }
}

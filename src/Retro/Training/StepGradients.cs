using Retro.Modeling;
using Retro.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>The gradient of a step: the batches side by side or one after the other, weighed by their targets, with what dropout drops.</summary>
/// <param name="model">The model.</param>
/// <param name="optimizer">Holds the parameters that the gradient is of.</param>
/// <param name="seed">Decides what dropout drops.</param>
/// <param name="recompute">Whether activations are computed again in backward rather than kept.</param>
/// <param name="exchange">The processes that have the other batches of a step; null: there are none.</param>
internal sealed class StepGradients(RetroModel model, ITrainingOptimizer optimizer, long seed, bool recompute = false, IGradientExchange? exchange = null)
{
    private readonly Together? _together = exchange is null ? null : new(exchange);

    /// <summary>Adds the gradient of the mean loss over all targets to that of the parameters. Where it throws, no gradient is left behind.</summary>
    /// <param name="batches">The step's batches; of several processes, this one's.</param>
    /// <param name="step">Number of the step, from 0.</param>
    /// <param name="closedBook">Whether neighbors are left out.</param>
    /// <returns>That loss, how many targets there are, and how many tokens were read, of all processes. Without any target the loss is 0.</returns>
    public (double Loss, long Targets, long Tokens) Add(IReadOnlyList<TrainingBatch> batches, long step, bool closedBook)
    {
        try
        {
            long[] targets = Targets(batches), sums = [targets.Sum(), batches.Sum(batch => batch.Tokens.numel())];
            sums = _together?.Sum(sums) ?? sums;
            // Which share of the step's targets each batch has; 0 throughout where there is none.
            double all = Math.Max(1, sums[0]);
            double loss = Backward(batches, [.. targets.Select(count => count / all)], step, closedBook);
            if (_together is not null && sums[0] > 0)
            {
                optimizer.Accumulate();
                loss = _together.SumGradients(optimizer, loss);
            }

            return (loss, sums[0], sums[1]);
        }
        catch
        {
            optimizer.ClearGradients();
            throw;
        }
    }

    /// <summary>The targets of each batch.</summary>
    private static long[] Targets(IReadOnlyList<TrainingBatch> batches)
    {
        using DisposeScope scope = NewDisposeScope();
        return [.. batches.Select(batch => batch.LossMask is { } mask
            ? mask.narrow(1, 1, mask.shape[1] - 1).sum(ScalarType.Int64).item<long>()
            : batch.Tokens.shape[0] * (batch.Tokens.shape[1] - 1))];
    }

    private double Backward(IReadOnlyList<TrainingBatch> batches, double[] shares, long step, bool closedBook)
    {
        // What dropout drops comes from one generator, whose numbers batches side by side would take in no fixed order.
        using DropoutSeed? dropout = model.Config.HasDropout ? new(model.Device) : null;
        int together = model.Config.HasDropout ? 1 : TorchThreads.Workers(batches.Count, model.Device);
        double[] losses = new double[batches.Count];
        if (together == 1)
        {
            for (int i = 0; i < batches.Count; i++)
            {
                if (shares[i] == 0)
                {
                    continue;
                }

                using DisposeScope scope = NewDisposeScope();
                if (recompute)
                {
                    optimizer.AddGradients(Recompute(batches[i], shares[i], closedBook, step, i, out losses[i]));
                    continue;
                }

                SeedDropout(step, i);
                if (SlicedLoss.IsNeeded(model, batches[i].Tokens))
                {
                    Tensor?[] gradients = Sliced(batches[i], shares[i], closedBook, out losses[i]);
                    if (gradients.Length > 0)
                    {
                        optimizer.AddGradients(gradients);
                    }

                    continue;
                }

                Tensor loss = Loss(batches[i], shares[i], closedBook, out losses[i]);
                if (loss.requires_grad)
                {
                    loss.backward();
                    optimizer.Accumulate();
                }
            }

            return losses.Sum();
        }

        // Gradients are summed in the batches' order, as one after the other would; so many at a time that they take no more memory than there are threads.
        for (int start = 0; start < batches.Count; start += together)
        {
            int first = start, count = Math.Min(together, batches.Count - start);
            IList<Tensor?>[] gradients = new IList<Tensor?>[count];
            TorchThreads.Run(count, model.Device, i =>
            {
                if (shares[first + i] == 0)
                {
                    gradients[i] = [];
                    return;
                }

                using DisposeScope scope = NewDisposeScope();
                if (recompute)
                {
                    gradients[i] = Recompute(batches[first + i], shares[first + i], closedBook, step, first + i, out losses[first + i]);
                    return;
                }

                if (SlicedLoss.IsNeeded(model, batches[first + i].Tokens))
                {
                    gradients[i] = Sliced(batches[first + i], shares[first + i], closedBook, out losses[first + i]);
                    return;
                }

                Tensor loss = Loss(batches[first + i], shares[first + i], closedBook, out losses[first + i]);
                gradients[i] = loss.requires_grad ? [.. autograd.grad([loss], optimizer.Parameters, allow_unused: true)] : [];
                scope.Detach(gradients[i].OfType<Tensor>().Where(gradient => !gradient.IsInvalid));
            });
            foreach (IList<Tensor?> one in gradients.Where(one => one.Count > 0))
            {
                optimizer.AddGradients(one);
            }
        }

        return losses.Sum();
    }

    /// <summary>A batch's part of the step's loss. It needs no gradient where all that is trained reads neighbors and the batch has none.</summary>
    private Tensor Loss(TrainingBatch batch, double share, bool closedBook, out double loss)
    {
        Tensor logits = closedBook ? model.call(batch.Tokens, null, null) : model.call(batch.Tokens, batch.Neighbors, batch.Valid);
        Tensor mean = LogLikelihood.MeanLoss(logits, LogLikelihood.Targets(batch.Tokens, batch.LossMask));
        loss = share * mean.to_type(ScalarType.Float64).item<double>();
        return share == 1 ? mean : mean.Times(share);
    }

    /// <summary>A batch's part of the gradient, with the logits of some tokens at a time.</summary>
    private Tensor?[] Sliced(TrainingBatch batch, double share, bool closedBook, out double loss)
    {
        using DisposeScope scope = NewDisposeScope();
        (Tensor? neighbors, Tensor? valid) = closedBook ? (null, null) : (batch.Neighbors, batch.Valid);
        model.Check(batch.Tokens, neighbors, valid);
        Tensor normed = model.Normed(model.Decode(batch.Tokens, neighbors, valid).States);
        (double mean, Tensor ofStates, Tensor? ofHead) = SlicedLoss.Of(
            model, normed, LogLikelihood.Targets(batch.Tokens, batch.LossMask), share);
        loss = share * mean;
        (Tensor Output, Tensor Gradient)[] outputs = [.. SlicedLoss.Outputs(model, normed, ofStates, ofHead).Where(one => one.Output.requires_grad)];
        Tensor?[] gradients = outputs.Length == 0 ? [] :
        [
            .. autograd.grad(
                    [.. outputs.Select(one => one.Output)], optimizer.Parameters, [.. outputs.Select(one => one.Gradient)], allow_unused: true)
                .Select(gradient => gradient.IsInvalid ? null : gradient),
        ];
        scope.Detach(gradients.OfType<Tensor>());
        return gradients;
    }

    private Tensor?[] Recompute(TrainingBatch batch, double share, bool closedBook, long step, int number, out double loss)
    {
        (double mean, Tensor?[] gradients) = new RecomputedGradients(model, optimizer.Parameters, layer => SeedDropout(step, number, layer)).Of(
            batch, closedBook, share);
        loss = share * mean;
        return gradients;
    }

    /// <summary>What is dropped follows from the seed and the step alone, on every device: no generator's state has to be kept.</summary>
    private void SeedDropout(long step, int batch, int? layer = null)
    {
        if (!model.Config.HasDropout)
        {
            return;
        }

        // The number that the batch has in the whole step, so that it drops the same whichever process has it.
        long number = exchange is null ? batch : exchange.Rank + ((long)batch * exchange.Size);
        ulong mixed = SeededRandom.Mix(SeededRandom.Mix(unchecked((ulong)seed) + (ulong)step) + (ulong)number);
        long drawn = (long)((layer is { } of ? SeededRandom.Mix(mixed + (ulong)of) : mixed) >> 1);
        if (model.Device.type == DeviceType.CUDA)
        {
            cuda.manual_seed_all(drawn); // TorchSharp's manual_seed is of the processor's generator alone
        }
        else
        {
            manual_seed(drawn);
        }
    }

    /// <summary>
    /// Gives TorchSharp's generators back: what dropout draws is no business of whoever uses them besides. The processor's is as it was. That of a GPU, whose
    /// state TorchSharp cannot read, goes on from a number that was drawn from it, so that it follows from its own seed as before.
    /// </summary>
    private sealed class DropoutSeed : IDisposable
    {
        private readonly Generator _generator = Generator.Default;
        private readonly Tensor _state;
        private readonly long? _next;

        public DropoutSeed(Device device)
        {
            _state = _generator.get_state();
            if (device.type == DeviceType.CUDA)
            {
                using Tensor drawn = randint(long.MaxValue, 1, ScalarType.Int64, device);
                _next = drawn.item<long>();
            }
        }

        public void Dispose()
        {
            if (_next is { } seed)
            {
                cuda.manual_seed_all(seed);
            }

            _generator.set_state(_state);
            _state.Dispose();
            _generator.Dispose();
        }
    }
}

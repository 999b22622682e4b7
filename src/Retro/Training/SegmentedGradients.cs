using Retro.Modeling;
using Retro.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>
/// The gradient of a batch by segments: the head, each layer from the last to the first, and what the first one reads are graphs of their own, each of which
/// reads the former's output as a leaf. What is above a segment is complete when its backward begins, and may be summed over processes meanwhile. And a
/// segment's activations may be computed again rather than kept (gradient checkpointing; arXiv 1604.06174), for one more forward pass.
/// </summary>
/// <param name="model">The model.</param>
/// <param name="parameters">What the gradient is of.</param>
/// <param name="recompute">Activations are computed again. Called before each layer is computed, with its number, from 0 for what it reads: what it drops is to
/// be the same both times. Null: they are kept.</param>
/// <param name="after">Called after the backward of a segment with its number, from 0 for the head, and the gradients as they are by then, of which it may take
/// some and leave null. Segments below anything that is trained are left out. Null: no reporting.</param>
/// <param name="mayShare">Whether autograd may give two parameters one tensor.</param>
internal sealed class SegmentedGradients(
    RetroModel model, IList<Tensor> parameters, Action<int>? recompute = null, Action<int, IList<Tensor?>>? after = null, bool mayShare = false)
{
    private readonly DecoderLayer[] _layers = [.. model.Layers];

    /// <summary>Number of the last segment: the embedding.</summary>
    public static int Last(RetroModel model) => model.Layers.Count + 1;

    /// <summary>
    /// The number of the last segment that adds to each parameter's gradient, and whether it has one with neighbors alone.
    /// </summary>
    public static (int Segment, bool NeedsNeighbors)[] Places(RetroModel model, IEnumerable<Tensor> parameters)
    {
        Dictionary<nint, (int Segment, bool NeedsNeighbors)> places = [];
        int layers = model.Layers.Count;
        Note([model.HeadWeight], 0, false);
        for (int i = layers - 1; i >= 0; i--)
        {
            DecoderLayer layer = model.Layers[i];
            Note(layer.SelfAttention.parameters(), layers - i, false);
            Note(layer.FeedForward.parameters(), layers - i, false);
            Note(layer.CrossAttention?.parameters() ?? [], layers - i, true);
        }

        // The encoder reads the states of the first layer that cross-attends, and is part of its segment.
        Note(model.Encoder?.parameters() ?? [], layers - FirstCrossAttending(model), true);
        Note(model.Embeddings, layers + 1, false); // tied ones get a part from the head, shared ones from the encoder
        return [.. parameters.Select(parameter => places.GetValueOrDefault(parameter.Handle, (layers + 1, false)))];

        void Note(IEnumerable<Tensor> some, int segment, bool needsNeighbors)
        {
            foreach (Tensor one in some)
            {
                (int before, bool needed) = places.GetValueOrDefault(one.Handle, (segment, needsNeighbors));
                places[one.Handle] = (Math.Max(before, segment), needed && needsNeighbors);
            }
        }
    }

    /// <summary>Whether no parameter that is trained has a gradient in a batch without neighbors.</summary>
    public static bool NeedsNeighbors(RetroModel model)
        => Places(model, model.parameters().Where(parameter => parameter.requires_grad)) is { Length: > 0 } places
            && places.All(place => place.NeedsNeighbors);

    /// <summary>The loss of a batch and its gradient.</summary>
    /// <param name="batch">The batch, of one target at least.</param>
    /// <param name="share">What the loss is multiplied with for the gradient.</param>
    /// <returns>The mean loss of the targets, a scalar of float64, and a gradient for each parameter, null where it has none; they are the current
    /// scope's.</returns>
    public (Tensor Loss, Tensor?[] Gradients) Of(StepBatch batch, double share)
    {
        (Tensor tokens, PassNeighbors? neighbors, BatchTargets targets, PackedRows? rows) = batch;
        using DisposeScope scope = NewDisposeScope();
        Tensor?[] sums = new Tensor?[parameters.Count];
        int[] asked = Gradients.Asked(parameters);
        AttentionPlan[] plans = model.CausalPlans(rows?.Length ?? tokens.shape[1]);
        AttentionPlan? crossPlan = neighbors is null ? null : model.CrossPlan(tokens, neighbors);
        int first = neighbors is null ? -1 : FirstCrossAttending(model);

        // --- forward: what each layer reads, with its graph where that is kept, and from where on anything is trained ---
        Tensor[] inputs = new Tensor[_layers.Length + 1];
        bool[] trained = new bool[_layers.Length + 1];
        Segment?[] kept = new Segment?[_layers.Length + 1];
        Tensor? encoded = null;
        bool encodingTrained = false;
        using (recompute is null ? null : no_grad())
        {
            Keep(0, Input());
            trained[0] = model.Embeddings.Any(parameter => parameter.requires_grad);
            for (int i = 0; i < _layers.Length; i++)
            {
                encodingTrained |= i == first && (trained[i] || IsTrained(_layers[i].SelfAttention) || IsTrained(model.Encoder!));
                trained[i + 1] = trained[i] || IsTrained(_layers[i]) || (encodingTrained && _layers[i].CrossAttention is not null);
                Segment layer = Layer(i);
                encoded ??= layer.Encoded?.detach();
                Keep(i + 1, layer);
            }
        }

        // --- backward: each segment's graph is gone before that of the next one is used, or made ---
        Tensor? loss = null;
        (Tensor? gradient, Tensor? encodedGradient) = Backward(() =>
        {
            Tensor last = Leaf(inputs[^1], trained[^1]);
            (Tensor mean, (Tensor Output, Tensor Gradient)[] outputs) = HeadLoss.Of(
                model, model.Normed(rows is null ? last : rows.Unpack(last)), targets, share);
            loss = mean.MoveToOuterDisposeScope();
            return (outputs, [last]);
        });
        after?.Invoke(0, sums);
        for (int i = _layers.Length - 1; i >= 0 && gradient is not null; i--)
        {
            Tensor given = gradient;
            using Segment layer = kept[i + 1] ?? Layer(i);
            (gradient, Tensor? more) = Backward(() => (
                layer.Encoded is null || encodedGradient is null ? [(layer.Output, given)] : [(layer.Output, given), (layer.Encoded, encodedGradient)],
                layer.Read));
            given.Dispose();
            inputs[i].Dispose();
            if (more is not null && encodedGradient is not null)
            {
                encodedGradient.AddInPlace(more);
            }
            else
            {
                encodedGradient ??= more;
            }

            after?.Invoke(_layers.Length - i, sums);
        }

        if (gradient is not null)
        {
            using Segment input = kept[0] ?? Input();
            Backward(() => ([(input.Output, gradient)], []));
            after?.Invoke(_layers.Length + 1, sums);
        }

        foreach (Tensor? result in sums.Append(loss))
        {
            result?.MoveToOuterDisposeScope();
        }

        return (loss!, sums);

        void Keep(int i, Segment segment)
        {
            inputs[i] = segment.Output.detach();
            if (recompute is null)
            {
                kept[i] = segment;
            }
            else
            {
                segment.Dispose();
            }
        }

        Segment Input()
        {
            recompute?.Invoke(0);
            return new(model.Embed(rows is null ? tokens : rows.Pack(tokens)), null, []);
        }

        Segment Layer(int i)
        {
            Tensor x = Leaf(inputs[i], trained[i]);
            Tensor? read = i > first && encoded is not null ? Leaf(encoded, encodingTrained) : null, made = null;
            using DisposeScope inner = NewDisposeScope();
            recompute?.Invoke(i + 1);
            Tensor y = _layers[i].IsHooked ? _layers[i].Hooked(x, plans[i], read, crossPlan, Compute) : Compute(x);
            return new(y.MoveToOuterDisposeScope(), made?.MoveToOuterDisposeScope(), read is null ? [x] : [x, read]);

            Tensor Compute(Tensor input)
            {
                Tensor h = _layers[i].SelfAttend(input, plans[i], null);
                if (neighbors is not null && _layers[i].CrossAttention is not null)
                {
                    made = read is null ? model.EncodeNeighbors(h, neighbors, rows) : null;
                    h = _layers[i].CrossAttend(h, (read ?? made)!, crossPlan!, rows);
                }

                return _layers[i].Finish(input, h);
            }
        }

        // Adds what a segment gives to the parameters' sums; gives the gradients of what it read.
        (Tensor? First, Tensor? Second) Backward(Func<((Tensor Output, Tensor Gradient)[] Outputs, Tensor[] Read)> compute)
        {
            using DisposeScope segment = NewDisposeScope();
            ((Tensor Output, Tensor Gradient)[] outputs, Tensor[] read) = compute();
            outputs = [.. outputs.Where(output => output.Output.requires_grad)];
            Tensor[] leaves = [.. read.Where(leaf => leaf.requires_grad)];
            IList<Tensor> of = [.. leaves, .. asked.Select(i => parameters[i])];
            if (outputs.Length == 0 || of.Count == 0)
            {
                return (null, null);
            }

            IList<Tensor> gradients = autograd.grad(
                [.. outputs.Select(output => output.Output)],
                of,
                [.. outputs.Select(output => output.Gradient)],
                allow_unused: true);
            foreach ((int i, Tensor one) in asked.Zip(gradients.Skip(leaves.Length)).Where(pair => !pair.Second.IsInvalid))
            {
                if (sums[i] is { } sum)
                {
                    sum.AddInPlace(one);
                }
                else
                {
                    sums[i] = (mayShare ? one.clone() : one).MoveToOuterDisposeScope();
                }
            }

            Tensor?[] given = [.. read.Select(leaf => Array.IndexOf(leaves, leaf) is >= 0 and var at && !gradients[at].IsInvalid ? gradients[at] : null)];
            foreach (Tensor? one in given)
            {
                one?.MoveToOuterDisposeScope();
            }

            return (given.ElementAtOrDefault(0), given.ElementAtOrDefault(1));
        }
    }

    private static int FirstCrossAttending(RetroModel model) => model.Layers.TakeWhile(layer => layer.CrossAttention is null).Count();

    private static Tensor Leaf(Tensor value, bool trained) => value.detach().requires_grad_(trained);

    private static bool IsTrained(nn.Module module) => module.parameters().Any(parameter => parameter.requires_grad);

    /// <summary>A part of the model as it was computed.</summary>
    /// <param name="Output">What the layer above reads.</param>
    /// <param name="Encoded">The encoded neighbors, where it has made them.</param>
    /// <param name="Read">The leaves that it has read: the state, and the encoded neighbors where another one has made them.</param>
    private sealed record Segment(Tensor Output, Tensor? Encoded, Tensor[] Read) : IDisposable
    {
        public void Dispose()
        {
            Output.Dispose();
            Encoded?.Dispose();
            Array.ForEach(Read, leaf => leaf.Dispose());
        }
    }
}

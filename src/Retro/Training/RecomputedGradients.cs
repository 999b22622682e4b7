using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>
/// The gradient of a batch with the activations of one layer at a time: a pass without a graph keeps what each layer reads, and backward computes each layer
/// again from that (gradient checkpointing; arXiv 1604.06174). A step costs one more forward pass.
/// </summary>
/// <param name="model">The model.</param>
/// <param name="parameters">What the gradient is of.</param>
/// <param name="seed">Called before each layer is computed, with its number, from 0 for what it reads: what it drops is to be the same both times.</param>
internal sealed class RecomputedGradients(RetroModel model, IList<Tensor> parameters, Action<int> seed)
{
    private readonly DecoderLayer[] _layers = [.. model.Layers];

    /// <summary>The loss of a batch and its gradient.</summary>
    /// <param name="tokens">[B, T] of int64.</param>
    /// <param name="neighbors">What was retrieved; null: nothing.</param>
    /// <param name="targets">The targets, one at least.</param>
    /// <param name="rows">The rows without padding; null: there is none.</param>
    /// <param name="share">What the loss is multiplied with for the gradient.</param>
    /// <returns>The mean loss of the targets, a scalar of float64, and a gradient for each parameter, null where it has none; they are the current
    /// scope's.</returns>
    public (Tensor Loss, Tensor?[] Gradients) Of(Tensor tokens, PassNeighbors? neighbors, BatchTargets targets, PackedRows? rows, double share)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor?[] sums = new Tensor?[parameters.Count];
        AttentionPlan plan = AttentionPlan.CausalPass(model.Config, rows?.Length ?? tokens.shape[1], null, model.Dtype, model.Device);
        AttentionPlan? crossPlan = neighbors is null ? null : model.CrossPlan(tokens, neighbors);
        int first = neighbors is null ? -1 : Array.FindIndex(_layers, layer => layer.CrossAttention is not null);

        // --- forward: what each layer reads, and from where on anything is trained ---
        Tensor[] inputs = new Tensor[_layers.Length + 1];
        bool[] trained = new bool[_layers.Length + 1];
        Tensor? encoded = null;
        bool encodingTrained = false;
        using (no_grad())
        {
            inputs[0] = Input();
            trained[0] = model.Embeddings.Any(parameter => parameter.requires_grad);
            for (int i = 0; i < _layers.Length; i++)
            {
                (inputs[i + 1], Tensor? made) = Layer(i, inputs[i], encoded);
                encoded = made ?? encoded;
                encodingTrained |= i == first && (trained[i] || IsTrained(_layers[i].SelfAttention) || IsTrained(model.Encoder!));
                trained[i + 1] = trained[i] || IsTrained(_layers[i]) || (encodingTrained && _layers[i].CrossAttention is not null);
            }
        }

        // --- backward: each segment's graph is gone before the next one is made ---
        Tensor? loss = null;
        (Tensor? gradient, Tensor? encodedGradient) = Segment(() =>
        {
            Tensor last = Leaf(inputs[^1], trained[^1]);
            (Tensor mean, (Tensor Output, Tensor Gradient)[] outputs) = HeadLoss.Of(model, model.Normed(rows is null ? last : rows.Unpack(last)), targets, share);
            loss = mean.MoveToOuterDisposeScope();
            return (outputs, [last]);
        });
        for (int i = _layers.Length - 1; i >= 0 && gradient is not null; i--)
        {
            Tensor given = gradient;
            (gradient, Tensor? more) = Segment(() =>
            {
                Tensor x = Leaf(inputs[i], trained[i]);
                Tensor? read = i > first && encoded is not null ? Leaf(encoded, encodingTrained) : null;
                (Tensor y, Tensor? made) = Layer(i, x, read);
                return (made is null || encodedGradient is null ? [(y, given)] : [(y, given), (made, encodedGradient)], read is null ? [x] : [x, read]);
            });
            given.Dispose();
            if (more is not null && encodedGradient is not null)
            {
                encodedGradient.AddInPlace(more);
            }
            else
            {
                encodedGradient ??= more;
            }
        }

        if (gradient is not null)
        {
            Segment(() => ([(Input(), gradient)], []));
        }

        foreach (Tensor? result in sums.Append(loss))
        {
            result?.MoveToOuterDisposeScope();
        }

        return (loss!, sums);

        Tensor Input()
        {
            seed(0);
            return model.Embed(rows is null ? tokens : rows.Pack(tokens));
        }

        (Tensor Output, Tensor? Encoded) Layer(int i, Tensor x, Tensor? read)
        {
            using DisposeScope inner = NewDisposeScope();
            seed(i + 1);
            Tensor h = _layers[i].SelfAttend(x, plan, null);
            Tensor? made = null;
            if (neighbors is not null && _layers[i].CrossAttention is not null)
            {
                made = read is null ? model.EncodeNeighbors(h, neighbors, rows).MoveToOuterDisposeScope() : null;
                h = _layers[i].CrossAttend(h, (read ?? made)!, crossPlan!, rows);
            }

            return (_layers[i].Finish(x, h).MoveToOuterDisposeScope(), made);
        }

        // Adds what a segment gives to the parameters' sums; gives the gradients of what it read.
        (Tensor? First, Tensor? Second) Segment(Func<((Tensor Output, Tensor Gradient)[] Outputs, Tensor[] Read)> compute)
        {
            using DisposeScope segment = NewDisposeScope();
            ((Tensor Output, Tensor Gradient)[] outputs, Tensor[] read) = compute();
            outputs = [.. outputs.Where(output => output.Output.requires_grad)];
            if (outputs.Length == 0)
            {
                return (null, null);
            }

            Tensor[] leaves = [.. read.Where(leaf => leaf.requires_grad)];
            IList<Tensor> gradients = autograd.grad(
                [.. outputs.Select(output => output.Output)], [.. leaves, .. parameters], [.. outputs.Select(output => output.Gradient)], allow_unused: true);
            for (int i = 0; i < parameters.Count; i++)
            {
                Tensor one = gradients[leaves.Length + i];
                if (one.IsInvalid)
                {
                    continue;
                }

                if (sums[i] is { } sum)
                {
                    sum.AddInPlace(one);
                }
                else
                {
                    sums[i] = one.MoveToOuterDisposeScope();
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

    private static Tensor Leaf(Tensor value, bool trained) => value.detach().requires_grad_(trained);

    private static bool IsTrained(nn.Module module) => module.parameters().Any(parameter => parameter.requires_grad);
}

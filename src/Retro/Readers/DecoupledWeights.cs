using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>
/// The weights of <see cref="DecoupledReader"/>: for every layer of the decoder two narrow factors of what its attention to the neighbors adds, and narrow
/// additions to the projections with which it asks. The second factors are zero at first, so that nothing is added.
/// </summary>
internal sealed class DecoupledWeights : nn.Module
{
    /// <summary>What the output is multiplied by, and the deviation of its first factor: both the paper's.</summary>
    private const double Scale = 32, Deviation = 0.01;

    private static readonly string[] s_projections = ["q", "k", "v"];

    private readonly Dictionary<string, Parameter> _byName = [];
    private readonly SelfAttention[] _attention;
    private readonly bool _adapts;

    /// <param name="model">The decoder, whose attention is used as it is.</param>
    /// <param name="rank">Width between the factors of the output.</param>
    /// <param name="adaptationRank">Width between the factors of what is added to the projections; 0: nothing is.</param>
    /// <param name="seed">Decides the first factors, on every device alike; TorchSharp's own generators are left alone.</param>
    /// <exception cref="ArgumentException">A layer's attention is one of the caller's own, whose parts are not known.</exception>
    public DecoupledWeights(RetroModel model, int rank, int adaptationRank, long seed = 0)
        : base(TorchLibrary.Require(nameof(DecoupledWeights)))
    {
        RetroConfig config = model.Config;
        _adapts = adaptationRank > 0;
        _attention = [.. model.Layers.Select(layer => layer.SelfAttention)];
        if (Array.FindIndex(_attention, attention => attention.Parts is null) is var own and >= 0)
        {
            throw new ArgumentException(
                $"Layer {own + 1} of the model has an attention of its own kind, {_attention[own].GetType().Name}, and neighbors are read by the decoder's: "
                    + "give a model of Retro's own layers.",
                nameof(model));
        }

        ScalarType dtype = model.Dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        int inner = config.Heads * config.HeadSize, keyInner = config.SelfAttentionKeyValueHeads * config.HeadSize;
        using Generator generator = new(unchecked((ulong)seed), CPU);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        for (int layer = 1; layer <= config.Layers; layer++)
        {
            Add($"{layer}.down", Normal(Deviation, config.Width, rank));
            Add($"{layer}.up", zeros([rank, config.Width], dtype, model.Device));
            foreach (string projection in _adapts ? s_projections : [])
            {
                Add($"{layer}.{projection}_down", Normal(1 / Math.Sqrt(config.Width), config.Width, adaptationRank));
                Add($"{layer}.{projection}_up", zeros([adaptationRank, projection == "q" ? inner : keyInner], dtype, model.Device));
            }
        }

        foreach (Parameter parameter in parameters())
        {
            scope.Detach(parameter);
        }

        Tensor Normal(double deviation, params long[] shape)
            => randn(shape, ScalarType.Float32, CPU, generator: generator).Times(deviation).to_type(dtype).to(model.Device);

        void Add(string name, Tensor value)
        {
            // A module's names may hold no dot.
            register_parameter(name.Replace('.', '_'), _byName[name] = new(value));
        }
    }

    /// <summary>Parameters by their names in a file.</summary>
    public IReadOnlyDictionary<string, Parameter> ByName => _byName;

    /// <summary>What a layer's attention reads of a text or of passages, normed.</summary>
    public Tensor Norm(int index, Tensor input) => _attention[index].Parts!.Norm(input);

    /// <summary>The keys and values of passages at a layer.</summary>
    /// <param name="index">Which layer, from 0.</param>
    /// <param name="states">[N, L, D], what the layer's attention reads of them, normed.</param>
    /// <returns>Each [G, N, L, S].</returns>
    public (Tensor Keys, Tensor Values) KeysAndValues(int index, Tensor states)
    {
        AttentionParts parts = _attention[index].Parts!;
        Tensor keys = parts.ProjectKeys(states), values = parts.Values(states);
        return Adapted(index, "k", states) is { } ofKeys && Adapted(index, "v", states) is { } ofValues
            ? (parts.SplitKeys(keys.Plus(ofKeys)), values.Plus(parts.Split(ofValues, parts.KeyHeads)))
            : (parts.SplitKeys(keys), values);
    }

    /// <summary>What a layer's attention to passages adds, without positions: it is the same in whatever order they stand.</summary>
    /// <param name="index">Which layer, from 0.</param>
    /// <param name="asking">[N, A, D], what the layer's attention reads of the text, normed, in N blocks.</param>
    /// <param name="keys">[G, N, L, S].</param>
    /// <param name="values">[G, N, L, S].</param>
    /// <param name="plan">Which keys are there.</param>
    /// <returns>[N, A, D].</returns>
    public Tensor Attend(int index, Tensor asking, Tensor keys, Tensor values, AttentionPlan plan)
    {
        AttentionParts parts = _attention[index].Parts!;
        Tensor queries = parts.ProjectQueries(asking);
        if (Adapted(index, "q", asking) is { } added)
        {
            queries = queries.Plus(added);
        }

        Tensor output = parts.Output(parts.Attend(parts.SplitQueries(queries), keys, values, plan, null, null));
        Tensor down = _byName[$"{index + 1}.down"], up = _byName[$"{index + 1}.up"];
        return output.to_type(down.dtype).matmul(down).matmul(up).Times(Scale).to_type(output.dtype);
    }

    private Tensor? Adapted(int index, string projection, Tensor states)
    {
        if (!_adapts)
        {
            return null;
        }

        Tensor down = _byName[$"{index + 1}.{projection}_down"], up = _byName[$"{index + 1}.{projection}_up"];
        return states.to_type(down.dtype).matmul(down).matmul(up).to_type(states.dtype);
    }
}

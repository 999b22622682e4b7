using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>
/// One pass of a decoder that reads passages at every layer: keys and values of the passages, and which places of the text ask which. A chunk's last token is
/// the first that asks the chunk's passages, as in chunked cross-attention. Its tensors belong to the dispose scope in which it was made.
/// </summary>
internal sealed class DecoupledReading : DecoderTap, IDisposable
{
    private readonly DecoupledWeights _weights;
    private readonly (Tensor Keys, Tensor Values)[] _layers;
    private readonly AttentionPlan _plan;
    private readonly Tensor _hasKey;
    private readonly long _chunks;
    private readonly int _chunkLength;

    /// <summary>Encodes passages by the decoder itself, each alone from its own beginning on, and makes their keys and values at every layer.</summary>
    /// <param name="model">The decoder.</param>
    /// <param name="weights">What was trained.</param>
    /// <param name="tokens">[B, C, K, R] of int64.</param>
    /// <param name="valid">[B, C, K, R] of bool.</param>
    /// <param name="chunkLength">M: tokens of a chunk of text.</param>
    /// <param name="cancellationToken">Ends it between two layers.</param>
    public DecoupledReading(
        RetroModel model, DecoupledWeights weights, Tensor tokens, Tensor valid, int chunkLength, CancellationToken cancellationToken)
    {
        (_weights, _chunkLength, _chunks) = (weights, chunkLength, tokens.shape[1]);
        long blocks = tokens.shape[0] * tokens.shape[1], neighbors = tokens.shape[2], length = tokens.shape[3];
        StatesTap states = new(weights, model.Layers.Count);
        using (no_grad())
        {
            // What stands behind a passage's end is not seen by what is in it.
            model.Decode(tokens.reshape(-1, length), null, tap: states, cancellationToken: cancellationToken);
        }

        _layers = [.. states.Read.Select((read, index) => weights.KeysAndValues(index, read!.reshape(blocks, neighbors * length, -1)))];
        _plan = AttentionPlan.Over(valid.reshape(blocks, neighbors * length), model.Dtype);
        _hasKey = valid.reshape(tokens.shape[0], _chunks, -1).any(-1, keepdim: true).to_type(model.Dtype); // [B, C, 1]
    }

    private DecoupledReading(DecoupledReading all)
    {
        long last = all._chunks - 1;
        (_weights, _chunkLength, _chunks) = (all._weights, 1, 1);
        _layers = [.. all._layers.Select(layer => (Kept(layer.Keys.narrow(1, last, 1)), Kept(layer.Values.narrow(1, last, 1))))];
        _plan = AttentionPlan.WithMask(Kept(all._plan.Mask!.narrow(1, last, 1)));
        _hasKey = Kept(all._hasKey.narrow(1, last, 1));

        static Tensor Kept(Tensor part) => part.clone().DetachFromDisposeScope();
    }

    /// <summary>The last chunk's passages, for the tokens that follow one by one, of one row; it outlives every scope, and has to be disposed.</summary>
    public DecoupledReading LastChunk() => new(this);

    /// <inheritdoc/>
    public override Tensor Finished(int index, Tensor input, Tensor output)
    {
        long batch = input.shape[0], tokens = input.shape[1], first = _chunkLength - 1;
        if (tokens <= first)
        {
            return output;
        }

        long count = Math.Min(tokens - first, _chunks * _chunkLength), padding = (_chunks * _chunkLength) - count;
        Tensor asking = _weights.Norm(index, input.narrow(1, first, count));
        if (padding > 0)
        {
            asking = nn.functional.pad(asking, [0L, 0, 0, padding]);
        }

        Tensor added = Added(index, asking.view(batch * _chunks, _chunkLength, -1))
            .view(batch, _chunks, _chunkLength, -1)
            .mul(_hasKey.unsqueeze(-1))
            .view(batch, _chunks * _chunkLength, -1)
            .narrow(1, 0, count);
        return output.Plus(nn.functional.pad(added, [0L, 0, first, tokens - first - count]));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach ((Tensor keys, Tensor values) in _layers)
        {
            keys.Dispose();
            values.Dispose();
        }

        _plan.Mask!.Dispose();
        _hasKey.Dispose();
    }

    private Tensor Added(int index, Tensor asking) => _weights.Attend(index, asking, _layers[index].Keys, _layers[index].Values, _plan);

    /// <summary>Keeps what every layer's attention reads, normed.</summary>
    private sealed class StatesTap(DecoupledWeights weights, int layers) : DecoderTap
    {
        public Tensor?[] Read { get; } = new Tensor?[layers];

        public override void Attended(int index, Tensor input, Tensor state) => Read[index] = weights.Norm(index, input).MoveToOuterDisposeScope();
    }
}

using Retro.Database;
using Retro.Modeling;
using Retro.Search;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>
/// Reads neighbors by the decoder's own attention at every layer, instead of an encoder and a cross-attention of their own: the frozen decoder encodes each
/// passage by itself, and what a layer's attention to the passages gives is added behind the layer through a narrow map that is trained
/// (<see cref="Fit"/>) and zero at first. Without neighbors, and before training, this is the decoder to the bit; the order of the neighbors changes nothing.
/// </summary>
/// <remarks>
/// DecoupledRAG (Dong and others, WWW 2025): h ← h + α · attention(h, passages) A B, with the layer's own projections and no positions. As in chunked
/// cross-attention a chunk's passages are read from its last token on. Ours asks with what the layer's own attention reads, its input, where the paper's code
/// asks with the layer's output; and it may adapt the projections, which were trained with positions. The paper trains on questions and their answers, and
/// drops 0.2 of what is added; here it is running text, and nothing is dropped.
/// </remarks>
public sealed partial class DecoupledReader : IReader, IDisposable
{
    private readonly RetroModel _model;
    private readonly DecoupledWeights _weights;
    private readonly int _retrievedLength;

    private DecoupledReader(RetroModel model, DecoupledWeights weights, DecoupledReaderOptions options, int retrievedLength, string? name)
    {
        (_model, _weights, Options, _retrievedLength) = (model, weights, options, retrievedLength);
        Name = name ?? $"{(model.Config.Retrieval is null ? "decoder" : "RETRO off")} + own attention to neighbors, k = {options.Neighbors}";
    }

    /// <summary>The settings it was made with.</summary>
    public DecoupledReaderOptions Options { get; }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public int Neighbors => Options.Neighbors;

    /// <inheritdoc/>
    public int? ChunkLength => null;

    /// <inheritdoc/>
    public int? RetrievedLength => _retrievedLength;

    /// <inheritdoc/>
    public Device Device => _model.Device;

    /// <summary>The decoder.</summary>
    internal RetroModel Model => _model;

    /// <summary>What is trained.</summary>
    internal DecoupledWeights Weights => _weights;

    /// <summary>Makes a reader with fresh weights: the decoder, until it is trained.</summary>
    internal static DecoupledReader Fresh(RetroModel model, DecoupledReaderOptions options, int retrievedLength, string? name = null)
    {
        if (model.Config.MaximumLength < retrievedLength)
        {
            throw new ArgumentException(
                $"Neighbors of {retrievedLength} tokens are longer than the {model.Config.MaximumLength} that the model takes; lower "
                    + $"{nameof(DecoupledReaderOptions.RetrievedLength)}.",
                nameof(retrievedLength));
        }

        return new(model, new DecoupledWeights(model, options.Rank, options.AdaptationRank, options.Seed), options, retrievedLength, name);
    }

    /// <inheritdoc/>
    RetroModel? IReader.Model => _model;

    /// <inheritdoc/>
    string IReader.IdentityOf(int version) => IdentityHash.Of(
        IdentityHash.KeyEnd, WeightsHash.Rounded(_model, version, _weights.ByName.Select(pair => (pair.Key, pair.Value))), Neighbors, _retrievedLength);

    /// <inheritdoc/>
    public long RowBytes(int length)
    {
        // Every chunk has its passages, as rows of their own; M is not known here, and a passage is taken to be two chunks long.
        long passages = Math.Max(1, length * 2L / _retrievedLength) * Neighbors, layers = _model.Config.Layers;
        return ModelReading.RowBytes(_model, length, 0)
            + (passages * ModelReading.RowBytes(_model, _retrievedLength, 0))
            + (passages * _retrievedLength * layers * 3 * _model.Config.Width * _model.Dtype.ElementSize());
    }

    /// <inheritdoc/>
    public double[] LogLikelihoods(ReadingBatch batch)
    {
        ReaderChecks.Require(this, batch);
        long[] places = batch.TargetPlaces();
        double[] result = new double[batch.Targets.Length];
        if (places.Length == 0)
        {
            return result;
        }

        using DisposeScope scope = NewDisposeScope();
        using IDisposable inference = inference_mode();
        double[] values = Read(batch, places).Doubles();
        for (int i = 0; i < places.Length; i++)
        {
            result[places[i]] = values[i];
        }

        return result;
    }

    /// <inheritdoc/>
    public void Dispose() => _weights.Dispose();

    /// <summary>The log-likelihoods of the targets at some places, with the gradient of what is trained.</summary>
    /// <returns>[N].</returns>
    private Tensor Read(ReadingBatch batch, long[] places)
    {
        _model.Evaluate();
        using FinalizerGate.Hold gate = FinalizerGate.Close(FinalizerGate.IsNeededFor(_model));
        using DisposeScope scope = NewDisposeScope();
        DecoupledReading? reading = batch.Retrieved is { } retrieved ? Reading(retrieved, batch.ChunkLength) : null;
        Tensor tokens = tensor(batch.Tokens, [batch.Rows, batch.Length], device: Device);
        Tensor states = _model.StatesAt(tokens, tensor(places, device: Device), tap: reading);
        Tensor targets = batch.TargetsAt(places, Device);
        return _model.LogLikelihoodsOf(states, targets, ModelReading.HeadBytes).MoveToOuterDisposeScope();
    }

    /// <summary>Encodes what was retrieved; null: nothing was. Its tensors belong to the current scope.</summary>
    internal DecoupledReading? Reading(RetrievedTokens retrieved, int chunkLength, CancellationToken cancellationToken = default)
    {
        (Tensor? neighbors, Tensor? valid) = retrieved.ToTensors(Device);
        return neighbors is null ? null : new(
            _model,
            _weights,
            neighbors.narrow(2, 0, Math.Min(Neighbors, neighbors.shape[2])),
            valid!.narrow(2, 0, Math.Min(Neighbors, neighbors.shape[2])),
            chunkLength,
            cancellationToken);
    }
}

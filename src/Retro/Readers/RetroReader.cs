using Retro.Modeling;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>A RETRO with retrieval on: it reads its neighbors by chunked cross-attention.</summary>
public sealed class RetroReader : IReader
{
    private readonly RetroModel _model;
    private readonly RetrievalConfig _retrieval;

    /// <summary>Creates the reader.</summary>
    /// <param name="model">The model, which stays the caller's; reading puts it into evaluation mode.</param>
    /// <param name="neighbors">K: neighbors per chunk, which may differ from the training's; null: the configuration's.</param>
    /// <param name="name">The name in reports; null: "RETRO".</param>
    /// <exception cref="ArgumentException">The model does not retrieve.</exception>
    /// <exception cref="ArgumentOutOfRangeException">K is not positive; retrieval off is a <see cref="DecoderReader"/>.</exception>
    public RetroReader(RetroModel model, int? neighbors = null, string? name = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        _model = model;
        _retrieval = model.Config.Retrieval
            ?? throw new ArgumentException(
                $"The model does not retrieve, so that it could read no neighbors; read it with a {nameof(DecoderReader)}.", nameof(model));
        Neighbors = neighbors ?? _retrieval.Neighbors;
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Neighbors, nameof(neighbors));
        Name = name ?? "RETRO";
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public int Neighbors { get; }

    /// <inheritdoc/>
    public int? ChunkLength => _retrieval.ChunkLength;

    /// <inheritdoc/>
    public int? RetrievedLength => _retrieval.RetrievedLength;

    /// <inheritdoc/>
    public Device Device => _model.Device;

    /// <inheritdoc/>
    RetroModel? IReader.Model => _model;

    /// <inheritdoc/>
    int? IReader.PassageChunkLength => ChunkLength;

    /// <inheritdoc/>
    string IReader.IdentityOf(int version) => IdentityHash.Of(IdentityHash.KeyEnd, WeightsHash.Rounded(_model, version), Neighbors);

    /// <inheritdoc/>
    public long RowBytes(int length) => ModelReading.RowBytes(_model, length, Neighbors);

    /// <inheritdoc/>
    public double[] LogLikelihoods(ReadingBatch batch)
    {
        ReaderChecks.Require(this, batch);
        return ModelReading.LogLikelihoods(_model, batch, Neighbors);
    }
}

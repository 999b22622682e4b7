using Retro.Modeling;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>Reads no neighbors: a plain decoder, which is "closed book", or a RETRO with retrieval off.</summary>
public sealed class DecoderReader : IReader
{
    private readonly RetroModel _model;

    /// <summary>Creates the reader.</summary>
    /// <param name="model">The model, which stays the caller's; reading puts it into evaluation mode.</param>
    /// <param name="name">The name in reports; null: "closed book" for a plain decoder, "RETRO off" for a model that could retrieve.</param>
    public DecoderReader(RetroModel model, string? name = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        _model = model;
        Name = name ?? (model.Config.Retrieval is null ? "closed book" : "RETRO off");
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public int Neighbors => 0;

    /// <inheritdoc/>
    public int? ChunkLength => null;

    /// <inheritdoc/>
    public int? RetrievedLength => null;

    /// <inheritdoc/>
    public Device Device => _model.Device;

    /// <inheritdoc/>
    RetroModel? IReader.Model => _model;

    /// <inheritdoc/>
    string IReader.IdentityOf(int version) => WeightsHash.Rounded(_model, version);

    /// <inheritdoc/>
    public long RowBytes(int length) => ModelReading.RowBytes(_model, length, 0);

    /// <inheritdoc/>
    /// <remarks>A text that stands in several rows, with other neighbors in each, is read once.</remarks>
    public double[] LogLikelihoods(ReadingBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        (ReadingBatch different, int[] rows) = batch.DifferentTexts();
        double[] read = ModelReading.LogLikelihoods(_model, different, 0);
        if (different.Rows == batch.Rows)
        {
            return read;
        }

        double[] result = new double[batch.Tokens.Length];
        for (int row = 0; row < rows.Length; row++)
        {
            read.AsSpan(rows[row] * batch.Length, batch.Length).CopyTo(result.AsSpan(row * batch.Length));
        }

        return result;
    }
}

using Retro.Database;
using Retro.Modeling;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>
/// Another reader, watched: how long it takes, and, where it is given the reader without neighbors, by how much they make the text more likely, which is the
/// retrieval utility (<see cref="RetroTelemetry"/>). It reads what the other reads and gives what the other gives.
/// </summary>
/// <param name="reader">The reader, which stays the caller's.</param>
/// <param name="without">
/// The same model without neighbors, such as a <see cref="DecoderReader"/>, which then reads every batch that has neighbors too; null: the utility is not
/// measured.
/// </param>
public sealed class MeteredReader(IReader reader, IReader? without = null) : IReader
{
    private readonly IReader _reader = reader ?? throw new ArgumentNullException(nameof(reader));

    /// <summary>A reader, or the one that is watched.</summary>
    internal static IReader Unwatched(IReader reader) => reader is MeteredReader watched ? Unwatched(watched._reader) : reader;

    /// <inheritdoc/>
    public string Name => _reader.Name;

    /// <inheritdoc/>
    public int Neighbors => _reader.Neighbors;

    /// <inheritdoc/>
    public int? ChunkLength => _reader.ChunkLength;

    /// <inheritdoc/>
    bool IReader.TakesAnyChunks => _reader.TakesAnyChunks;

    /// <inheritdoc/>
    public int? RetrievedLength => _reader.RetrievedLength;

    /// <inheritdoc/>
    public int? QueryLength => _reader.QueryLength;

    /// <inheritdoc/>
    public bool ReadsEarlierNeighbors => _reader.ReadsEarlierNeighbors;

    /// <inheritdoc/>
    public ChunkDatabase? Database => _reader.Database;

    /// <inheritdoc/>
    public Device Device => _reader.Device;

    /// <inheritdoc/>
    string? IReader.Identity => _reader.Identity;

    /// <inheritdoc/>
    public long RowBytes(int length) => Math.Max(_reader.RowBytes(length), without?.RowBytes(length) ?? 0);

    /// <inheritdoc/>
    public double[] LogLikelihoods(ReadingBatch batch)
    {
        double[] likelihoods = RetroTelemetry.Timed(RetroTelemetry.ReaderDuration, "retro.reader", Name, () => ReaderChecks.LogLikelihoods(_reader, batch));
        long targets = batch.Targets.LongCount(target => target != LogLikelihood.NoTarget);
        RetroTelemetry.ReaderTokens.Add(targets, new KeyValuePair<string, object?>("retro.reader", Name));
        bool reads = batch.Retrieved is { } retrieved && Array.IndexOf(retrieved.Valid, true) >= 0;
        if (without is not null && reads && targets > 0 && RetroTelemetry.Utility.Enabled)
        {
            double utility = (likelihoods.Sum() - ReaderChecks.LogLikelihoods(without, batch).Sum()) / targets;
            RetroTelemetry.Utility.Record(utility, new KeyValuePair<string, object?>("retro.reader", Name));
        }

        return likelihoods;
    }
}

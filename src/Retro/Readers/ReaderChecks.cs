namespace Retro.Readers;

/// <summary>Whether a batch is what a reader reads.</summary>
internal static class ReaderChecks
{
    /// <summary>Refuses a batch with chunks or neighbors of other lengths, or with fewer neighbors.</summary>
    /// <exception cref="ArgumentException">It has.</exception>
    public static void Require(IReader reader, ReadingBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        if (reader.ChunkLength is { } chunkLength && batch.ChunkLength != chunkLength)
        {
            throw new ArgumentException($"{reader.Name} reads chunks of {chunkLength} tokens, and the batch has chunks of {batch.ChunkLength}.", nameof(batch));
        }

        if (batch.Retrieved is not { } retrieved)
        {
            return;
        }

        if (retrieved.Neighbors < reader.Neighbors || (reader.RetrievedLength is { } length && retrieved.Length != length))
        {
            throw new ArgumentException(
                $"{reader.Name} reads {reader.Neighbors} neighbors of {reader.RetrievedLength?.ToString() ?? "any number of"} tokens, " +
                $"and the batch has {retrieved.Neighbors} of {retrieved.Length}.",
                nameof(batch));
        }
    }
}

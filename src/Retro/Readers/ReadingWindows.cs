using Retro.Database;
using Retro.Modeling;
using Retro.Search;

namespace Retro.Readers;

/// <summary>
/// What a reader is trained on: windows of documents, a document as often as it has chunks, with what was retrieved for their stretches, none of it from the
/// window's own document nor from a copy of it.
/// </summary>
/// <param name="database">The documents.</param>
/// <param name="source">Finds what is retrieved, in the same database or another.</param>
/// <param name="same">Which documents of the source's database are the same as one of the documents.</param>
internal sealed class ReadingWindows(ChunkDatabase database, INeighborSource source, SameDocuments same)
{
    private RandomNeighborSource? _random;

    /// <summary>T: tokens of a window at most, a multiple of the database's chunk length.</summary>
    public required int WindowLength { get; init; }

    /// <summary>B: windows of a step.</summary>
    public required int BatchSize { get; init; }

    /// <summary>What is asked for, and when.</summary>
    public required ReadingPlan Plan { get; init; }

    /// <summary>Share of the stretches that are given random chunks instead of neighbors.</summary>
    public required double RandomShare { get; init; }

    /// <summary>Decides windows and random chunks.</summary>
    public required long Seed { get; init; }

    /// <summary>The batch of a step, and the document of each of its windows.</summary>
    /// <param name="step">Number of the step, from 0; the same gives the same.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    public (ReadingBatch Batch, IReadOnlyList<int> Documents) Batch(int step, CancellationToken cancellationToken)
    {
        (long FirstChunk, int Tokens, int FirstTarget)[] windows = Draw(step);
        int[] documents = [.. windows.Select(window => database.DocumentOf(window.FirstChunk))];
        int length = windows.Max(window => window.Tokens);
        ReadingBatch batch = new(windows.Length, length, Plan.Stride);
        for (int row = 0; row < windows.Length; row++)
        {
            long start = windows[row].FirstChunk * database.ChunkLength;
            long end = (database.ChunksOf(documents[row]).First * database.ChunkLength) + database.TokenCountOf(documents[row]);
            batch.Put(row, database, start, windows[row].Tokens, 1, (int)Math.Min(windows[row].Tokens + 1, end - start));
        }

        batch.Retrieved = Retrieve(source);
        if (batch.Retrieved is { } found && RandomShare > 0 && Retrieve(_random ??= new(source.Database!, Seed)) is { } others)
        {
            SeededRandom coin = new(Seed, Purpose.RandomStretches, step);
            for (int stretch = 0; stretch < found.Rows * found.Chunks; stretch++)
            {
                if (coin.NextDouble() < RandomShare)
                {
                    (int row, int chunk) = Math.DivRem(stretch, found.Chunks);
                    found.Take(row, chunk, others, row, chunk);
                }
            }
        }

        return (batch, documents);

        RetrievedTokens? Retrieve(INeighborSource from) => StrideRetrieval.Of(
            database, windows, Plan, from, same.Of, cancellationToken);
    }

    private (long FirstChunk, int Tokens, int FirstTarget)[] Draw(int step)
    {
        int chunks = WindowLength / database.ChunkLength;
        SeededRandom draw = new(Seed, Purpose.ReadingWindows, step);
        (long FirstChunk, int Tokens, int FirstTarget)[] windows = new (long, int, int)[BatchSize];
        for (int row = 0; row < windows.Length; row++)
        {
            long chunk = (long)(draw.NextDouble() * database.ChunkCount);
            int document = database.DocumentOf(chunk);
            (long begin, long count) = database.ChunksOf(document);
            long first = Math.Max(begin, Math.Min(chunk, begin + count - chunks));
            // The document's last token predicts nothing.
            long tokens = database.TokenCountOf(document) - 1 - ((first - begin) * database.ChunkLength);
            windows[row] = (first, (int)Math.Clamp(tokens, 1, WindowLength), 1);
        }

        return windows;
    }
}

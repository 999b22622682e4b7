using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;

namespace Retro.Retrievers;

/// <summary>
/// Asks a reader how likely the chunk that follows another is, given what precedes it in its document and some passages. The passages are read while that
/// chunk is predicted, and nowhere else.
/// </summary>
internal sealed class PassageReading
{
    /// <summary>Memory for what is read at once, in bytes.</summary>
    private const long MaximumBytes = 256L << 20;

    private readonly IReader _reader;
    private readonly ChunkDatabase _texts, _passages;
    private readonly ReadingPlan _plan;
    private readonly int _contextChunks;

    /// <param name="reader">The reader.</param>
    /// <param name="texts">The database of contexts and targets.</param>
    /// <param name="passages">The database of the passages.</param>
    /// <param name="windowLength">Tokens of context and target together, at most.</param>
    /// <exception cref="ArgumentException">The reader reads no neighbors, or chunks that do not fit the database's.</exception>
    public PassageReading(IReader reader, ChunkDatabase texts, ChunkDatabase passages, int windowLength)
    {
        if (reader.Neighbors == 0)
        {
            throw new ArgumentException(
                $"{reader.Name} reads no neighbors, so that it cannot tell one passage from another; take a reader that reads them.", nameof(reader));
        }

        _plan = ReadingPlan.OfChunks(reader, texts, passages);
        reader.RequireTokenizer(texts.Manifest.TokenizerHash);
        (_reader, _texts, _passages) = (reader, texts, passages);
        _contextChunks = (windowLength / texts.ChunkLength) - 1;
    }

    /// <summary>The reader.</summary>
    public IReader Reader => _reader;

    /// <summary>Tokens of an example's target.</summary>
    public int TargetLength(long example) => _texts.TokenCount(example + 1);

    /// <summary>The log-likelihood of each token of the targets.</summary>
    /// <param name="rows">A chunk that another follows in its document, and the passages that are read together, at most as many as the reader reads.</param>
    /// <param name="cancellationToken">Stops between batches.</param>
    /// <returns>A row of <see cref="TargetLength"/> numbers for each.</returns>
    public double[][] LogLikelihoods(IReadOnlyList<(long Example, long[] Passages)> rows, CancellationToken cancellationToken)
    {
        int[] contexts = [.. rows.Select(row => Context(row.Example))], lengths = [.. rows.Select((row, i) => contexts[i] + TargetLength(row.Example) - 1)];

        // Rows of one length stand side by side, so that little is computed for padding.
        int[] order = [.. Enumerable.Range(0, rows.Count).OrderByDescending(row => lengths[row])];
        double[][] results = new double[rows.Count][];
        if (rows.Count == 0)
        {
            return results;
        }

        int workers = TorchThreads.Workers(rows.Count, _reader.Device);
        long most = Math.Max(1, MaximumBytes / workers / Math.Max(1, _reader.RowBytes(lengths[order[0]])));
        int[][] batches = [.. order.Chunk((int)Math.Clamp((rows.Count + workers - 1) / workers, 1, most))];
        TorchThreads.Run(batches.Length, _reader.Device, i => Read(batches[i]), cancellationToken: cancellationToken);
        return results;

        void Read(int[] chosen)
        {
            int length = lengths[chosen[0]];
            ReadingBatch batch = new(chosen.Length, length, _plan.Stride);
            RetrievedTokens? retrieved = chosen.All(row => rows[row].Passages.Length == 0)
                ? null
                : new(chosen.Length, length / _plan.Stride, _plan.Neighbors, _plan.RetrievedLength);
            for (int i = 0; i < chosen.Length; i++)
            {
                (long example, long[] passages) = rows[chosen[i]];
                int context = contexts[chosen[i]], end = lengths[chosen[i]];
                batch.Put(i, _texts, ((example + 1) * _texts.ChunkLength) - context, end, context, end + 1);

                // A reader with stretches shorter than a chunk has the same passages for all of the target.
                for (int stretch = (context / _plan.Stride) - 1; passages.Length > 0 && stretch < end / _plan.Stride; stretch++)
                {
                    retrieved!.Take(i, stretch, _passages, passages);
                }
            }

            batch.Retrieved = retrieved;
            double[] likelihoods = ReaderChecks.LogLikelihoods(_reader, batch);
            for (int i = 0; i < chosen.Length; i++)
            {
                int start = (i * length) + contexts[chosen[i]] - 1;
                results[chosen[i]] = likelihoods[start..((i * length) + lengths[chosen[i]])];
            }
        }
    }

    /// <summary>Tokens that precede the target: whole chunks of its document.</summary>
    private int Context(long example)
    {
        long first = Math.Max(_texts.ChunksOf(_texts.DocumentOf(example)).First, example + 1 - _contextChunks);
        return (int)(example + 1 - first) * _texts.ChunkLength;
    }
}

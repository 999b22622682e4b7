using Retro.Database;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Evaluation;

/// <summary>How much of a gain is copying: bits per byte over the chunks that have at most so much in common with their neighbors (arXiv 2112.04426, section 2.6).</summary>
/// <remarks>
/// The overlap of a chunk is s/M, where s is the length of the longest run of tokens that it has in common with one of its nearest neighbors and that one's continuation.
/// A model that only copies gains nothing where the overlap is small.
/// </remarks>
public sealed class LeakageCurve
{
    private readonly long[] _bytes;

    /// <summary>Computes the overlap of every held-out chunk.</summary>
    /// <param name="heldOut">The held-out documents.</param>
    /// <param name="table">Neighbors of every held-out chunk.</param>
    /// <param name="retrieval">The database that the table points into.</param>
    /// <param name="chunkBytes">Bytes of text that the tokens of a chunk stand for, by chunk of <paramref name="heldOut"/>; their sum is what the measurement is divided by.</param>
    /// <param name="neighbors">Nearest neighbors looked at, at most. Default 10, the paper's.</param>
    /// <param name="retrievedLength">Tokens of a neighbor and its continuation. Default: twice the chunk length.</param>
    /// <exception cref="DatabaseException">The table belongs to other databases.</exception>
    public LeakageCurve(ChunkDatabase heldOut, NeighborTable table, ChunkDatabase retrieval, IReadOnlyList<long> chunkBytes, int neighbors = 10, int? retrievedLength = null)
    {
        ArgumentNullException.ThrowIfNull(heldOut);
        ArgumentNullException.ThrowIfNull(table);
        ArgumentNullException.ThrowIfNull(retrieval);
        ArgumentNullException.ThrowIfNull(chunkBytes);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(neighbors);
        if (chunkBytes.Count != heldOut.ChunkCount)
        {
            throw new ArgumentException($"Expected the bytes of {heldOut.ChunkCount} chunks, got {chunkBytes.Count}.", nameof(chunkBytes));
        }

        table.RequireMatch(heldOut, retrieval);
        _bytes = [.. chunkBytes];
        double[] overlaps = new double[heldOut.ChunkCount];
        int length = retrievedLength ?? 2 * heldOut.ChunkLength;
        Parallel.For(0, heldOut.ChunkCount, chunk =>
        {
            long[] tokens = new long[length];
            bool[] valid = new bool[length];
            int longest = 0;
            ReadOnlySpan<long> found = table.Row(chunk);
            foreach (long neighbor in found[..Math.Min(neighbors, found.Length)])
            {
                retrieval.CopyRetrieved(neighbor, tokens, valid);
                longest = Math.Max(longest, LongestCommonRun(heldOut.Tokens(chunk)[..heldOut.TokenCount(chunk)], tokens, valid));
            }

            overlaps[chunk] = (double)longest / heldOut.ChunkLength;
        });
        Overlaps = overlaps;
    }

    /// <summary>The overlap of each held-out chunk, from 0 to 1.</summary>
    public IReadOnlyList<double> Overlaps { get; }

    /// <summary>Bytes of text behind the tokens of each chunk of a database. Special tokens stand for none.</summary>
    /// <param name="database">The database.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <returns>Bytes by chunk.</returns>
    /// <exception cref="DatabaseException">The database was made with another tokenizer.</exception>
    public static long[] ChunkBytes(ChunkDatabase database, RetroTokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(tokenizer);
        database.RequireTokenizer(tokenizer);
        long[] bytes = new long[database.ChunkCount];
        for (long chunk = 0; chunk < bytes.Length; chunk++)
        {
            foreach (int token in database.Tokens(chunk)[..database.TokenCount(chunk)])
            {
                bytes[chunk] += tokenizer.TokenBytes(token).Length;
            }
        }

        return bytes;
    }

    /// <summary>Bits per byte over the chunks whose overlap is at most a bound.</summary>
    /// <param name="result">A measurement on the same held-out documents, with retrieval on or off.</param>
    /// <param name="alpha">The bound, from 0 to 1; 1 takes every chunk. The paper calls 0.125 (8 of 64 tokens) unlikely to be copied.</param>
    /// <returns>Bits per byte; not a number where no such chunk has any text.</returns>
    public double Value(BitsPerByteResult result, double alpha)
    {
        ArgumentNullException.ThrowIfNull(result);
        if (result.ChunkBits.Count != _bytes.Length)
        {
            throw new ArgumentException($"Expected a measurement of {_bytes.Length} chunks, got one of {result.ChunkBits.Count}.", nameof(result));
        }

        double bits = 0;
        long bytes = 0;
        for (int chunk = 0; chunk < _bytes.Length; chunk++)
        {
            if (Overlaps[chunk] <= alpha)
            {
                bits += result.ChunkBits[chunk];
                bytes += _bytes[chunk];
            }
        }

        return bytes == 0 ? double.NaN : bits / bytes;
    }

    /// <summary>The length of the longest run of tokens that two texts have in common.</summary>
    internal static int LongestCommonRun(ReadOnlySpan<int> chunk, ReadOnlySpan<long> retrieved, ReadOnlySpan<bool> valid)
    {
        int longest = 0;
        Span<int> runs = new int[chunk.Length + 1];
        for (int i = 0; i < retrieved.Length; i++)
        {
            // runs[j + 1]: length of the common run that ends at retrieved token i and chunk token j; from the back, so that runs[j] is still that of i - 1.
            for (int j = chunk.Length - 1; j >= 0; j--)
            {
                runs[j + 1] = valid[i] && retrieved[i] == chunk[j] ? runs[j] + 1 : 0;
                longest = Math.Max(longest, runs[j + 1]);
            }
        }

        return longest;
    }
}

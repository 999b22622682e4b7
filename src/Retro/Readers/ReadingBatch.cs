using Retro.Database;
using Retro.Modeling;
using Retro.Search;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>
/// Texts of which tokens are to be predicted, and what was retrieved for their chunks, in plain memory, so that a reader need not be a model.
/// </summary>
public sealed class ReadingBatch
{
    /// <summary>Makes room; nothing is to be predicted at first, and nothing was retrieved.</summary>
    /// <param name="rows">B: texts.</param>
    /// <param name="length">T: tokens of each that are read.</param>
    /// <param name="chunkLength">M: tokens of a chunk; every row begins with one.</param>
    /// <exception cref="ArgumentOutOfRangeException">One of them is not positive.</exception>
    public ReadingBatch(int rows, int length, int chunkLength)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(chunkLength);
        (Rows, Length, ChunkLength) = (rows, length, chunkLength);
        Tokens = new long[(long)rows * length];
        Targets = new long[Tokens.Length];
        Array.Fill(Targets, LogLikelihood.NoTarget);
    }

    /// <summary>B: rows.</summary>
    public int Rows { get; }

    /// <summary>T: tokens of a row.</summary>
    public int Length { get; }

    /// <summary>M: tokens of a chunk.</summary>
    public int ChunkLength { get; }

    /// <summary>Token ids that are read, [B, T]; any id of the vocabulary behind a row's end.</summary>
    public long[] Tokens { get; }

    /// <summary>What is to be predicted after each token, [B, T]; <see cref="LogLikelihood.NoTarget"/> where nothing is.</summary>
    public long[] Targets { get; }

    /// <summary>
    /// What was retrieved for the first C chunks of each row, at most T/M; null: nothing. A reader that wants fewer neighbors takes the first.
    /// </summary>
    /// <exception cref="ArgumentException">It is of other rows, or of more chunks than a row has.</exception>
    public RetrievedTokens? Retrieved
    {
        get;
        set
        {
            if (value is not null && (value.Rows != Rows || value.Chunks > Length / ChunkLength))
            {
                throw new ArgumentException(
                    $"Expected what was retrieved for {Rows} rows of at most {Length / ChunkLength} complete chunks, got {value.Rows} rows of {value.Chunks}.",
                    nameof(value));
            }

            field = value;
        }
    }

    /// <summary>Puts tokens of a database into a row, and what is to be predicted.</summary>
    /// <param name="row">The row.</param>
    /// <param name="database">Whose tokens.</param>
    /// <param name="first">Place of the first one, see <see cref="ChunkDatabase.TokenAt"/>.</param>
    /// <param name="count">How many are read, at most T.</param>
    /// <param name="firstTarget">The first of them that is to be predicted, at least 1.</param>
    /// <param name="endTarget">Behind the last one that is, at most <paramref name="count"/> + 1.</param>
    internal void Put(int row, ChunkDatabase database, long first, int count, int firstTarget, int endTarget)
    {
        int start = row * Length;
        for (int place = 0; place < count; place++)
        {
            Tokens[start + place] = database.TokenAt(first + place);
        }

        // A token is the target of the one before it.
        for (int target = firstTarget; target < endTarget; target++)
        {
            Targets[start + target - 1] = database.TokenAt(first + target);
        }
    }

    /// <summary>Every text with its targets once, nothing retrieved; and which of them each row is. This batch itself where no row repeats another.</summary>
    internal (ReadingBatch Texts, int[] Rows) DifferentTexts()
    {
        int[] rows = new int[Rows];
        List<int> first = [];
        for (int row = 0; row < Rows; row++)
        {
            int known = first.FindIndex(other => Of(Tokens, other).SequenceEqual(Of(Tokens, row)) && Of(Targets, other).SequenceEqual(Of(Targets, row)));
            rows[row] = known >= 0 ? known : first.Count;
            if (known < 0)
            {
                first.Add(row);
            }
        }

        if (first.Count == Rows)
        {
            return (this, rows);
        }

        ReadingBatch texts = new(first.Count, Length, ChunkLength);
        for (int text = 0; text < first.Count; text++)
        {
            Of(Tokens, first[text]).CopyTo(Of(texts.Tokens, text));
            Of(Targets, first[text]).CopyTo(Of(texts.Targets, text));
        }

        return (texts, rows);

        Span<long> Of(long[] all, int row) => all.AsSpan(row * Length, Length);
    }

    /// <summary>The places in the B·T tokens after which something is to be predicted, ascending.</summary>
    internal long[] TargetPlaces()
        => [.. Enumerable.Range(0, Targets.Length).Where(place => Targets[place] != LogLikelihood.NoTarget).Select(place => (long)place)];

    /// <summary>The targets at some of them, [N].</summary>
    internal Tensor TargetsAt(long[] places, Device device) => tensor(Array.ConvertAll(places, place => Targets[place]), device: device);
}

using System.Globalization;
using System.Text.RegularExpressions;
using Retro.Database;
using Retro.Search;

namespace Retro.Training;

/// <summary>
/// Training windows of a chunk database: T/M consecutive chunks in a seeded random order, with the neighbors of a precomputed table.
/// </summary>
/// <remarks>
/// <para>Every epoch cuts the database anew, from a random first chunk and around its end, so that windows of different epochs begin at different
/// chunks.</para>
/// <para>Padding and a document's first token are no targets, and in <see cref="Trainer"/> no token reads padding; in a custom loop, which gives the
/// model the tokens alone, those behind it do. A neighbor never comes from any document with a token in the window, nor from a copy of one (arXiv 2112.04426,
/// section 2.3, read so that packed windows do not leak). A chunk gets neighbors only where the window goes on with the same document: they are the neighbors
/// of a chunk, read while the next one is predicted.</para>
/// </remarks>
public sealed class WindowSampler : ITrainingData
{
    private readonly ChunkDatabase _database;
    private readonly NeighborTable? _table;
    private readonly ChunkDatabase _retrieval;
    private readonly SameDocuments _same;
    private readonly IReadOnlySet<int>? _targets;
    private readonly int _chunks;
    private readonly int _retrievedLength;

    /// <summary>Creates the sampler. It reads the database and the table and owns neither.</summary>
    /// <param name="database">The text to train on.</param>
    /// <param name="options">Settings.</param>
    /// <param name="table">Neighbors of every chunk of <paramref name="database"/>, with some to spare for the filter; null: retrieval off, or planted
    /// neighbors alone. Without any neighbor, the retrieval branches of a model that has them stay as they are.</param>
    /// <param name="targets">Numbers of the documents whose tokens are to be predicted; the others are read alone, as what stands before. Null: all.</param>
    /// <param name="progress">Receives the number of documents compared for copies, which takes seconds where there are millions; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two documents.</param>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    /// <exception cref="TrainingException">The database is smaller than a window.</exception>
    /// <exception cref="ArgumentException">
    /// No document has targets, or one that the database does not have, or the table holds fewer neighbors than are to be read.
    /// </exception>
    /// <exception cref="DatabaseException">The table was made for another database, or for one of another tokenizer.</exception>
    /// <exception cref="OperationCanceledException">Canceled.</exception>
    public WindowSampler(
        ChunkDatabase database,
        WindowSamplerOptions options,
        NeighborTable? table = null,
        IReadOnlySet<int>? targets = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate(database.ChunkLength);
        _database = database;
        _table = table;
        _retrieval = table?.Retrieval ?? database;
        table?.RequireMatch(_database);
        table?.RequireCount(options.Neighbors);
        database.RequireSameTokenizer(_retrieval);

        if (targets is not null && (targets.Count == 0 || targets.Any(document => document < 0 || document >= database.Documents.Count)))
        {
            throw new ArgumentException(
                $"Expected numbers of documents of {database.Folder}, 0 to {database.Documents.Count - 1}, got {(targets.Count == 0 ? "none" : "others")}.",
                nameof(targets));
        }

        _retrievedLength = _retrieval.RetrievedLength(options.RetrievedLength);
        Options = options with { RetrievedLength = _retrievedLength };
        _targets = targets;
        _chunks = options.WindowLength / database.ChunkLength;
        WindowsPerEpoch = database.ChunkCount / _chunks;
        if (WindowsPerEpoch == 0)
        {
            throw new TrainingException(
                $"The database {database.Folder} has {database.ChunkCount} chunks, a window of {options.WindowLength} tokens needs {_chunks}; take more "
                    + "text or shorter windows.");
        }

        if (HasNeighbors && _chunks == 1)
        {
            string least = $"at least {2 * database.ChunkLength}, two chunks: what is retrieved for a chunk is read by the next one";
            throw new RetroOptionsException(nameof(WindowSamplerOptions), [$"WindowLength {options.WindowLength} has to be {least}."]);
        }

        _same = new(database, _retrieval, progress, cancellationToken);
        Identity = string.Create(
            CultureInfo.InvariantCulture,
            $"database {database.Manifest.TokensHash}, retrieval {_retrieval.Manifest.TokensHash}, neighbors {table?.Identity ?? "none"}, {InvariantText.Of(Options)}")
            + (targets is null ? "" : $", targets of documents {IdentityHash.Of(IdentityHash.SourceEnd, [.. targets.Order().Cast<object?>()])}");
    }

    /// <summary>The settings, with the length of what is retrieved.</summary>
    public WindowSamplerOptions Options { get; }

    /// <summary>Windows of one pass over the database.</summary>
    public long WindowsPerEpoch { get; }

    /// <inheritdoc/>
    public string Identity { get; }

    /// <inheritdoc/>
    public string TokenizerHash => _database.Manifest.TokenizerHash;

    /// <summary>The rows of a batch that the identity of data says; those of questions are written alike. Null: it says none.</summary>
    internal static int? BatchSizeOf(string identity)
        => Regex.Match(identity, $"{nameof(WindowSamplerOptions.BatchSize)} = ([1-9][0-9]*)") is { Success: true } said
            && int.TryParse(said.Groups[1].ValueSpan, CultureInfo.InvariantCulture, out int rows) ? rows : null;

    private bool HasNeighbors => Options.Neighbors > 0 && (_table is not null || Options.Planting is not null);

    /// <summary>The first chunk of a window; the others follow it, around the end of the database.</summary>
    /// <param name="window">Number of the window, from 0, over all epochs.</param>
    /// <returns>Number of a chunk.</returns>
    public long FirstChunk(long window)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(window);
        (long epoch, long place) = Math.DivRem(window, WindowsPerEpoch);
        long start = new SeededPermutation(_database.ChunkCount, Options.Seed, Purpose.WindowStart, epoch).At(0);
        long order = new SeededPermutation(WindowsPerEpoch, Options.Seed, Purpose.WindowOrder, epoch).At(place);
        return (start + order * _chunks) % _database.ChunkCount;
    }

    /// <inheritdoc/>
    public TokenBatch Batch(long index, double progress)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        TokenBatch batch = new(Options.BatchSize, Options.WindowLength) { ChunkLength = _database.ChunkLength };
        if (HasNeighbors && new SeededRandom(Options.Seed, Purpose.RetrievalDropout, index).NextDouble() >= Options.RetrievalDropout)
        {
            // The last chunk's neighbors could only help to predict a token beyond the window.
            batch.Retrieved = new(Options.BatchSize, _chunks - 1, Options.Neighbors, _retrievedLength);
        }

        for (int row = 0; row < Options.BatchSize; row++)
        {
            long window = checked(index * Options.BatchSize + row);
            long first = FirstChunk(window);
            CopyTokens(batch, row, first);
            if (batch.Retrieved is { } retrieved)
            {
                CopyNeighbors(retrieved, row, first);
                Plant(batch, retrieved, row, first, window, progress);
            }
        }

        return batch;
    }

    private long ChunkAt(long first, int offset) => (first + offset) % _database.ChunkCount;

    private bool GoesOn(long first, int chunk) => _database.Continuation(ChunkAt(first, chunk)) == ChunkAt(first, chunk + 1);

    private void CopyTokens(TokenBatch batch, int row, long first)
    {
        int length = _database.ChunkLength;
        for (int offset = 0; offset < _chunks; offset++)
        {
            long chunk = ChunkAt(first, offset);
            int start = row * batch.Length + offset * length;
            ReadOnlySpan<int> tokens = _database.Tokens(chunk);
            for (int position = 0; position < length; position++)
            {
                batch.Tokens[start + position] = tokens[position];
            }

            int document = _database.DocumentOf(chunk), held = _database.TokenCount(chunk), predicted = _targets?.Contains(document) == false ? 0 : held;
            batch.LossMask.AsSpan(start + predicted, length - predicted).Clear();
            batch.Padding.AsSpan(start + held, length - held).Fill(true);
            if (_database.ChunksOf(document).First == chunk)
            {
                batch.LossMask[start] = false;
            }
        }
    }

    private void CopyNeighbors(RetrievedTokens retrieved, int row, long first)
    {
        if (_table is null)
        {
            return;
        }

        HashSet<int> window = [.. Enumerable.Range(0, _chunks).Select(offset => _same.Group(_database.DocumentOf(ChunkAt(first, offset))))];
        long[] kept = new long[Options.Neighbors];
        for (int chunk = 0; chunk < retrieved.Chunks; chunk++)
        {
            if (GoesOn(first, chunk))
            {
                _same.Keep(_retrieval, _table.Row(ChunkAt(first, chunk)), window, kept);
                retrieved.Take(row, chunk, _retrieval, kept);
            }
        }
    }

    private void Plant(TokenBatch batch, RetrievedTokens retrieved, int row, long first, long window, double progress)
    {
        (double share, int largestShift, double largestNoise) = Options.Planting?.At(progress) ?? default;
        if (share == 0)
        {
            return;
        }

        SeededRandom random = new(Options.Seed, Purpose.Planting, window);
        for (int chunk = 0; chunk < retrieved.Chunks; chunk++)
        {
            if (random.NextDouble() >= share || !GoesOn(first, chunk))
            {
                continue;
            }

            int start = retrieved.Offset(row, chunk, random.Below(retrieved.Neighbors));
            int shift = random.Below(2 * largestShift + 1) - largestShift;
            double noise = random.NextDouble() * largestNoise;
            long own = ChunkAt(first, chunk);
            int document = _database.DocumentOf(own), tokens = _database.TokenCountOf(document);
            long begins = _database.ChunksOf(document).First, begin = (own - begins) * _database.ChunkLength + shift;
            for (int token = 0; token < retrieved.Length; token++)
            {
                long position = begin + token;
                bool exists = position >= 0 && position < tokens;
                retrieved.Valid[start + token] = exists;
                retrieved.Tokens[start + token] = !exists ? 0
                    : random.NextDouble() < noise ? batch.Tokens[row * batch.Length + random.Below(batch.Length)]
                    : _database.TokenAt((begins * _database.ChunkLength) + position);
            }
        }
    }
}

using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;

namespace Retro.Evaluation;

/// <summary>Measures bits per byte on held-out documents, with retrieval from a database or without (arXiv 2112.04426, evaluation set-up).</summary>
/// <remarks>
/// Windows lie inside one document, begin at its chunks and overlap by half. Every token after a document's first counts exactly once, the end-of-text token
/// included; their cross entropy, in bits, is divided by the bytes of the documents' text, whatever bytes their tokens stand for.
/// </remarks>
public static class BitsPerByte
{
    /// <summary>Measures a model: its retrieval on where a table is given, else off.</summary>
    /// <param name="model">The model; it is left in evaluation mode.</param>
    /// <param name="heldOut">Documents that were neither trained on nor are retrieved from.</param>
    /// <param name="table">Neighbors of every held-out chunk; null: retrieval off.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <param name="progress">Receives the number of documents compared with the database's, then of tokens done, in order.</param>
    /// <param name="cancellationToken">Ends the measurement between two batches.</param>
    /// <returns>What was measured.</returns>
    /// <exception cref="DatabaseException">
    /// A held-out document is in the retrieval database, the table belongs to another database, there is no held-out document, or chunk lengths differ.
    /// </exception>
    /// <exception cref="RetroOptionsException">A setting is outside its range.</exception>
    /// <exception cref="RetroException">A log-likelihood is not a number.</exception>
    /// <exception cref="ArgumentException">
    /// A table comes for a model that does not retrieve, or holds fewer neighbors than are read.
    /// </exception>
    public static BitsPerByteResult Measure(
        RetroModel model,
        ChunkDatabase heldOut,
        NeighborTable? table = null,
        BitsPerByteOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(heldOut);
        if (model.Config.Retrieval is { } config)
        {
            heldOut.RequireChunkLength(config.ChunkLength);
        }

        IReader reader = table is null ? new DecoderReader(model) : new RetroReader(model);
        return Measure(reader, heldOut, table, options, progress, cancellationToken);
    }

    /// <summary>Measures a reader.</summary>
    /// <param name="reader">The reader.</param>
    /// <param name="heldOut">Documents that were neither trained on nor are retrieved from.</param>
    /// <param name="table">Neighbors of every held-out chunk; null for a reader that reads none.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <param name="progress">Receives the number of documents compared with the database's, then of tokens done, in order.</param>
    /// <param name="cancellationToken">Ends the measurement between two batches.</param>
    /// <returns>What was measured.</returns>
    /// <exception cref="DatabaseException">
    /// A held-out document is in the retrieval database, the table belongs to another database, there is no held-out document, or chunk lengths differ.
    /// </exception>
    /// <exception cref="RetroOptionsException">A setting is outside its range.</exception>
    /// <exception cref="RetroException">A log-likelihood is not a number.</exception>
    /// <exception cref="ArgumentException">
    /// A table holds fewer neighbors than are read, or is missing or too much.
    /// </exception>
    public static BitsPerByteResult Measure(
        IReader reader,
        ChunkDatabase heldOut,
        NeighborTable? table = null,
        BitsPerByteOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(reader);
        ArgumentNullException.ThrowIfNull(heldOut);
        options ??= new BitsPerByteOptions();
        Check(reader, heldOut, table, options);
        ReadingPlan plan = ReadingPlan.OfChunks(reader, heldOut, table?.Retrieval ?? heldOut);
        Func<EvaluationWindow[], RetrievedTokens?>? retrieve = table is null ? null : windows => FromTable(plan, table, windows);
        return Measure(
            reader,
            heldOut,
            plan,
            retrieve,
            table?.SourceName,
            table?.Retrieval,
            reader.Database is not null,
            options,
            progress,
            cancellationToken);
    }

    /// <summary>
    /// Measures a reader that asks for neighbors while it reads, as in generation: after every s tokens, s being the reader's
    /// <see cref="IReader.ChunkLength"/>, with the text's last tokens.
    /// </summary>
    /// <param name="reader">The reader; it reads neighbors.</param>
    /// <param name="heldOut">Documents that were neither trained on nor are retrieved from.</param>
    /// <param name="source">Finds the neighbors, in a database that holds no held-out document.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <param name="progress">Receives the number of documents compared with the database's, then of tokens done, in order.</param>
    /// <param name="cancellationToken">Ends the measurement between two batches.</param>
    /// <returns>What was measured.</returns>
    /// <exception cref="DatabaseException">A held-out document is in the source's database, or there is no held-out document.</exception>
    /// <exception cref="RetroOptionsException">A setting is outside its range.</exception>
    /// <exception cref="RetroException">A log-likelihood is not a number.</exception>
    /// <exception cref="ArgumentException">The reader reads no neighbors, its s is no divisor of the held-out database's chunk length, or the source has no
    /// database.</exception>
    public static BitsPerByteResult Measure(
        IReader reader,
        ChunkDatabase heldOut,
        INeighborSource source,
        BitsPerByteOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(reader);
        ArgumentNullException.ThrowIfNull(heldOut);
        ArgumentNullException.ThrowIfNull(source);
        options = (options ?? new BitsPerByteOptions()).Validate(heldOut.ChunkLength);
        ChunkDatabase retrieval = source.Database
            ?? throw new ArgumentException(
                $"The source {source.Name} has no database to read from; measure a {nameof(DecoderReader)} without a source.", nameof(source));
        if (reader.Neighbors == 0)
        {
            throw new ArgumentException($"{reader.Name} reads no neighbors; measure it without a source.", nameof(reader));
        }

        ReadingPlan plan = ReadingPlan.OfChunks(reader, heldOut, retrieval);
        return Measure(
            reader,
            heldOut,
            plan,
            windows => StrideRetrieval.Of(
                heldOut,
                [.. windows.Select(window => (window.FirstChunk, window.Tokens, reader.ReadsEarlierNeighbors ? 1 : window.FirstTarget))],
                plan,
                source,
                cancellationToken: cancellationToken),
            source.Name,
            retrieval,
            reader.Database is not null || plan.Stride != heldOut.ChunkLength || plan.QueryLength != heldOut.ChunkLength,
            options,
            progress,
            cancellationToken);
    }

    /// <summary>The same of a model that retrieves, with as many neighbors as its configuration says.</summary>
    /// <param name="model">The model; it is left in evaluation mode.</param>
    /// <param name="heldOut">Documents that were neither trained on nor are retrieved from.</param>
    /// <param name="source">Finds the neighbors.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <param name="progress">Receives the number of documents compared with the database's, then of tokens done, in order.</param>
    /// <param name="cancellationToken">Ends the measurement between two batches.</param>
    /// <returns>What was measured.</returns>
    /// <exception cref="ArgumentException">The model does not retrieve, or see the other.</exception>
    /// <exception cref="DatabaseException">A held-out document stands in the source's database.</exception>
    public static BitsPerByteResult Measure(
        RetroModel model,
        ChunkDatabase heldOut,
        INeighborSource source,
        BitsPerByteOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
        => Measure(new RetroReader(model), heldOut, source, options, progress, cancellationToken);

    /// <summary>Measures, with what is retrieved for the stretches of windows; a stretch is what the tokens of the next one are predicted with.</summary>
    private static BitsPerByteResult Measure(
        IReader reader,
        ChunkDatabase heldOut,
        ReadingPlan plan,
        Func<EvaluationWindow[], RetrievedTokens?>? retrieve,
        string? source,
        ChunkDatabase? retrieval,
        bool readsOtherText,
        BitsPerByteOptions options,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        if (heldOut.Documents.Count == 0)
        {
            throw new DatabaseException($"The database {heldOut.Folder} has no document to measure on; hold out more text.");
        }

        reader.RequireTokenizer(heldOut.Manifest.TokenizerHash);

        foreach (ChunkDatabase read in new[] { retrieval, reader.Database }.OfType<ChunkDatabase>().Distinct())
        {
            heldOut.RequireSameTokenizer(read);
            HeldOut.Require(heldOut, read, progress, cancellationToken);
        }

        int chunkLength = heldOut.ChunkLength, stride = options.StrideFor(chunkLength);

        // Windows of one length stand side by side, so that little is computed for padding.
        EvaluationWindow[] windows =
        [
            .. heldOut.Documents.SelectMany(document => EvaluationWindow.Of(document, chunkLength, options.WindowLength, stride))
                .OrderByDescending(window => window.Tokens),
        ];
        Tally tally = new(heldOut, options.KeepTokens);
        long total = windows.Sum(window => (long)window.Targets);
        string stage = $"measure {reader.Name}{(source is null ? "" : $", {source}")}";
        progress?.Report(new StageProgress(stage, 0, total));
        for (int first = 0; first < windows.Length;)
        {
            // As many batches as cores, each of as many windows as the memory holds; then these results are added, in order, and forgotten.
            long bytes = Math.Max(1, reader.RowBytes(windows[first].Tokens));
            int workers = (int)Math.Clamp(options.MaximumBytes / bytes, 1, TorchThreads.Workers(windows.Length - first, reader.Device));
            int size = (int)Math.Clamp(options.MaximumBytes / workers / bytes, 1, options.BatchSize);
            EvaluationWindow[][] batches = [.. windows[first..Math.Min(windows.Length, first + (workers * size))].Chunk(size)];
            double[][] likelihoods = new double[batches.Length][];
            TorchThreads.Run(
                batches.Length,
                reader.Device,
                i => likelihoods[i] = ReaderChecks.LogLikelihoods(reader, Batch(heldOut, plan.Stride, retrieve, batches[i])),
                cancellationToken: cancellationToken);
            for (int i = 0; i < batches.Length; i++)
            {
                tally.Add(batches[i], likelihoods[i]);
            }

            first += batches.Sum(batch => batch.Length);
            progress?.Report(new StageProgress(stage, tally.Tokens, total));
        }

        return tally.Result(reader, source, plan.RetrievedLength, options, readsOtherText);
    }

    private static void Check(IReader reader, ChunkDatabase heldOut, NeighborTable? table, BitsPerByteOptions options)
    {
        if (reader.ChunkLength is { } wanted)
        {
            heldOut.RequireChunkLength(wanted);
        }

        options.Validate(heldOut.ChunkLength);

        if (table is null != (reader.Neighbors == 0))
        {
            throw new ArgumentException(
                table is null
                    ? $"{reader.Name} reads {reader.Neighbors} neighbors per chunk, and there is no table of any; " +
                        $"give a table, or measure a {nameof(DecoderReader)}."
                    : $"{reader.Name} reads no neighbors; measure it without a table.",
                nameof(table));
        }

        table?.RequireMatch(heldOut);
        table?.RequireCount(reader.Neighbors, reader.Name);
    }

    private static ReadingBatch Batch(ChunkDatabase heldOut, int stretch, Func<EvaluationWindow[], RetrievedTokens?>? retrieve, EvaluationWindow[] windows)
    {
        ReadingBatch batch = new(windows.Length, windows[0].Tokens, stretch) { Retrieved = retrieve?.Invoke(windows) };
        for (int row = 0; row < windows.Length; row++)
        {
            EvaluationWindow window = windows[row];
            batch.Put(row, heldOut, window.FirstChunk * heldOut.ChunkLength, window.Tokens, window.FirstTarget, window.EndTarget);
        }

        return batch;
    }

    private static RetrievedTokens? FromTable(ReadingPlan plan, NeighborTable table, EvaluationWindow[] windows)
    {
        int chunks = windows[0].Tokens / plan.Stride;
        if (chunks == 0)
        {
            return null;
        }

        RetrievedTokens retrieved = new(windows.Length, chunks, plan.Neighbors, plan.RetrievedLength);
        for (int row = 0; row < windows.Length; row++)
        {
            for (int chunk = 0; chunk < windows[row].Tokens / plan.Stride; chunk++)
            {
                retrieved.Take(row, chunk, table.Retrieval, table.Row(windows[row].FirstChunk + chunk)[..plan.Neighbors]);
            }
        }

        return retrieved;
    }

    /// <summary>Adds up what was measured.</summary>
    private sealed class Tally
    {
        private readonly ChunkDatabase _heldOut;
        private readonly double[] _chunkBits;
        private readonly float[]? _tokenBits;
        private long _firstTokens;
        private double _firstBits;

        public Tally(ChunkDatabase heldOut, bool keepTokens)
        {
            _heldOut = heldOut;
            _chunkBits = new double[heldOut.ChunkCount];
            if (keepTokens)
            {
                _tokenBits = new float[heldOut.ChunkCount * heldOut.ChunkLength];
                Array.Fill(_tokenBits, float.NaN);
            }
        }

        public long Tokens { get; private set; }

        public void Add(EvaluationWindow[] windows, double[] likelihoods)
        {
            int chunkLength = _heldOut.ChunkLength;
            for (int row = 0; row < windows.Length; row++)
            {
                EvaluationWindow window = windows[row];
                for (int target = window.FirstTarget; target < window.EndTarget; target++)
                {
                    double bits = -likelihoods[(row * windows[0].Tokens) + target - 1] / Math.Log(2);
                    _chunkBits[window.FirstChunk + target / chunkLength] += bits;
                    if (_tokenBits is not null)
                    {
                        _tokenBits[(window.FirstChunk * chunkLength) + target] = (float)bits;
                    }

                    if (target < chunkLength)
                    {
                        _firstTokens++;
                        _firstBits += bits;
                    }
                }

                Tokens += window.Targets;
            }
        }

        public BitsPerByteResult Result(IReader reader, string? source, int retrievedLength, BitsPerByteOptions options, bool readsOtherText)
        {
            List<double> bits = [], bytes = [];
            foreach (DocumentEntry document in _heldOut.Documents)
            {
                bits.Add(_chunkBits.AsSpan((int)document.FirstChunk, document.ChunkCount).ToArray().Sum());
                bytes.Add(document.ByteCount);
            }

            DocumentSums sums = new(bits, bytes);
            return new BitsPerByteResult(
                reader.Name,
                source ?? "off",
                source is null ? 0 : reader.Neighbors,
                Tokens,
                sums,
                _chunkBits,
                _firstTokens,
                _firstBits,
                _heldOut.Manifest.TokensHash)
            {
                WindowLength = options.WindowLength,
                Stride = options.StrideFor(_heldOut.ChunkLength),
                RetrievedLength = source is null ? null : retrievedLength,
                ReadsOtherText = readsOtherText,
                TokenBits = _tokenBits,
            };
        }
    }
}

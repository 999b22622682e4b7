using Retro.Database;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Search;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Evaluation;

/// <summary>Measures bits per byte on held-out documents, with retrieval from a database or without (arXiv 2112.04426, evaluation set-up).</summary>
/// <remarks>
/// Windows lie inside one document and begin at its chunks. Every token after a document's first counts exactly once, the end-of-text token included; their cross entropy, in bits,
/// is divided by the bytes of the documents' text.
/// </remarks>
public static class BitsPerByte
{
    /// <summary>Measures a model.</summary>
    /// <param name="model">The model; it is left in evaluation mode.</param>
    /// <param name="heldOut">Documents that were neither trained on nor are retrieved from.</param>
    /// <param name="table">Neighbors of every held-out chunk; null: retrieval off.</param>
    /// <param name="retrieval">The database that the table points into; needed with a table, and checked against the held-out documents where it is given without one.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <param name="progress">Told the tokens done.</param>
    /// <param name="cancellationToken">Ends the measurement between two batches.</param>
    /// <returns>What was measured.</returns>
    /// <exception cref="DatabaseException">A held-out document is in the retrieval database, the table belongs to other databases, there is no held-out document, or chunk lengths differ.</exception>
    /// <exception cref="ArgumentException">A setting is outside its range, or a table comes without its database.</exception>
    public static BitsPerByteResult Measure(
        RetroModel model,
        ChunkDatabase heldOut,
        NeighborTable? table = null,
        ChunkDatabase? retrieval = null,
        BitsPerByteOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(heldOut);
        options ??= new BitsPerByteOptions();
        int chunkLength = heldOut.ChunkLength;
        if (model.Config.Retrieval is { } config)
        {
            heldOut.RequireChunkLength(config.ChunkLength);
        }
        else if (table is not null)
        {
            throw new ArgumentException("The model does not retrieve, so that it could read no neighbors; measure it without a table.", nameof(table));
        }

        IReadOnlyList<string> faults = options.Faults(chunkLength);
        if (faults.Count > 0)
        {
            throw new ArgumentException(string.Join(Environment.NewLine, faults), nameof(options));
        }

        if (table is not null && retrieval is null)
        {
            throw new ArgumentException("A neighbor table names chunks of a database; give that database too.", nameof(retrieval));
        }

        if (heldOut.Documents.Count == 0)
        {
            throw new DatabaseException($"The database {heldOut.Folder} has no document to measure on; hold out more text.");
        }

        if (retrieval is not null)
        {
            HeldOut.Require(heldOut, retrieval);
        }

        table?.RequireMatch(heldOut, retrieval!);
        int neighbors = options.Neighbors ?? model.Config.Retrieval?.Neighbors ?? 0;
        if (table is not null && neighbors > table.Count)
        {
            throw new ArgumentException($"{neighbors} neighbors per chunk are to be read, and the table holds {table.Count}; make a table of as many, or read fewer.", nameof(options));
        }

        int stride = options.Stride ?? options.Tokens;
        // Windows of one length stand side by side, so that little is computed for padding.
        EvaluationWindow[] windows =
        [
            .. heldOut.Documents.SelectMany(document => EvaluationWindow.Of(document, chunkLength, options.Tokens, stride))
                .OrderByDescending(window => window.Tokens),
        ];
        double[] chunkBits = new double[heldOut.ChunkCount];
        long done = 0, total = windows.Sum(window => (long)window.EndTarget - window.FirstTarget);
        string stage = $"measure {table?.SourceName ?? "off"}";
        model.eval();
        EvaluationWindow[][] batches = [.. windows.Chunk(options.Rows)];
        double[][] bits = new double[batches.Length][];
        bool gated = FinalizerGate.IsNeededFor(model);
        progress?.Report(new StageProgress(stage, done, total));
        TorchThreads.Run(
            batches.Length,
            model.Device,
            i =>
            {
                using (FinalizerGate.Close(gated))
                {
                    bits[i] = Bits(model, heldOut, table, retrieval, neighbors, batches[i]);
                }

                long now = Interlocked.Add(ref done, batches[i].Sum(window => (long)window.EndTarget - window.FirstTarget));
                progress?.Report(new StageProgress(stage, now, total));
            },
            cancellationToken: cancellationToken);
        // Windows may share a chunk: added in one order, whichever was computed first.
        for (int i = 0; i < batches.Length; i++)
        {
            Add(batches[i], bits[i], chunkLength, chunkBits);
        }

        return new BitsPerByteResult(
            table?.SourceName ?? "off",
            chunkBits.Sum(),
            heldOut.Documents.Sum(document => document.ByteCount),
            total,
            heldOut.Documents.Count,
            chunkBits);
    }

    /// <summary>What every place of the windows, padded to one length, costs to predict.</summary>
    private static double[] Bits(RetroModel model, ChunkDatabase heldOut, NeighborTable? table, ChunkDatabase? retrieval, int count, EvaluationWindow[] windows)
    {
        int chunkLength = heldOut.ChunkLength, rows = windows.Length, length = windows[0].Tokens;
        long[] read = new long[rows * length], targets = new long[rows * length];
        for (int row = 0; row < rows; row++)
        {
            for (int place = 0; place < windows[row].Tokens; place++)
            {
                read[row * length + place] = Token(heldOut, windows[row], place);
                targets[row * length + place] = Token(heldOut, windows[row], place + 1);
            }
        }

        using DisposeScope scope = NewDisposeScope();
        using IDisposable inference = inference_mode();
        (Tensor? neighbors, Tensor? valid) = table is null ? default : Neighbors(model.Config, heldOut, table, retrieval!, count, windows, length / chunkLength)?.ToTensors(model.Device) ?? default;
        Tensor logits = model.call(tensor(read, [rows, length], device: model.Device), neighbors, valid);
        using Tensor likelihoods = LogLikelihood.Of(logits, tensor(targets, [rows, length], device: model.Device)).to_type(ScalarType.Float64).cpu();
        return [.. likelihoods.data<double>().Select(nats => -nats / Math.Log(2))];
    }

    /// <summary>Adds the bits of the targets that count to their chunks.</summary>
    private static void Add(EvaluationWindow[] windows, double[] bits, int chunkLength, double[] chunkBits)
    {
        for (int row = 0; row < windows.Length; row++)
        {
            for (int target = windows[row].FirstTarget; target < windows[row].EndTarget; target++)
            {
                chunkBits[windows[row].FirstChunk + target / chunkLength] += bits[(row * windows[0].Tokens) + target - 1];
            }
        }
    }

    private static int Token(ChunkDatabase database, EvaluationWindow window, int place)
        => database.Tokens(window.FirstChunk + place / database.ChunkLength)[place % database.ChunkLength];

    /// <summary>The neighbors of every complete chunk.</summary>
    private static RetrievedTokens? Neighbors(RetroConfig config, ChunkDatabase heldOut, NeighborTable table, ChunkDatabase retrieval, int count, EvaluationWindow[] windows, int chunks)
    {
        if (chunks == 0)
        {
            return null;
        }

        RetrievedTokens retrieved = new(windows.Length, chunks, count, config.Retrieval!.RetrievedLength);
        for (int row = 0; row < windows.Length; row++)
        {
            for (int chunk = 0; chunk < windows[row].Tokens / heldOut.ChunkLength; chunk++)
            {
                retrieved.Take(row, chunk, retrieval, table.Row(windows[row].FirstChunk + chunk)[..count]);
            }
        }

        return retrieved;
    }
}

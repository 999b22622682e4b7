using Retro.Database;
using Retro.Embedders;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Search;
using Retro.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Retro.Retrievers;

/// <summary>
/// Trains the query side of a dense retriever on feedback: each accepted chunk is to score above those that were rejected for its prompt, and above those of
/// the other prompts of the batch (the softmax of Karpukhin and others, arXiv 2004.04906, section 3.2). Chunks of one text are one. Documents keep their keys,
/// so that no index goes stale. Where these were divided by their lengths (<see cref="ChunkKeyer"/>), the tower's vectors are of length 1 by themselves.
/// </summary>
public static class FeedbackTrainer
{
    /// <summary>Trains a query tower.</summary>
    /// <param name="embedder">The embedder that the source's keys were made with; it stays as it is.</param>
    /// <param name="tokenizer">The tokenizer whose ids the chunks hold.</param>
    /// <param name="source">The source over the documents' keys.</param>
    /// <param name="pairs">Pairs of its database (<see cref="FeedbackLog.Replay"/>).</param>
    /// <param name="options">Steps, prompts of a step (<see cref="RetrieverTrainingOptions.BatchSize"/>), temperature, rate, decay and seed, and nothing
    /// else; null takes the defaults.</param>
    /// <param name="start">What the tower starts as: one that was trained before over keys of this embedder, whose vectors are as long; it stays as it is.
    /// Null: the embedder.</param>
    /// <param name="progress">Receives the number of steps done.</param>
    /// <param name="cancellationToken">Ends it between two steps.</param>
    /// <returns>The tower; a <see cref="ChunkKeyer"/> of it makes a <see cref="TowerNeighborSource"/>. Dispose it.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range, or is of another training and not at its default.</exception>
    /// <exception cref="TrainingException">No chunk was accepted, or there is none that it could be told from, or the loss is no longer finite.</exception>
    /// <exception cref="DatabaseException">The database has no keys, or those of another function.</exception>
    /// <exception cref="ArgumentException">A pair names a chunk that is not there, or one without a key; or the keys were made with another embedder or
    /// tokenizer, or the tower to start from makes others.</exception>
    public static TextEmbedder Train(
        TextEmbedder embedder,
        RetroTokenizer tokenizer,
        DenseNeighborSource source,
        IReadOnlyList<FeedbackPair> pairs,
        RetrieverTrainingOptions? options = null,
        TextEmbedder? start = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(embedder);
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(pairs);
        options = Validated(options ?? new());
        bool normalizes = RetrieverDocuments.RequireEmbedder(source, embedder, tokenizer, start);
        if (!pairs.Any(pair => pair.Accepted))
        {
            throw new TrainingException($"None of {pairs.Count} pairs was accepted, so that there is nothing to find; collect more feedback.");
        }

        if (pairs.FirstOrDefault(pair => pair.Chunk < 0 || pair.Chunk >= source.Database.ChunkCount) is { } strange)
        {
            throw new ArgumentException(
                $"The database has the chunks 0 to {source.Database.ChunkCount - 1}, and a pair names chunk {strange.Chunk}; replay the log over it.",
                nameof(pairs));
        }

        using RetrieverDocuments documents = RetrieverDocuments.Open(source, embedder, tokenizer, trained: false, normalizes, cancellationToken);
        if (pairs.FirstOrDefault(pair => !documents.HasKey(pair.Chunk)) is { } lost)
        {
            throw new ArgumentException(
                $"Chunk {lost.Chunk}, which a pair names, has no key, so that no tower can find it; leave out the pairs that name it.", nameof(pairs));
        }

        using RetrieverTower tower = new(start ?? embedder, tokenizer, normalizes);
        FeedbackPair[] read = AsRead(pairs, source.Database, tokenizer, tower), accepted = [.. read.Where(pair => pair.Accepted)];
        ILookup<string, long> wanted = accepted.ToLookup(pair => pair.Prompt, pair => pair.Chunk);
        ILookup<string, long> rejected = read.Where(pair => !pair.Accepted && !wanted[pair.Prompt].Contains(pair.Chunk))
            .ToLookup(pair => pair.Prompt, pair => pair.Chunk);
        int chunks = accepted.Select(pair => pair.Chunk).Distinct().Count();
        if (!wanted.Any(prompt => rejected.Contains(prompt.Key) || (options.BatchSize > 1 && prompt.Distinct().Count() < chunks)))
        {
            throw new TrainingException(
                $"Of {pairs.Count} pairs none was rejected for a prompt that has an accepted one, or accepted for another prompt alone, of which two stand in "
                    + $"a batch ({nameof(options.BatchSize)} {options.BatchSize}): there is nothing to tell apart; collect more feedback, or make batches "
                    + "larger.");
        }

        Dictionary<string, int[]> asked = wanted.ToDictionary(prompt => prompt.Key, prompt => tower.Read(prompt.Key));
        using RetroOptimizer optimizer = new(
            ParameterKinds.Of(tower.Encoder).Select(one => (one.Name, one.Parameter, one.Kind)), new() { Beta2 = 0.999, WeightDecay = options.WeightDecay });
        LearningRateSchedule schedule = LearningRateSchedule.Short(options.LearningRate, options.Steps);
        for (long step = 0; step < options.Steps; step++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using DisposeScope scope = NewDisposeScope();
            FeedbackPair[] batch = Draw(accepted, options, step);
            SeededRandom random = new(options.Seed, Purpose.FeedbackRejected, step);

            // Each row: the accepted chunk, one that was rejected for the prompt where there is one, and those of the other prompts.
            long[] hard = [.. batch.Select(pair => rejected[pair.Prompt].ToArray() is { Length: > 0 } some ? some[random.Below(some.Length)] : -1)];
            long[] columns = [.. batch.Select(pair => pair.Chunk), .. hard.Where(chunk => chunk >= 0)];
            bool[] barred = new bool[batch.Length * columns.Length];
            for (int row = 0; row < batch.Length; row++)
            {
                for (int column = 0; column < columns.Length; column++)
                {
                    // What was accepted for the same prompt is no negative.
                    barred[(row * columns.Length) + column] = column != row && wanted[batch[row].Prompt].Contains(columns[column]);
                }
            }

            using IDisposable recorded = Gradients.Recorded();
            Tensor queries = tower.Vectors([.. batch.Select(pair => asked[pair.Prompt])]); // [B, D]
            Tensor keys = documents.Vectors(columns, queries.device).Vectors; // [N, D]
            Tensor scores = documents.Scores(queries, keys).Over(options.Temperature)
                .FilledWhere(tensor(barred, [batch.Length, columns.Length], device: queries.device), double.NegativeInfinity);
            Tensor loss = F.cross_entropy(scores, KeptScalars.Range(batch.Length, ScalarType.Int64, queries.device));
            loss.backward();
            (double norm, double value) = optimizer.StepWith(schedule.Rate(step), null, loss);
            if (!double.IsFinite(norm) || !double.IsFinite(value))
            {
                throw new TrainingException(
                    FormattableString.Invariant($"The loss of step {step + 1} is {value}; lower the learning rate ({options.LearningRate})."));
            }

            progress?.Report(new StageProgress("train on feedback", step + 1, options.Steps) { Loss = value });
        }

        return tower.Export();
    }

    /// <summary>Refuses what is set for nothing: feedback names its passages, and no reader reads them.</summary>
    private static RetrieverTrainingOptions Validated(RetrieverTrainingOptions options)
    {
        RetrieverTrainingOptions usual = new();
        OptionFaults faults = new(nameof(RetrieverTrainingOptions));
        faults.Require(options.Neighbors == usual.Neighbors, options.Neighbors, $"{usual.Neighbors}, since feedback names its passages");
        faults.Require(options.WindowLength == usual.WindowLength, options.WindowLength, $"{usual.WindowLength}, since no reader reads the passages");
        faults.Require(!options.InBatchNegatives, options.InBatchNegatives, "False, since the passages of others always count");
        faults.Require(options.RefreshEvery is null, options.RefreshEvery, "not set, since documents keep their keys");
        faults.Throw();
        return options.Validate();
    }

    /// <summary>
    /// Pairs by what a tower reads of them: a prompt as it is asked with, as a query of the database, decoded again; and for a chunk the first of those that
    /// have its text. What reads alike cannot be told apart, and was accepted with its copies.
    /// </summary>
    private static FeedbackPair[] AsRead(IReadOnlyList<FeedbackPair> pairs, ChunkDatabase database, RetroTokenizer tokenizer, RetrieverTower tower)
    {
        Dictionary<string, string> prompts = pairs.Select(pair => pair.Prompt).Distinct().ToDictionary(
            prompt => prompt, prompt => tokenizer.Decode(NeighborQuery.Of(prompt, database, tokenizer).Tokens.Span));
        Dictionary<long, long> chunks = pairs.Select(pair => pair.Chunk).Distinct().GroupBy(chunk => tower.Text(database, chunk))
            .SelectMany(alike => alike.Select(chunk => (chunk, First: alike.First()))).ToDictionary(pair => pair.chunk, pair => pair.First);
        return [.. pairs.Select(pair => new FeedbackPair(prompts[pair.Prompt], chunks[pair.Chunk], pair.Accepted))];
    }

    private static FeedbackPair[] Draw(FeedbackPair[] accepted, RetrieverTrainingOptions options, long step)
        => [.. Enumerable.Range(0, options.BatchSize).Select(row =>
        {
            (long epoch, long place) = Math.DivRem(checked((step * options.BatchSize) + row), accepted.Length);
            return accepted[new SeededPermutation(accepted.Length, options.Seed, Purpose.FeedbackOrder, epoch).At(place)];
        })];
}

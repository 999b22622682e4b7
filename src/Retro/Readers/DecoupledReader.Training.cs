using Retro.Database;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Search;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Readers;

public sealed partial class DecoupledReader
{
    /// <summary>Trains a reader for a decoder on the documents of a database, with neighbors from other documents than the text's.</summary>
    /// <param name="model">The decoder; it stays the caller's and as it is, but for evaluation mode. Its own retrieval, if any, is off.</param>
    /// <param name="database">Documents that are trained on, none of them held out.</param>
    /// <param name="source">Finds neighbors for a chunk of text, in the same database or another.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <param name="name">The name in reports; null: made of the model's and the settings.</param>
    /// <param name="progress">Receives the number of steps done, each with its loss in nats a token.</param>
    /// <param name="cancellationToken">Ends the training between two steps.</param>
    /// <returns>The reader; dispose it.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range.</exception>
    /// <exception cref="ArgumentException">The source has no database, or the model's attention is the caller's own.</exception>
    /// <exception cref="DatabaseException">The source's database has chunks of another tokenizer.</exception>
    /// <exception cref="TrainingException">The loss is not finite.</exception>
    public static DecoupledReader Fit(
        RetroModel model,
        ChunkDatabase database,
        INeighborSource source,
        DecoupledReaderOptions? options = null,
        string? name = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(source);
        model.RequireTokenizer(database.Manifest.TokenizerHash);
        options = (options ?? new DecoupledReaderOptions()).Validate(database.ChunkLength);
        ChunkDatabase retrieval = ReaderTraining.RequireDatabase(source, database, "read");
        return ReaderTraining.Trained(
            Fresh(model, options, retrieval.RetrievedLength(options.RetrievedLength), name),
            reader => reader.Train(database, source, progress, cancellationToken));
    }

    private void Train(ChunkDatabase database, INeighborSource source, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        SameDocuments same = new(database, source.Database!);
        ReadingWindows windows = new(database, source, same)
        {
            WindowLength = Options.WindowLength,
            BatchSize = Options.BatchSize,
            Plan = ReadingPlan.Of(this, database.ChunkLength, source.Database!),
            RandomShare = Options.RandomShare,
            Seed = Options.Seed,
        };
        ReaderTraining.Run(
            _weights, Options.Steps, Options.LearningRate, "reading", step => windows.Batch(step, cancellationToken).Batch, Step, progress, cancellationToken);
    }

    /// <summary>Moves the weights along the gradient of the mean loss of the batch's targets; the decoder gets none.</summary>
    private double Step(RetroOptimizer optimizer, double rate, ReadingBatch batch)
    {
        using DisposeScope scope = NewDisposeScope();
        long[] places = batch.TargetPlaces();
        if (places.Length == 0)
        {
            return 0;
        }

        Tensor loss = Read(batch, places).mean().neg();
        if (batch.Retrieved is not { } retrieved || Array.IndexOf(retrieved.Valid, true) < 0)
        {
            return loss.Value();
        }

        // Backward is queued before the loss is read, for which an accelerator has to have come so far.
        ITrainingOptimizer taking = optimizer;
        IList<Tensor> gradients = autograd.grad([loss], taking.Parameters, allow_unused: true);
        double value = loss.Value();
        if (double.IsFinite(value))
        {
            scope.Detach(gradients.Where(gradient => !gradient.IsInvalid));
            taking.AddGradients([.. gradients]);
            optimizer.Step(rate);
        }

        return value;
    }
}

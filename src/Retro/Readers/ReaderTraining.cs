using Retro.Database;
using Retro.Optimization;
using Retro.Search;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>What the trainings of readers have in common.</summary>
internal static class ReaderTraining
{
    /// <summary>The database that a source finds neighbors in.</summary>
    /// <param name="source">The source.</param>
    /// <param name="texts">The database of the texts that they are found for.</param>
    /// <param name="purpose">What is done from there.</param>
    /// <exception cref="ArgumentException">It has none.</exception>
    /// <exception cref="DatabaseException">It has chunks of another tokenizer.</exception>
    public static ChunkDatabase RequireDatabase(INeighborSource source, ChunkDatabase texts, string purpose)
    {
        ArgumentNullException.ThrowIfNull(source);
        ChunkDatabase retrieval = source.Database
            ?? throw new ArgumentException($"The source {source.Name} has no database to {purpose} from; give one that has.", nameof(source));
        texts.RequireSameTokenizer(retrieval);
        return retrieval;
    }

    /// <summary>Trains a reader, or disposes it.</summary>
    public static T Trained<T>(T reader, Action<T> train)
        where T : IDisposable
    {
        try
        {
            train(reader);
            return reader;
        }
        catch
        {
            reader.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Moves weights along the gradients of batches, at a rate that rises over a twentieth of the steps and falls to a tenth. The next batch is prepared on
    /// another thread while a step computes.
    /// </summary>
    /// <param name="weights">What is trained, by AdamW without decay.</param>
    /// <param name="steps">Steps.</param>
    /// <param name="learningRate">The rate at the end of the warm-up.</param>
    /// <param name="what">What is trained, as it stands behind "train".</param>
    /// <param name="prepare">Makes the batch of a step, from 0.</param>
    /// <param name="step">Does a step, and gives its loss, in nats a token; where that is not finite it has moved nothing.</param>
    /// <param name="progress">Receives the number of steps done, each with its loss.</param>
    /// <param name="cancellationToken">Ends it between two steps.</param>
    /// <exception cref="TrainingException">The loss is not finite.</exception>
    public static void Run<T>(
        nn.Module weights,
        int steps,
        double learningRate,
        string what,
        Func<int, T> prepare,
        Func<RetroOptimizer, double, T, double> step,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        using RetroOptimizer optimizer = new(weights, new RetroOptimizerOptions { WeightDecay = 0 });
        LearningRateSchedule schedule = LearningRateSchedule.Short(learningRate, steps);
        Task<T> next = Prepare(0);
        try
        {
            for (int done = 0; done < steps; done++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                T batch = next.GetAwaiter().GetResult();
                next = done + 1 < steps ? Prepare(done + 1) : next;
                double loss;
                using (Gradients.Recorded())
                {
                    loss = step(optimizer, schedule.Rate(done), batch);
                }

                if (!double.IsFinite(loss))
                {
                    throw new TrainingException(
                        FormattableString.Invariant($"The loss of step {done + 1} of {what} is {loss}; lower the learning rate ({learningRate})."));
                }

                progress?.Report(new StageProgress($"train {what}", done + 1, steps) { Loss = loss });
            }
        }
        finally
        {
            // The databases may be disposed of now.
            ((Task)next).ContinueWith(_ => { }, TaskScheduler.Default).Wait(CancellationToken.None);
        }

        Task<T> Prepare(int of) => Task.Run(() => prepare(of), CancellationToken.None);
    }
}

namespace Retro.Training;

/// <summary>The batches of a run's next step, which another thread prepares while a step is done.</summary>
/// <param name="data">Gives them.</param>
/// <param name="together">The processes, of which each has its part of a step.</param>
/// <param name="accumulation">Batches of a step.</param>
internal sealed class NextBatches(ITrainingData data, Together together, int accumulation) : IDisposable
{
    private Task<TokenBatch[]> _next = Task.FromResult<TokenBatch[]>([]);

    /// <summary>Begins to prepare this process's batches of a step.</summary>
    /// <param name="first">Number of the step's first batch in the data.</param>
    /// <param name="progress">Share of the training that lies before the step.</param>
    public void Prepare(long first, double progress)
    {
        IEnumerable<long> own = Enumerable.Range(0, accumulation).Select(together.NumberOf);
        _next = Task.Run(() => own.TakeWhile(number => number < accumulation).Select(number => data.Batch(first + number, progress)
            ?? throw new TrainingException($"Batch {first + number} of the data is null; {data.GetType().Name} has to give one for every number.")).ToArray());
    }

    /// <summary>Waits for the batches that were prepared last.</summary>
    /// <exception cref="Exception">What the data threw.</exception>
    public TokenBatch[] Take() => _next.GetAwaiter().GetResult();

    /// <summary>
    /// Waits for the other thread, since whoever owns the data may dispose them now; what it has found wrong with a batch that is no longer wanted does not
    /// matter.
    /// </summary>
    public void Dispose() => ((Task)_next).ContinueWith(_ => { }, TaskScheduler.Default).Wait(CancellationToken.None);
}

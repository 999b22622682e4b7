namespace Retro;

/// <summary>Counts the units of a stage of long work: before each, cancellation is looked for and the progress reported.</summary>
/// <param name="stage">The stage's name.</param>
/// <param name="total">Units in all.</param>
/// <param name="progress">Receives the progress; null: no reporting.</param>
/// <param name="cancellationToken">Stops between two units.</param>
internal sealed class StageCounter(string stage, long total, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
{
    private long _done;

    /// <summary>Begins a unit.</summary>
    /// <exception cref="OperationCanceledException">The work was canceled.</exception>
    public void Next()
    {
        cancellationToken.ThrowIfCancellationRequested();
        progress?.Report(new StageProgress(stage, _done, total));
        _done++;
    }

    /// <summary>Tells that all are done.</summary>
    public void End() => progress?.Report(new StageProgress(stage, total, total));
}

namespace Retro.Cli.Workflow;

/// <summary>Does something with what is told, on the thread that tells it.</summary>
/// <param name="told">Does it.</param>
internal sealed class Told<T>(Action<T> told) : IProgress<T>
{
    /// <inheritdoc/>
    public void Report(T value) => told(value);
}

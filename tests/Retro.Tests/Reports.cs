namespace Retro.Tests;

/// <summary>Told at once, on the thread that reports.</summary>
internal sealed class Reports<T>(Action<T> action) : IProgress<T>
{
    public void Report(T value) => action(value);
}

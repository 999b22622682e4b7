namespace Retro.Tests;

/// <summary>A thread that collects all generations every few milliseconds, as another part of a user's program may.</summary>
internal sealed class Collector : IDisposable
{
    private readonly CancellationTokenSource _end = new();
    private readonly Thread _thread;

    public Collector()
    {
        _thread = new Thread(() =>
        {
            while (!_end.Token.WaitHandle.WaitOne(2))
            {
                GC.Collect();
            }
        });
        _thread.Start();
    }

    public void Dispose()
    {
        _end.Cancel();
        _thread.Join();
        _end.Dispose();
    }
}

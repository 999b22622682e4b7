using static TorchSharp.torch;

namespace Retro.Tests.Optimization;

/// <summary>So many threads for TorchSharp, until disposed.</summary>
internal sealed class ThreadCount : IDisposable
{
    private readonly int _before = get_num_threads();

    public ThreadCount(int threads)
    {
        set_num_threads(threads);
    }

    public void Dispose() => set_num_threads(_before);
}

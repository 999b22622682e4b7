using Microsoft.Win32.SafeHandles;

namespace Retro;

/// <summary>
/// Memory that the collector does not know and that threads read at once. Whoever reads it where another may dispose it holds it meanwhile: disposing closes it
/// at once for those who come later, and it is freed when the last that holds it lets go.
/// </summary>
internal abstract class SharedHandle() : SafeHandleZeroOrMinusOneIsInvalid(ownsHandle: true)
{
    // The base class counts those that hold it, and would let others come as long as there are any.
    private volatile bool _isDisposed;

    /// <summary>Whether it was disposed; it may be held still.</summary>
    public bool IsDisposed => _isDisposed;

    /// <summary>Keeps it there while what is inside of it is used: once for a search, not for each number that it reads.</summary>
    /// <exception cref="ObjectDisposedException">It was disposed.</exception>
    public Held Hold()
    {
        bool held = false;
        try
        {
            if (!_isDisposed)
            {
                DangerousAddRef(ref held);
            }
        }
        catch (ObjectDisposedException)
        {
            // It was disposed in between.
        }

        return held ? new(this) : throw Closed();
    }

    /// <summary>What is said to whoever comes after it was disposed.</summary>
    protected virtual ObjectDisposedException Closed() => new(GetType().Name);

    protected override void Dispose(bool disposing)
    {
        _isDisposed = true;
        base.Dispose(disposing);
    }

    /// <summary>Memory that is there until this is disposed, once.</summary>
    public readonly struct Held(SharedHandle memory) : IDisposable
    {
        /// <summary>Where it is.</summary>
        public nint Address => memory.handle;

        public void Dispose() => memory.DangerousRelease();
    }
}

using Microsoft.Win32.SafeHandles;

namespace Retro.Vectors;

/// <summary>Owns a <c>FaissIndex*</c>.</summary>
internal sealed class FaissIndexHandle : SafeHandleZeroOrMinusOneIsInvalid
{
    public FaissIndexHandle()
        : base(ownsHandle: true)
    {
    }

    /// <summary>Keeps the index there while what is inside of it is used.</summary>
    /// <exception cref="ObjectDisposedException">It was freed.</exception>
    public Held Hold()
    {
        bool held = false;
        DangerousAddRef(ref held);
        return new(this);
    }

    /// <summary>An index that is there until this is disposed.</summary>
    public readonly ref struct Held(FaissIndexHandle index) : IDisposable
    {
        /// <summary>The <c>FaissIndex*</c>.</summary>
        public nint Index => index.handle;

        public void Dispose() => index.DangerousRelease();
    }

    protected override bool ReleaseHandle()
    {
        FaissNative.IndexFree(handle);
        return true;
    }
}

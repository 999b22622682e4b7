using Microsoft.Win32.SafeHandles;

namespace Retro.Vectors;

/// <summary>Owns a <c>FaissIndex*</c>.</summary>
internal sealed class FaissIndexHandle : SafeHandleZeroOrMinusOneIsInvalid
{
    public FaissIndexHandle()
        : base(ownsHandle: true)
    {
    }

    protected override bool ReleaseHandle()
    {
        FaissNative.IndexFree(handle);
        return true;
    }
}

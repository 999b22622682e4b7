namespace Retro.Vectors;

/// <summary>Owns a <c>FaissIndex*</c>.</summary>
internal sealed class FaissIndexHandle : SharedHandle
{
    protected override bool ReleaseHandle()
    {
        FaissNative.IndexFree(handle);
        return true;
    }
}

using static TorchSharp.torch;

namespace TorchSharp.Interop;

/// <summary>Lists of tensors as lists of handles; the list has to be kept alive over the call that uses them.</summary>
internal static class Handles
{
    public static nint[] Of(IEnumerable<Tensor>? tensors) => tensors?.Select(tensor => tensor.Handle).ToArray() ?? [];
}

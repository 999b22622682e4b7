using static TorchSharp.torch;

namespace Retro.Checkpoints;

/// <summary>
/// The files of a training's frozen parameters that were found to hold these, so that no checkpoint after reads them again. What is trained may be frozen for
/// a while alone, and is compared each time.
/// </summary>
/// <param name="stays">Whether a parameter stays as it is for as long as this is used.</param>
internal sealed class ComparedFiles(Func<string, bool> stays)
{
    private readonly HashSet<string> _known = new(StringComparer.Ordinal);

    /// <summary>Those that may hold some tensors; null: the tensors may change.</summary>
    /// <param name="tensors">The tensors of a file, by name.</param>
    public HashSet<string>? Of(IEnumerable<KeyValuePair<string, Tensor>> tensors) => tensors.All(tensor => stays(tensor.Key)) ? _known : null;
}

using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>Rows of a pass that lie otherwise than chunked cross-attention, which counts in chunks, needs them.</summary>
internal interface IPlacedRows
{
    /// <summary>The rows, each from the beginning of a chunk on.</summary>
    Tensor Unpack(Tensor x);

    /// <summary>The rows as the other layers have them.</summary>
    Tensor Pack(Tensor x);
}

using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>A tensor that a module trains. It takes the place of the tensor it is made from, which is empty afterwards.</summary>
public class Parameter : Tensor
{
    public Parameter(Tensor data, bool requires_grad = true)
        : base(data.DecoupleFromNativeHandle())
    {
        if (requires_grad != this.requires_grad)
        {
            this.requires_grad = requires_grad;
        }
    }

    internal Parameter(nint handle)
        : base(handle)
    {
    }
}

using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>A projection by a full matrix, or by the product of two narrow ones.</summary>
internal static class Projection
{
    /// <summary>Makes a projection.</summary>
    /// <param name="input">Width of what it takes.</param>
    /// <param name="output">Width of what it gives.</param>
    /// <param name="rank">Width between the two factors; null for one full matrix.</param>
    /// <param name="bias">Whether it adds a bias.</param>
    /// <param name="dtype">Type of the parameters.</param>
    /// <param name="device">Device of the parameters; null: the CPU.</param>
    /// <param name="scale">Multiplies the deviation of the matrix, or of the second factor; 0 makes the projection give zero.</param>
    public static nn.Module<Tensor, Tensor> Create(int input, int output, int? rank, bool bias, ScalarType dtype, Device? device, double scale = 1)
        => rank is int width ? new LowRank(input, output, width, bias, dtype, device, scale) : new LinearLayer(input, output, bias, dtype, device, scale);

    /// <summary>up(down(x)).</summary>
    private sealed class LowRank : nn.Module<Tensor, Tensor>
    {
        private readonly LinearLayer _down;
        private readonly LinearLayer _up;

        public LowRank(int input, int output, int rank, bool bias, ScalarType dtype, Device? device, double scale)
            : base(nameof(LowRank))
        {
            register_module("down", _down = new LinearLayer(input, rank, false, dtype, device));
            register_module("up", _up = new LinearLayer(rank, output, bias, dtype, device, scale));
        }

        public override Tensor forward(Tensor x)
        {
            using Tensor narrow = _down.call(x);
            return _up.call(narrow);
        }

        protected override void RegisterComponents()
        {
        }
    }
}

using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

/// <summary>Non-linearities of few numbers beside libtorch's in float64.</summary>
public sealed class TokenActivationTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(31)]
    [InlineData(2048)]
    public void It_gives_what_float64_gives(int count)
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(count);
        foreach (double scale in new[] { 1e-3, 1, 10, 1e6 })
        {
            Tensor x = randn(count) * scale, wide = x.to_type(ScalarType.Float64);
            foreach (ActivationKind kind in Enum.GetValues<ActivationKind>())
            {
                Tensor exact = kind switch
                {
                    ActivationKind.GeluTanh or ActivationKind.GeGluTanh => nn.functional.gelu(wide, GELU.Approximate.tanh, false),
                    ActivationKind.Relu => nn.functional.relu(wide),
                    ActivationKind.Silu or ActivationKind.SwiGlu => nn.functional.silu(wide),
                    _ => nn.functional.gelu(wide),
                };
                float[] numbers = x.data<float>().ToArray();
                TokenActivation.Apply(kind, numbers);
                Tensor off = (tensor(numbers).to_type(ScalarType.Float64) - exact).abs() - (exact.abs() * 1e-6);
                Assert.InRange(off.max().item<double>(), double.NegativeInfinity, 4e-7 * Math.Min(scale, 10));
            }
        }
    }

    [Fact]
    public void What_is_not_a_number_or_endless_comes_out_as_libtorch_gives_it()
    {
        foreach (ActivationKind kind in Enum.GetValues<ActivationKind>())
        {
            float[] numbers = [0f, -0f, float.PositiveInfinity, float.NaN];
            TokenActivation.Apply(kind, numbers);
            Assert.Equal([0f, 0f, float.PositiveInfinity, float.NaN], numbers);
        }
    }
}

using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

/// <summary>GELU of few numbers beside libtorch's in float64.</summary>
public sealed class TokenActivationTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(31)]
    [InlineData(2048)]
    public void It_gives_what_float64_gives(int count)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        manual_seed(count);
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            foreach (double scale in new[] { 1e-3, 1, 10, 1e6 })
            {
                Tensor x = (randn(1, count) * scale).to_type(type), wide = x.to_type(ScalarType.Float64);
                Assert.True(TokenActivation.Takes(x));
                foreach (bool tanh in new[] { false, true })
                {
                    Tensor exact = nn.functional.gelu(wide, tanh ? GELU.Approximate.tanh : GELU.Approximate.none, false);
                    Tensor y = TokenActivation.Gelu(x, tanh);
                    Assert.Equal((type, 2L), (y.dtype, y.dim()));
                    Tensor off = (y.to_type(ScalarType.Float64) - exact).abs() - (exact.abs() * (type == ScalarType.Float32 ? 1e-6 : Math.Pow(2, -8)));
                    Assert.InRange(off.max().item<double>(), double.NegativeInfinity, 4e-7 * Math.Min(scale, 10));
                }
            }
        }
    }

    [Fact]
    public void What_is_not_a_number_or_endless_comes_out_as_libtorch_gives_it()
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        Tensor x = tensor(new[] { 0f, -0f, float.PositiveInfinity, float.NaN });
        foreach (bool tanh in new[] { false, true })
        {
            float[] y = TokenActivation.Gelu(x, tanh).data<float>().ToArray();
            Assert.Equal([0f, 0f, float.PositiveInfinity, float.NaN], y);
        }

        Assert.False(TokenActivation.Takes(zeros(1 << 15)));
        Assert.False(TokenActivation.Takes(zeros(4, dtype: ScalarType.Float64)));
        using IDisposable gradients = enable_grad();
        Assert.False(TokenActivation.Takes(x));
    }
}

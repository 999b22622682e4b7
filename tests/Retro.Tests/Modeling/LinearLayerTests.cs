using Retro.Modeling;
using Retro.Tests.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

public sealed class LinearLayerTests
{
    /// <summary>Of one row to more than are multiplied here, of sizes that fill no register, on one thread and several.</summary>
    [Theory]
    [InlineData(7, 5, 1, ScalarType.Float32)]
    [InlineData(33, 129, 2, ScalarType.Float32)]
    [InlineData(512, 1365, 1, ScalarType.Float32)]
    [InlineData(1365, 512, 3, ScalarType.Float32)]
    [InlineData(7, 5, 1, ScalarType.BFloat16)]
    [InlineData(33, 129, 2, ScalarType.BFloat16)]
    [InlineData(512, 1365, 1, ScalarType.BFloat16)]
    [InlineData(1365, 1024, 3, ScalarType.BFloat16)]
    public void Few_rows_give_what_float64_gives_and_the_same_bits_whatever_stands_beside_them(int input, int output, int threads, ScalarType type)
    {
        // A row of bfloat16 is summed in float32, and rounded once.
        double rounded = type == ScalarType.Float32 ? 0 : Math.Pow(2, -8);
        int most = type == ScalarType.Float32 ? 8 : 4;
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        using ThreadCount set = new(threads);
        manual_seed(input);
        foreach (bool bias in new[] { false, true })
        {
            using LinearLayer layer = new(input, output, bias, type);
            layer.parameters().Last().normal_();
            Tensor x = randn(10, input).to_type(type), w = layer.get_parameter("weight")!.to(ScalarType.Float64);
            Tensor exact = x.to(ScalarType.Float64).matmul(w.t()) + (bias ? layer.get_parameter("bias")!.to(ScalarType.Float64) : zeros(1));
            Tensor alone = layer.call(x.narrow(0, 2, 1));
            for (int rows = 1; rows <= 10; rows++)
            {
                Tensor y = layer.call(x.narrow(0, 0, rows));
                Assert.Equal([rows, output], y.shape);
                AssertClose(y, exact.narrow(0, 0, rows), rows > most);
                Assert.True(rows < 3 || rows > most || y.narrow(0, 2, 1).equal(alone).all().item<bool>());
            }

            Assert.Equal([1, 1, output], layer.call(x.narrow(0, 2, 1).unsqueeze(0)).shape);
            Assert.True(layer.call(x.narrow(0, 2, 1).unsqueeze(0)).view(1, -1).equal(alone).all().item<bool>());
            Tensor scattered = x.t().contiguous().t(); // what is not contiguous
            AssertClose(layer.call(scattered.narrow(0, 0, 2)), exact.narrow(0, 0, 2), ofLibtorch: true);
        }

        // libtorch may round on the way.
        void AssertClose(Tensor y, Tensor exact, bool ofLibtorch)
        {
            Tensor off = (y.to_type(ScalarType.Float64) - exact).abs() - (exact.abs() * (rounded * (ofLibtorch ? 4 : 1.01)));
            Assert.InRange(off.max().item<double>(), double.NegativeInfinity, 1e-5 * Math.Sqrt(input) * (ofLibtorch && rounded > 0 ? 1000 : 1));
        }
    }

    [Fact]
    public void Gradients_reach_weights_and_input_and_another_type_is_computed_in()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(1);
        using LinearLayer layer = new(4, 3);
        Tensor x = randn(1, 4).requires_grad_();
        layer.call(x).sum().backward();
        Assert.Equal(layer.get_parameter("weight")!.sum([0]).data<float>().ToArray(), x.grad!.view(-1).data<float>().ToArray());
        Assert.Equal([1f, 1, 1], layer.get_parameter("bias")!.grad!.data<float>().ToArray());
        using IDisposable noGradients = no_grad();
        float[] single = layer.call(x).data<float>().ToArray();
        layer.to(ScalarType.Float64);
        Assert.All(single.Zip(layer.call(x.to(ScalarType.Float64)).data<double>().ToArray()), pair => Assert.Equal(pair.First, pair.Second, 1e-6));
        using LinearLayer other = new(5, 3);
        Assert.Contains("[..., 5]", Assert.Throws<ShapeException>(() => other.call(x)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_hook_sees_a_row_as_it_sees_many()
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        using LinearLayer layer = new(4, 3, bias: false);
        List<long> seen = [];
        layer.register_forward_hook((_, input, output) =>
        {
            seen.Add(input.shape[0]);
            return output;
        });
        layer.call(randn(1, 4));
        layer.call(randn(9, 4));
        Assert.Equal([1, 9], seen);
    }
}

using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

public class AtenOperatorTests
{
    private const int Megabytes = 32, Calls = 20;

    private static readonly AtenOperator s_relu = new("aten::relu", 1, () => [ones(1)]);
    private static readonly AtenOperator s_product = new("aten::mm", 1, () => [ones(1, 1), ones(1, 1)]);
    private static readonly AtenOperator s_rmsNorm = new(
        "aten::_fused_rms_norm", 2, () => [ones(2), (long[])[2], AtenArgument.Some(ones(2)), AtenArgument.Some(1e-5)]);
    private static readonly AtenOperator s_unknown = new("aten::no_operator_has_this_name", 1, () => [ones(1)]);

    [Fact]
    public void An_operator_called_by_name_gives_values_and_gradients_as_TorchSharp_does()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(1);
        Tensor[] inputs = [randn(3, 4).requires_grad_(true), null!];
        inputs[1] = inputs[0].detach().clone().requires_grad_(true);
        Tensor direction = randn(3, 4);

        Tensor[] outputs = [s_relu.Call(inputs[0])[0], inputs[1].relu()];
        foreach (Tensor output in outputs)
        {
            output.backward([direction]);
        }

        Assert.Equal(0, ModelCase.Distance(outputs[0], outputs[1]));
        Assert.Equal(0, ModelCase.Distance(inputs[0].grad!, inputs[1].grad!));
        Assert.True(inputs[0].grad!.abs().sum().ToDouble() > 0);
    }

    [Fact]
    public void Lists_of_numbers_and_optional_values_arrive_and_several_results_come_back()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(2);
        using Normalization norm = new(NormKind.RmsNorm, 6, 0.25);
        Tensor input = randn(5, 6), weight = norm.get_parameter("weight")!.detach();
        weight.copy_(randn(6));

        Tensor[] weighted = s_rmsNorm.Call(input, (long[])[6], AtenArgument.Some(weight), AtenArgument.Some(0.25));
        Tensor[] plain = s_rmsNorm.Call(input, (long[])[6], AtenArgument.None, AtenArgument.Some(0.25));

        Assert.InRange(ModelCase.Distance(weighted[0], norm.call(input)), 0, 1e-6);
        Assert.InRange(ModelCase.Distance(plain[0] * weight, weighted[0]), 0, 1e-6);
        Assert.Equal([5, 1], weighted[1].shape);
    }

    [Fact]
    public void Results_belong_to_the_current_scope_and_a_call_keeps_nothing()
    {
        long live = LiveTensors.Settled();

        long grown = Grown(tensor => s_relu.Call(tensor));

        Assert.InRange(grown, long.MinValue, 4 * Megabytes);
        Assert.Equal(live, LiveTensors.Settled());
    }

    [Fact]
    public void A_call_whose_arguments_are_refused_gives_a_typed_error_and_keeps_nothing()
    {
        long live = LiveTensors.Settled();

        long grown = Grown(tensor =>
        {
            AtenException error = Assert.Throws<AtenException>(() => s_product.Call(tensor, tensor));
            Assert.Contains("aten::mm", error.Message, StringComparison.Ordinal);
            Assert.Equal(1, tensor.select(0, 0).select(0, 0).ToSingle());
        });

        Assert.InRange(grown, long.MinValue, 4 * Megabytes);
        Assert.Equal(live, LiveTensors.Settled());
    }

    [Fact]
    public void An_unknown_operator_is_not_available_and_a_call_of_it_gives_a_typed_error_and_keeps_nothing()
    {
        Assert.False(s_unknown.IsAvailable);
        long live = LiveTensors.Settled();

        long grown = Grown(tensor =>
        {
            AtenException error = Assert.Throws<AtenException>(() => s_unknown.Call(tensor));
            Assert.Contains("aten::no_operator_has_this_name", error.Message, StringComparison.Ordinal);
        });

        Assert.InRange(grown, long.MinValue, 4 * Megabytes);
        Assert.Equal(live, LiveTensors.Settled());
    }

    [Theory]
    [InlineData("no_library_of_this_name")] // none
    [InlineData("c10")] // one of libtorch's, without the interface
    public void Without_the_exports_no_operator_is_available(string library)
    {
        AtenOperator relu = new("aten::relu", 1, () => [ones(1)], library);
        using Tensor input = ones(1);

        Assert.False(relu.IsAvailable);
        Assert.Throws<AtenException>(() => relu.Call(input));
    }

    [Fact]
    public void A_tensor_that_has_been_disposed_of_is_refused_before_anything_is_handed_over()
    {
        Tensor gone = ones(1);
        gone.Dispose();

        long grown = Grown(tensor => Assert.Throws<InvalidOperationException>(() => s_product.Call(tensor, gone)));

        Assert.InRange(grown, long.MinValue, 4 * Megabytes);
    }

    /// <summary>Megabytes of memory by which the process has grown after many calls with a large tensor each.</summary>
    private static long Grown(Action<Tensor> call)
    {
        long before = 0;
        for (int i = 0; i < Calls; i++)
        {
            using DisposeScope scope = NewDisposeScope();
            call(ones(2, Megabytes << 17));
            before = i == 0 ? Environment.WorkingSet : before;
        }

        return (Environment.WorkingSet - before) >> 20;
    }
}

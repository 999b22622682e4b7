using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Standins.TorchSharp;

/// <summary>Values, types, shapes and errors of tensors, as TorchSharp has them; every test means the same with the original.</summary>
public sealed class TensorTests
{
    [Fact]
    public void ConstructionFollowsTheTypesOfWhatIsGiven()
    {
        using DisposeScope scope = NewDisposeScope();
        Assert.Equal(int64, full([2], 1L).dtype);
        Assert.Equal(float32, full([2], 1.5).dtype);
        Assert.Equal(int64, arange(3).dtype);
        Assert.Equal(float32, arange(3.0).dtype);
        Assert.Equal(float32, arange(0, 3.0, 1).dtype);
        Assert.Equal(float64, torch.tensor(1.0).dtype);
        Assert.Equal(float32, torch.tensor(1f).dtype);
        Assert.Equal(int32, torch.tensor(1).dtype);
        Assert.Equal(int64, torch.tensor(1L).dtype);
        Assert.Equal(@bool, torch.tensor(true).dtype);
        Assert.Equal(float32, torch.tensor(new[] { 1.0 }, dtype: float32).dtype);
        Assert.Equal(float32, zeros(2).dtype);
        Assert.Equal(int64, randint(5, [2]).dtype);
        Assert.Equal(int64, randperm(4).dtype);
        Assert.Equal([2, 3], from_array(new float[2, 3]).shape);
        Assert.Equal([2L, 3, 4], zeros(2, 3, 4).shape);
        Assert.Equal([3L, 3], eye(3).shape);
        Assert.Equal(bfloat16, zeros([1], dtype: bfloat16).dtype);
        Assert.Equal(6L, zeros(2, 3).numel());
        Assert.True(zeros([1], requires_grad: true).requires_grad);
    }

    [Fact]
    public void AnArrayOfTheWrongSizeIsRefused()
    {
        Assert.ThrowsAny<Exception>(() => torch.tensor(new[] { 1f, 2f, 3f }, [2L, 2]));
    }

    [Fact]
    public void ElementsComeInOrderWhateverTheStrides()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor turned = arange(6).reshape(2, 3).t();
        Assert.Equal([0L, 3, 1, 4, 2, 5], turned.data<long>().ToArray());
        Assert.Equal(5L, turned.data<long>()[2, 1]);
        Assert.Equal([3, 2], turned.shape);
        Assert.Equal([1, 3], turned.stride());
        Assert.False(turned.is_contiguous());
        Assert.Throws<InvalidOperationException>(() => turned.bytes.Length);
        Assert.Equal(48, turned.contiguous().bytes.Length);
    }

    [Fact]
    public void ReadingWithAnotherTypeIsRefused()
    {
        using DisposeScope scope = NewDisposeScope();
        Assert.Throws<ArgumentException>(() => torch.tensor(1.0).item<float>());
        Assert.Throws<ArgumentException>(() => torch.tensor(1).item<long>());
        Assert.Throws<ArgumentException>(() => zeros(2).item<float>());
        Assert.Throws<ArgumentException>(() => torch.tensor(1.0).data<float>());
        Assert.Throws<ArgumentException>(() => zeros(2).bytes = new byte[3]);
        Assert.Equal(0.5f, torch.tensor(0.5).ToSingle());
    }

    [Fact]
    public void BytesAreTheElements()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor tensor = torch.tensor(new[] { 1f, -2f });
        Assert.Equal([1f, -2f], MemoryMarshal.Cast<byte, float>(tensor.bytes).ToArray());
        tensor.bytes = MemoryMarshal.AsBytes(new[] { 3f, 4f }.AsSpan());
        Assert.Equal([3f, 4f], tensor.data<float>().ToArray());
        tensor.data<float>().CopyFrom(new[] { 5f, 6f });
        Assert.Equal([5f, 6f], tensor.data<float>().ToArray());
    }

    [Theory]
    [InlineData(ScalarType.Float16)]
    [InlineData(ScalarType.BFloat16)]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.Float64)]
    [InlineData(ScalarType.Int64)]
    [InlineData(ScalarType.Int32)]
    [InlineData(ScalarType.Int16)]
    [InlineData(ScalarType.Int8)]
    [InlineData(ScalarType.Byte)]
    public void SmallWholeNumbersSurviveEveryType(ScalarType type)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor original = arange(10);
        Tensor there = original.to(type);
        Assert.Equal(type, there.dtype);
        Assert.True(there.to(int64).eq(original).all().item<bool>());
        Assert.Equal(45, there.sum(type: float64).item<double>());
    }

    [Fact]
    public void IndicesReadAndWriteAsInPython()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor tensor = arange(12).reshape(3, 4);
        Assert.Equal([4L, 5, 6, 7], tensor[1].data<long>().ToArray());
        Assert.Equal(6, tensor[1, 2].item<long>());
        Assert.Equal([1L, 5, 9], tensor[TensorIndex.Colon, 1].data<long>().ToArray());
        Assert.Equal([2L, 3, 6, 7, 10, 11], tensor[TensorIndex.Ellipsis, TensorIndex.Slice(2)].data<long>().ToArray());
        Assert.Equal([1, 3, 4], tensor[TensorIndex.None].shape);
        Assert.Equal([3L, 7], tensor[TensorIndex.Slice(0, 2), -1].data<long>().ToArray());
        Assert.Equal([0L, 8], tensor[TensorIndex.Slice(0, 3, 2), 0].data<long>().ToArray());
        Assert.Equal([8L, 9, 10, 11, 0, 1, 2, 3], tensor[TensorIndex.Tensor(torch.tensor(new long[] { 2, 0 }))].data<long>().ToArray());
        Assert.Equal([9L, 3], tensor.index(torch.tensor(new long[] { 2, 0 }), torch.tensor(new long[] { 1, 3 })).data<long>().ToArray());
        Assert.Equal([8L, 9, 10, 11], tensor[tensor.gt(7)].data<long>().ToArray());
        Assert.Equal([2L, 6], tensor[0..2, 2].data<long>().ToArray());

        tensor[0, 0] = torch.tensor(100L);
        tensor[TensorIndex.Slice(1, 3), TensorIndex.Slice(2, 4)] = zeros([2, 2], int64);
        tensor[tensor.eq(9)] = torch.tensor(-1L);
        Assert.Equal([100L, 1, 2, 3, 4, 5, 0, 0, 8, -1, 0, 0], tensor.data<long>().ToArray());
        Tensor counts = zeros(3);
        counts.index_put_(ones(4), [torch.tensor(new long[] { 0, 2, 2, 2 })], accumulate: true);
        Assert.Equal([1f, 0, 3], counts.data<float>().ToArray());
    }

    [Fact]
    public void WholeNumbersAndTruthValuesGiveWhatTheyShould()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor left = torch.tensor(new long[] { 12, 7, -7 });
        Tensor right = torch.tensor(new long[] { 10, 2, 2 });
        Assert.Equal([8L, 2, 0], left.bitwise_and(right).data<long>().ToArray());
        Assert.Equal([14L, 7, -5], left.bitwise_or(right).data<long>().ToArray());
        Assert.Equal([6L, 5, -5], left.bitwise_xor(right).data<long>().ToArray());
        Assert.Equal([-13L, -8, 6], left.bitwise_not().data<long>().ToArray());
        Assert.Equal([1L, 3, -4], left.floor_divide(right).data<long>().ToArray());
        Assert.Equal([1L, 3, -3], left.div(right, RoundingMode.trunc).data<long>().ToArray());
        Assert.Equal([2L, 1, 1], left.remainder(right).data<long>().ToArray());
        Assert.Equal([1.2f, 3.5f, -3.5f], left.div(right).data<float>().ToArray());
        Assert.Equal([1L, 0, 0, 0, 0, 1], nn.functional.one_hot(torch.tensor(new long[] { 0, 2 }), 3).data<long>().ToArray());
        Assert.Equal([0L, 1, 2], searchsorted(torch.tensor(new[] { 1f, 2f }), torch.tensor(new[] { 0.5f, 1.5f, 2.5f })).data<long>().ToArray());
        Assert.Equal([2.0, 3.0], linalg.eigvalsh(torch.tensor(new[] { 3.0, 0, 0, 2 }, [2L, 2])).data<double>().ToArray());
        (Tensor values, Tensor indices) = torch.tensor(new[] { 3f, 1f, 2f }).sort(descending: true);
        Assert.Equal([3f, 2, 1], values.data<float>().ToArray());
        Assert.Equal([0L, 2, 1], indices.data<long>().ToArray());
    }

    [Fact]
    public void ScalarsKeepTheirKind()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor whole = torch.tensor(new long[] { 1, 2 });
        Assert.Equal(int64, (whole + 1).dtype);
        Assert.Equal(float32, (whole + 0.5).dtype);
        Assert.Equal(int64, (whole * 3).dtype);
        Assert.Equal([0L, -1], (1 - whole).data<long>().ToArray());
        Assert.Equal([2f, 1f], (2.0 / whole).data<float>().ToArray());
        Assert.Equal([false, true], (whole > 1).data<bool>().ToArray());
        Assert.Equal(float32, (zeros(1) + 1.0).dtype);
        Assert.Equal(bfloat16, (zeros([1], bfloat16) * 0.5).dtype);
    }

    [Fact]
    public void InPlaceReturnsTheSameObjectAndViewsShareMemory()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor tensor = zeros(2, 2);
        Assert.Same(tensor, tensor.add_(1));
        tensor.view(4)[3].fill_(7);
        Assert.Equal(7, tensor[1, 1].item<float>());
        Tensor copy = tensor.clone();
        copy.zero_();
        Assert.Equal(7, tensor[1, 1].item<float>());
    }

    [Fact]
    public void ADisposedTensorSaysSo()
    {
        Tensor tensor = zeros(1);
        tensor.Dispose();
        tensor.Dispose();
        Assert.True(tensor.IsInvalid);
        Assert.Throws<InvalidOperationException>(() => tensor.shape);
        Assert.Throws<InvalidOperationException>(() => tensor.add(1));
        using Tensor other = zeros(1);
        Assert.Throws<InvalidOperationException>(() => other.add(tensor));
    }

    public static TheoryData<string, Action, string> WrongCalls => new()
    {
        { "mm", () => zeros(2, 3).mm(zeros(2, 3)), "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)" },
        { "view", () => zeros(2, 3).view(7), "shape '[7]' is invalid for input of size 6" },
        { "cat", () => cat([zeros(2, 3), zeros(2, 4)]), "Sizes of tensors must match except in dimension 0" },
        { "index", () => zeros(3).index_select(0, torch.tensor(new long[] { 5 })), "index out of range" },
        { "add", () => zeros(2).add(zeros(3)), "must match the size" },
        { "squeeze", () => zeros(2).sum(dim: 4), "Dimension out of range" },
        { "grad", () => zeros(2).backward(), "does not require grad" },
        { "einsum", () => einsum("ij,jk->il", zeros(2, 3), zeros(3, 4)), "einsum()" },
        { "type", () => zeros(2, 2).mm(zeros([2, 2], float64)), "expected" },
        { "leaf", () => zeros([2], requires_grad: true).add_(1), "a leaf Variable that requires grad" },
        { "embedding", () => nn.Embedding(3, 2).call(torch.tensor(new long[] { 3 })), "index out of range in self" },
        { "whole", () => zeros([2], int64).requires_grad_(true), "floating point" },
        { "stack", () => stack([]), "non-empty" },
    };

    [Theory]
    [MemberData(nameof(WrongCalls))]
    public void AWrongCallIsAnExceptionWithLibtorchsMessage(string name, Action wrong, string message)
    {
        using DisposeScope scope = NewDisposeScope();
        ExternalException fault = Assert.Throws<ExternalException>(wrong);
        Assert.True(fault.Message.Contains(message, StringComparison.Ordinal), $"{name}: {fault.Message}");

        // And the process lives on.
        Assert.Equal(2f, ones(2).sum().item<float>());
    }

    [Fact]
    public void AttentionIsItsDefinition()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(1);
        Tensor query = randn([2, 3, 5, 4], float64, requires_grad: true);
        Tensor key = randn([2, 3, 7, 4], float64);
        Tensor value = randn([2, 3, 7, 6], float64);
        Tensor allowed = rand([5, 7]).gt(0.3);
        allowed[TensorIndex.Colon, 0] = torch.tensor(true);
        Tensor scores = query.matmul(key.transpose(-2, -1)).div(2);
        Tensor added = zeros([5, 7], float64).masked_fill(allowed.logical_not(), double.NegativeInfinity);
        Close(scores.softmax(-1).matmul(value), nn.functional.scaled_dot_product_attention(query, key, value));
        Close(scores.add(added).softmax(-1).matmul(value), nn.functional.scaled_dot_product_attention(query, key, value, allowed));
        Close(scores.add(added).softmax(-1).matmul(value), nn.functional.scaled_dot_product_attention(query, key, value, added));
        Tensor causal = ones([5, 7], @bool).tril();
        Tensor later = zeros([5, 7], float64).masked_fill(causal.logical_not(), double.NegativeInfinity);
        Close(scores.add(later).softmax(-1).matmul(value), nn.functional.scaled_dot_product_attention(query, key, value, is_casual: true));
        Assert.True(nn.functional.scaled_dot_product_attention(query, key, value, is_casual: true).requires_grad);
    }

    [Fact]
    public void CrossEntropyIgnoresAndReduces()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor logits = torch.tensor(new[] { 1.0, 2, 3, 1, 1, 1 }, [2L, 3]);
        Tensor target = torch.tensor(new long[] { 2, -1 });
        double expected = Math.Log(Math.Exp(1) + Math.Exp(2) + Math.Exp(3)) - 3;
        Assert.Equal(expected, nn.functional.cross_entropy(logits, target, ignore_index: -1).item<double>(), 12);
        Assert.Equal([expected, 0.0], nn.functional.cross_entropy(logits, target, ignore_index: -1, reduction: nn.Reduction.None).data<double>().ToArray(), (left, right) => Math.Abs(left - right) < 1e-12);
    }

    [Fact]
    public void GradientModesHoldOnTheirThreadAlone()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor weight = ones([2], requires_grad: true);
        using (no_grad())
        {
            Assert.False(is_grad_enabled());
            Assert.False(weight.mul(2).requires_grad);
            bool elsewhere = false;
            Thread thread = new(() => elsewhere = is_grad_enabled());
            thread.Start();
            thread.Join();
            Assert.True(elsewhere);
            using (enable_grad())
            {
                Assert.True(weight.mul(2).requires_grad);
            }

            Assert.False(is_grad_enabled());
        }

        Assert.True(is_grad_enabled());
        using (inference_mode())
        {
            Assert.False(weight.mul(2).requires_grad);
            Assert.True(is_inference_mode_enabled());
        }

        Assert.False(is_inference_mode_enabled());
    }

    [Fact]
    public void BackwardAddsUpAndGradReturns()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor weight = torch.tensor(new[] { 2.0, 3.0 }, requires_grad: true);
        Tensor unused = torch.tensor(new[] { 1.0 }, requires_grad: true);
        Assert.Null(weight.grad);
        weight.mul(weight).sum().backward();
        weight.mul(weight).sum().backward();
        Assert.Equal([8.0, 12.0], weight.grad!.data<double>().ToArray());
        IList<Tensor> first = autograd.grad([weight.pow(3).sum()], [weight, unused], create_graph: true, allow_unused: true);
        Assert.Equal([12.0, 27.0], first[0].data<double>().ToArray());
        Assert.True(first[1].IsInvalid);
        Assert.Equal([12.0, 18.0], autograd.grad([first[0].sum()], [weight])[0].data<double>().ToArray());
        weight.grad = null;
        Assert.Null(weight.grad);
        Assert.False(weight.detach().requires_grad);
    }

    private static void Close(Tensor expected, Tensor given) => Assert.True(expected.allclose(given, 1e-9, 1e-11), $"differs by {(expected - given).abs().max().ToDouble()}");
}

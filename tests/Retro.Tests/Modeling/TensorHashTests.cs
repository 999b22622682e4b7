using System.Security.Cryptography;
using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

public sealed class TensorHashTests
{
    [Fact]
    public void A_hash_is_that_of_the_bytes_in_order_or_of_what_is_made_of_them()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor values = randn(3, 5), turned = values.t(), nothing = zeros(0);
        Assert.Equal(SHA256.HashData(values.bytes), Hash(values));
        Assert.Equal(SHA256.HashData(turned.contiguous().bytes), Hash(turned));
        Assert.Equal(SHA256.HashData([]), Hash(nothing));
        Assert.Equal(SHA256.HashData(values.to(ScalarType.BFloat16).bytes), Hash(values, part => part.to(ScalarType.BFloat16)));
        long before = LiveTensors.Settled();
        Hash(values, part => part.to(ScalarType.BFloat16));
        Assert.Equal(before, Tensor.TotalCount);
    }

    /// <summary>The embedding of a model of seven billion weights in float32 is as large.</summary>
    [Fact]
    [Trait("Category", "Long")]
    public void More_bytes_than_a_span_holds_are_hashed()
    {
        using Tensor large = zeros((1L << 31) + 5, ScalarType.Byte);
        large[-1] = 7;
        using IncrementalHash expected = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] block = new byte[1 << 20];
        for (int i = 0; i < 1 << 11; i++)
        {
            expected.AppendData(block);
        }

        expected.AppendData([0, 0, 0, 0, 7]);
        Assert.Equal(expected.GetHashAndReset(), Hash(large));
    }

    private static byte[] Hash(Tensor values, Func<Tensor, Tensor>? part = null)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendTensor(values, part);
        return hash.GetHashAndReset();
    }
}

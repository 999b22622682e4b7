using Retro.Modeling;
using Retro.Tests.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

/// <summary>Attention of single queries beside its definition in float64.</summary>
public sealed class TokenAttentionTests
{
    /// <summary>Heads that share keys, several sequences, sizes that fill no register, keys of a cache with room to spare, on one thread and several.</summary>
    [Theory]
    [InlineData(4, 4, 1, 7, 64, 1)]
    [InlineData(4, 2, 3, 70, 33, 2)]
    [InlineData(6, 1, 2, 200, 40, 1)]
    [InlineData(2, 2, 1, 5000, 128, 3)]
    [InlineData(1, 1, 1, 1, 5, 1)]
    public void It_gives_what_float64_gives(int heads, int groups, int rows, int keys, int size, int threads)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        using ThreadCount set = new(threads);
        manual_seed(keys);
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            Tensor q = randn(heads, rows, 1, size).to_type(type), k = randn(groups, rows, keys + 9, size).to_type(type).narrow(2, 0, keys);
            Tensor v = randn(groups, rows, keys + 3, size).to_type(type).narrow(2, 0, keys);
            Tensor hidden = rand(1, rows, 1, keys).lt(0.3f);
            hidden.narrow(3, 0, 1).zero_();
            Tensor mask = zeros(1, rows, 1, keys).masked_fill(hidden, float.NegativeInfinity).to_type(type);
            Tensor positions = randn(heads * rows, 1, keys).to_type(type);
            foreach ((Tensor? hiding, Tensor? adding) in new (Tensor?, Tensor?)[]
            {
                (null, null), (mask, null), (null, positions), (mask, positions), (mask.narrow(1, 0, 1), null),
            })
            {
                Assert.True(TokenAttention.Takes(q, k, v, hiding));
                Tensor attended = AttentionKernel.Attend(q, k, v, hiding, false, adding, adding?.shape);
                Assert.Equal(type, attended.dtype);
                Assert.Equal([rows, 1, heads * size], attended.shape);
                Tensor exact = Defined(q, k, v, hiding, adding);
                double off = (attended.to_type(ScalarType.Float64) - exact).abs().max().item<double>();
                Assert.InRange(off, 0, type == ScalarType.Float32 ? 1e-5 : exact.abs().max().item<double>() * Math.Pow(2, -8));
            }
        }
    }

    [Fact]
    public void A_sequence_gives_the_same_bits_whatever_others_there_are()
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        manual_seed(3);
        Tensor q = randn(4, 5, 1, 32), k = randn(2, 5, 90, 32), v = randn(2, 5, 90, 32);
        Tensor all = TokenAttention.Attend(q, k, v, null, null);
        for (int row = 0; row < 5; row++)
        {
            Tensor alone = TokenAttention.Attend(q.narrow(1, row, 1), k.narrow(1, row, 1), v.narrow(1, row, 1), null, null);
            Assert.True(alone.equal(all.narrow(0, row, 1)).all().item<bool>());
        }
    }

    /// <summary>What lies beside a row's keys is no number here: another row's, room that is not used yet, and what a window has passed.</summary>
    [Theory]
    [InlineData(ScalarType.Float32, null)]
    [InlineData(ScalarType.Float32, 16)]
    [InlineData(ScalarType.BFloat16, null)]
    public void A_row_of_a_cache_reads_its_own_keys_alone(ScalarType type, int? window)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        manual_seed(4);
        CacheLayout layout = new(RetroConfig.Tiny with { SlidingWindow = window }, [89, 2, 39], [7, 1, 3]);
        using DecodingPass pass = new([91, 3, 40], tensor(new long[] { 90, 2, 39 }), window, layout);
        Assert.Equal(window is null ? [91, 3, 40] : [16, 3, 16], pass.Counts);
        Tensor q = randn(4, 3, 1, 32).to_type(type), k = full([2, layout.Places, 32], double.NaN, type), v = k.clone();
        Tensor positions = randn(4, 3, pass.KeyCount).to_type(type);
        foreach (Tensor states in new[] { k, v })
        {
            for (int row = 0; row < 3; row++)
            {
                states.narrow(1, pass.Begin(row), pass.Counts[row]).normal_();
            }
        }

        Tensor all = TokenAttention.Attend(q, k, v, null, positions, pass), seen = pass.Seen(k);
        for (int row = 0; row < 3; row++)
        {
            Tensor keys = k.narrow(1, pass.Begin(row), pass.Counts[row]).unsqueeze(1), values = v.narrow(1, pass.Begin(row), pass.Counts[row]).unsqueeze(1);
            Tensor alone = TokenAttention.Attend(
                q.narrow(1, row, 1), keys, values, null, positions.narrow(1, row, 1).narrow(2, 0, pass.Counts[row]));
            Assert.True(alone.equal(all.narrow(0, row, 1)).all().item<bool>());
            Assert.True(seen.narrow(1, row, 1).narrow(2, 0, pass.Counts[row]).equal(keys).all().item<bool>());
        }
    }

    [Fact]
    public void What_it_cannot_compute_is_left_to_libtorch()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor q = randn(2, 1, 1, 8), k = randn(2, 1, 4, 8), mask = zeros(2, 1, 1, 4);
        Assert.False(TokenAttention.Takes(q, k, k, null)); // a gradient may be asked for
        using IDisposable noGradients = no_grad();
        Assert.True(TokenAttention.Takes(q, k, k, null));
        Assert.False(TokenAttention.Takes(q, k, k, mask)); // one for each head
        Assert.False(TokenAttention.Takes(randn(2, 1, 2, 8), k, k, null));
        Assert.False(TokenAttention.Takes(q.to_type(ScalarType.Float64), k, k, null));
        Assert.False(TokenAttention.Takes(q, randn(2, 1, 8, 4).transpose(2, 3), k, null));
        Assert.Equal([1, 1, 16], AttentionKernel.Attend(q, k, k, mask, false, null, null).shape);
    }

    [Theory]
    [InlineData(0f)]
    [InlineData(-2.5f)]
    [InlineData(1.00390625f)]
    [InlineData(1.01171875f)]
    [InlineData(3.4e38f)]
    [InlineData(float.PositiveInfinity)]
    [InlineData(float.NaN)]
    [InlineData(1e-40f)]
    public void Bfloat16_is_rounded_as_libtorch_rounds(float number)
    {
        using DisposeScope scope = NewDisposeScope();
        float rounded = BFloat16Format.Read(BFloat16Format.Nearest(number));
        Assert.Equal(tensor(number).to_type(ScalarType.BFloat16).to_type(ScalarType.Float32).item<float>(), rounded);
    }

    private static Tensor Defined(Tensor q, Tensor k, Tensor v, Tensor? mask, Tensor? positions)
    {
        long heads = q.shape[0], rows = q.shape[1], shared = heads / k.shape[0], keys = k.shape[2];
        Tensor Wide(Tensor x) => x.to_type(ScalarType.Float64).repeat_interleave(shared, 0);
        Tensor logits = q.to_type(ScalarType.Float64).matmul(Wide(k).transpose(-2, -1)) / Math.Sqrt(q.shape[3]);
        logits = positions is null ? logits : logits + positions.to_type(ScalarType.Float64).view(heads, rows, 1, keys);
        logits = mask is null ? logits : logits + mask.to_type(ScalarType.Float64);
        return logits.softmax(-1).matmul(Wide(v)).permute(1, 2, 0, 3).reshape(rows, 1, -1);
    }
}

using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

/// <summary>
/// Both ways to attend, the fused operator and the explicit form, against the definition; whichever libtorch is there, the other one must be right too.
/// </summary>
public class AttentionKernelTests
{
    private const long Heads = 3, Batch = 2, Queries = 4, Keys = 5, Size = 6;

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public void Both_forms_are_the_definition_with_mask_and_position_term(bool masked, bool positioned)
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(1);
        Tensor q = Random(Heads, Batch, Queries, Size), k = Random(Heads, Batch, Keys, Size), v = Random(Heads, Batch, Keys, Size);
        Tensor hidden = zeros([1, Batch, Queries, Keys], ScalarType.Float64);
        hidden.select(1, 1).narrow(2, 3, 2).fill_(-1e9);
        hidden.select(1, 0).select(1, 0).narrow(1, 0, 1).fill_(-1e9);
        Tensor? mask = masked ? hidden : null, positions = positioned ? Random(Heads * Batch, Queries, Keys) : null;
        long[]? shape = positions?.shape;

        Tensor logits = (q.unsqueeze(3) * k.unsqueeze(2)).sum(-1) / Math.Sqrt(Size);
        logits = positions is null ? logits : logits + positions.view(Heads, Batch, Queries, Keys);
        Tensor weights = (mask is null ? logits : logits + mask).exp();
        Tensor expected = ((weights / weights.sum(-1, keepdim: true)).unsqueeze(-1) * v.unsqueeze(2)).sum(3);

        Assert.InRange(ModelCase.Distance(AttentionKernel.Explicit(q, k, v, mask, positions, shape), expected), 0, 1e-12);
        Assert.InRange(ModelCase.Distance(AttentionKernel.Fused(q, k, v, mask, false, positions, shape), expected), 0, 1e-12);
        Assert.InRange(
            ModelCase.Distance(AttentionKernel.Attend(q, k, v, mask, false, positions, shape), expected.permute(1, 2, 0, 3).reshape(Batch, Queries, -1)),
            0,
            1e-12);
    }

    [Fact]
    public void Both_forms_pass_the_same_gradients()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(2);
        Tensor[] inputs = [Random(Heads, Batch, Queries, Size), Random(Heads, Batch, Keys, Size), Random(Heads, Batch, Keys, Size)];
        Tensor mask = zeros([1, 1, Queries, Keys], ScalarType.Float64);
        mask.select(2, 1).narrow(2, 2, 3).fill_(-1e9);
        Tensor direction = Random(Heads, Batch, Queries, Size);
        Tensor[][] gradients = [.. new[] { false, true }.Select(fused =>
        {
            Tensor[] leaves = [.. inputs.Select(input => input.clone().requires_grad_(true))];
            Tensor output = fused
                ? AttentionKernel.Fused(leaves[0], leaves[1], leaves[2], mask, false, null, null)
                : AttentionKernel.Explicit(leaves[0], leaves[1], leaves[2], mask, null, null);
            (output * direction).sum().backward();
            return leaves.Select(leaf => leaf.grad!).ToArray();
        })];

        Assert.All(gradients[0].Zip(gradients[1]), pair => Assert.InRange(ModelCase.Distance(pair.First, pair.Second), 0, 1e-12));
        Assert.All(gradients[0], gradient => Assert.True(gradient.abs().max().ToDouble() > 1e-3));
    }

    [Fact]
    public void Heads_that_share_keys_attend_as_if_the_keys_were_copied()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(3);
        Tensor q = Random(4, Batch, Queries, Size), k = Random(2, Batch, Keys, Size), v = Random(2, Batch, Keys, Size), positions = Random(4
            * Batch, Queries, Keys);

        Tensor shared = AttentionKernel.Attend(q, k, v, null, false, positions, positions.shape);
        Tensor copied = AttentionKernel.Attend(q, k.repeat_interleave(2, 0), v.repeat_interleave(2, 0), null, false, positions, positions.shape);

        Assert.InRange(ModelCase.Distance(shared, copied), 0, 1e-12);
    }

    /// <summary>Of one block, of whole blocks and of a block that is left over, with keys of their own and shared ones.</summary>
    [Theory]
    [InlineData(1, 1, null)]
    [InlineData(40, 1, null)]
    [InlineData(256, 2, null)]
    [InlineData(301, 1, null)]
    [InlineData(1100, 2, null)]
    [InlineData(40, 2, 1)]
    [InlineData(301, 1, 7)]
    [InlineData(301, 1, 10)]
    [InlineData(301, 2, 128)]
    [InlineData(1100, 1, 129)]
    [InlineData(1100, 2, 500)]
    public void What_a_query_does_not_see_is_left_out_as_a_mask_would_hide_it(long tokens, long shared, int? window)
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(5);
        Tensor q = Random(2, Batch, tokens, Size).requires_grad_(), direction = Random(Batch, tokens, 2 * Size);
        Tensor k = Random(2 / shared, Batch, tokens, Size).requires_grad_(), v = Random(2 / shared, Batch, tokens, Size).requires_grad_();
        Tensor mask = AttentionPlan.BandMask(tokens, 0, window, ScalarType.Float64, CPU).repeat(1, 1, shared, 1);
        Tensor masked = AttentionKernel.Attend(q, k, v, mask, false, null, null), skipped = AttentionKernel.Attend(q, k, v, null, true, null, null, window);
        Tensor Own(Tensor x) => x.repeat_interleave(shared, 0);
        Tensor blocks = AttentionKernel.CausalBlocks(q, Own(k), Own(v), window, fused: false).permute(1, 2, 0, 3).reshape(Batch, tokens, 2 * Size);
        IList<Tensor> expected = autograd.grad([masked], [q, k, v], [direction]);
        foreach (Tensor attended in new[] { skipped, blocks })
        {
            Assert.InRange(ModelCase.Distance(attended, masked), 0, 1e-12);
            Assert.All(
                expected.Zip(autograd.grad([attended], [q, k, v], [direction])),
                pair => Assert.InRange(ModelCase.Distance(pair.Second, pair.First), 0, 1e-12));
        }

        // In bfloat16, where it is taken, as near as its rounding.
        Tensor Rounded(Tensor x) => x.detach().to_type(ScalarType.BFloat16);
        Tensor near = AttentionKernel.Attend(Rounded(q), Rounded(k), Rounded(v), null, true, null, null, window);
        Assert.InRange(ModelCase.Distance(near.to_type(ScalarType.Float64), masked.detach()), 0, 0.03);
    }

    [Fact]
    public void The_processors_kernel_gives_its_sums() => Assert.True(AttentionKernel.FlashOfProcessor.IsAvailable);

    /// <summary>Queries that stand behind keys of others, as those of a piece of text do.</summary>
    [Theory]
    [InlineData(1, 5, 1, null)]
    [InlineData(3, 8, 2, null)]
    [InlineData(40, 301, 1, null)]
    [InlineData(301, 3, 2, null)]
    [InlineData(1100, 517, 1, null)]
    [InlineData(1, 3, 1, 4)]
    [InlineData(1, 20, 1, 5)]
    [InlineData(1, 20, 2, 5)]
    [InlineData(40, 6, 2, 7)]
    [InlineData(301, 127, 1, 128)]
    [InlineData(1100, 130, 2, 500)]
    public void Queries_behind_other_keys_see_those_too(long tokens, long earlier, long shared, int? window)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        manual_seed(6);
        Tensor q = Random(2, Batch, tokens, Size), k = Random(2 / shared, Batch, earlier + tokens, Size), v = Random(2 / shared, Batch, earlier + tokens, Size);
        Tensor mask = AttentionPlan.BandMask(tokens, earlier, window, ScalarType.Float64, CPU).repeat(1, 1, shared, 1);
        Tensor masked = AttentionKernel.Attend(q, k, v, mask, false, null, null), skipped = AttentionKernel.Attend(q, k, v, null, true, null, null, window);
        Tensor Own(Tensor x) => x.repeat_interleave(shared, 0);
        Tensor blocks = AttentionKernel.CausalBlocks(q, Own(k), Own(v), window, fused: false).permute(1, 2, 0, 3).reshape(Batch, tokens, 2 * Size);
        Assert.InRange(ModelCase.Distance(skipped, masked), 0, 1e-12);
        Assert.InRange(ModelCase.Distance(blocks, masked), 0, 1e-12);
        foreach ((ScalarType dtype, double most) in new[] { (ScalarType.Float32, 1e-5), (ScalarType.BFloat16, 0.03), (ScalarType.Float16, 0.004) })
        {
            Tensor Short(Tensor x) => x.to_type(dtype);
            Tensor rounded = AttentionKernel.Attend(Short(q), Short(k), Short(v), null, true, null, null, window).to_type(ScalarType.Float64);
            Assert.InRange(ModelCase.Distance(rounded, masked), 0, most);
        }
    }

    private static Tensor Random(params long[] shape) => randn(shape, ScalarType.Float64);
}

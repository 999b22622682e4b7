using Retro.Modeling;
using Retro.Optimization;
using Retro.Tests.Modeling;
using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

public class PaddingTests
{
    private const double Rounding = 1e-11;

    public static IEnumerable<TheoryDataRow<string>> Names => ModelCase.Names;

    [Fact]
    public void Rows_are_packed_and_come_back_with_zeros()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor padding = zeros([2, 40], ScalarType.Bool);
        padding[0, TensorIndex.Slice(5, 16)] = tensor(true);
        padding[1, TensorIndex.Slice(0, 3)] = tensor(true);
        padding[1, TensorIndex.Slice(30, 40)] = tensor(true);
        Tensor x = rand([2, 40, 3], ScalarType.Float64);

        PackedRows rows = PackedRows.Of(padding)!;
        Tensor packed = rows.Pack(x);

        Assert.Equal([2, 32, 3], packed.shape);
        Assert.True(ModelCase.BitEqual(cat([x[0, TensorIndex.Slice(0, 5)], x[0, TensorIndex.Slice(16, 40)], zeros([3, 3], ScalarType.Float64)]), packed[0]));
        Assert.True(ModelCase.BitEqual(cat([x[1, TensorIndex.Slice(3, 30)], zeros([5, 3], ScalarType.Float64)]), packed[1]));
        Assert.True(ModelCase.BitEqual(x * padding.logical_not().unsqueeze(-1), rows.Unpack(packed)));
        Assert.Null(PackedRows.Of(null));
        Assert.Null(PackedRows.Of(zeros([2, 4], ScalarType.Bool)));
        Assert.Null(PackedRows.Of(ones([2, 4], ScalarType.Bool)));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void A_documents_tokens_are_predicted_as_if_the_padding_before_it_were_not_there(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        int chunk = config.Retrieval!.ChunkLength, held = (2 * chunk) - 1, length = 4 * chunk;
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(config);
        model.train();
        Tensor tokens = ModelCase.Tokens(config, 1, length), padding = zeros([1, length], ScalarType.Bool);
        padding[0, held] = tensor(true); // the last of the second chunk
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 1, length, 2);
        valid[0, TensorIndex.Slice(0, 2)] = tensor(false); // only the third chunk has neighbors
        valid[0, 2] = tensor(true);
        neighbors = neighbors.narrow(1, 0, 3);
        valid = valid.narrow(1, 0, 3);

        Tensor states = model.Decode(tokens, PassNeighbors.Of(neighbors, valid), rows: PackedRows.Of(padding)).States;

        // The same text without the padding: of the plain decoder, up to where neighbors come in.
        Tensor whole = cat([tokens.narrow(1, 0, held), tokens.narrow(1, held + 1, length - held - 1)], 1);
        Tensor plain = model.Decode(whole, null).States;
        long before = (3 * chunk) - 1;
        Assert.InRange(ModelCase.Distance(plain.narrow(1, 0, held), states.narrow(1, 0, held)), 0, Rounding);
        Assert.InRange(ModelCase.Distance(plain.narrow(1, held, before - held - 1), states.narrow(1, held + 1, before - held - 1)), 0, Rounding);
        Assert.Equal(0, states[0, held].abs().max().ToDouble());
        // And the neighbors of the third chunk are read by those after it, at the place where chunks have them.
        Assert.True(ModelCase.Distance(plain.narrow(1, before - 1, 1), states.narrow(1, before, 1)) > 1e-6);

        // Nothing depends on what stands in the padding.
        Tensor other = tokens.clone();
        other[0, held] = tensor((tokens[0, held].item<long>() + 1) % config.VocabularySize);
        if (!config.Retrieval.MatchBias)
        {
            Assert.InRange(ModelCase.Distance(model.Decode(other, PassNeighbors.Of(neighbors, valid), rows: PackedRows.Of(padding)).States, states), 0, 0);
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void A_step_has_the_gradient_of_the_targets_outside_of_padding(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        int chunk = config.Retrieval!.ChunkLength, length = 4 * chunk;
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(config);
        Tensor tokens = ModelCase.Tokens(config, 2, length), padding = zeros([2, length], ScalarType.Bool);
        padding[0, TensorIndex.Slice(chunk - 1, chunk)] = tensor(true);
        padding[1, TensorIndex.Slice((3 * chunk) + 1, length)] = tensor(true);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 2, length, 2);
        using TrainingBatch batch = new(tokens, neighbors, valid, Padding: padding);
        Tensor counts = padding.logical_not().logical_and(padding.roll(1, 1).logical_not());
        Tensor normed = model.Normed(model.Decode(tokens, PassNeighbors.Of(neighbors, valid), rows: PackedRows.Of(padding)).States);
        Tensor mean = LogLikelihood.MeanLoss(model.Head(normed), LogLikelihood.Targets(tokens, counts));
        foreach (bool recompute in new[] { false, true })
        {
            using RetroOptimizer optimizer = new(model);
            IList<Tensor> expected = autograd.grad([mean], ((ITrainingOptimizer)optimizer).Parameters, retain_graph: true, allow_unused: true);

            (Tensor loss, long targets, _) = new StepGradients(model, optimizer, new(), 0, recompute).Add(
                [StepBatch.Of(model, batch)], 0, FinalizerGate.IsNeededFor(model));

            Assert.Equal(mean.item<double>(), loss.item<double>(), Rounding);
            Assert.Equal(counts.narrow(1, 1, length - 1).sum().item<long>(), targets);
            Assert.All(
                expected.Zip(((ITrainingOptimizer)optimizer).GradientSums).Where(pair => !pair.First.IsInvalid),
                pair => Assert.InRange(ModelCase.Distance(pair.First, pair.Second!), 0, Rounding * (1 + pair.First.abs().max().ToDouble())));
            optimizer.ClearGradients();
        }
    }

    [Fact]
    public void Padding_of_another_shape_is_refused()
    {
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = new(SmallModel.Config);
        using RetroOptimizer optimizer = new(model);
        TrainingBatch batch = new(ModelCase.Tokens(SmallModel.Config, 2, 16), Padding: zeros([2, 15], ScalarType.Bool));

        StepGradients gradients = new(model, optimizer, new(), 0);
        Assert.Throws<ShapeException>(() => gradients.Add([StepBatch.Of(model, batch)], 0, FinalizerGate.IsNeededFor(model)));
    }
}

using Retro.Modeling;
using Retro.Optimization;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

public sealed class ParameterKindsTests
{
    [Theory]
    [InlineData(PositionKind.Rotary)]
    [InlineData(PositionKind.TransformerXl)]
    [InlineData(PositionKind.Learned)]
    public void Muon_moves_the_matrices_of_a_models_branches_and_neither_tables_nor_norms_nor_biases(PositionKind positions)
    {
        RetroConfig config = RetroConfig.Tiny with
        {
            Positions = positions,
            MaximumLength = 64,
            QueryKeyValueBias = true,
            Retrieval = RetroConfig.Tiny.Retrieval! with
            {
                CrossAttentionRank = 2,
                ShiftedKeys = true,
                MatchBias = true,
                Encoder = RetroConfig.Tiny.Retrieval!.Encoder with { ShareEmbedding = false }
            },
        };
        using RetroModel model = new(config);
        using RetroOptimizer optimizer = new(model, new() { Kind = OptimizerKind.Muon });

        // The rule by names that trainings were begun with: theirs go on with the same memory.
        static bool ByName(string name, Tensor parameter)
            => parameter.dim() == 2
                && name.EndsWith(".weight", StringComparison.Ordinal)
                && !name.Split('.').Any(part => part is "head" or "positions" or "embedding");
        string[] expected = [.. model.named_parameters().Where(pair => ByName(pair.name, pair.parameter)).Select(pair => pair.name)];
        Assert.Equal(expected, optimizer.MuonNames);
        Assert.True(expected.Length > 20);
        Assert.True(expected.Length < optimizer.ParameterNames.Count());
    }

    [Fact]
    public void Another_modules_tables_are_told_by_its_embeddings()
    {
        using Sequential module = nn.Sequential(("table", nn.Embedding(4, 3)), ("map", nn.Linear(3, 2)));

        Assert.Equal(
            [("table.weight", ParameterKind.Embedding), ("map.weight", ParameterKind.Matrix), ("map.bias", ParameterKind.Bias)],
            ParameterKinds.Of(module).Select(parameter => (parameter.Name, parameter.Kind)));
    }
}

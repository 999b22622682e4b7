using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Tests.Modeling;

namespace Retro.Tests.Checkpoints;

public class RetroConfigJsonTests
{
    [Fact]
    public void Every_configuration_comes_back_equal()
    {
        foreach (RetroConfig config in RetroConfig.Presets.Values.Concat(ModelCase.Names.Select(row => ModelCase.Config(row.Data))))
        {
            Assert.Equal(config, RetroConfigJson.Read(RetroConfigJson.Write(config)));
        }
    }

    [Fact]
    public void Optional_keys_that_are_missing_take_their_defaults()
    {
        RetroConfig config = RetroConfigJson.Read(
            """{"model_type": "retro", "format_version": 2, "vocabulary_size": 10, "width": 8, "layers": 1, "heads": 1, "head_size": 8, "feed_forward_size": 16}""");

        Assert.Equal(new RetroConfig { VocabularySize = 10, Width = 8, Layers = 1, Heads = 1, HeadSize = 8, FeedForwardSize = 16 }, config);
        Assert.Null(config.Retrieval);
        Assert.Equal(1e-6, config.NormEpsilon);
    }

    [Fact]
    public void Sizes_that_no_model_has_are_refused_before_anything_is_made()
    {
        RetroOptionsException fault = Assert.Throws<RetroOptionsException>(() =>
            (RetroConfig.Tiny with { Width = int.MaxValue, Layers = 1_000_000, VocabularySize = int.MaxValue }).Validate());
        Assert.All(
            ["Width is 2147483647", "Layers is 1000000", "VocabularySize is 2147483647"],
            named => Assert.Contains(named, fault.Message, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("[]", "no JSON object")]
    [InlineData("{", "cannot be read")]
    [InlineData("""{"model_type": "llama"}""", "\"llama\"")]
    [InlineData("""{"hidden_size": 4}""", "got none")]
    [InlineData("""{"model_type": "retro"}""", "format_version")]
    [InlineData("""{"model_type": "retro", "format_version": 1}""", "version 1")]
    [InlineData("""{"model_type": "retro", "format_version": 7}""", "version 7")]
    [InlineData("""{"model_type": "retro", "format_version": 2, "width": 8, "layers": 1, "heads": 1, "feed_forward_size": 16}""", "vocabulary_size, head_size")]
    [InlineData("""{"model_type": "retro", "format_version": 2, "vocabulary_size": 10, "width": 8, "layers": 1, "heads": 1, "head_size": 8, "feed_forward_size": 16, "wdth": 3}""", "wdth")]
    [InlineData("""{"model_type": "retro", "format_version": 2, "vocabulary_size": 10, "width": "8", "layers": 1, "heads": 1, "head_size": 8, "feed_forward_size": 16}""", "width")]
    [InlineData("""{"model_type": "retro", "format_version": 2, "vocabulary_size": 10, "width": 8, "layers": 1, "heads": 1, "head_size": 8, "feed_forward_size": 16, "norm": "batch_norm"}""", "norm")]
    [InlineData("""{"model_type": "retro", "format_version": 2, "vocabulary_size": 10, "width": 8, "layers": 1, "heads": 1, "head_size": 8, "feed_forward_size": 16, "cross_attention_layers": null}""", "cannot be read")]
    public void What_cannot_be_read_is_named(string json, string expected)
    {
        Assert.Contains(expected, Assert.Throws<CheckpointException>(() => RetroConfigJson.Read(json)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Values_that_contradict_each_other_are_refused()
    {
        Assert.Throws<CheckpointException>(() => RetroConfigJson.Read(
            """{"model_type": "retro", "format_version": 2, "vocabulary_size": 10, "width": 8, "layers": 1, "heads": 1, "head_size": 7, "feed_forward_size": 16}"""));
    }
}

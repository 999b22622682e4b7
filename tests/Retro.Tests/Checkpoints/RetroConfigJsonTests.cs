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
            """{"model_type": "retro", "format_version": 1, "vocabulary_size": 10, "width": 8, "layers": 1, "heads": 1, "head_size": 8, "feed_forward_size": 16}""");

        Assert.Equal(new RetroConfig { VocabularySize = 10, Width = 8, Layers = 1, Heads = 1, HeadSize = 8, FeedForwardSize = 16 }, config);
        Assert.Null(config.Retrieval);
        Assert.Equal(1e-6, config.NormEpsilon);
    }

    [Fact]
    public void The_first_format_which_did_not_nest_is_read()
    {
        RetroConfig config = RetroConfigJson.Read(
            """
            {"model_type": "retro", "format_version": 1, "vocabulary_size": 10, "width": 8, "layers": 2, "heads": 1, "head_size": 8, "feed_forward_size": 16,
             "chunk_length": 4, "retrieved_length": 6, "neighbors": 3, "cross_attention_layers": [2], "encoder_width": 12, "encoder_layers": 1, "encoder_heads": 2, "encoder_head_size": 6,
             "encoder_feed_forward_size": 24, "encoder_cross_attention_layers": [], "retrieval_positions": "transformer_xl", "share_encoder_embedding": true, "encoder_final_norm": false, "shifted_keys": true,
             "cross_attention_rank": 2, "encoder_dropout": 0.1, "zero_cross_attention_output": true}
            """);

        RetrievalConfig expected = new()
        {
            ChunkLength = 4,
            RetrievedLength = 6,
            Neighbors = 3,
            CrossAttentionLayers = [2],
            Positions = PositionKind.TransformerXl,
            ShiftedKeys = true,
            CrossAttentionRank = 2,
            ZeroOutput = true,
            Encoder = new()
            {
                Width = 12,
                Layers = 1,
                Heads = 2,
                HeadSize = 6,
                FeedForwardSize = 24,
                CrossAttentionLayers = [],
                ShareEmbedding = true,
                FinalNorm = false,
                Dropout = 0.1
            },
        };
        Assert.Equal(
            new RetroConfig { VocabularySize = 10, Width = 8, Layers = 2, Heads = 1, HeadSize = 8, FeedForwardSize = 16, Retrieval = expected }, config);
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
    [InlineData("""{"model_type": "retro", "format_version": 7}""", "version 7")]
    [InlineData("""{"model_type": "retro", "format_version": 1, "width": 8, "layers": 1, "heads": 1, "feed_forward_size": 16}""", "vocabulary_size, head_size")]
    [InlineData("""{"model_type": "retro", "format_version": 1, "vocabulary_size": 10, "width": 8, "layers": 1, "heads": 1, "head_size": 8, "feed_forward_size": 16, "wdth": 3}""", "wdth")]
    [InlineData("""{"model_type": "retro", "format_version": 1, "vocabulary_size": 10, "width": "8", "layers": 1, "heads": 1, "head_size": 8, "feed_forward_size": 16}""", "width")]
    [InlineData("""{"model_type": "retro", "format_version": 1, "vocabulary_size": 10, "width": 8, "layers": 1, "heads": 1, "head_size": 8, "feed_forward_size": 16, "norm": "batch_norm"}""", "norm")]
    [InlineData("""{"model_type": "retro", "format_version": 1, "vocabulary_size": 10, "width": 8, "layers": 1, "heads": 1, "head_size": 8, "feed_forward_size": 16, "cross_attention_layers": null}""", "cannot be read")]
    public void What_cannot_be_read_is_named(string json, string expected)
    {
        Assert.Contains(expected, Assert.Throws<CheckpointException>(() => RetroConfigJson.Read(json)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Values_that_contradict_each_other_are_refused()
    {
        Assert.Throws<RetroOptionsException>(() => RetroConfigJson.Read(
            """{"model_type": "retro", "format_version": 1, "vocabulary_size": 10, "width": 8, "layers": 1, "heads": 1, "head_size": 7, "feed_forward_size": 16}"""));
    }
}

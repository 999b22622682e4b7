using Retro.Modeling;

namespace Retro.Tests.Modeling;

public class RetroConfigTests
{
    [Theory]
    [InlineData(nameof(RetroConfig.Paper172M), "172.49")]
    [InlineData(nameof(RetroConfig.Paper425M), "425.46")]
    [InlineData(nameof(RetroConfig.Paper1451M), "1451.36")]
    [InlineData(nameof(RetroConfig.Paper7532M), "7531.53")]
    public void P30_parameter_counts_are_the_papers(string preset, string millions)
    {
        ParameterCounts counts = RetroConfig.Presets[preset].CountParameters();

        Assert.Equal(millions, (counts.Matrices / 1e6).ToString("F2", System.Globalization.CultureInfo.InvariantCulture));
    }

    [Theory]
    [InlineData(nameof(RetroConfig.Paper172M), "132.12")]
    [InlineData(nameof(RetroConfig.Paper425M), "368.05")]
    [InlineData(nameof(RetroConfig.Paper1451M), "1308.62")]
    [InlineData(nameof(RetroConfig.Paper7532M), "6979.32")]
    public void P30_baseline_counts_without_retrieval_are_the_papers(string preset, string millions)
    {
        ParameterCounts counts = (RetroConfig.Presets[preset] with { Retrieval = null }).CountParameters();

        Assert.Equal(millions, (counts.Matrices / 1e6).ToString("F2", System.Globalization.CultureInfo.InvariantCulture));
    }

    [Theory]
    [InlineData(nameof(RetroConfig.Nvidia148M), 148)]
    [InlineData(nameof(RetroConfig.Nvidia410M), 410)]
    [InlineData(nameof(RetroConfig.Nvidia1500M), 1500)]
    [InlineData(nameof(RetroConfig.Nvidia9500M), 9500)]
    public void Nvidias_models_have_the_size_of_their_name(string preset, long millions)
    {
        double total = RetroConfig.Presets[preset].CountParameters().Total / 1e6;

        Assert.InRange(total, 0.97 * millions, 1.03 * millions);
    }

    /// <summary>Layers that are others, but as many, have the same number of parameters.</summary>
    [Theory]
    [InlineData(nameof(RetroConfig.Paper172M), "[6, 9, 12]")]
    [InlineData(nameof(RetroConfig.Paper425M), "[6, 9, 12]")]
    [InlineData(nameof(RetroConfig.Paper1451M), "[6, 9, 12, 15, 18, 21, 24]")]
    [InlineData(nameof(RetroConfig.Paper7532M), "[6, 9, 12, 15, 18, 21, 24, 27, 30]")]
    [InlineData(nameof(RetroConfig.Nvidia148M), "[6, 9, 12]")]
    [InlineData(nameof(RetroConfig.Nvidia410M), "[9, 12, 15, 18, 21, 24]")]
    [InlineData(nameof(RetroConfig.Nvidia1500M), "[9, 12, 15, 18, 21, 24]")]
    [InlineData(nameof(RetroConfig.Nvidia9500M), "[9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39]")]
    [InlineData(nameof(RetroConfig.Tiny), "[2, 3]")]
    [InlineData(nameof(RetroConfig.Mini), "[2, 3, 4]")]
    [InlineData(nameof(RetroConfig.Small), "[3, 6]")]
    public void Each_preset_retrieves_in_the_layers_of_its_source(string preset, string layers)
        => Assert.Equal(layers, RetroConfig.Presets[preset].Retrieval!.CrossAttentionLayers.ToString());

    [Fact]
    public void What_a_small_decoder_learns_to_read_with_is_read_in_its_last_layer_by_embeddings_alone()
    {
        RetrievalConfig retrieval = RetrievalConfig.Matching(RetroConfig.Small);
        Assert.Equal("[8]", retrieval.CrossAttentionLayers.ToString());
        Assert.Equal((8, true, true, true), (retrieval.Neighbors, retrieval.ShiftedKeys, retrieval.MatchBias, retrieval.ZeroOutput));
        Assert.Equal((512, 0, 0), (retrieval.Encoder.Width, retrieval.Encoder.Layers, retrieval.Encoder.CrossAttentionLayers.Count));
    }

    [Fact]
    public void Every_preset_is_valid_and_named_once()
    {
        Assert.Equal(11, RetroConfig.Presets.Count);
        Assert.All(RetroConfig.Presets.Values, config => Assert.Same(config, config.Validate()));
    }

    [Fact]
    public void Validate_lists_every_fault_at_once()
    {
        RetroConfig broken = RetroConfig.Tiny with
        {
            Width = 0,
            KeyValueHeads = 3,
            HeadSize = 7,
            Dropout = 1,
            NormEpsilon = double.NaN,
            Activation = (ActivationKind)99,
            Retrieval = RetroConfig.Tiny.Retrieval! with
            {
                CrossAttentionLayers = [2, 9],
                Neighbors = 0,
                Encoder = RetroConfig.Tiny.Retrieval!.Encoder with { CrossAttentionLayers = [2, 1] }
            },
        };

        RetroOptionsException exception = Assert.Throws<RetroOptionsException>(() => broken.Validate());

        string[] named = [
            "Width is 0", "KeyValueHeads is 3", "HeadSize is 7", "Retrieval.CrossAttentionLayers is [2, 9]", "Retrieval.Encoder.CrossAttentionLayers is [2, 1]",
            "Dropout is 1", "NormEpsilon is NaN", "Neighbors is 0", "Activation is 99"
        ];
        Assert.All(named, name => Assert.Contains(exception.Faults, fault => fault.Contains(name, StringComparison.Ordinal)));
    }

    [Fact]
    public void Learned_positions_need_a_length()
    {
        RetroOptionsException exception = Assert.Throws<RetroOptionsException>(() => (RetroConfig.Tiny with { Positions = PositionKind.Learned }).Validate());

        Assert.Contains("MaximumLength", Assert.Single(exception.Faults), StringComparison.Ordinal);
    }

    [Fact]
    public void A_plain_decoder_needs_no_encoder_sizes()
    {
        RetroConfig plain = new() { VocabularySize = 10, Width = 8, Layers = 1, Heads = 1, HeadSize = 8, FeedForwardSize = 8 };

        Assert.False(plain.Validate().HasRetrieval);
        Assert.DoesNotContain(plain.Parameters(), parameter => parameter.Name.StartsWith("encoder", StringComparison.Ordinal));
    }

    [Fact]
    public void Configurations_with_equal_values_are_equal()
    {
        Assert.Equal(RetroConfig.Tiny, RetroConfig.Tiny with { Retrieval = RetroConfig.Tiny.Retrieval! with { CrossAttentionLayers = [2, 3] } });
        Assert.NotEqual(RetroConfig.Tiny, RetroConfig.Tiny with { Retrieval = RetroConfig.Tiny.Retrieval! with { CrossAttentionLayers = [2] } });
        Assert.Equal(LayerList.Every(6, 3, 14), [6, 9, 12]);
    }

    /// <summary>Each number is a size by itself; together they are no width that fits a whole number.</summary>
    [Fact]
    public void Heads_that_together_are_too_wide_are_refused()
    {
        RetroConfig config = RetroConfig.Tiny with { Heads = 65_536, HeadSize = 65_536 };
        string message = Assert.Throws<RetroOptionsException>(config.Validate).Message;
        Assert.Contains("HeadSize is 65536; expected at most 16777216 features in all 65536 heads", message, StringComparison.Ordinal);
        EncoderConfig encoder = RetroConfig.Tiny.Retrieval!.Encoder with { Heads = 1 << 12, HeadSize = 1 << 13 };
        config = RetroConfig.Tiny with { Retrieval = RetroConfig.Tiny.Retrieval with { Encoder = encoder } };
        Assert.Contains("Encoder.HeadSize", Assert.Throws<RetroOptionsException>(config.Validate).Message, StringComparison.Ordinal);
    }
}

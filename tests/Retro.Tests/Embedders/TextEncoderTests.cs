using Retro.Embedders;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Embedders;

public class TextEncoderTests
{
    private static readonly TextEncoderConfig s_tiny = new(
        VocabularySize: 50, Width: 12, Layers: 2, Heads: 3, FeedForwardSize: 20, MaximumPositions: 16, MaximumLength: 16);

    // Embedders are known by their weights: those of a seed stay what they are.
    private static readonly float[] s_ofSeed3 = [-0.07783283f, 0.18372187f];

    [Fact]
    public void Parameters_are_named_as_in_Hugging_Face_BERT()
    {
        using TextEncoder encoder = new(s_tiny with { Layers = 1 });

        string[] expected =
        [
            "embeddings.LayerNorm.bias [12]",
            "embeddings.LayerNorm.weight [12]",
            "embeddings.position_embeddings.weight [16, 12]",
            "embeddings.token_type_embeddings.weight [2, 12]",
            "embeddings.word_embeddings.weight [50, 12]",
            "encoder.layer.0.attention.output.LayerNorm.bias [12]",
            "encoder.layer.0.attention.output.LayerNorm.weight [12]",
            "encoder.layer.0.attention.output.dense.bias [12]",
            "encoder.layer.0.attention.output.dense.weight [12, 12]",
            "encoder.layer.0.attention.self.key.bias [12]",
            "encoder.layer.0.attention.self.key.weight [12, 12]",
            "encoder.layer.0.attention.self.query.bias [12]",
            "encoder.layer.0.attention.self.query.weight [12, 12]",
            "encoder.layer.0.attention.self.value.bias [12]",
            "encoder.layer.0.attention.self.value.weight [12, 12]",
            "encoder.layer.0.intermediate.dense.bias [20]",
            "encoder.layer.0.intermediate.dense.weight [20, 12]",
            "encoder.layer.0.output.LayerNorm.bias [12]",
            "encoder.layer.0.output.LayerNorm.weight [12]",
            "encoder.layer.0.output.dense.bias [12]",
            "encoder.layer.0.output.dense.weight [12, 20]",
        ];
        Assert.Equal(expected, encoder.Config.Weights().Select(weight => $"{weight.Name} [{string.Join(", ", weight.Shape)}]").Order(StringComparer.Ordinal));
        Assert.Equal(expected, encoder.state_dict().Select(pair => $"{pair.Key} [{string.Join(", ", pair.Value.shape)}]").Order(StringComparer.Ordinal));
    }

    [Fact]
    public void The_same_seed_gives_the_same_weights_and_leaves_the_global_random_state_alone()
    {
        float[] Weights(int seed)
        {
            using TextEncoder encoder = new(s_tiny, seed);
            return encoder.parameters().SelectMany(parameter => parameter.data<float>().ToArray()).ToArray();
        }

        float Drawn(Action before)
        {
            torch.manual_seed(5);
            before();
            using Tensor drawn = torch.rand(1);
            return drawn.item<float>();
        }

        Assert.Equal(Weights(3), Weights(3));
        Assert.All(Weights(3).Zip(s_ofSeed3), pair => Assert.Equal(pair.Second, pair.First, 1e-6f));
        Assert.NotEqual(Weights(3), Weights(4));
        Assert.Equal(Drawn(() => { }), Drawn(() => new TextEncoder(s_tiny, 3).Dispose()));
    }

    /// <summary>Not drawn from and put back either: whoever draws in the meantime would get the same numbers twice.</summary>
    [Fact]
    public void Numbers_that_are_drawn_while_an_encoder_is_made_are_those_of_their_seed()
    {
        float[] Drawn(Func<int, bool> goesOn)
        {
            torch.manual_seed(5);
            List<float> numbers = [];
            while (goesOn(numbers.Count))
            {
                using Tensor drawn = torch.rand(1);
                numbers.Add(drawn.item<float>());
            }

            return [.. numbers];
        }

        Thread making = new(() =>
        {
            for (int i = 0; i < 20; i++)
            {
                new TextEncoder(s_tiny, 3).Dispose();
            }
        });
        making.Start();
        float[] came = Drawn(_ => making.IsAlive);
        float[] expected = Drawn(count => count < came.Length);

        Assert.Equal(expected, came);
    }

    [Fact]
    public void Weights_outlive_the_scope_they_were_made_in_and_take_gradients()
    {
        using Tensor tokens = torch.ones([1, 2], ScalarType.Int64);
        TextEncoder Make()
        {
            using DisposeScope scope = NewDisposeScope();
            return new TextEncoder(s_tiny);
        }

        using TextEncoder encoder = Make();
        using Tensor states = encoder.forward(tokens);
        using Tensor sum = states.pow(3).sum();
        sum.backward();
        Assert.Equal(s_tiny.Weights().Select(weight => weight.Name).Order(), encoder.named_parameters().Select(pair => pair.name).Order());
        Assert.Empty(encoder.named_parameters().Where(pair => !pair.parameter.requires_grad || pair.parameter.grad is null).Select(pair => pair.name));
    }

    [Fact]
    public void What_stands_behind_the_mask_changes_nothing_and_equals_the_shorter_text()
    {
        using IDisposable guard = no_grad();
        using DisposeScope scope = NewDisposeScope();
        TextEncoder encoder = RandomEncoder(s_tiny);
        Tensor tokens = torch.tensor(new long[] { 7, 8, 9, 1, 2, 3, 4, 5, 6, 7 }, [2, 5], ScalarType.Int64);
        Tensor other = torch.tensor(new long[] { 7, 8, 9, 44, 45, 3, 4, 5, 6, 7 }, [2, 5], ScalarType.Int64);
        Tensor mask = torch.tensor(new[] { true, true, true, false, false, true, true, true, true, true }, [2, 5]);

        Tensor states = encoder.forward(tokens, mask);
        Tensor shorter = encoder.forward(tokens.slice(0, 0, 1, 1).slice(1, 0, 3, 1));

        Assert.Equal(Numbers(states.slice(1, 0, 3, 1)), Numbers(encoder.forward(other, mask).slice(1, 0, 3, 1)));
        Assert.All(Numbers(states.slice(0, 0, 1, 1).slice(1, 0, 3, 1)).Zip(Numbers(shorter)), pair => Assert.Equal(pair.First, pair.Second, 1e-12));
        Assert.NotEqual(Numbers(states), Numbers(encoder.forward(other)));
    }

    [Fact]
    public void Positions_and_token_types_count()
    {
        using IDisposable guard = no_grad();
        using DisposeScope scope = NewDisposeScope();
        TextEncoder encoder = RandomEncoder(s_tiny);
        Tensor tokens = torch.tensor(new long[] { 7, 8, 9 }, [1, 3], ScalarType.Int64);
        Tensor turned = torch.tensor(new long[] { 9, 8, 7 }, [1, 3], ScalarType.Int64);
        Tensor types = torch.tensor(new long[] { 0, 1, 1 }, [1, 3], ScalarType.Int64);

        Assert.NotEqual(Numbers(encoder.Pool(encoder.forward(tokens))), Numbers(encoder.Pool(encoder.forward(turned))));
        Assert.NotEqual(Numbers(encoder.forward(tokens)), Numbers(encoder.forward(tokens, null, types)));
        Assert.Equal(Numbers(encoder.forward(tokens)), Numbers(encoder.forward(tokens, null, torch.zeros_like(types))));
    }

    [Theory]
    [InlineData(TextPooling.Mean, false)]
    [InlineData(TextPooling.Mean, true)]
    [InlineData(TextPooling.FirstToken, false)]
    [InlineData(TextPooling.FirstToken, true)]
    [InlineData(TextPooling.Max, true)]
    [InlineData(TextPooling.Max, false)]
    [InlineData(TextPooling.MeanSquareRoot, false)]
    [InlineData(TextPooling.MeanSquareRoot, true)]
    public void Pooling_equals_literal_code(TextPooling pooling, bool normalize)
    {
        using DisposeScope scope = NewDisposeScope();
        using TextEncoder encoder = new(s_tiny with { Pooling = pooling, Normalize = normalize });
        Random random = new(1);
        const int Rows = 3, Length = 5, Width = 12;
        double[] states = Enumerable.Range(0, Rows * Length * Width).Select(_ => random.NextDouble() - 0.7).ToArray();
        bool[] mask = Enumerable.Range(0, Rows * Length).Select(i => i % Length <= i / Length + 1).ToArray();
        foreach (bool masked in new[] { true, false })
        {
            double[] expected = new double[Rows * Width];
            for (int b = 0; b < Rows; b++)
            {
                double squares = 0;
                for (int d = 0; d < Width; d++)
                {
                    double sum = 0, max = double.NegativeInfinity;
                    int count = 0;
                    for (int t = 0; t < Length; t++)
                    {
                        if (!masked || mask[b * Length + t])
                        {
                            double x = states[(b * Length + t) * Width + d];
                            (sum, max, count) = (sum + x, Math.Max(max, x), count + 1);
                        }
                    }

                    double value = pooling switch
                    {
                        TextPooling.Mean => sum / count,
                        TextPooling.MeanSquareRoot => sum / Math.Sqrt(count),
                        TextPooling.Max => max,
                        _ => states[b * Length * Width + d],
                    };
                    expected[b * Width + d] = value;
                    squares += value * value;
                }

                for (int d = 0; normalize && d < Width; d++)
                {
                    expected[b * Width + d] /= Math.Sqrt(squares);
                }
            }

            Tensor pooled = encoder.Pool(torch.tensor(states, [Rows, Length, Width]), masked ? torch.tensor(mask, [Rows, Length]) : null);

            Assert.Equal([Rows, Width], pooled.shape);
            Assert.All(expected.Zip(Numbers(pooled)), pair => Assert.Equal(pair.First, pair.Second, 1e-12));
        }
    }

    /// <summary>A layer whose maps are zero is its two layer norms, behind that of the embeddings.</summary>
    [Fact]
    public void Layer_norms_equal_literal_code_with_the_configuration_s_epsilon()
    {
        const double Epsilon = 1e-3;
        const int Width = 12, Token = 7;
        using IDisposable guard = no_grad();
        using DisposeScope scope = NewDisposeScope();
        TextEncoder encoder = RandomEncoder(s_tiny with { Layers = 1, LayerNormEpsilon = Epsilon });
        Dictionary<string, double[]> weights = encoder.named_parameters().ToDictionary(pair => pair.name, pair => Numbers(pair.parameter));
        foreach ((string name, Parameter parameter) in encoder.named_parameters())
        {
            if (name.StartsWith("encoder.", StringComparison.Ordinal) && !name.Contains("LayerNorm", StringComparison.Ordinal))
            {
                parameter.zero_();
            }
        }

        double[] expected =
        [
            .. Enumerable.Range(0, Width).Select(d => weights["embeddings.word_embeddings.weight"][(Token * Width) + d]
                + weights["embeddings.position_embeddings.weight"][d] + weights["embeddings.token_type_embeddings.weight"][d]),
        ];
        foreach (string norm in new[] { "embeddings.LayerNorm", "encoder.layer.0.attention.output.LayerNorm", "encoder.layer.0.output.LayerNorm" })
        {
            double[] x = expected;
            double mean = x.Average(), variance = x.Average(value => (value - mean) * (value - mean));
            expected =
            [
                .. x.Select((value, d) => ((value - mean) / Math.Sqrt(variance + Epsilon) * weights[$"{norm}.weight"][d]) + weights[$"{norm}.bias"][d]),
            ];
        }

        double[] came = Numbers(encoder.forward(torch.tensor(new long[] { Token }, [1, 1], ScalarType.Int64)));

        Assert.All(expected.Zip(came), pair => Assert.Equal(pair.First, pair.Second, 1e-12));
    }

    [Fact]
    public void A_wrong_shape_is_refused_with_both_shapes()
    {
        using DisposeScope scope = NewDisposeScope();
        using TextEncoder encoder = new(s_tiny);
        Tensor tokens = torch.zeros([2, 17], ScalarType.Int64);

        ShapeException tooLong = Assert.Throws<ShapeException>(() => encoder.forward(tokens));
        ShapeException otherMask = Assert.Throws<ShapeException>(() => encoder.forward(tokens.slice(1, 0, 4, 1), torch.ones([2, 5], ScalarType.Bool)));

        Assert.StartsWith("Expected tokens of shape [B, T] with T from 1 to 16, got [2, 17].", tooLong.Message, StringComparison.Ordinal);
        Assert.StartsWith("Expected mask of shape [2, 4], got [2, 5].", otherMask.Message, StringComparison.Ordinal);
        Assert.Throws<ShapeException>(() => encoder.forward(tokens.slice(1, 0, 0, 1)));
        Assert.Throws<ShapeException>(() => encoder.forward(tokens.slice(1, 0, 4, 1), null, tokens));
        Assert.Throws<ShapeException>(() => encoder.Pool(torch.zeros([2, 3])));
        Assert.Throws<ShapeException>(() => encoder.Pool(torch.zeros([2, 3, 12]), torch.ones([3, 2], ScalarType.Bool)));
    }

    [Fact]
    public void Every_fault_of_a_configuration_is_named()
    {
        RetroOptionsException exception = Assert.Throws<RetroOptionsException>(
            () =>
                new TextEncoder(new(
                    0,
                    Width: 10,
                    Layers: -1,
                    Heads: 3,
                    FeedForwardSize: 5,
                    MaximumPositions: 8,
                    LayerNormEpsilon: double.NaN,
                    MaximumLength: 9,
                    Pooling: (TextPooling)9)));

        Assert.Equal(6, exception.Faults.Count);
        Assert.Contains("Width 10 does not divide by Heads 3.", exception.Faults);
        Assert.Contains("MaximumLength 9 has to lie between 3 (a token and its frame) and MaximumPositions 8.", exception.Faults);
    }

    [Fact]
    public void A_default_device_of_torchs_changes_nothing_for_an_encoder_on_the_processor()
    {
        try
        {
            torch.set_default_device(torch.META);
            using TextEncoder encoder = new(s_tiny);
            Assert.All(encoder.parameters(), parameter => Assert.Equal(DeviceType.CPU, parameter.device_type));
        }
        finally
        {
            torch.set_default_device(torch.CPU);
        }
    }

    [Fact]
    public void A_forward_pass_leaves_one_tensor()
    {
        using TextEncoder encoder = new(s_tiny);
        using Tensor tokens = torch.ones([2, 4], ScalarType.Int64);
        using Tensor mask = torch.ones([2, 4], ScalarType.Bool);
        long before = LiveTensors.Settled();

        using (Tensor states = encoder.forward(tokens, mask))
        {
            Assert.Equal(before + 1, Tensor.TotalCount);
            encoder.Pool(states, mask).Dispose();
        }

        Assert.Equal(before, Tensor.TotalCount);
    }

    /// <summary>In float64 and with weights that all count: fresh ones leave the branches next to nothing.</summary>
    private static TextEncoder RandomEncoder(TextEncoderConfig config)
    {
        TextEncoder encoder = new(config, dtype: ScalarType.Float64);
        Random random = new(9);
        foreach (Parameter parameter in encoder.parameters())
        {
            using Tensor drawn = torch.tensor(Enumerable.Range(0, (int)parameter.numel()).Select(_ => random.NextDouble() - 0.4).ToArray(), parameter.shape);
            parameter.copy_(drawn);
        }

        return encoder;
    }

    private static double[] Numbers(Tensor tensor) => tensor.contiguous().data<double>().ToArray();
}

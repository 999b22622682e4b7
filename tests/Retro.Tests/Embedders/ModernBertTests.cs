using System.Text.Json;
using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Corpora;
using Retro.Embedders;
using Retro.Modeling;
using Retro.Retrievers;
using Retro.Tests.Pretrained;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Embedders;

/// <summary>ModernBERT's layers; their states are compared by <see cref="PretrainedParityTests"/>.</summary>
public sealed class ModernBertTests : IDisposable
{
    private const int Window = 3, Length = 90; // more than one block of a layer with a window

    private static readonly TextEncoderConfig s_tiny = EmbeddingInputs.Tiny with
    {
        Layers = 4, TokenTypes = 0, LayerNormEpsilon = 1e-5, MaximumPositions = 100, MaximumLength = 100, Modern = new() { Window = Window },
    };

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Weights_are_stored_by_the_names_of_Hugging_Face_ModernBERT()
    {
        using TextEmbedder embedder = new(new TextEncoder(s_tiny with { Layers = 2 }, seed: 5), EmbeddingInputs.Tokenizer);
        embedder.Save(_folder.Path);
        using Safetensors file = Safetensors.Open(_folder["model.safetensors"]);
        string[] expected =
        [
            $"embeddings.tok_embeddings.weight [{EmbeddingInputs.Tokenizer.VocabularySize}, 32]",
            "embeddings.norm.weight [32]",
            "layers.0.attn.Wqkv.weight [96, 32]",
            "layers.0.attn.Wo.weight [32, 32]",
            "layers.0.mlp_norm.weight [32]",
            "layers.0.mlp.Wi.weight [128, 32]",
            "layers.0.mlp.Wo.weight [32, 64]",
            "layers.1.attn_norm.weight [32]",
            "layers.1.attn.Wqkv.weight [96, 32]",
            "layers.1.attn.Wo.weight [32, 32]",
            "layers.1.mlp_norm.weight [32]",
            "layers.1.mlp.Wi.weight [128, 32]",
            "layers.1.mlp.Wo.weight [32, 64]",
            "final_norm.weight [32]",
        ];
        Assert.Equal(
            expected.Order(StringComparer.Ordinal),
            file.Entries.Select(entry => $"{entry.Name} [{string.Join(", ", entry.Shape)}]").Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void The_weights_that_a_configuration_names_are_the_encoder_s(bool bias)
    {
        TextEncoderConfig config = s_tiny with { Modern = new() { NormBias = bias, AttentionBias = bias, FeedForwardBias = bias } };
        using TextEncoder encoder = new(config);
        Assert.Equal(
            config.Weights().Select(weight => $"{weight.Name} [{string.Join(", ", weight.Shape)}]").Order(StringComparer.Ordinal),
            encoder.named_parameters().Select(pair => $"{pair.name} [{string.Join(", ", pair.parameter.shape)}]").Order(StringComparer.Ordinal));
        Assert.Equal(bias, encoder.named_parameters().Any(pair => pair.name.EndsWith(".bias", StringComparison.Ordinal)));
    }

    /// <summary>By the keys of transformers 4, which 5 reads, and by those that 5 writes.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_saved_embedder_is_the_same_by_the_keys_of_either_version(bool bias)
    {
        TextEncoderConfig made = s_tiny with
        {
            Activation = ActivationKind.Silu,
            Modern = new()
            {
                RotaryBase = 500, WindowRotaryBase = 50, Window = Window, FullEvery = 2, NormBias = bias, AttentionBias = bias, FeedForwardBias = bias,
            },
        };
        using TextEmbedder embedder = new(new TextEncoder(made, seed: 5), EmbeddingInputs.Tokenizer);
        embedder.Save(_folder.Path);
        Same();
        JsonObject config = JsonNode.Parse(File.ReadAllText(_folder["config.json"]))!.AsObject();
        Assert.Equal(("modernbert", "ModernBertModel"), ((string)config["model_type"]!, (string)config["architectures"]![0]!));
        Assert.True(config.ContainsKey("pad_token_id") && config["pad_token_id"] is null);

        config["layer_types"] = new JsonArray("full_attention", "sliding_attention", "full_attention", "sliding_attention");
        config["rope_parameters"] = new JsonObject
        {
            ["full_attention"] = new JsonObject { ["rope_type"] = "default", ["rope_theta"] = 500.0 },
            ["sliding_attention"] = new JsonObject { ["rope_type"] = "default", ["rope_theta"] = 50.0 },
        };
        _folder.File("config.json", config.ToJsonString());
        Same();
        foreach (string key in (string[])["global_attn_every_n_layers", "global_rope_theta", "local_rope_theta"])
        {
            Assert.True(config.Remove(key));
        }

        _folder.File("config.json", config.ToJsonString());
        Same();

        void Same()
        {
            using TextEmbedder loaded = TextEmbedder.Load(_folder.Path);
            Assert.Equal((made, embedder.Identity), (loaded.Encoder.Config, loaded.Identity));
            Assert.Equal(EncoderFolder.Embed(embedder, EmbeddingInputs.Texts), EncoderFolder.Embed(loaded, EmbeddingInputs.Texts));
            using RetrieverTower tower = new(loaded, EmbeddingInputs.Tokenizer);
            using TextEmbedder exported = tower.Export();
            Assert.Equal(embedder.Identity, exported.Identity);
        }
    }

    /// <summary>As the base models and what was made of them have it.</summary>
    [Fact]
    public void A_published_configuration_is_read_as_what_is_unsaid()
    {
        TextEncoderConfig expected = new(
            50368, 768, 22, 12, 1152, MaximumPositions: 8192, TokenTypes: 0, LayerNormEpsilon: 1e-5, MaximumLength: 8192) { Modern = new() };
        Assert.Equal(expected, Read("""{"model_type": "modernbert"}"""));
        Assert.Equal(expected, Read("""
            {
              "architectures": ["ModernBertModel"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 50281,
              "classifier_activation": "gelu", "classifier_bias": false, "classifier_dropout": 0.0, "classifier_pooling": "mean", "cls_token_id": 50281,
              "decoder_bias": true, "deterministic_flash_attn": false, "embedding_dropout": 0.0, "eos_token_id": 50282,
              "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "gradient_checkpointing": false, "hidden_activation": "gelu",
              "hidden_size": 768, "initializer_cutoff_factor": 2.0, "initializer_range": 0.02, "intermediate_size": 1152, "layer_norm_eps": 1e-05,
              "local_attention": 128, "local_rope_theta": 10000.0, "max_position_embeddings": 8192, "mlp_bias": false, "mlp_dropout": 0.0,
              "model_type": "modernbert", "norm_bias": false, "norm_eps": 1e-05, "num_attention_heads": 12, "num_hidden_layers": 22,
              "pad_token_id": 50283, "position_embedding_type": "absolute", "reference_compile": true, "repad_logits_with_grad": false,
              "sep_token_id": 50282, "sparse_pred_ignore_index": -100, "sparse_prediction": false, "tie_word_embeddings": true,
              "torch_dtype": "float32", "transformers_version": "4.48.0", "vocab_size": 50368
            }
            """));

        // One base for all layers.
        Assert.Equal(
            expected with { Modern = new() { RotaryBase = 80_000, WindowRotaryBase = 80_000 } },
            Read("""{"model_type": "modernbert", "global_rope_theta": 80000, "local_rope_theta": null}"""));

        TextEncoderConfig Read(string config)
        {
            _folder.File("config.json", config);
            return TextEncoderFolder.Read(_folder.Path).Config;
        }
    }

    [Theory]
    [InlineData("hidden_activation", "\"quick_gelu\"", "\"hidden_activation\" is \"quick_gelu\"; supported is one of \"gelu\"")]
    [InlineData("global_attn_every_n_layers", "0", "\"global_attn_every_n_layers\" is 0; it has to be positive")]
    [InlineData("layer_types", "[\"full_attention\", \"sliding_attention\", \"full_attention\", \"sliding_attention\"]", "\"layer_types\" is of another pattern; supported is \"full_attention\" in the first of 4 layers and each 3 behind such a one")]
    [InlineData("layer_types", "[\"full_attention\", \"sliding_attention\", \"chunked_attention\", \"full_attention\"]", "\"layer_types\" is of another pattern")]
    [InlineData("layer_types", "[\"full_attention\", \"sliding_attention\", \"sliding_attention\"]", "\"layer_types\" is of another pattern")]
    [InlineData("rope_scaling", "{\"rope_type\": \"linear\", \"factor\": 2}", "\"rope_type\" is of another kind; supported is \"default\"")]
    [InlineData("rope_parameters", "{\"full_attention\": {\"rope_theta\": 160000}}", "\"sliding_attention\" is missing")]
    [InlineData("rope_parameters", "{\"full_attention\": {}, \"sliding_attention\": {\"rope_theta\": 5}}", "\"rope_theta\" 5, \"local_rope_theta\" 10000")]
    [InlineData("rope_parameters", "{\"full_attention\": {\"rope_theta\": 5}, \"sliding_attention\": {}}", "\"rope_theta\" 5, \"global_rope_theta\" 160000")]
    [InlineData("local_attention", "-1", "Modern.Window is -1; expected 0 to")]
    [InlineData("global_rope_theta", "0", "Modern.RotaryBase is 0; expected a finite number above 0")]
    [InlineData("num_attention_heads", "32", "Width 32 / Heads 32 is odd")]
    [InlineData("norm_bias", "\"yes\"", "\"norm_bias\" has to be true or false")]
    [InlineData("norm_bias", "true", "tensor \"model.embeddings.norm.bias\" is missing")]
    [InlineData("intermediate_size", "23", "tensor \"model.layers.0.mlp.Wi.weight\" is [48, 32], the configuration says [46, 32]")]
    [InlineData("num_hidden_layers", "3", "tensor \"model.layers.3.attn.Wo.weight\" [32, 32] is not known to this configuration")]
    [InlineData("is_decoder", "true", "\"is_decoder\" is true; supported is false")]
    [InlineData("attention_temperature", "2", "\"attention_temperature\" (2), which is not known here and could change the result")]
    public void What_would_change_the_states_is_refused_by_name(string key, string value, string says)
    {
        using TemporaryFolder folder = PretrainedDecoderTests.Copy("modernbert");
        EncoderFolder.Load(folder.Path, ScalarType.Float32).Dispose();
        JsonNode config = JsonNode.Parse(File.ReadAllText(folder["config.json"]))!;
        config[key] = JsonNode.Parse(value);
        folder.File("config.json", config.ToJsonString());
        Assert.Contains(
            says, Assert.Throws<CheckpointException>(() => EncoderFolder.Load(folder.Path, ScalarType.Float32)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_does_not_fit_its_layers_is_named()
    {
        RetroOptionsException exception = Assert.Throws<RetroOptionsException>(
            () => new TextEncoder(s_tiny with { TokenTypes = 2, Heads = 32, Modern = new() { WindowRotaryBase = double.NaN, FullEvery = 0 } }));
        Assert.Equal(4, exception.Faults.Count);
        Assert.Contains(
            "FirstPosition 0, TokenTypes 2, RelativePositions False are not ModernBERT's, which are 0, 0 and False.", exception.Faults);
        Assert.Contains("Modern.FullEvery is 0; expected at least 1.", exception.Faults);
    }

    /// <summary>The identities of embedders are hashes of it, too.</summary>
    [Fact]
    public void A_configuration_of_other_layers_is_written_as_before()
        => Assert.DoesNotContain("Modern", JsonSerializer.Serialize(EmbeddingInputs.Tiny with { RelativePositions = true }), StringComparison.Ordinal);

    /// <summary>Within a block of queries and across the borders of blocks, at the beginning of a text and at its end.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(30)]
    [InlineData(62)]
    [InlineData(63)]
    [InlineData(64)]
    [InlineData(67)]
    [InlineData(Length - 1)]
    public void A_token_is_seen_within_the_window_alone(int place)
    {
        using IDisposable guard = no_grad();
        using DisposeScope scope = NewDisposeScope();
        ModernLayers modern = new() { Window = Window, FullEvery = 2 };
        using TextEncoder windowed = RandomEncoder(s_tiny with { Layers = 2, Modern = modern });
        using TextEncoder full = RandomEncoder(s_tiny with { Layers = 2, Modern = modern with { FullEvery = 1 } });
        foreach (TextEncoder encoder in (TextEncoder[])[windowed, full])
        {
            encoder.get_parameter("encoder.layer.0.attn.Wo.weight")!.zero_(); // of the first layer, which sees all
        }

        int first = Math.Max(place - Window, 0), last = Math.Min(place + Window, Length - 1);
        Assert.Equal(Enumerable.Range(first, last - first + 1), Reached(windowed));
        Assert.Equal(Enumerable.Range(0, Length), Reached(full));

        int[] Reached(TextEncoder encoder)
        {
            long[] tokens = Tokens(Length);
            Tensor before = encoder.forward(tensor(tokens, [1, Length]));
            tokens[place] = tokens[place] == 7 ? 8 : 7;
            double[] change = (encoder.forward(tensor(tokens, [1, Length])) - before).abs().amax([2L]).data<double>().ToArray();
            return [.. Enumerable.Range(0, Length).Where(i => change[i] > 1e-12)];
        }
    }

    /// <summary>Padding may be farther from every token of its row than the window, and of whole blocks nothing may be real.</summary>
    [Fact]
    public void Texts_of_different_lengths_have_the_states_that_each_has_alone()
    {
        using IDisposable guard = no_grad();
        using DisposeScope scope = NewDisposeScope();
        using TextEncoder encoder = RandomEncoder(s_tiny);
        int[] lengths = [Length, 5, 40, 1];
        Tensor tokens = tensor(Tokens(lengths.Length * Length), [lengths.Length, Length]);
        Tensor mask = tensor(lengths.SelectMany(length => Enumerable.Range(0, Length).Select(i => i < length)).ToArray(), [lengths.Length, Length]);
        Tensor states = encoder.forward(tokens, mask), vectors = encoder.Pool(states, mask);
        Tensor other = encoder.forward(where(mask, tokens, ones_like(tokens)), mask);
        Assert.All(Numbers(states), value => Assert.True(double.IsFinite(value)));
        for (int row = 0; row < lengths.Length; row++)
        {
            Tensor alone = encoder.forward(Real(tokens, row));
            Near(alone, Real(states, row));
            Near(alone, Real(other, row));
            Near(encoder.Pool(alone), vectors.narrow(0, row, 1));
        }

        Tensor Real(Tensor rows, int row) => rows.narrow(0, row, 1).narrow(1, 0, lengths[row]);

        static void Near(Tensor expected, Tensor came)
            => Assert.All(Numbers(expected).Zip(Numbers(came)), pair => Assert.Equal(pair.First, pair.Second, 1e-10));
    }

    [Fact]
    public void Texts_have_the_vectors_that_each_has_alone()
    {
        using TextEmbedder embedder = new(new TextEncoder(s_tiny, seed: 3), EmbeddingInputs.Tokenizer);
        float[] together = EncoderFolder.Embed(embedder, EmbeddingInputs.Texts);
        EmbeddingInputs.AssertNear(
            [.. EmbeddingInputs.Texts.Select(text => EncoderFolder.Embed(embedder, text))], [.. together.Chunk(embedder.Dimensions)]);
    }

    [Fact]
    public void A_forward_pass_leaves_one_tensor_and_every_weight_takes_gradients()
    {
        using TextEncoder encoder = new(s_tiny);
        using Tensor tokens = tensor(Tokens(2 * Length), [2, Length]);
        using Tensor mask = tensor(Enumerable.Range(0, 2 * Length).Select(i => i < Length + 7).ToArray(), [2, Length]);
        long before = LiveTensors.Settled();
        using (Tensor states = encoder.forward(tokens, mask))
        {
            Assert.Equal(before + 1, Tensor.TotalCount);
        }

        using DisposeScope scope = NewDisposeScope();
        encoder.Pool(encoder.forward(tokens, mask), mask).pow(3).sum().backward();
        foreach ((string name, Parameter parameter) in encoder.named_parameters())
        {
            Assert.True(parameter.grad is not null && parameter.grad.isfinite().all().item<bool>(), name);
        }
    }

    [Fact]
    public void It_can_be_trained_from_the_corpus_itself()
    {
        Document[] corpus = [.. Enumerable.Range(0, 3).Select(i => new Document($"{i}", "", string.Join(' ', Enumerable.Range(i * 100, 30)), ""))];
        using TextEmbedder embedder = InverseClozeTrainer.Train(
            corpus,
            EmbeddingInputs.Tokenizer,
            s_tiny,
            new() { Steps = 2, BatchSize = 4, WindowLength = 16 },
            cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(s_tiny, embedder.Encoder.Config);
        Assert.All(EncoderFolder.Embed(embedder, EmbeddingInputs.Texts), value => Assert.True(float.IsFinite(value)));
    }

    /// <summary>In float64 and with weights that all count: fresh ones leave the branches next to nothing.</summary>
    private static TextEncoder RandomEncoder(TextEncoderConfig config)
    {
        TextEncoder encoder = new(config, dtype: ScalarType.Float64);
        Random random = new(9);
        foreach (Parameter parameter in encoder.parameters())
        {
            using Tensor drawn = tensor(Enumerable.Range(0, (int)parameter.numel()).Select(_ => random.NextDouble() - 0.4).ToArray(), parameter.shape);
            parameter.copy_(drawn);
        }

        return encoder;
    }

    private static long[] Tokens(int count)
    {
        Random random = new(4);
        return [.. Enumerable.Range(0, count).Select(_ => (long)random.Next(2, s_tiny.VocabularySize))];
    }

    private static double[] Numbers(Tensor tensor) => tensor.contiguous().data<double>().ToArray();
}

using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Pretrained;
using Retro.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Pretrained;

public sealed class PretrainedDecoderTests
{
    // What llama2.c's own test holds the model to (its test_all.py).
    private const string StoriesStart = """
        Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball. She wanted to play with it, but it was too high.
        Lily's mom said, "Lily, let's go to the park." Lily was sad and didn't know what to do. She said, "I want to play with your ball, but I can't find it."
        Lily was sad and didn't know what to do. She said, "I'm sorry, Lily. I didn't know what to do."
        Lily didn't want to help her mom, so
        """;

    // Of Llama and its kin, none of them a default.
    private const string LlamaNumbers = "\"vocab_size\": 821, \"hidden_size\": 60, \"num_hidden_layers\": 3, \"num_attention_heads\": 4, "
        + "\"num_key_value_heads\": 1, \"head_dim\": 10, \"intermediate_size\": 100, \"rms_norm_eps\": 0.001, \"rope_theta\": 5000, "
        + "\"max_position_embeddings\": 80";

    private static string Folder(string name) => Path.Combine(Fixtures.Own, "pretrained", name);

    public static IEnumerable<TheoryDataRow<string>> DecoderFolders()
        => new[] { Path.Combine(Fixtures.Own, "pretrained"), Path.Combine(Fixtures.Shared, "pretrained") }.Where(Directory.Exists)
            .SelectMany(Directory.EnumerateDirectories)
            .Where(AnswerComparers.IsDecoder)
            .Select(folder =>
                new TheoryDataRow<string>(folder).WithTestDisplayName(
                    $"WrittenBack({Path.GetFileName(folder)}, in {Path.GetFileName(Path.GetDirectoryName(folder))})"));

    [Theory]
    [MemberData(nameof(DecoderFolders))]
    public void Written_back_every_file_holds_the_same_tensors(string folder)
    {
        using TemporaryFolder target = new();
        using (PretrainedDecoder decoder = PretrainedDecoder.Load(folder))
        {
            decoder.Origin.Write(decoder.Model, target.Path);
        }

        string[] files = [.. Directory.EnumerateFiles(folder, "model*").Append(Path.Combine(folder, "config.json"))];
        Assert.Equal(
            files.Select(Path.GetFileName).Order(),
            Directory.EnumerateFiles(target.Path)
                .Select(Path.GetFileName)
                .Where(name => name!.StartsWith("model", StringComparison.Ordinal) || name == "config.json")
                .Order());
        foreach (string file in files)
        {
            string written = Path.Combine(target.Path, Path.GetFileName(file));
            if (!file.EndsWith(".safetensors", StringComparison.Ordinal))
            {
                Assert.Equal(File.ReadAllBytes(file), File.ReadAllBytes(written));
                continue;
            }

            using Safetensors before = Safetensors.Open(file), after = Safetensors.Open(written);
            Assert.Equal(before.Entries.Select(entry => entry.Name).Order(), after.Entries.Select(entry => entry.Name).Order());
            Assert.Equal(before.Metadata, after.Metadata);
            foreach (SafetensorsEntry entry in before.Entries)
            {
                Assert.Equal((entry.Dtype, string.Join(',', entry.Shape)), (after.Entry(entry.Name).Dtype, string.Join(',', after.Entry(entry.Name).Shape)));
                Assert.True(before.Bytes(entry.Name).SequenceEqual(after.Bytes(entry.Name)), $"{entry.Name} of {file} changed.");
            }
        }
    }

    /// <summary>A single file is read before shards are looked for: an earlier writing's would be read in their place.</summary>
    [Fact]
    public void Writing_over_a_model_in_other_files_leaves_no_weights_of_it()
    {
        using TemporaryFolder target = Copy("gpt2-no-prefix"), source = Copy("gpt2-no-prefix");
        string single = Path.Combine(source.Path, "model.safetensors");
        using (Safetensors file = Safetensors.Open(single))
        {
            File.WriteAllText(
                single + ".index.json",
                new JsonObject { ["weight_map"] = new JsonObject(file.Entries.Select(entry => KeyValuePair.Create(
                    entry.Name, (JsonNode?)"all.safetensors"))) }.ToJsonString());
        }

        File.Move(single, Path.Combine(source.Path, "all.safetensors"));
        using PretrainedDecoder decoder = PretrainedDecoder.Load(source.Path);
        using (no_grad())
        {
            decoder.Model.get_parameter("embedding.weight")!.neg_();
        }

        decoder.Origin.Write(decoder.Model, target.Path);
        using (PretrainedDecoder written = PretrainedDecoder.Load(target.Path))
        {
            using DisposeScope scope = NewDisposeScope();
            Assert.True(written.Model.get_parameter("embedding.weight")!.Equals(decoder.Model.get_parameter("embedding.weight")!));
            Assert.NotEqual(decoder.Origin.Hash, written.Origin.Hash);
        }

        using PretrainedDecoder other = PretrainedDecoder.Load(Folder("gpt2-no-prefix"));
        other.Origin.Write(other.Model, target.Path);
        using PretrainedDecoder again = PretrainedDecoder.Load(target.Path);
        Assert.Equal(other.Origin.Hash, again.Origin.Hash);
        Assert.False(File.Exists(Path.Combine(target.Path, "all.safetensors")));
    }

    [Fact]
    public void Every_file_of_the_tokenizer_is_written_back_with_the_decoder()
    {
        using TemporaryFolder source = new(), target = new();
        foreach (string file in Directory.GetFiles(Folder("gpt2-no-prefix")))
        {
            File.Copy(file, source[Path.GetFileName(file)]);
        }

        string[] names =
        [
            "tokenizer.json", "vocab.json", "merges.txt", "tokenizer.model", "vocab.txt", "tokenizer_config.json", "added_tokens.json",
            "special_tokens_map.json", "chat_template.jinja", "generation_config.json",
        ];
        foreach (string name in names.Where(name => !File.Exists(source[name])))
        {
            File.WriteAllText(source[name], "{}");
        }

        using PretrainedDecoder decoder = PretrainedDecoder.Load(source.Path);
        decoder.Origin.Write(decoder.Model, target.Path);
        Assert.All(names, name => Assert.Equal(File.ReadAllBytes(source[name]), File.ReadAllBytes(target[name])));
    }

    [Fact]
    public void Buffers_are_ignored_by_name()
    {
        using Safetensors file = Safetensors.Open(Path.Combine(Folder("gpt-neox-buffers"), "model.safetensors"));
        Assert.True(file.Contains("gpt_neox.layers.0.attention.rotary_emb.inv_freq"));
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("gpt-neox-buffers"));
        Assert.Equal(["F16"], decoder.Origin.StoredTypes);
        Assert.Equal(64, decoder.Origin.ContextLength);
    }

    [Theory]
    [InlineData("mistral-sliding-window", "model_type", "\"bloom\"", "\"llama\" (LlamaForCausalLM)")]
    [InlineData("mistral-sliding-window", "architectures", "[\"MistralForSequenceClassification\"]", "MistralForCausalLM")]
    [InlineData("mistral-sliding-window", "hidden_act", "\"gelu\"", "hidden_act")]
    [InlineData("mistral-sliding-window", "rope_scaling", "{\"type\": \"longrope\", \"factor\": 2.0}", "original_max_position_embeddings")]
    [InlineData("mistral-sliding-window", "rope_scaling", "{\"type\": \"yarn\"}", "factor")]
    [InlineData("llama-rope-linear", "activation", "\"gelu\"", "activation")]
    [InlineData("mistral-sliding-window", "rope_scaling", "{\"rope_type\": \"linear\"}", "factor")]
    [InlineData("mistral-sliding-window", "rope_scaling", "{\"rope_type\": \"llama3\", \"factor\": 2.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0}", "original_max_position_embeddings")]
    [InlineData("mistral-sliding-window", "rope_parameters", "{\"rope_type\": \"default\", \"rope_theta\": 5000.0}", "rotary base")]
    [InlineData("mistral-sliding-window", "quantization_config", "{\"bits\": 4}", "model.dequantize()")]
    [InlineData("mistral-sliding-window", "use_sliding_window", "false", "use_sliding_window")]
    [InlineData("mistral-sliding-window", "layer_types", "[\"full_attention\", \"full_attention\"]", "\"full_attention\"; supported is \"sliding_attention\"")]
    [InlineData("mistral-sliding-window", "attention_bias", "true", "attention_bias")]
    [InlineData("mistral-sliding-window", "rope_scaling", "{\"rope_type\": \"default\", \"factor\": 2.0}", "factor")]
    [InlineData("llama-rope-linear", "use_sliding_window", "true", "use_sliding_window")]
    [InlineData("llama-rope-linear", "is_causal", "false", "\"is_causal\" is false; supported is true")]
    [InlineData("llama-rope-linear", "layer_types", "[\"sliding_attention\", \"sliding_attention\"]", "layer_types")]
    [InlineData("mistral-sliding-window", "use_new_trick", "true", "use_new_trick")]
    [InlineData("mistral-sliding-window", "hidden_size", "40", "the configuration says")]
    [InlineData("mistral-sliding-window", "num_hidden_layers", "3", "missing")]
    [InlineData("mistral-sliding-window", "num_hidden_layers", "1", "not known to this configuration")]
    [InlineData("mistral-sliding-window", "num_hidden_layers", "\"two\"", "num_hidden_layers")]
    [InlineData("mistral-sliding-window", "num_key_value_heads", "3", "KeyValueHeads")]
    [InlineData("mistral-sliding-window", "tie_word_embeddings", "true", "tie_word_embeddings")]
    [InlineData("mistral-sliding-window", "vocab_size", "null", "vocab_size")]
    [InlineData("mistral-sliding-window", "num_hidden_layers", "2000000000", "Layers is 2000000000; expected 1 to")]
    [InlineData("mistral-sliding-window", "vocab_size", "2000000000", "VocabularySize is 2000000000; expected 1 to")]
    [InlineData("mistral-sliding-window", "num_attention_heads", "2000000000", "Heads is 2000000000; expected 1 to")]
    [InlineData("mistral-sliding-window", "num_attention_heads", "0", "num_attention_heads")]
    [InlineData("mistral-sliding-window", "rms_norm_eps", "0", "NormEpsilon is 0")]
    [InlineData("mistral-sliding-window", "rope_theta", "-1", "RotaryBase is -1")]
    [InlineData("mistral-sliding-window", "sliding_window", "-4", "SlidingWindow")]
    [InlineData("mistral-sliding-window", "partial_rotary_factor", "0.5", "partial_rotary_factor")]
    [InlineData("mistral-sliding-window", "rope_interleaved", "true", "rope_interleaved")]
    [InlineData("mistral-sliding-window", "rope_scaling", "{\"rope_type\": \"dynamic\"}", "\"dynamic\"")]
    [InlineData("mistral-sliding-window", "rope_scaling", "{\"rope_type\": \"linear\", \"factor\": 0}", "Factor is 0")]
    [InlineData("mistral-sliding-window", "rope_parameters", "{\"rope_type\": \"default\", \"mscale\": 2.0}", "rope_parameters.mscale")]
    [InlineData("mistral-sliding-window", "layer_types", "[\"full_attention\", \"sliding_attention\"]", "layer_types")]
    [InlineData("gpt2-no-prefix", "n_positions", "63", "\"wpe.weight\" is [64, 32], the configuration says [63, 32]")]
    [InlineData("gpt-neox-buffers", "rope_scaling", "{\"rope_type\": \"longrope\", \"factor\": 2.0}", "\"longrope\"")]
    [InlineData("gpt-neox-buffers", "hidden_act", "\"relu\"", "hidden_act")]
    [InlineData("gpt2-no-prefix", "activation_function", "\"relu\"", "activation_function")]
    [InlineData("gpt2-no-prefix", "tie_word_embeddings", "false", "lm_head.weight")]
    [InlineData("gpt2-no-prefix", "n_head", "3", "n_head")]
    [InlineData("gpt-neox-buffers", "rotary_pct", "0.25", "share of a head")]
    [InlineData("gpt-neox-buffers", "attention_bias", "false", "query_key_value.bias")]
    [InlineData("gpt-neo", "attention_layers", "[\"global\", \"local\"]", "\"attention_layers\" names 2 layers, but \"num_layers\" is 4")]
    [InlineData("gpt-neo", "attention_layers", "[\"global\", \"local\", \"strided\", \"local\"]", "\"attention_layers\" is \"strided\"; supported is \"global\"")]
    [InlineData("gpt-neo", "attention_layers", "null", "\"attention_layers\" is missing")]
    [InlineData("gpt-neo", "activation_function", "\"relu\"", "activation_function")]
    [InlineData("gpt-neo", "window_size", "0", "SlidingWindow")]
    [InlineData("gpt-neo", "max_position_embeddings", "63", "\"transformer.wpe.weight\" is [64, 24], the configuration says [63, 24]")]
    [InlineData("gpt-neo", "num_heads", "5", "num_heads")]
    [InlineData("olmo2", "layer_types", "[\"full_attention\", \"sliding_attention\"]", "layer_types")]
    [InlineData("olmo2", "attention_bias", "true", "q_proj.bias")]
    [InlineData("olmo2", "clip_qkv", "8.0", "clip_qkv")]
    [InlineData("phi3-longrope", "rope_scaling", "{\"type\": \"yarn\", \"factor\": 4.0}", "\"longrope\" or \"default\"")]
    [InlineData("phi3-longrope", "rope_scaling", "{\"type\": \"longrope\", \"short_factor\": [1, 2], \"long_factor\": [1, 2]}", "PairFactors is [1, 2]; expected 3")]
    [InlineData("phi3-longrope", "rope_scaling", "{\"type\": \"longrope\", \"short_factor\": [1, 2, 0]}", "PairFactors is [1, 2, 0]; expected 3")]
    [InlineData("phi3-longrope", "rope_scaling", "{\"type\": \"longrope\", \"long_factor\": [1, 2, 3]}", "short_factor")]
    [InlineData("phi3-longrope", "rope_scaling", "{\"type\": \"longrope\", \"short_factor\": [1, \"2\", 3]}", "a list of numbers")]
    [InlineData("phi3-longrope", "rope_scaling", "{\"type\": \"longrope\", \"short_factor\": [1, 2, 3], \"factor\": 8}", "\"factor\" is 8; supported is 4")]
    [InlineData("phi3-longrope", "rope_scaling", "{\"type\": \"longrope\", \"short_factor\": [1, 2, 3], \"short_mscale\": 1.5}", "short_mscale")]
    [InlineData("phi3-longrope", "original_max_position_embeddings", "null", "original_max_position_embeddings")]
    [InlineData("phi3-longrope", "full_attn_mod", "2", "full_attn_mod")]
    [InlineData("phi3-longrope", "lm_head_bias", "true", "lm_head_bias")]
    [InlineData("smollm3", "no_rope_layers", "[1, 0]", "no_rope_layers")]
    [InlineData("smollm3", "no_rope_layers", "[1, 0, 2, 0]", "no_rope_layers")]
    [InlineData("smollm3", "layer_types", "[\"full_attention\", \"full_attention\", \"full_attention\", \"chunked_attention\"]", "chunked_attention")]
    [InlineData("gemma3-text", "model_type", "\"gemma2\"", "\"gemma3_text\" (Gemma3ForCausalLM)")]
    [InlineData("gemma3-text", "architectures", "[\"Gemma3ForConditionalGeneration\"]", "Gemma3ForCausalLM")]
    [InlineData("gemma3-text", "final_logit_softcapping", "30.0", "final_logit_softcapping")]
    [InlineData("gemma3-text", "attn_logit_softcapping", "50.0", "attn_logit_softcapping")]
    [InlineData("gemma3-text", "use_bidirectional_attention", "true", "use_bidirectional_attention")]
    [InlineData("gemma3-text", "query_pre_attn_scalar", "24", "query_pre_attn_scalar")]
    [InlineData("gemma3-text", "hidden_activation", "\"silu\"", "hidden_activation")]
    [InlineData("gemma3-text", "rope_parameters", "{\"rope_type\": \"default\", \"rope_theta\": 1000000.0}", "full_attention")]
    [InlineData("gemma3-text", "sliding_window_pattern", "0", "sliding_window_pattern")]
    [InlineData("gemma3-text", "num_hidden_layers", "2000000000", "Layers is 2000000000; expected 1 to")]
    public void Configurations_that_would_change_the_result_are_refused_by_name(string name, string key, string value, string says)
    {
        using TemporaryFolder folder = Copy(name);
        string path = Path.Combine(folder.Path, "config.json");
        JsonNode config = JsonNode.Parse(File.ReadAllText(path))!;
        config[key] = JsonNode.Parse(value);
        File.WriteAllText(path, config.ToJsonString());
        CheckpointException fault = Assert.Throws<CheckpointException>(() => PretrainedDecoder.Load(folder.Path));
        Assert.Contains(says, fault.Message, StringComparison.Ordinal);
        Assert.Contains(folder.Path, fault.Message, StringComparison.Ordinal);
    }

    /// <summary>The files at hand say what is a default anyway: a key that nobody reads would change nothing in them.</summary>
    [Theory]
    [InlineData("gpt2-no-prefix", """{"vocab_size": 651, "n_embd": 60, "n_layer": 3, "n_head": 3, "n_inner": 100, "n_positions": 80, "layer_norm_epsilon": 0.001}""")]
    [InlineData(
        "gpt-neox-buffers",
        """
        {"vocab_size": 657, "hidden_size": 60, "num_hidden_layers": 3, "num_attention_heads": 5, "intermediate_size": 100, "layer_norm_eps": 0.001,
         "rope_theta": 5000, "rotary_emb_base": 5000, "rotary_pct": 0.75, "partial_rotary_factor": 0.75, "max_position_embeddings": 80}
        """)]
    [InlineData(
        "gpt-neo",
        """
        {"vocab_size": 651, "hidden_size": 60, "num_layers": 3, "num_heads": 3, "intermediate_size": 100, "max_position_embeddings": 80,
         "layer_norm_epsilon": 0.001, "window_size": 20, "attention_layers": ["local", "global", "local"]}
        """)]
    [InlineData("llama-rope-linear", "{" + LlamaNumbers + ", \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8}}")]
    [InlineData("mistral-sliding-window", "{" + LlamaNumbers + ", \"sliding_window\": 20}")]
    [InlineData("qwen2-v4", "{" + LlamaNumbers + ", \"sliding_window\": 20, \"use_sliding_window\": true, \"max_window_layers\": 0}")]
    [InlineData("olmo2", "{" + LlamaNumbers + "}")]
    [InlineData("smollm3", "{" + LlamaNumbers + ", \"no_rope_layers\": null, \"no_rope_layer_interval\": 2, \"layer_types\": null, \"sliding_window\": 20, \"use_sliding_window\": true}")]
    [InlineData("gemma3-text", "{" + LlamaNumbers + ", \"query_pre_attn_scalar\": 10, \"sliding_window\": 20, \"sliding_window_pattern\": 2, \"rope_local_base_freq\": 77}")]
    public void Every_number_of_a_configuration_is_read(string name, string numbers)
    {
        JsonObject config = JsonNode.Parse(File.ReadAllText(Path.Combine(Folder(name), "config.json")))!.AsObject();
        RetroConfig plain = Read().Config;
        foreach ((string key, JsonNode? value) in JsonNode.Parse(numbers)!.AsObject())
        {
            config[key] = value?.DeepClone();
        }

        RetroConfig sizes = plain with { Width = 60, Layers = 3, FeedForwardSize = 100, NormEpsilon = 1e-3 };
        RetroConfig llama = sizes with { VocabularySize = 821, Heads = 4, KeyValueHeads = 1, HeadSize = 10, RotaryBase = 5000 };
        RetroConfig expected = name switch
        {
            "gpt2-no-prefix" => sizes with { VocabularySize = 651, Heads = 3, HeadSize = 20, MaximumLength = 80 },
            "gpt-neo" => sizes with { VocabularySize = 651, Heads = 3, HeadSize = 20, MaximumLength = 80, SlidingWindow = 20, WindowLayers = [1, 3] },
            "gpt-neox-buffers" => sizes with { VocabularySize = 657, Heads = 5, HeadSize = 12, RotaryBase = 5000, RotaryFraction = 0.75 },
            "olmo2" => llama,
            "smollm3" => llama with { UnrotatedLayers = [2], SlidingWindow = 20, WindowLayers = [2] },
            "gemma3-text" => llama with { SlidingWindow = 20, WindowLayers = [1, 3], WindowRotaryBase = 77, EmbeddingScale = 7.75 },
            "llama-rope-linear" => llama with { RotaryScaling = new() { Kind = RotaryScalingKind.Linear, Factor = 8 } },
            _ => llama with { SlidingWindow = 20 },
        };
        (RetroConfig came, int? contextLength) = Read();
        Assert.Equal(expected, came);
        Assert.Equal(80, contextLength);

        (RetroConfig Config, int? ContextLength) Read()
        {
            using StrictJson json = StrictJson.Parse("config.json", System.Text.Encoding.UTF8.GetBytes(config.ToJsonString()));
            DecoderFamily family = DecoderFamily.Of(json);
            return (family.Configure(json), family.ContextLength(json));
        }
    }

    [Theory]
    [InlineData("fast")]
    [InlineData("dropout-keys")]
    public void Other_names_of_an_activation_and_dropouts_change_no_logit(string name)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using PretrainedDecoder plain = PretrainedDecoder.Load(Path.Combine(Fixtures.Own, "cases", "59-neox-gelu-fast", "new"));
        using PretrainedDecoder other = PretrainedDecoder.Load(Path.Combine(Fixtures.Own, "cases", "59-neox-gelu-fast", name));
        Tensor tokens = tensor(new long[] { 3, 1, 4, 1, 5 }, [1, 5]);
        Assert.Equal(plain.Model.call(tokens, null, null).data<float>().ToArray(), other.Model.call(tokens, null, null).data<float>().ToArray());
    }

    /// <summary>
    /// max_sequence_length stands in Vicuna's files (https://github.com/lm-sys/FastChat/pull/2925), eos_token_ids in those of transformers of early 2020, the
    /// others in what Unsloth and Dolly write.
    /// </summary>
    [Fact]
    public void What_tools_note_in_a_configuration_changes_nothing()
    {
        using TemporaryFolder folder = Copy("llama-rope-linear");
        string path = Path.Combine(folder.Path, "config.json");
        JsonNode config = JsonNode.Parse(File.ReadAllText(path))!;
        config["max_sequence_length"] = 16384;
        config["unsloth_version"] = "2025.3.1";
        config["unsloth_fixed"] = true;
        config["eos_token_ids"] = 0;
        (config["attn_implementation"], config["use_flash_attn"], config["max_new_tokens"], config["activation"]) = ("sdpa", true, 512, "swiglu");
        config["custom_pipelines"] = new JsonObject { ["text-generation"] = new JsonObject { ["impl"] = "pipeline.Own" } };
        File.WriteAllText(path, config.ToJsonString());
        using PretrainedDecoder noted = PretrainedDecoder.Load(folder.Path);
        using PretrainedDecoder plain = PretrainedDecoder.Load(Folder("llama-rope-linear"));
        Assert.Equal(plain.Model.Config, noted.Model.Config);
        Assert.Equal(plain.Origin.ContextLength, noted.Origin.ContextLength);
    }

    /// <summary>YaRN: the paper's temperature counts for queries and keys alike, as if both projections were larger.</summary>
    [Fact]
    public void A_factor_of_attention_is_one_of_queries_and_keys()
    {
        using TemporaryFolder warm = Copy("llama-rope-linear"), plain = Copy("llama-rope-linear");
        const string Scaling = "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 32";
        foreach ((TemporaryFolder folder, string more) in ((TemporaryFolder, string)[])[(warm, ""), (plain, ", \"attention_factor\": 1.0")])
        {
            string json = File.ReadAllText(folder["config.json"]);
            int at = json.IndexOf("\"rope_scaling\"", StringComparison.Ordinal), end = json.IndexOf('}', at);
            File.WriteAllText(folder["config.json"], $"{json[..at]}{Scaling}{more}{json[end..]}");
        }

        using PretrainedDecoder decoder = PretrainedDecoder.Load(warm.Path, ScalarType.Float64), other = PretrainedDecoder.Load(plain.Path, ScalarType.Float64);
        RotaryScaling yarn = new() { Kind = RotaryScalingKind.Yarn, Factor = 4, HighFrequencyFactor = 32, OriginalLength = 32 };
        Assert.Equal(yarn, other.Model.Config.RotaryScaling);
        Assert.Equal(1.138629436111989, decoder.Model.Config.RotaryScaling!.AttentionFactor, 12);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        Tensor tokens = arange(5, 45, ScalarType.Int64).unsqueeze(0), expected = decoder.Model.call(tokens, null, null);
        Assert.False(expected.allclose(other.Model.call(tokens, null, null), 1e-4));
        foreach (string name in (string[])["decoder.1.attn.q", "decoder.1.attn.k", "decoder.2.attn.q", "decoder.2.attn.k"])
        {
            other.Model.get_parameter($"{name}.weight")!.mul_(1.138629436111989);
        }

        Assert.True(expected.allclose(other.Model.call(tokens, null, null), 1e-9, 1e-9));
    }

    /// <summary>"dynamic" changes frequencies with the length of a text beyond the one that the model was trained for, and not up to there.</summary>
    [Fact]
    public void Dynamic_scaling_is_none_up_to_the_length_it_begins_at()
    {
        using TemporaryFolder folder = Copy("mistral-sliding-window");
        JsonNode config = JsonNode.Parse(File.ReadAllText(folder["config.json"]))!;
        config["rope_scaling"] = new JsonObject { ["rope_type"] = "dynamic", ["factor"] = 2.0 };
        config["max_position_embeddings"] = 30;
        File.WriteAllText(folder["config.json"], config.ToJsonString());
        Assert.Equal(Logits(Folder("mistral-sliding-window")), Logits(folder.Path));
        using PretrainedDecoder decoder = PretrainedDecoder.Load(folder.Path);
        using DisposeScope scope = NewDisposeScope();
        Assert.Contains(
            "longer than the 30", Assert.Throws<ArgumentException>(() => decoder.Model.call(zeros([1, 31], ScalarType.Int64), null, null)).Message,
            StringComparison.Ordinal);
    }

    /// <summary>LongRoPE has other numbers beyond the original length, which count for the tokens before it, too.</summary>
    [Fact]
    public void Longrope_is_read_up_to_the_original_length()
    {
        using TemporaryFolder folder = Copy("phi3-longrope");
        using PretrainedDecoder decoder = PretrainedDecoder.Load(folder.Path);
        Assert.Equal(((int?)64, (int?)64), (decoder.Model.Config.MaximumLength, decoder.Origin.ContextLength));
        Assert.Equal(FactorList.Create([1, 1.1185, 1.75]), decoder.Model.Config.RotaryScaling!.PairFactors);
        Assert.Equal(Math.Sqrt(4 / 3.0), decoder.Model.Config.RotaryScaling.AttentionFactor, 12); // the length 4-fold, of 4 to the power of 3
        using DisposeScope scope = NewDisposeScope();
        Assert.Contains(
            "longer than the 64", Assert.Throws<ArgumentException>(() => decoder.Model.call(zeros([1, 65], ScalarType.Int64), null, null)).Message,
            StringComparison.Ordinal);

        // As transformers 5 says it.
        JsonObject config = JsonNode.Parse(File.ReadAllText(folder["config.json"]))!.AsObject(), parameters = config["rope_scaling"]!.DeepClone().AsObject();
        foreach (string key in (string[])["rope_theta", "partial_rotary_factor", "original_max_position_embeddings"])
        {
            parameters[key] = config[key]!.DeepClone();
            config.Remove(key);
        }

        (parameters["rope_type"], parameters["factor"], config["rope_parameters"]) = ("longrope", 4.0, parameters);
        parameters.Remove("type");
        config.Remove("rope_scaling");
        File.WriteAllText(folder["config.json"], config.ToJsonString());
        using PretrainedDecoder other = PretrainedDecoder.Load(folder.Path);
        Assert.Equal(decoder.Model.Config, other.Model.Config);
    }

    /// <summary>transformers 5 says positions and kinds of layers otherwise; the 270M comes so, the 1B as the folder here.</summary>
    [Fact]
    public void A_gemma_of_either_version_is_the_same_model()
    {
        using TemporaryFolder folder = Copy("gemma3-text");
        JsonObject config = JsonNode.Parse(File.ReadAllText(folder["config.json"]))!.AsObject();
        config["rope_parameters"] = new JsonObject
        {
            ["full_attention"] = new JsonObject { ["rope_type"] = "default", ["rope_theta"] = 1e6 },
            ["sliding_attention"] = new JsonObject { ["rope_type"] = "default", ["rope_theta"] = 1e4 },
        };
        config["layer_types"] = new JsonArray("sliding_attention", "sliding_attention", "full_attention", "sliding_attention");
        (config["_sliding_window_pattern"], config["use_bidirectional_attention"], config["dtype"]) = (6, false, "bfloat16");
        foreach (string key in (string[])["rope_theta", "rope_local_base_freq", "rope_scaling", "sliding_window_pattern", "torch_dtype"])
        {
            config.Remove(key);
        }

        File.WriteAllText(folder["config.json"], config.ToJsonString());
        using PretrainedDecoder decoder = PretrainedDecoder.Load(folder.Path), plain = PretrainedDecoder.Load(Folder("gemma3-text"));
        Assert.Equal(plain.Model.Config, decoder.Model.Config);
        Assert.Equal(4.90625, plain.Model.Config.EmbeddingScale); // the root of 24 in bfloat16
        Assert.Equal(LayerList.Create([1, 2, 4]), plain.Model.Config.WindowLayers);

        config["rope_parameters"]!["sliding_attention"]!["rope_type"] = "linear";
        config["rope_parameters"]!["sliding_attention"]!["factor"] = 2.0;
        File.WriteAllText(folder["config.json"], config.ToJsonString());
        Assert.Contains(
            "sliding_attention", Assert.Throws<CheckpointException>(() => PretrainedDecoder.Load(folder.Path)).Message, StringComparison.Ordinal);
    }

    /// <summary>Qwen's layers behind the first ones may have a window alone.</summary>
    [Fact]
    public void A_window_in_some_layers_is_read()
    {
        using TemporaryFolder folder = Copy("qwen2-v4");
        JsonNode config = JsonNode.Parse(File.ReadAllText(folder["config.json"]))!;
        (config["use_sliding_window"], config["sliding_window"], config["max_window_layers"]) = (true, 7, 1);
        File.WriteAllText(folder["config.json"], config.ToJsonString());
        using PretrainedDecoder decoder = PretrainedDecoder.Load(folder.Path);
        Assert.Equal((7, LayerList.Every(2, 1, decoder.Model.Config.Layers)), (decoder.Model.Config.SlidingWindow!.Value, decoder.Model.Config.WindowLayers!));
    }

    /// <summary>Where layers do not differ, nothing is said of each.</summary>
    [Theory]
    [InlineData("local", 6)]
    [InlineData("global", null)]
    public void A_gpt_neo_s_layers_may_all_be_of_one_kind(string kind, int? window)
    {
        using TemporaryFolder folder = Copy("gpt-neo");
        JsonNode config = JsonNode.Parse(File.ReadAllText(folder["config.json"]))!;
        config["attention_layers"] = new JsonArray(kind, kind, kind, kind);
        File.WriteAllText(folder["config.json"], config.ToJsonString());
        using PretrainedDecoder decoder = PretrainedDecoder.Load(folder.Path);
        Assert.Equal(window, decoder.Model.Config.SlidingWindow);
        Assert.Null(decoder.Model.Config.WindowLayers);
    }

    /// <summary>Each layer's logits of attention are divided by its number, from 1: as are its queries.</summary>
    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.Float64)]
    public void A_gpt2_that_divides_by_the_layer_is_read_and_written_back(ScalarType dtype)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using TemporaryFolder folder = Copy("gpt2-no-prefix"), target = new();
        JsonNode config = JsonNode.Parse(File.ReadAllText(folder["config.json"]))!;
        config["scale_attn_by_inverse_layer_idx"] = true;
        File.WriteAllText(folder["config.json"], config.ToJsonString());
        using PretrainedDecoder decoder = PretrainedDecoder.Load(folder.Path, dtype), plain = PretrainedDecoder.Load(Folder("gpt2-no-prefix"), dtype);
        for (int layer = 2; layer <= plain.Model.Config.Layers; layer++)
        {
            plain.Model.get_parameter($"decoder.{layer}.attn.q.weight")!.div_(layer);
            plain.Model.get_parameter($"decoder.{layer}.attn.q.bias")!.div_(layer);
        }

        Tensor tokens = arange(5, 35, ScalarType.Int64).unsqueeze(0);
        Assert.True(decoder.Model.call(tokens, null, null).allclose(plain.Model.call(tokens, null, null), 1e-6, 1e-6));
        decoder.Origin.Write(decoder.Model, target.Path);
        using (Safetensors before = Safetensors.Open(folder["model.safetensors"]), after = Safetensors.Open(target["model.safetensors"]))
        {
            Assert.All(before.Entries, entry => Assert.True(before.Bytes(entry.Name).SequenceEqual(after.Bytes(entry.Name)), $"{entry.Name} changed."));
        }

        using Retrofit retrofit = Retrofit.From(decoder);
        retrofit.Save(target["additions"]);
        using Safetensors saved = Safetensors.Open(Path.Combine(target["additions"], Retrofit.FileName));
        Assert.Equal(retrofit.Added.Count, saved.Entries.Count);
    }

    /// <summary>In float32 x / 7 · 7 is not always x.</summary>
    [Theory]
    [InlineData(ScalarType.Float32, ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16, ScalarType.BFloat16)]
    [InlineData(ScalarType.Float16, ScalarType.Float32)]
    [InlineData(ScalarType.Float32, ScalarType.Float64)]
    public void A_division_is_undone_to_the_bit(ScalarType stored, ScalarType computed)
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(5);
        Tensor values = randn([60, 50], ScalarType.Float64).to_type(stored).t();
        ConvertedTensor divided = ConvertedTensor.Divided(7);
        Tensor quotients = divided.Read(values).to_type(computed);
        Assert.True(quotients.allclose(values.to_type(computed) / 7, 1e-2));
        Assert.True(divided.Written(quotients).to_type(stored).Equals(values));
        Assert.Equal(stored != computed, (quotients.to_type(ScalarType.Float64) * 7).to_type(stored).Equals(values));

        // What was trained meanwhile is written as it is now.
        Assert.True(divided.Written(quotients + 1).to_type(ScalarType.Float32).allclose(values.to_type(ScalarType.Float32) + 7, 2e-2, 2e-2));
    }

    [Fact]
    public void A_default_device_of_torchs_changes_nothing_for_what_is_divided_on_the_processor()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor values = arange(1, 1000, ScalarType.Float32, CPU);
        try
        {
            set_default_device(META);
            ConvertedTensor divided = ConvertedTensor.Divided(7);
            Assert.True(divided.Written(divided.Read(values)).to_type(ScalarType.Float32).Equals(values));
        }
        finally
        {
            set_default_device(CPU);
        }
    }

    /// <summary>Each layer of a GPT-2 or a GPT-NeoX may be stored with its mask, and all have the same; those of a GPT-Neo have one of two.</summary>
    [Theory]
    [InlineData("gpt2-no-prefix")]
    [InlineData("gpt-neo")]
    [InlineData("gpt-neox-buffers")]
    public void Equal_buffers_are_kept_once(string name)
    {
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder(name));
        IEnumerable<byte[]> kept = decoder.Origin.Buffers.Values.Select(buffer => buffer.Values);
        Assert.True(decoder.Origin.Buffers.Count >= 2);
        Assert.Equal(kept.Select(Convert.ToHexString).Distinct().Count(), kept.Distinct().Count());
    }

    /// <summary>Later versions of transformers write into any file what a model of the family has anyway.</summary>
    [Theory]
    [InlineData("mistral-sliding-window", "{\"attention_bias\": false, \"mlp_bias\": false, \"layer_types\": [\"sliding_attention\", \"sliding_attention\"]}")]
    [InlineData("mistral-sliding-window", "{\"rope_scaling\": {\"rope_type\": \"default\", \"factor\": 1}, \"use_sliding_window\": true}")]
    [InlineData("llama-rope-linear", "{\"use_sliding_window\": false, \"layer_types\": [\"full_attention\", \"full_attention\"]}")]
    [InlineData("llama-rope-linear", "{\"add_cross_attention\": false, \"is_encoder_decoder\": false, \"cross_attention_hidden_size\": null, \"is_causal\": true}")]
    public void A_default_that_is_said_changes_nothing(string name, string said)
    {
        using TemporaryFolder folder = Copy(name);
        JsonObject config = JsonNode.Parse(File.ReadAllText(folder["config.json"]))!.AsObject();
        foreach ((string key, JsonNode? value) in JsonNode.Parse(said)!.AsObject())
        {
            config[key] = value?.DeepClone();
        }

        File.WriteAllText(folder["config.json"], config.ToJsonString());
        using PretrainedDecoder decoder = PretrainedDecoder.Load(folder.Path), plain = PretrainedDecoder.Load(Folder(name));
        Assert.Equal(plain.Model.Config, decoder.Model.Config);
    }

    /// <summary>What people name who have a model: each fault says what to name.</summary>
    [Fact]
    public void What_is_no_model_by_itself_says_what_to_name_or_to_do()
    {
        using TemporaryFolder folder = Copy("llama-rope-linear");
        string gguf = folder.File("model.gguf", [.. "GGUF"u8, 3, 0, 0, 0, .. new byte[64]]);
        Refused(gguf, "is a GGUF file");
        Refused(folder["config.json"], folder.Path);
        Refused(folder["tokenizer.json"], "name the folder that holds it");

        folder.File("adapter/adapter_config.json", "{}"u8.ToArray());
        Refused(folder["adapter"], "merge_and_unload");

        // Beside a model, whole or without its weights, it would change what that says.
        folder.File("adapter_config.json", "{}"u8.ToArray());
        Refused(folder.Path, "holds an adapter");
        File.Delete(folder["model.safetensors"]);
        folder.File("optimizer.pt", [0x80, 2]);
        Refused(folder.Path, "holds an adapter");

        folder.File("cache/refs/main", "second\n"u8.ToArray());
        Directory.CreateDirectory(folder["cache/snapshots/first"]);
        string snapshot = folder["cache/snapshots/second"];
        Directory.CreateDirectory(snapshot);
        Refused(folder["cache"], snapshot);

        static void Refused(string path, string says)
        {
            Assert.Contains(says, Assert.Throws<CheckpointException>(() => PretrainedDecoder.Load(path)).Message, StringComparison.Ordinal);
            Assert.Contains(says, Assert.Throws<CheckpointException>(() => PretrainedDecoder.Describe(path)).Message, StringComparison.Ordinal);
        }
    }

    /// <summary>As the hub's cache lays a model out: https://github.com/huggingface/huggingface_hub/issues/1388.</summary>
    [Fact]
    public void A_folder_of_links_to_files_is_read_as_the_files()
    {
        using TemporaryFolder folder = new();
        foreach (string name in (string[])["config.json", "model.safetensors", "tokenizer.json"])
        {
            string blob = folder.File($"blobs/{name.Length:x40}", File.ReadAllBytes(Path.Combine(Folder("llama-rope-linear"), name)));
            Directory.CreateDirectory(Path.Combine(folder.Path, "snapshots"));
            File.CreateSymbolicLink(Path.Combine(folder.Path, "snapshots", name), Path.Combine("..", "blobs", Path.GetFileName(blob)));
        }

        using PretrainedDecoder linked = PretrainedDecoder.Load(Path.Combine(folder.Path, "snapshots"));
        using PretrainedDecoder plain = PretrainedDecoder.Load(Folder("llama-rope-linear"));
        Assert.Equal(plain.Origin.Hash, linked.Origin.Hash);
        linked.RequireTokenizer(RetroTokenizer.Load(Path.Combine(folder.Path, "snapshots")));
    }

    [Theory]
    [InlineData("gpt2-no-prefix", "activation_function", "gelu_accurate")]
    [InlineData("gpt2-no-prefix", "activation_function", "gelu_python_tanh")]
    [InlineData("mistral-sliding-window", "hidden_act", "swish")]
    public void An_activation_is_known_by_all_of_its_names_beside_keys_without_effect(string name, string key, string activation)
    {
        using TemporaryFolder folder = Copy(name);
        string path = Path.Combine(folder.Path, "config.json");
        JsonNode config = JsonNode.Parse(File.ReadAllText(path))!;
        config[key] = activation;
        foreach (string dropout in (string[])["attention_probs_dropout_prob", "hidden_dropout_prob", "classifier_dropout_prob", "layerdrop"])
        {
            config[dropout] = 0.1;
        }

        // OpenAI's first GPT had these, and gpt2-medium still says them.
        (config["n_special"], config["predict_special_tokens"]) = (0, true);

        File.WriteAllText(path, config.ToJsonString());
        using PretrainedDecoder renamed = PretrainedDecoder.Load(folder.Path);
        using PretrainedDecoder plain = PretrainedDecoder.Load(Folder(name));
        Assert.Equal(plain.Model.Config.Activation, renamed.Model.Config.Activation);
    }

    [Fact]
    public void A_byte_order_mark_before_a_configuration_is_no_part_of_it()
    {
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Path.Combine(Fixtures.Own, "cases", "51-json-bom", "model"));
        Assert.Equal(8, decoder.Model.Config.Width);
    }

    [Theory]
    [InlineData("F32", 31, "the configuration says [32]")]
    [InlineData("I32", 32, "is of type I32")]
    public void A_tensor_of_another_shape_or_type_is_refused(string dtype, int size, string says)
    {
        using TemporaryFolder folder = Copy("gpt2-no-prefix");
        Rewrite(folder.Path, tensors => tensors["ln_f.weight"] = zeros([size], dtype == "I32" ? ScalarType.Int32 : ScalarType.Float32));
        CheckpointException fault = Assert.Throws<CheckpointException>(() => PretrainedDecoder.Load(folder.Path));
        Assert.Contains("\"ln_f.weight\"", fault.Message, StringComparison.Ordinal);
        Assert.Contains(says, fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_tensor_that_nobody_knows_is_reported()
    {
        using TemporaryFolder folder = Copy("gpt2-no-prefix");
        Rewrite(folder.Path, tensors => tensors["h.0.attn.adapter.weight"] = zeros([2, 2]));
        Assert.Contains(
            "h.0.attn.adapter.weight", Assert.Throws<CheckpointException>(() => PretrainedDecoder.Load(folder.Path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_head_that_is_the_embedding_is_accepted_in_a_tied_model()
    {
        using TemporaryFolder folder = Copy("gpt2-no-prefix");
        Rewrite(folder.Path, tensors => tensors["lm_head.weight"] = tensors["wte.weight"].clone());
        using PretrainedDecoder decoder = PretrainedDecoder.Load(folder.Path);
        Assert.True(decoder.Model.Config.TieEmbeddings);
    }

    /// <summary>As safetensors' own save_model leaves it, which stores what is shared once, under either name.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("transformer.")]
    public void A_tied_embedding_may_be_stored_as_the_head_alone(string prefix)
    {
        using TemporaryFolder folder = Copy("gpt2-no-prefix"), target = new();
        using DisposeScope scope = NewDisposeScope();
        Tensor ids = tensor([(long)5, 3, 8, 1], [1, 4]);
        using PretrainedDecoder before = PretrainedDecoder.Load(folder.Path);
        Assert.True(before.Model.Config.TieEmbeddings);
        Rewrite(folder.Path, tensors =>
        {
            foreach ((string name, Tensor stored) in tensors.ToArray())
            {
                tensors.Remove(name);
                tensors.Add(name == "wte.weight" ? "lm_head.weight" : prefix + name, stored);
            }
        });
        using PretrainedDecoder after = PretrainedDecoder.Load(folder.Path);
        using (no_grad())
        {
            Assert.True(before.Model.forward(ids).equal(after.Model.forward(ids)).all().item<bool>());
        }

        after.Origin.Write(after.Model, target.Path);
        using (Safetensors read = Safetensors.Open(folder["model.safetensors"]), written = Safetensors.Open(target["model.safetensors"]))
        {
            Assert.Equal(read.Entries.Select(entry => entry.Name).Order(), written.Entries.Select(entry => entry.Name).Order());
            Assert.True(read.Bytes("lm_head.weight").SequenceEqual(written.Bytes("lm_head.weight")));
        }

        Rewrite(folder.Path, tensors => tensors["lm_head.weight"] = zeros([2, 2]));
        Assert.Contains(
            $"\"{prefix}wte.weight\" [",
            Assert.Throws<CheckpointException>(() => PretrainedDecoder.Load(folder.Path)).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Shards_have_to_be_there_and_to_belong_together()
    {
        using TemporaryFolder folder = Copy("gpt2-no-prefix");
        string single = Path.Combine(folder.Path, "model.safetensors"), index = single
            + ".index.json", shard = Path.Combine(folder.Path, "model-00001-of-00001.safetensors");
        string[] names;
        using (Safetensors file = Safetensors.Open(single))
        {
            names = [.. file.Entries.Select(entry => entry.Name)];
        }

        File.Move(single, shard);
        Index([.. names]);
        PretrainedDecoder.Load(folder.Path).Dispose();
        Index([.. names, "h.7.ln_1.weight"]);
        Assert.Contains("h.7.ln_1.weight", Fault(), StringComparison.Ordinal);
        File.WriteAllText(index, "{\"weight_map\": {\"wte.weight\": \"../model.safetensors\"}}");
        Assert.Contains("../model.safetensors", Fault(), StringComparison.Ordinal);
        File.WriteAllText(index, "{\"weight_map\": [1]}");
        Assert.Contains("weight_map", Fault(), StringComparison.Ordinal);
        Index([.. names]);
        File.Delete(shard);
        Assert.Contains("model-00001-of-00001.safetensors is missing", Fault(), StringComparison.Ordinal);

        string Fault() => Assert.Throws<CheckpointException>(() => PretrainedDecoder.Load(folder.Path)).Message;

        void Index(string[] all)
            => File.WriteAllText(
                index, $"{{\"weight_map\": {{{string.Join(", ", all.Select(name => $"\"{name}\": \"model-00001-of-00001.safetensors\""))}}}}}");
    }

    [Fact]
    public void Pickles_are_refused_with_what_to_do()
    {
        using TemporaryFolder folder = Copy("gpt2-no-prefix");
        File.Delete(Path.Combine(folder.Path, "model.safetensors"));
        foreach (string name in (string[])["optimizer.pt", "scheduler.pt", "training_args.bin", "rng_state_0.pth"])
        {
            folder.File(name, [0x80, 2]); // of a training, and no weights
        }

        Assert.Contains("holds no weights", Assert.Throws<CheckpointException>(() => PretrainedDecoder.Load(folder.Path)).Message, StringComparison.Ordinal);
        string pickle = Path.Combine(folder.Path, "pytorch_model.bin");
        File.WriteAllBytes(pickle, [(byte)'P', (byte)'K', 3, 4, .. new byte[40]]);
        foreach (string path in (string[])[folder.Path, pickle])
        {
            string message = Assert.Throws<CheckpointException>(() => PretrainedDecoder.Load(path)).Message;
            Assert.Contains($"{pickle} is a Python pickle", message, StringComparison.Ordinal);
            Assert.Contains("safe_serialization=True", message, StringComparison.Ordinal);
        }

        File.WriteAllBytes(pickle, [0x80, 2, .. new byte[40]]);
        Assert.Contains("pickle", Assert.Throws<CheckpointException>(() => PretrainedDecoder.Load(pickle)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Files_of_llama2_c_are_read_and_written_back_byte_for_byte()
    {
        using TemporaryFolder folder = new();
        string path = Path.Combine(folder.Path, "model.bin"), again = Path.Combine(folder.Path, "again.bin");
        foreach (bool tied in (bool[])[true, false])
        {
            byte[] bytes = Llama2CBytes(tied);
            File.WriteAllBytes(path, bytes);
            using PretrainedDecoder decoder = PretrainedDecoder.Load(path);
            Assert.Equal(tied, decoder.Model.Config.TieEmbeddings);
            Assert.Equal(("llama2.c", 16), (decoder.Origin.Family, decoder.Origin.ContextLength));
            decoder.Origin.Write(decoder.Model, again);
            Assert.Equal(bytes, File.ReadAllBytes(again));
            File.WriteAllBytes(path, bytes[..^4]);
            Assert.Contains("cut off", Assert.Throws<CheckpointException>(() => PretrainedDecoder.Load(path)).Message, StringComparison.Ordinal);
        }

        File.WriteAllBytes(path, [.. "24ka"u8, 1, 0, 0, 0, .. new byte[256]]);
        Assert.Contains("version 1", Assert.Throws<CheckpointException>(() => PretrainedDecoder.Load(path)).Message, StringComparison.Ordinal);
        File.WriteAllBytes(path, new byte[10]);
        Assert.Contains("10 bytes", Assert.Throws<CheckpointException>(() => PretrainedDecoder.Load(path)).Message, StringComparison.Ordinal);
        File.WriteAllBytes(path, [.. Enumerable.Repeat((byte)0x7f, 64)]);
        Assert.Contains("no llama2.c model", Assert.Throws<CheckpointException>(() => PretrainedDecoder.Load(path)).Message, StringComparison.Ordinal);
    }

    /// <summary>
    /// The weights of a Llama folder, whose answers are compared, written as llama2.c's export writes them: what is read back computes the same.
    /// </summary>
    [Fact]
    public void A_llama_in_llama2_cs_file_computes_what_it_computes_in_its_folder()
    {
        using TemporaryFolder folder = Copy("llama-rope-linear");
        string path = Path.Combine(folder.Path, "config.json"), file = Path.Combine(folder.Path, "llama.bin");
        JsonObject config = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
        (config["rope_scaling"], config["rms_norm_eps"]) = (null, 1e-5); // llama2.c scales no positions, and has this epsilon
        File.WriteAllText(path, config.ToJsonString());
        int Number(string key) => config[key]!.GetValue<int>();
        int layers = Number("num_hidden_layers"), heads = Number("num_attention_heads");
        using DisposeScope scope = NewDisposeScope();
        using (Safetensors weights = Safetensors.Open(Path.Combine(folder.Path, "model.safetensors")))
        using (BinaryWriter writer = new(File.Create(file)))
        {
            // A vocabulary below zero: the head is not the embedding.
            int[] header = [Number("hidden_size"), Number("intermediate_size"), layers, heads, Number("num_key_value_heads"), -Number("vocab_size"), 64];
            Array.ForEach(header, writer.Write);
            void Write(Tensor tensor) => writer.Write(tensor.contiguous().bytes);
            void WriteAll(string name, bool rotated = false)
            {
                for (int layer = 0; layer < layers; layer++)
                {
                    Tensor tensor = weights.Read($"model.layers.{layer}.{name}.weight");
                    // Rotated features stand side by side there, and in halves in the folder.
                    Write(rotated ? tensor.view(heads, 2, -1, tensor.shape[1]).transpose(1, 2).reshape(tensor.shape) : tensor);
                }
            }

            Write(weights.Read("model.embed_tokens.weight"));
            WriteAll("input_layernorm");
            WriteAll("self_attn.q_proj", rotated: true);
            WriteAll("self_attn.k_proj", rotated: true);
            WriteAll("self_attn.v_proj");
            WriteAll("self_attn.o_proj");
            WriteAll("post_attention_layernorm");
            WriteAll("mlp.gate_proj");
            WriteAll("mlp.down_proj");
            WriteAll("mlp.up_proj");
            Write(weights.Read("model.norm.weight"));
            Write(zeros(2, 64, header[0] / heads / 2));
            Write(weights.Read("lm_head.weight"));
        }

        using PretrainedDecoder expected = PretrainedDecoder.Load(folder.Path, ScalarType.Float64), came = PretrainedDecoder.Load(file, ScalarType.Float64);
        Tensor tokens = randint(Number("vocab_size"), [2, 40], ScalarType.Int64);
        using IDisposable noGrad = no_grad();
        Tensor logits = expected.Model.call(tokens, null, null);
        Assert.InRange((came.Model.call(tokens, null, null) - logits).abs().max().ToDouble(), 0, 1e-9 * logits.abs().max().ToDouble());
    }

    [Fact]
    public void Stories_go_on_as_published()
    {
        string folder = Fixtures.SharedPath("models/stories260K");
        RetroTokenizer tokenizer = Llama2CTokenizer.Load(Path.Combine(folder, "tok512.bin"));
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Path.Combine(folder, "stories260K.bin"));
        decoder.RequireTokenizer(tokenizer);
        long[] prompt = [1, .. tokenizer.Encode("Once upon a time").Select(id => (long)id)];
        long[] cached = AnswerComparers.Greedy(decoder.Model, prompt, 200, cached: true);
        Assert.Equal(AnswerComparers.Greedy(decoder.Model, prompt, 200, cached: false), cached);
        string text = tokenizer.Decode([.. cached.Select(id => (int)id)]).TrimStart();
        Assert.Equal(StoriesStart, text.TrimEnd());
    }

    [Fact]
    public void A_tokenizer_of_another_size_is_refused()
    {
        using TemporaryFolder folder = Copy("gpt2-no-prefix");
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("gpt2-no-prefix")), small = PretrainedDecoder.Load(WithLlama2C(folder.Path));
        decoder.RequireTokenizer(tokenizer);
        RetroTokenizer few = RetroTokenizer.Load(TrainTokenizer(folder.Path, 300));
        Assert.Contains(
            "The tokenizer has 300 ids, but the embedding of",
            Assert.Throws<CheckpointException>(() => decoder.RequireTokenizer(few)).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            tokenizer.VocabularySize.ToString(System.Globalization.CultureInfo.InvariantCulture),
            Assert.Throws<CheckpointException>(() => small.RequireTokenizer(tokenizer)).Message,
            StringComparison.Ordinal);
    }

    /// <summary>transformers 4 and 5 write other keys for the same.</summary>
    [Theory]
    [InlineData("mistral-sliding-window", 4)]
    [InlineData("gpt-neox-buffers", 4)]
    [InlineData("gpt-neox-buffers", 3)]
    public void Keys_of_either_version_give_the_same_model(string name, int version)
    {
        using TemporaryFolder folder = Copy(name);
        string path = Path.Combine(folder.Path, "config.json");
        JsonObject config = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
        double theta = config["rope_theta"]!.GetValue<double>(), fraction = config["partial_rotary_factor"]?.GetValue<double>() ?? 1;
        foreach (string key in (string[])[
            "rope_theta", "rope_scaling", "partial_rotary_factor", .. version == 3 ? [] : new[] { "rotary_pct", "rotary_emb_base" }
        ])
        {
            config.Remove(key);
        }

        config["dtype"] = config["torch_dtype"]!.DeepClone();
        config.Remove("torch_dtype");
        if (version == 4)
        {
            config["rope_parameters"] = new JsonObject { ["rope_type"] = "default", ["rope_theta"] = theta, ["partial_rotary_factor"] = fraction };
        }

        File.WriteAllText(path, config.ToJsonString());
        Assert.Equal(Logits(Folder(name)), Logits(folder.Path));
    }

    /// <summary>What a folder holds, and not how it is laid out, decides: names with and without prefix, shards, a wider type.</summary>
    [Theory]
    [InlineData("mistral-sliding-window", "model.")]
    [InlineData("gpt-neox-buffers", "gpt_neox.")]
    [InlineData("gpt2-no-prefix", "transformer.")]
    [InlineData("gpt-neo", "transformer.")]
    public void Layout_of_the_files_changes_nothing(string name, string prefix)
    {
        using TemporaryFolder folder = Copy(name);
        string single = Path.Combine(folder.Path, "model.safetensors");
        using (DisposeScope scope = NewDisposeScope())
        using (Safetensors file = Safetensors.Open(single))
        {
            bool prefixed = file.Entries.Any(entry => entry.Name.StartsWith(prefix, StringComparison.Ordinal));
            (string Name, Tensor Tensor)[] tensors = [.. file.Entries.Select(entry => (
                prefixed
                    ? entry.Name.StartsWith(prefix, StringComparison.Ordinal) ? entry.Name[prefix.Length..] : entry.Name
                    : entry.Name == "lm_head.weight"
                    ? entry.Name
                    : prefix + entry.Name,
                file.Read(entry.Name) is var tensor && tensor.is_floating_point() ? tensor.to_type(ScalarType.Float64) : tensor))];
            JsonObject map = [];
            for (int shard = 0; shard < 2; shard++)
            {
                string part = $"model-0000{shard + 1}-of-00002.safetensors";
                var own = tensors.Where((_, i) => i % 2 == shard).ToArray();
                Safetensors.Write(Path.Combine(folder.Path, part), own.Select(pair => KeyValuePair.Create(pair.Name, pair.Tensor)));
                foreach ((string stored, _) in own)
                {
                    map[stored] = part;
                }
            }

            File.WriteAllText(single + ".index.json", new JsonObject { ["weight_map"] = map }.ToJsonString());
        }

        File.Delete(single);
        Assert.Equal(Logits(Folder(name)), Logits(folder.Path));
    }

    private static float[] Logits(string folder)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using PretrainedDecoder decoder = PretrainedDecoder.Load(folder);
        return decoder.Model.call(tensor(Enumerable.Range(5, 30).Select(id => (long)id).ToArray(), [1, 30]), null, null).data<float>().ToArray();
    }

    private static string TrainTokenizer(string folder, int size)
    {
        string target = Path.Combine(folder, "few");
        BpeTrainer.Train([string.Join(' ', Enumerable.Range(0, 3000))], size, target);
        return target;
    }

    internal static string WithLlama2C(string folder)
    {
        string path = Path.Combine(folder, "small.bin");
        File.WriteAllBytes(path, Llama2CBytes(tied: true));
        return path;
    }

    internal static TemporaryFolder Copy(string name)
    {
        TemporaryFolder target = new();
        foreach (string file in Directory.EnumerateFiles(Folder(name)).Where(file => !Path.GetFileName(file).StartsWith("expected", StringComparison.Ordinal)))
        {
            File.Copy(file, Path.Combine(target.Path, Path.GetFileName(file)));
        }

        return target;
    }

    private static byte[] Llama2CBytes(bool tied)
    {
        int[] header = [8, 12, 2, 2, 1, tied ? 20 : -20, 16];
        int count = (20 * 8) + (2 * (8 + 64 + 32 + 32 + 64 + 8 + (3 * 96))) + 8 + (2 * 16 * 2) + (tied ? 0 : 160);
        Random random = new(5);
        return [
            .. header.SelectMany(BitConverter.GetBytes),
            .. Enumerable.Range(0, count).SelectMany(_ => BitConverter.GetBytes((float)(random.NextDouble() - 0.5)))
        ];
    }

    internal static void Rewrite(string folder, Action<Dictionary<string, Tensor>> change)
    {
        string path = Path.Combine(folder, "model.safetensors");
        using DisposeScope scope = NewDisposeScope();
        Dictionary<string, Tensor> tensors;
        using (Safetensors file = Safetensors.Open(path))
        {
            tensors = file.Entries.ToDictionary(entry => entry.Name, entry => file.Read(entry.Name));
        }

        change(tensors);
        Safetensors.Write(path, tensors);
    }
}

using System.Text.Json;
using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Embedders;
using Retro.Tests.Pretrained;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Embedders;

/// <summary>Folders of Hugging Face and sentence-transformers, beyond what <c>PretrainedParityTests</c> compares.</summary>
public class PretrainedEmbedderTests
{
    private const string Texts = "expected-texts.json";

    /// <summary>The same vectors where the folder holds the vocabulary alone, as older ones do.</summary>
    [Theory]
    [InlineData("bert")]
    [InlineData("bert-cased-cls")]
    public void A_vocabulary_file_will_do_for_a_tokenizer(string name)
    {
        using TemporaryFolder target = new();
        string folder = Path.Combine(Fixtures.Own, "pretrained", name);
        foreach (string file in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
            .Where(file => !file.EndsWith("tokenizer.json", StringComparison.Ordinal)))
        {
            string copy = Path.Combine(target.Path, Path.GetRelativePath(folder, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }

        string[] texts = JsonSerializer.Deserialize<string[]>(File.ReadAllText(Path.Combine(folder, Texts)))!;
        using TextEmbedder full = TextEmbedder.Load(folder);
        using TextEmbedder bare = TextEmbedder.Load(target.Path);

        Assert.All(texts, text => Assert.Equal(full.Tokens(text), bare.Tokens(text)));
        Assert.NotEqual(full.Identity, bare.Identity);
    }

    [Fact]
    public void A_loaded_folder_survives_saving()
    {
        using TemporaryFolder target = new();
        using TextEmbedder embedder = TextEmbedder.Load(Path.Combine(Fixtures.Own, "pretrained", "bert-cased-cls"));

        embedder.Save(target.Path);

        using TextEmbedder loaded = TextEmbedder.Load(target.Path);
        Assert.Equal(embedder.Identity, loaded.Identity);
        Assert.Equal(Embed(embedder, "Naïve [MASK] Texts"), Embed(loaded, "Naïve [MASK] Texts"));
    }

    /// <summary>As LaBSE has it: tanh(W x + b) of the pooled vector, scaled to length 1.</summary>
    [Theory]
    [InlineData(true, true, true)]
    [InlineData(false, false, true)]
    [InlineData(true, true, false)]
    public void A_dense_module_makes_other_vectors_of_the_pooled_ones(bool bias, bool tanh, bool normalize)
    {
        using TemporaryFolder target = PretrainedDecoderTests.Copy("bert"), again = new();
        target.File("1_Pooling/config.json", File.ReadAllBytes(Path.Combine(Fixtures.Own, "pretrained", "bert", "1_Pooling", "config.json")));
        WriteModules(target, "Transformer", "Pooling");
        string text = "A river runs through the town.";
        float[] pooled, weight, added;
        using (TextEmbedder plain = TextEmbedder.Load(target.Path))
        {
            pooled = EncoderFolder.Embed(plain, text);
        }

        const int Width = 5;
        using (DisposeScope scope = NewDisposeScope())
        {
            manual_seed(3);
            Tensor matrix = randn(Width, pooled.Length), vector = randn(Width);
            (weight, added) = (matrix.data<float>().ToArray(), vector.data<float>().ToArray());
            Directory.CreateDirectory(target["2_Dense"]);
            Dictionary<string, Tensor> stored = new() { ["linear.weight"] = matrix };
            if (bias)
            {
                stored["linear.bias"] = vector;
            }

            Safetensors.Write(target["2_Dense/model.safetensors"], stored);
        }

        target.File("2_Dense/config.json", new JsonObject
        {
            ["in_features"] = pooled.Length, ["out_features"] = Width, ["bias"] = bias, ["use_residual"] = false,
            ["activation_function"] = tanh ? "torch.nn.modules.activation.Tanh" : "torch.nn.modules.linear.Identity",
        }.ToJsonString());
        WriteModules(target, ["Transformer", "Pooling", "Dense", .. normalize ? new[] { "Normalize" } : []]);
        double[] expected = [.. Enumerable.Range(0, Width).Select(row =>
        {
            double sum = (bias ? added[row] : 0) + pooled.Select((value, i) => (double)value * weight[(row * pooled.Length) + i]).Sum();
            return tanh ? Math.Tanh(sum) : sum;
        })];
        double length = normalize ? Math.Sqrt(expected.Sum(value => value * value)) : 1;

        using TextEmbedder embedder = TextEmbedder.Load(target.Path);
        Assert.Equal((Width, normalize), (embedder.Dimensions, embedder.Encoder.Config.Normalize));
        float[] came = EncoderFolder.Embed(embedder, text, "another");
        Assert.Equal(2 * Width, came.Length);
        Assert.All(expected.Zip(came), pair => Assert.Equal(pair.First / length, pair.Second, 1e-5));
        embedder.Save(again.Path);
        using TextEmbedder loaded = TextEmbedder.Load(again.Path);
        Assert.Equal(embedder.Identity, loaded.Identity);
        Assert.Equal(came, EncoderFolder.Embed(loaded, text, "another"));
    }

    [Theory]
    [InlineData("activation_function", "\"torch.nn.modules.activation.GELU\"", "activation_function")]
    [InlineData("in_features", "7", "in_features")]
    [InlineData("out_features", "6", "\"linear.weight\" [6, ")]
    [InlineData("bias", "true", "linear.bias")]
    [InlineData("module_input_name", "\"token_embeddings\"", "module_input_name")]
    [InlineData("use_residual", "true", "\"use_residual\" is true; supported is false")]
    [InlineData("use_new_trick", "true", "use_new_trick")]
    public void What_would_change_a_dense_module_is_refused_by_name(string key, string value, string says)
    {
        using TemporaryFolder target = new();
        using (TextEmbedder embedder = new(
            new TextEncoder(EmbeddingInputs.Tiny with { Dense = new(5, HasBias: false) }, seed: 2), EmbeddingInputs.Tokenizer))
        {
            embedder.Save(target.Path);
        }

        JsonNode config = JsonNode.Parse(File.ReadAllText(target["2_Dense/config.json"]))!;
        config[key] = JsonNode.Parse(value);
        File.WriteAllText(target["2_Dense/config.json"], config.ToJsonString());
        Assert.Contains(says, Assert.Throws<CheckpointException>(() => TextEmbedder.Load(target.Path)).Message, StringComparison.Ordinal);
    }

    private static void WriteModules(TemporaryFolder folder, params string[] kinds) => folder.File(
        "modules.json",
        new JsonArray([.. kinds.Select((kind, i) => (JsonNode)new JsonObject
        {
            ["idx"] = i, ["name"] = $"{i}", ["path"] = i == 0 ? "" : $"{i}_{kind}", ["type"] = $"sentence_transformers.models.{kind}",
        })]).ToJsonString());

    /// <summary>As the multilingual sentence encoders of BERT's architecture have it.</summary>
    [Fact]
    public void A_unigram_tokenizer_frames_a_text_as_its_template_says()
    {
        using TemporaryFolder target = new();
        foreach (string file in Directory.EnumerateFiles(Path.Combine(Fixtures.Own, "pretrained", "bert-masked-lm-old-names"))
            .Where(file => !Path.GetFileName(file).StartsWith("tokenizer", StringComparison.Ordinal)))
        {
            File.Copy(file, Path.Combine(target.Path, Path.GetFileName(file)));
        }

        using JsonDocument config = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(target.Path, "config.json")));
        int rows = config.RootElement.GetProperty("vocab_size").GetInt32();
        string[] pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁a", "▁", "b", .. Enumerable.Range(7, rows - 7).Select(id => $"piece{id}")];
        string template = """
            "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "</s>", "type_id": 0}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [0]}, "</s>": {"id": "</s>", "ids": [2]}}}
            """;
        target.File(
            "tokenizer.json",
            "{\"added_tokens\": [{\"id\": 0, \"content\": \"<s>\", \"special\": true}, {\"id\": 2, \"content\": \"</s>\", \"special\": true}], "
                + "\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"▁\", \"add_prefix_space\": true}, " + template
                + ", \"model\": {\"unk_id\": 3, \"vocab\": "
                + JsonSerializer.Serialize(pieces.Select((piece, id) => new object[] { piece, id > 3 ? -2.5 : 0 })) + "}}");

        using TextEmbedder embedder = TextEmbedder.Load(target.Path);

        Assert.Equal([0, 4, 5, 6, 3, 2], embedder.Tokens("a b??"));
        Assert.Equal([0, 4, 2, 4, 2], embedder.Tokens("a</s>a"));
        Assert.All(Embed(embedder, "a b").SelectMany(vector => vector), value => Assert.True(float.IsFinite(value)));

        // One on one side alone is the frame of no encoder that is known.
        JsonNode json = JsonNode.Parse(File.ReadAllText(target["tokenizer.json"]))!;
        json["post_processor"]!["single"]!.AsArray().RemoveAt(2);
        target.File("tokenizer.json", json.ToJsonString());
        Assert.Contains(
            "puts 1 tokens before and 0 after a text",
            Assert.Throws<CheckpointException>(() => TextEmbedder.Load(target.Path)).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void A_vocabulary_of_another_size_is_refused()
    {
        using TemporaryFolder target = new();
        foreach (string file in Directory.EnumerateFiles(Path.Combine(Fixtures.Own, "pretrained", "bert-masked-lm-old-names")))
        {
            File.Copy(file, Path.Combine(target.Path, Path.GetFileName(file)));
        }

        File.Delete(Path.Combine(target.Path, "tokenizer.json"));
        File.AppendAllText(Path.Combine(target.Path, "vocab.txt"), "onemore\n");

        CheckpointException exception = Assert.Throws<CheckpointException>(() => TextEmbedder.Load(target.Path));

        Assert.Contains("The tokenizer has 881 ids, but the embedding of the encoder has 880 rows", exception.Message, StringComparison.Ordinal);
    }

    /// <summary>The folders at hand say what is a default anyway: a key that nobody reads would change nothing in them.</summary>
    [Fact]
    public void Every_number_of_a_configuration_is_read()
    {
        using TemporaryFolder target = PretrainedDecoderTests.Copy("bert");
        JsonObject config = JsonNode.Parse(File.ReadAllText(target["config.json"]))!.AsObject();
        foreach ((string key, JsonNode? value) in JsonNode.Parse("""
            {"vocab_size": 901, "hidden_size": 60, "num_hidden_layers": 4, "num_attention_heads": 5, "intermediate_size": 100, "max_position_embeddings": 90,
             "type_vocab_size": 3, "layer_norm_eps": 0.001}
            """)!.AsObject())
        {
            config[key] = value?.DeepClone();
        }

        target.File("config.json", config.ToJsonString());
        target.File("sentence_bert_config.json", """{"max_seq_length": 70}""");
        target.File("1_Pooling/config.json", """{"word_embedding_dimension": 60, "pooling_mode_mean_tokens": true}""");
        TextEncoderConfig plain = TextEncoderFolder.Read(Fixtures.Pretrained("bert")).Config;

        Assert.Equal(
            plain with
            {
                VocabularySize = 901, Width = 60, Layers = 4, Heads = 5, FeedForwardSize = 100, MaximumPositions = 90, TokenTypes = 3, LayerNormEpsilon = 1e-3,
                MaximumLength = 70,
            },
            TextEncoderFolder.Read(target.Path).Config);
    }

    /// <summary>As fine-tuning adds them, without a row: no text that leaves them out is another for it.</summary>
    [Fact]
    public void A_special_token_without_a_row_is_refused_where_a_text_has_it()
    {
        string folder = Path.Combine(Fixtures.Own, "pretrained", "bert");
        using TemporaryFolder target = PretrainedDecoderTests.Copy("bert");
        Directory.CreateDirectory(target["1_Pooling"]);
        File.Copy(Path.Combine(folder, "1_Pooling", "config.json"), target["1_Pooling/config.json"], overwrite: true);
        JsonNode tokenizer = JsonNode.Parse(File.ReadAllText(target["tokenizer.json"]))!;
        tokenizer["added_tokens"]!.AsArray().Add(new JsonObject
        {
            ["id"] = 900, ["content"] = "[NEW]", ["special"] = true, ["single_word"] = false, ["lstrip"] = false, ["rstrip"] = false, ["normalized"] = false,
        });
        File.WriteAllText(target["tokenizer.json"], tokenizer.ToJsonString());
        string[] texts = JsonSerializer.Deserialize<string[]>(File.ReadAllText(Path.Combine(folder, Texts)))!;

        using TextEmbedder plain = TextEmbedder.Load(folder);
        using TextEmbedder added = TextEmbedder.Load(target.Path);

        Assert.All(texts, text => Assert.Equal(plain.Tokens(text), added.Tokens(text)));
        RetroException fault = Assert.Throws<RetroException>(() => Embed(added, "a river", "a [NEW] river"));
        Assert.Contains("special token \"[NEW]\" (900)", fault.Message, StringComparison.Ordinal);
    }

    private static float[][] Embed(TextEmbedder embedder, params string[] texts)
    {
        float[] rows = new float[texts.Length * embedder.Dimensions];
        embedder.Embed(texts, rows);
        return rows.Chunk(embedder.Dimensions).ToArray();
    }
}

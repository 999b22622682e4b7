using System.Text.Json;
using System.Text.Json.Nodes;
using Retro.Embedders;
using Retro.Tests.Pretrained;

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

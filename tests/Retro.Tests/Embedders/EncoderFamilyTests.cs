using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Embedders;
using Retro.Tests.Pretrained;
using Retro.Tokenizers;

namespace Retro.Tests.Embedders;

/// <summary>RoBERTa, MPNet and DistilBERT beside BERT; their states are compared by <see cref="PretrainedParityTests"/>.</summary>
public sealed class EncoderFamilyTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    public static IEnumerable<TheoryDataRow<string, string, string>> Families =>
    [
        new("roberta", "RobertaModel", "encoder.layer.1.attention.self.query.weight"),
        new("mpnet", "MPNetModel", "encoder.layer.1.attention.attn.q.weight"),
        new("distilbert", "DistilBertModel", "transformer.layer.1.attention.q_lin.weight"),
    ];

    [Theory]
    [MemberData(nameof(Families))]
    public void A_family_is_saved_by_its_own_names(string kind, string architecture, string weight)
    {
        using TextEmbedder embedder = new(new TextEncoder(Tiny(kind), seed: 5), EmbeddingInputs.Tokenizer);
        embedder.Save(_folder.Path);
        using TextEmbedder loaded = TextEmbedder.Load(_folder.Path);

        Assert.Equal((embedder.Encoder.Config, embedder.Identity), (loaded.Encoder.Config, loaded.Identity));
        Assert.Equal(EncoderFolder.Embed(embedder, EmbeddingInputs.Texts), EncoderFolder.Embed(loaded, EmbeddingInputs.Texts));
        JsonNode config = JsonNode.Parse(File.ReadAllText(_folder["config.json"]))!;
        Assert.Equal((kind, architecture), ((string)config["model_type"]!, (string)config["architectures"]![0]!));
        using Safetensors file = Safetensors.Open(_folder["model.safetensors"]);
        Assert.True(file.Contains(weight));
        string prefix = weight[..weight.IndexOf("1.", StringComparison.Ordinal)];
        Assert.All(
            file.Entries.Select(entry => entry.Name).Where(name => name.Contains("layer.", StringComparison.Ordinal)),
            name => Assert.StartsWith(prefix, name, StringComparison.Ordinal));
        Assert.Equal(TextEncoderFamily.Of(Tiny(kind)).TokenTypes is not null, file.Contains("embeddings.token_type_embeddings.weight"));
    }

    /// <summary>XLM-R (arXiv 1911.02116) and CamemBERT (arXiv 1911.03894) are RoBERTa under names of their own.</summary>
    [Theory]
    [InlineData("xlm-roberta", "XLMRobertaModel")]
    [InlineData("camembert", "CamembertModel")]
    public void What_is_trained_like_roberta_is_read_as_roberta(string kind, string architecture)
    {
        using TextEmbedder embedder = new(new TextEncoder(Tiny("roberta"), seed: 5), EmbeddingInputs.Tokenizer);
        embedder.Save(_folder.Path);
        JsonObject config = JsonNode.Parse(File.ReadAllText(_folder["config.json"]))!.AsObject();
        config["model_type"] = kind;
        config["architectures"] = new JsonArray(architecture);
        _folder.File("config.json", config.ToJsonString());
        using TextEmbedder loaded = TextEmbedder.Load(_folder.Path);
        Assert.Equal((embedder.Encoder.Config, embedder.Identity), (loaded.Encoder.Config, loaded.Identity));
        config.Remove("model_type");
        _folder.File("config.json", config.ToJsonString());
        Assert.Equal(embedder.Encoder.Config, TextEncoderFolder.Read(_folder.Path).Config);
    }

    /// <summary>Folders of transformers 2 and 3 may tell their tokenizer by the kind of model alone: RoBERTa's files are GPT-2's, its frame is not.</summary>
    [Theory]
    [InlineData("roberta", "RobertaTokenizer")]
    [InlineData("mpnet", "MPNetTokenizer")]
    public void The_files_of_another_tokenizer_are_refused_where_retro_did_not_save_them(string kind, string name)
    {
        using (TextEmbedder embedder = new(new TextEncoder(Tiny(kind), seed: 5), EmbeddingInputs.Tokenizer))
        {
            embedder.Save(_folder.Path);
        }

        TextEmbedder.Load(_folder.Path).Dispose();
        RemoveIdentity();
        Assert.Contains(
            $"config.json, by its \"model_type\", says \"tokenizer_class\" {name}",
            Assert.Throws<CorpusException>(() => TextEmbedder.Load(_folder.Path)).Message,
            StringComparison.Ordinal);
    }

    /// <summary>What the encoders of others were fed without a template is not said: it differs by the version of transformers.</summary>
    [Fact]
    public void A_tokenizer_of_others_that_does_not_frame_a_text_is_refused()
    {
        using (TextEmbedder embedder = new(new TextEncoder(EmbeddingInputs.Tiny, seed: 5), EmbeddingInputs.Tokenizer))
        {
            embedder.Save(_folder.Path);
        }

        RemoveIdentity();
        Refused(_folder);

        // The same of a vocabulary of words, which has the tokens of a frame.
        using TemporaryFolder bert = PretrainedDecoderTests.Copy("bert-masked-lm-old-names"), own = new();
        JsonNode json = JsonNode.Parse(File.ReadAllText(bert["tokenizer.json"]))!;
        json["post_processor"] = null;
        bert.File("tokenizer.json", json.ToJsonString());
        Refused(bert);
        RetroTokenizer tokenizer = RetroTokenizer.Load(bert.Path);
        using TextEmbedder trained = new(new TextEncoder(EmbeddingInputs.Tiny with { VocabularySize = tokenizer.VocabularySize }, seed: 5), tokenizer);
        trained.Save(own.Path);
        using TextEmbedder loaded = TextEmbedder.Load(own.Path);
        Assert.Equal(trained.Identity, loaded.Identity);

        static void Refused(TemporaryFolder folder)
            => Assert.Contains(
                $"The tokenizer of {folder.Path} puts 0 tokens before and 0 after a text",
                Assert.Throws<CheckpointException>(() => TextEmbedder.Load(folder.Path)).Message,
                StringComparison.Ordinal);
    }

    /// <summary>A row for every distance as the original computes it in float32: where a range begins, and what stands before.</summary>
    [Fact]
    public void Distances_share_rows_as_in_the_original()
    {
        (int From, int Row)[] ranges = [(8, 8), (12, 9), (16, 10), (23, 11), (32, 12), (46, 13), (64, 14), (91, 15)];
        for (int far = 0; far < 1000; far++)
        {
            int row = far < 8 ? far : ranges.Last(range => range.From <= far).Row;
            Assert.Equal((row, far == 0 ? 0 : 16 + row), (TextEncoder.DistanceRow(-far), TextEncoder.DistanceRow(far)));
        }
    }

    /// <summary>What no family has would be saved as something else.</summary>
    [Theory]
    [InlineData(2, 0, 1e-12, false)]
    [InlineData(0, 0, 1e-5, false)]
    [InlineData(2, 1, 1e-12, true)]
    [InlineData(0, 0, 1e-12, true)]
    public void What_no_family_has_is_refused(int first, int types, double epsilon, bool relative)
        => Assert.Contains("are of no known family", Assert.Throws<RetroOptionsException>(() => (EmbeddingInputs.Tiny with
        {
            FirstPosition = first, TokenTypes = types, LayerNormEpsilon = epsilon, RelativePositions = relative,
        }).Validate()).Message, StringComparison.Ordinal);

    [Fact]
    public void A_text_has_as_many_tokens_as_there_are_positions_behind_those_for_padding()
    {
        TextEncoderConfig config = Tiny("roberta");
        Assert.Equal(config.MaximumPositions - 2, config.LongestSequence);
        using TextEncoder encoder = new(config, seed: 1);
        using TorchSharp.torch.Tensor most = TorchSharp.torch.ones([1, config.LongestSequence], TorchSharp.torch.ScalarType.Int64);
        using TorchSharp.torch.Tensor more = TorchSharp.torch.ones([1, config.MaximumPositions], TorchSharp.torch.ScalarType.Int64);
        encoder.call(most, null, null).Dispose();
        Assert.Throws<ShapeException>(() => encoder.call(more, null, null));
    }

    /// <summary>RoBERTa's byte-level vocabulary is framed by its template, and XLM-R's kind keeps white space that the originals strip before.</summary>
    [Fact]
    public void A_text_is_stripped_and_framed_as_sentence_transformers_does()
    {
        using TemporaryFolder target = PretrainedDecoderTests.Copy("gpt2-no-prefix");
        JsonNode json = JsonNode.Parse(File.ReadAllText(target["tokenizer.json"]))!;
        json["post_processor"] = JsonNode.Parse(
            """{"type": "RobertaProcessing", "sep": ["</s>", 651], "cls": ["<s>", 650], "trim_offsets": true, "add_prefix_space": false}""");
        foreach ((string token, int id) in new[] { ("<s>", 650), ("</s>", 651) })
        {
            json["added_tokens"]!.AsArray().Add(JsonNode.Parse(
                $$"""{"id": {{id}}, "content": "{{token}}", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}"""));
        }

        File.WriteAllText(target["tokenizer.json"], json.ToJsonString());
        RetroTokenizer tokenizer = RetroTokenizer.Load(target.Path);
        using TextEmbedder embedder = new(
            new TextEncoder(Tiny("roberta") with { VocabularySize = tokenizer.VocabularySize }, seed: 1), tokenizer);
        int[] bare = embedder.Tokens("the house");
        Assert.Equal((650, 651), (bare[0], bare[^1]));
        Assert.Equal([650, .. tokenizer.Encode("the house"), 651], bare);
        Assert.All(["the house ", "\n the house \n", "\u001c\u00a0the house\u2003\u001f"], text => Assert.Equal(bare, embedder.Tokens(text)));
        Assert.Equal([650, 650, .. tokenizer.Encode("a"), 651], embedder.Tokens("<s>a"));
        Assert.Equal([650, 651], embedder.Tokens(" \n"));

        // What Retro trains has no template: white space counts, and special tokens are characters.
        using TextEmbedder own = new(new TextEncoder(EmbeddingInputs.Tiny, seed: 1), EmbeddingInputs.Tokenizer);
        Assert.NotEqual(own.Tokens("the house"), own.Tokens("the house "));
    }

    /// <summary>Where tokenizer_config.json says nothing of the side, tokenizer.json does.</summary>
    [Fact]
    public void A_tokenizer_that_cuts_the_beginning_of_a_text_is_refused()
    {
        foreach (string file in new[] { "config.json", "model.safetensors", "tokenizer.json" })
        {
            _folder.File(file, File.ReadAllBytes(Path.Combine(Fixtures.Own, "pretrained", "bert", file)));
        }

        JsonNode tokenizer = JsonNode.Parse(File.ReadAllText(_folder["tokenizer.json"]))!;
        Truncate("Right");
        TextEmbedder.Load(_folder.Path).Dispose();
        Truncate("Left");
        Assert.Contains(
            "\"direction\" is \"Left\"; supported is \"Right\"",
            Assert.Throws<CheckpointException>(() => TextEmbedder.Load(_folder.Path)).Message,
            StringComparison.Ordinal);
        _folder.File("tokenizer_config.json", """{"truncation_side": "right"}""");
        TextEmbedder.Load(_folder.Path).Dispose();

        void Truncate(string side)
        {
            tokenizer["truncation"] = new JsonObject
            {
                ["direction"] = side, ["max_length"] = 40, ["strategy"] = "LongestFirst", ["stride"] = 0,
            };
            _folder.File("tokenizer.json", tokenizer.ToJsonString());
        }
    }

    [Theory]
    [InlineData("sentence_bert_config.json", """{"max_seq_length": 40, "mask_prompt": true}""", "\"mask_prompt\" (true), which is not known here")]
    [InlineData("sentence_bert_config.json", """{"max_seq_length": 40, "tokenizer_args": {"truncation_side": "left"}}""", "\"tokenizer_args\"")]
    [InlineData("sentence_bert_config.json", """{"transformer_task": "sequence-classification"}""", "supported is \"feature-extraction\"")]
    [InlineData("sentence_bert_config.json", """{"module_output_name": "sentence_embedding"}""", "supported is \"token_embeddings\"")]
    [InlineData("sentence_bert_config.json", """{"modality_config": {"text": {"method": "get_text_features"}}}""", "\"method\" is \"get_text_features\"")]
    [InlineData("sentence_bert_config.json", """{"modality_config": {"text": {"method_output_name": "pooler_output"}}}""", "supported is \"last_hidden_state\"")]
    [InlineData("sentence_bert_config.json", """{"modality_config": {"text": {"method_output_name": ["a", "b"]}}}""", "\"method_output_name\" has to be a string")]
    [InlineData("sentence_bert_config.json", """{"modality_config": {"text": {"method": "forward"}, "message": {"format": "flat"}}}""", "\"modality_config.message\"")]
    [InlineData("sentence_bert_config.json", """{"modality_config": {"image": {"method": "forward"}}}""", "\"text\" is missing")]
    [InlineData("sentence_bert_config.json", """{"processing_kwargs": {"text": {"padding": "max_length"}}}""", "\"processing_kwargs\"")]
    [InlineData("tokenizer_config.json", """{"truncation_side": "left"}""", "\"truncation_side\" is \"left\"; supported is \"right\"")]
    public void What_would_change_which_tokens_count_is_refused(string name, string content, string expected)
    {
        CopyBert();
        _folder.File("sentence_bert_config.json", """{"max_seq_length": 40, "do_lower_case": false, "model_args": {}, "cache_dir": "/tmp"}""");
        TextEmbedder.Load(_folder.Path).Dispose();
        _folder.File(name, content);
        Assert.Contains(expected, Assert.Throws<CheckpointException>(() => TextEmbedder.Load(_folder.Path)).Message, StringComparison.Ordinal);
    }

    /// <summary>As sentence-transformers saves from version 5.4 on: the maximum length is the tokenizer's.</summary>
    [Fact]
    public void The_settings_of_newer_versions_are_those_of_before_under_other_names()
    {
        CopyBert();
        _folder.File("tokenizer_config.json", """{"do_lower_case": true, "model_max_length": 30, "tokenizer_class": "BertTokenizer"}""");
        _folder.File("sentence_bert_config.json", """{"max_seq_length": 30, "do_lower_case": false}""");
        using TextEmbedder before = TextEmbedder.Load(_folder.Path);
        _folder.File(
            "sentence_bert_config.json",
            """
            {"transformer_task": "feature-extraction", "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
             "module_output_name": "token_embeddings", "processing_kwargs": {}, "unpad_inputs": false}
            """);
        using TextEmbedder loaded = TextEmbedder.Load(_folder.Path);
        Assert.Equal((30, before.Identity), (loaded.Encoder.Config.MaximumLength, loaded.Identity));
    }

    [Theory]
    [InlineData("roberta")]
    [InlineData("distilbert")]
    [InlineData("camembert")]
    [InlineData("albert")]
    [InlineData("xlm-roberta")]
    [InlineData("xlnet")]
    public void The_settings_have_other_names_in_older_folders(string kind)
    {
        CopyBert();
        _folder.File($"sentence_{kind}_config.json", """{"max_seq_length": 25, "do_lower_case": true}""");
        TextEncoderFolder older = TextEncoderFolder.Read(_folder.Path);
        Assert.Equal((25, true), (older.Config.MaximumLength, older.LowerCase));
        _folder.File("sentence_bert_config.json", """{"max_seq_length": 40, "do_lower_case": false}""");
        TextEncoderFolder both = TextEncoderFolder.Read(_folder.Path);
        Assert.Equal((40, false), (both.Config.MaximumLength, both.LowerCase));
    }

    /// <summary>Of RoBERTa's rows of positions, which such files count, two are for padding.</summary>
    [Theory]
    [InlineData("roberta", 42)]
    [InlineData("mpnet", 512)]
    [InlineData("distilbert", 41)]
    public void A_maximum_length_beyond_the_positions_ends_with_them(string kind, int said)
    {
        using (TextEmbedder embedder = new(new TextEncoder(Tiny(kind), seed: 5), EmbeddingInputs.Tokenizer))
        {
            embedder.Save(_folder.Path);
        }

        _folder.File("sentence_bert_config.json", $$"""{"max_seq_length": {{said}}, "do_lower_case": false}""");
        using TextEmbedder loaded = TextEmbedder.Load(_folder.Path);
        Assert.Equal(40, loaded.Encoder.Config.MaximumLength);
        Assert.All(EncoderFolder.Embed(loaded, string.Join(' ', Enumerable.Range(0, 200))), value => Assert.True(float.IsFinite(value)));
    }

    private void RemoveIdentity()
    {
        JsonObject config = JsonNode.Parse(File.ReadAllText(_folder["config.json"]))!.AsObject();
        Assert.True(config.Remove("retro_identity"));
        _folder.File("config.json", config.ToJsonString());
    }

    // A folder of sentence-transformers without the settings of its Transformer, and without its tokenizer's.
    private void CopyBert()
    {
        foreach (string file in new[] { "config.json", "model.safetensors", "modules.json", "tokenizer.json", "vocab.txt", "1_Pooling/config.json" })
        {
            _folder.File(file, File.ReadAllBytes(Path.Combine(Fixtures.Own, "pretrained", "bert", file)));
        }
    }

    private static TextEncoderConfig Tiny(string kind) => kind switch
    {
        "roberta" => EmbeddingInputs.Tiny with { FirstPosition = 2, MaximumPositions = 42 },
        "mpnet" => EmbeddingInputs.Tiny with { FirstPosition = 2, MaximumPositions = 42, TokenTypes = 0, RelativePositions = true },
        _ => EmbeddingInputs.Tiny with { TokenTypes = 0 },
    };
}

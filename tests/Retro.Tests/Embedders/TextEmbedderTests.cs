using System.Text.Json.Nodes;
using Microsoft.Extensions.AI;
using Retro.Embedders;
using Retro.Retrievers;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Embedders;

public sealed class TextEmbedderTests : IDisposable
{
    private readonly TemporaryFolder _temporary = new();
    private readonly TextEmbedder _embedder = new(new TextEncoder(EmbeddingInputs.Tiny, seed: 3), EmbeddingInputs.Tokenizer);

    public void Dispose()
    {
        _embedder.Dispose();
        _temporary.Dispose();
    }

    private string Folder => _temporary.Path;

    [Fact]
    public void A_vector_is_the_same_but_for_rounding_alone_and_in_any_batch()
    {
        string[] texts = EmbeddingInputs.Texts;
        float[][] alone = texts.Select(text => Vectors(text)[0]).ToArray();

        float[][] together = Vectors(texts);
        float[][] reversed = Vectors(texts.Reverse().ToArray());
        float[][] many = Vectors(Enumerable.Repeat(texts, 9).SelectMany(copy => copy).ToArray());

        EmbeddingInputs.AssertNear(alone, together);
        EmbeddingInputs.AssertNear(alone, [.. reversed.Reverse()]);
        EmbeddingInputs.AssertNear([.. Enumerable.Repeat(alone, 9).SelectMany(copy => copy)], many);
        Assert.All(alone, vector => Assert.Equal(1, vector.Sum(x => (double)x * x), 1e-5));
        Assert.True(alone[1].Zip(alone[2]).Max(pair => Math.Abs(pair.First - pair.Second)) > 1e-2);
    }

    [Fact]
    public async Task Other_threads_and_the_asynchronous_form_give_the_same_vectors()
    {
        float[][] here = Vectors(EmbeddingInputs.Texts);

        float[][][] elsewhere = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => Vectors(EmbeddingInputs.Texts))));
        GeneratedEmbeddings<Embedding<float>> generated = await _embedder.GenerateAsync(
            EmbeddingInputs.Texts, cancellationToken: TestContext.Current.CancellationToken);

        Assert.All(elsewhere, vectors => EmbeddingInputs.AssertNear(here, vectors));
        EmbeddingInputs.AssertNear(here, [.. generated.Select(embedding => embedding.Vector.ToArray())]);
    }

    [Fact]
    public void A_text_is_framed_and_cut_to_the_maximum_length()
    {
        int end = EmbeddingInputs.Tokenizer.EndOfText;
        int[] ids = EmbeddingInputs.Tokenizer.Encode(EmbeddingInputs.Texts[9]);

        Assert.True(ids.Length > 40);
        Assert.Equal([end, .. ids[..38], end], _embedder.Tokens(EmbeddingInputs.Texts[9]));
        Assert.Equal([end, end], _embedder.Tokens(""));
        Assert.DoesNotContain(end, _embedder.Tokens("<|endoftext|>")[1..^1]);
        Assert.Equal(Vectors(EmbeddingInputs.Texts[9]), Vectors(EmbeddingInputs.Tokenizer.Decode(ids.AsSpan(0, 38)) + " whatever follows here"));
    }

    [Fact]
    public void It_equals_the_encoder_run_by_hand()
    {
        using IDisposable guard = no_grad();
        using DisposeScope scope = NewDisposeScope();
        long[] ids = _embedder.Tokens("The lighthouse stands.").Select(id => (long)id).ToArray();

        Tensor states = _embedder.Encoder.forward(torch.tensor(ids, [1, ids.Length], ScalarType.Int64));
        double[] mean = states.to(ScalarType.Float64).mean([1L]).data<double>().ToArray();
        double length = Math.Sqrt(mean.Sum(x => x * x));

        Assert.All(mean.Zip(Vectors("The lighthouse stands.")[0]), pair => Assert.Equal(pair.First / length, pair.Second, 1e-6));
    }

    [Fact]
    public void The_encoder_is_frozen()
    {
        Assert.False(_embedder.Encoder.training);
        Assert.All(_embedder.Encoder.parameters(), parameter => Assert.False(parameter.requires_grad));
    }

    [Fact]
    public void A_folder_with_another_model_is_refused_and_nothing_in_it_is_touched()
    {
        Directory.CreateDirectory(Folder);
        string config = Path.Combine(Folder, "config.json");
        File.WriteAllText(config, "{\"model_type\": \"bert\"}");
        Assert.Contains("another folder", Assert.Throws<CheckpointException>(() => _embedder.Save(Folder)).Message, StringComparison.Ordinal);
        Assert.Equal([config], Directory.EnumerateFiles(Folder));
    }

    [Fact]
    public void A_saved_embedder_gives_the_same_bits_and_is_the_same()
    {
        _embedder.Save(Folder);

        using TextEmbedder loaded = TextEmbedder.Load(Folder);

        Assert.Equal(_embedder.Identity, loaded.Identity);
        Assert.Equal(_embedder.Encoder.Config, loaded.Encoder.Config);
        Assert.Equal(Vectors(EmbeddingInputs.Texts), Vectors(loaded, EmbeddingInputs.Texts));
        Assert.DoesNotContain(Directory.EnumerateFiles(Folder, "*", SearchOption.AllDirectories), file => file.EndsWith(".tmp", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(TextPooling.Max, false, true)]
    [InlineData(TextPooling.FirstToken, true, false)]
    [InlineData(TextPooling.MeanSquareRoot, false, false)]
    public void Pooling_normalization_and_case_survive_saving(TextPooling pooling, bool normalize, bool lowerCase)
    {
        using TextEmbedder embedder = new(
            new TextEncoder(EmbeddingInputs.Tiny with { Pooling = pooling, Normalize = normalize, MaximumLength = 30 }), EmbeddingInputs.Tokenizer, lowerCase);
        embedder.Save(Folder);

        using TextEmbedder loaded = TextEmbedder.Load(Folder);

        Assert.Equal((embedder.Encoder.Config, lowerCase, embedder.Identity), (loaded.Encoder.Config, loaded.LowerCase, loaded.Identity));
        Assert.Equal(lowerCase, Vectors(loaded, "TEA")[0].SequenceEqual(Vectors(loaded, "tea")[0]));
    }

    /// <summary>Newer sentence-transformers name the pooling, where older ones have a switch for each.</summary>
    [Theory]
    [InlineData(TextPooling.Mean, "mean")]
    [InlineData(TextPooling.FirstToken, "cls")]
    [InlineData(TextPooling.Max, "max")]
    [InlineData(TextPooling.MeanSquareRoot, "mean_sqrt_len_tokens")]
    public void A_pooling_that_is_named_is_that_of_the_switch(TextPooling pooling, string mode)
    {
        using TextEmbedder embedder = new(new TextEncoder(EmbeddingInputs.Tiny with { Pooling = pooling }, seed: 3), EmbeddingInputs.Tokenizer);
        embedder.Save(Folder);
        string path = Path.Combine(Folder, "1_Pooling", "config.json");
        Write(mode, 32);

        using TextEmbedder loaded = TextEmbedder.Load(Folder);

        Assert.Equal((embedder.Encoder.Config, embedder.Identity), (loaded.Encoder.Config, loaded.Identity));
        Assert.Equal(Vectors(embedder, EmbeddingInputs.Texts), Vectors(loaded, EmbeddingInputs.Texts));
        Write(mode, 33);
        Refused("\"hidden_size\" is 32, the pooling's config.json says 33 dimensions");
        Write("lasttoken", 32);
        Refused("the pooling (\"pooling_mode_...\") is lasttoken; supported is one of pooling_mode_mean_tokens");

        void Write(string mode, int dimensions)
            => File.WriteAllText(path, $"{{\"embedding_dimension\": {dimensions}, \"pooling_mode\": \"{mode}\", \"include_prompt\": true}}");
        void Refused(string says)
            => Assert.Contains(says, Assert.Throws<CheckpointException>(() => TextEmbedder.Load(Folder)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_identity_depends_on_everything_a_vector_depends_on()
    {
        TextEmbedder Other(TextEncoderConfig? config = null, int seed = 3, bool lowerCase = false)
            => new(new TextEncoder(config ?? EmbeddingInputs.Tiny, seed), EmbeddingInputs.Tokenizer, lowerCase);
        List<string> identities = [_embedder.Identity];
        foreach (TextEmbedder other in new[]
        {
            Other(seed: 4), Other(lowerCase: true), Other(EmbeddingInputs.Tiny with { Pooling = TextPooling.Max }),
            Other(EmbeddingInputs.Tiny with { Normalize = false }), Other(EmbeddingInputs.Tiny with { MaximumLength = 39 }),
        })
        {
            identities.Add(other.Identity);
            other.Dispose();
        }

        using TextEmbedder same = Other();

        Assert.Equal(identities.Count, identities.Distinct().Count());
        Assert.Equal(_embedder.Identity, same.Identity);
    }

    [Fact]
    public void Parts_of_different_embedders_in_oneFolder_are_found_out()
    {
        using TextEmbedder other = new(new TextEncoder(EmbeddingInputs.Tiny, seed: 8), EmbeddingInputs.Tokenizer);
        _embedder.Save(Folder);
        byte[] config = File.ReadAllBytes(Path.Combine(Folder, "config.json"));
        other.Save(Folder);
        File.WriteAllBytes(Path.Combine(Folder, "config.json"), config); // as a kill before the last file leaves it

        CheckpointException exception = Assert.Throws<CheckpointException>(() => TextEmbedder.Load(Folder));

        Assert.Contains("holds parts of different embedders", exception.Message, StringComparison.Ordinal);
        Assert.Contains(_embedder.Identity, exception.Message, StringComparison.Ordinal);
        Assert.Contains(other.Identity, exception.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("model_type", "\"electra\"", "\"model_type\" is \"electra\"; supported is \"bert\", \"roberta\", \"xlm-roberta\", \"camembert\", \"mpnet\", \"distilbert\"")]
    [InlineData("hidden_act", "\"quick_gelu\"", "\"hidden_act\" is \"quick_gelu\"; supported is one of \"gelu\"")]
    [InlineData("position_embedding_type", "\"relative_key\"", "\"position_embedding_type\" is \"relative_key\"; supported is \"absolute\"")]
    [InlineData("is_decoder", "true", "\"is_decoder\" is true; supported is false")]
    [InlineData("add_cross_attention", "true", "\"add_cross_attention\" is true")]
    [InlineData("quantization_config", "{\"bits\": 4}", "\"quantization_config\" says that the weights are quantized, which is not read here")]
    [InlineData("directionality", "\"uni\"", "\"directionality\" is \"uni\"; supported is \"bidi\"")]
    [InlineData("attention_temperature", "2", "\"attention_temperature\" (2), which is not known here and could change the result")]
    [InlineData("pruned_heads", "{\"0\": [1]}", "\"pruned_heads\"")]
    [InlineData("hidden_size", "\"32\"", "\"hidden_size\" has to be a whole number, not \"32\"")]
    [InlineData("emb_size", "64", "\"emb_size\" is 64, \"hidden_size\" 32; supported is one value in both")]
    [InlineData("hidden_size", "64", "the pooling's config.json says 32 dimensions")]
    [InlineData("intermediate_size", "65", "tensor \"encoder.layer.0.intermediate.dense.bias\" is [64], the configuration says [65]")]
    [InlineData("num_hidden_layers", "1", "tensor \"encoder.layer.1.attention.output.LayerNorm.bias\" [32] is not known to this configuration")]
    [InlineData("num_hidden_layers", "2000000000", "2000000000 layers cannot lie in 37 tensors")]
    [InlineData("vocab_size", "2000000000", "the configuration says [2000000000, 32]")]
    [InlineData("num_hidden_layers", "3", "tensor \"encoder.layer.2.attention.self.query.weight\" is missing")]
    [InlineData("num_hidden_layers", "3", "is missing; and 11 more.")]
    [InlineData("num_attention_heads", "5", "Width 32 does not divide by Heads 5.")]
    [InlineData("max_position_embeddings", "39", "tensor \"embeddings.position_embeddings.weight\" is [40, 32], the configuration says [39, 32]")]
    [InlineData("max_position_embeddings", "2", "MaximumLength 2 has to lie between 3 (a token and its frame) and MaximumPositions 2.")]
    public void A_configuration_that_does_not_fit_is_refused_by_name(string key, string value, string expected)
    {
        _embedder.Save(Folder);
        string path = Path.Combine(Folder, "config.json");
        JsonNode config = JsonNode.Parse(File.ReadAllText(path))!;
        config[key] = JsonNode.Parse(value);
        File.WriteAllText(path, config.ToJsonString());

        CheckpointException exception = Assert.Throws<CheckpointException>(() => TextEmbedder.Load(Folder));

        Assert.Contains(expected, exception.Message, StringComparison.Ordinal);
        Assert.Contains(Folder, exception.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("modules.json", "[]", "the modules (\"type\") are none")]
    [InlineData("modules.json", "{}", "has to hold a JSON array")]
    [InlineData("modules.json", """[{"type": "sentence_transformers.models.Transformer", "path": "../elsewhere"}]""", "\"path\" is \"../elsewhere\", which leads out of the folder")]
    [InlineData("modules.json", """[{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "1_Pooling"}, {"type": "a.Normalize", "path": "2_Normalize"}, {"type": "a.Dense", "path": "3_Dense"}]""", "the modules (\"type\") are Transformer, Pooling, Normalize, Dense; supported are")]
    [InlineData("1_Pooling/config.json", """{"pooling_mode_lasttoken": true}""", "the pooling (\"pooling_mode_...\") is pooling_mode_lasttoken; supported is one of pooling_mode_mean_tokens")]
    [InlineData("1_Pooling/config.json", """{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}""", "the pooling (\"pooling_mode_...\") is pooling_mode_mean_tokens and pooling_mode_cls_token")]
    [InlineData("config_sentence_transformers.json", """{"default_prompt_name": "query"}""", "\"default_prompt_name\" is \"query\", and \"prompts\" has none of that name")]
    [InlineData("config_sentence_transformers.json", """{"prompts": {"query": "q: ", "passage": "p: "}}""", "parts of different embedders")]
    [InlineData("config.json", "{", "is not valid JSON")]
    [InlineData("model.safetensors", "", "is not a valid safetensors file")]
    [InlineData("config.json", null, "config.json is missing")]
    [InlineData("model.safetensors", null, "holds no weights: expected model.safetensors")]
    public void A_damaged_or_unsupported_file_is_refused_with_the_reason(string name, string? content, string expected)
    {
        _embedder.Save(Folder);
        if (content is null)
        {
            File.Delete(Path.Combine(Folder, name));
        }
        else
        {
            File.WriteAllText(Path.Combine(Folder, name), content);
        }

        CheckpointException exception = Assert.Throws<CheckpointException>(() => TextEmbedder.Load(Folder));

        Assert.Contains(expected, exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Keys_without_effect_on_a_vector_are_accepted()
    {
        _embedder.Save(Folder);
        string path = Path.Combine(Folder, "config.json");
        JsonNode config = JsonNode.Parse(File.ReadAllText(path))!;
        config["hidden_dropout_prob"] = 0.1;
        config["num_steps"] = 1000;
        config["emb_size"] = 32;
        config["xla_device"] = true; // as transformers 3 to 4.3 wrote it on TPUs
        config["classifier_dropout"] = 0.2;
        config["directionality"] = "bidi";
        config["pooler_type"] = "first_token_transform";
        config["pruned_heads"] = new JsonObject();
        config["gradient_checkpointing"] = true;
        config["_name_or_path"] = "x";
        config["some_new_list"] = new JsonArray();
        File.WriteAllText(path, config.ToJsonString());
        File.WriteAllText(
            Path.Combine(Folder, "config_sentence_transformers.json"), """{"default_prompt_name": "document", "prompts": {"query": "q: ", "document": ""}}""");

        using TextEmbedder loaded = TextEmbedder.Load(Folder);

        Assert.Equal(_embedder.Identity, loaded.Identity);
        Assert.Equal(new Dictionary<string, string> { ["query"] = "q: " }, loaded.Prompts); // as they are said, and put before nothing
        Assert.Empty(_embedder.Prompts);
    }

    /// <summary>A chunk is looked up as it is found, by one key: one prompt stands before all.</summary>
    [Theory]
    [InlineData("""{"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": null}""", "query: ")] // E5's card, for like among like
    [InlineData("""{"prompts": {"query": "query: ", "document": "passage: "}, "default_prompt_name": "document"}""", "passage: ")]
    [InlineData("""{"prompts": {"query": "Represent this: ", "document": ""}}""", "")] // documents are bare
    [InlineData("""{"prompts": {"query": "Represent this: "}}""", "")]
    [InlineData("""{"prompts": {"passage": "p: "}}""", "p: ")]
    [InlineData("""{"prompts": {"query": "q: ", "document": "d: ", "sts": ""}, "default_prompt_name": "sts"}""", "")]
    [InlineData("{}", "")]
    public void The_prompt_of_a_folder_stands_before_every_text(string settings, string prompt)
    {
        _embedder.Save(Folder);
        JsonNode config = JsonNode.Parse(File.ReadAllText(Path.Combine(Folder, "config.json")))!;
        using TextEmbedder behind = new(new TextEncoder(EmbeddingInputs.Tiny, seed: 3), EmbeddingInputs.Tokenizer, prompt: prompt);
        config["retro_identity"] = behind.Identity;
        File.WriteAllText(Path.Combine(Folder, "config.json"), config.ToJsonString());
        File.WriteAllText(Path.Combine(Folder, "config_sentence_transformers.json"), settings);
        using TextEmbedder loaded = TextEmbedder.Load(Folder);
        Assert.Equal(prompt, loaded.Prompt);
        string[] texts = ["The lighthouse stands on the cape.", string.Join(' ', Enumerable.Range(0, 200))];
        Assert.All(texts, text => Assert.Equal(_embedder.Tokens(prompt + text), loaded.Tokens(text)));
        float[] expected = new float[2 * 32], came = new float[2 * 32];
        _embedder.Embed([.. texts.Select(text => prompt + text)], expected, TestContext.Current.CancellationToken);
        loaded.Embed(texts, came, TestContext.Current.CancellationToken);
        Assert.Equal(expected, came);

        // Keys behind another prompt are another function's.
        Assert.Equal(prompt.Length == 0, _embedder.Identity == loaded.Identity);
        Assert.Equal(
            prompt.Length == 0,
            new ChunkKeyer(EmbeddingInputs.Tokenizer, _embedder).Identity == new ChunkKeyer(EmbeddingInputs.Tokenizer, loaded).Identity);
        string saved = Path.Combine(Folder, "saved");
        loaded.Save(saved);
        using TextEmbedder again = TextEmbedder.Load(saved);
        Assert.Equal((prompt, loaded.Identity), (again.Prompt, again.Identity));
        using RetrieverTower tower = new(loaded, EmbeddingInputs.Tokenizer);
        using TextEmbedder exported = tower.Export();
        Assert.Equal(loaded.Identity, exported.Identity);

        _embedder.Save(saved); // nothing of the prompts is left
        using TextEmbedder bare = TextEmbedder.Load(saved);
        Assert.Equal(_embedder.Identity, bare.Identity);
        Assert.Empty(bare.Prompts);
    }

    [Fact]
    public void A_prompt_that_leaves_no_room_for_a_text_or_is_not_pooled_is_refused()
    {
        using TextEncoder encoder = new(EmbeddingInputs.Tiny, seed: 3);
        string prompt = string.Join(' ', Enumerable.Range(0, 200));
        Assert.Contains(
            "alone has as many tokens as a text may have, 40",
            Assert.Throws<CheckpointException>(() => new TextEmbedder(encoder, EmbeddingInputs.Tokenizer, prompt: prompt)).Message,
            StringComparison.Ordinal);
        using (TextEmbedder behind = new(new TextEncoder(EmbeddingInputs.Tiny, seed: 3), EmbeddingInputs.Tokenizer, prompt: "q: "))
        {
            behind.Save(Folder);
        }

        string pooling = Path.Combine(Folder, "1_Pooling", "config.json");
        JsonNode settings = JsonNode.Parse(File.ReadAllText(pooling))!;
        settings["include_prompt"] = false;
        File.WriteAllText(pooling, settings.ToJsonString());
        Assert.Contains(
            "\"include_prompt\" is false", Assert.Throws<CheckpointException>(() => TextEmbedder.Load(Folder)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Loading_and_saving_report_and_a_canceled_save_leaves_what_was_there()
    {
        using CancellationTokenSource source = new();
        List<StageProgress> reports = [];
        using TextEmbedder other = new(new TextEncoder(EmbeddingInputs.Tiny, seed: 4), EmbeddingInputs.Tokenizer);
        _embedder.Save(Folder, new Reports<StageProgress>(reports.Add), TestContext.Current.CancellationToken);
        long tensors = _embedder.Encoder.named_parameters().LongCount();
        Assert.Equal([.. LongRange(tensors + 1).Select(done => new StageProgress("save weights", done, tensors))], reports);
        Dictionary<string, byte[]> before = Content();

        Assert.Throws<OperationCanceledException>(() => other.Save(Folder, CancelAt(source, 2), source.Token));

        Assert.Equal(before, Content());
        reports.Clear();
        TextEmbedder.Load(Folder, progress: new Reports<StageProgress>(reports.Add), cancellationToken: TestContext.Current.CancellationToken).Dispose();
        Assert.Equal(["load tokenizer", "load weights"], reports.Select(report => report.Stage).Distinct());
        using CancellationTokenSource again = new();
        Assert.Throws<OperationCanceledException>(() => TextEmbedder.Load(Folder, progress: CancelAt(again, 2), cancellationToken: again.Token));

        Dictionary<string, byte[]> Content()
            => Directory.EnumerateFiles(Folder, "*", SearchOption.AllDirectories).ToDictionary(file => file, File.ReadAllBytes);
        static IEnumerable<long> LongRange(long count) => Enumerable.Range(0, (int)count).Select(i => (long)i);
        static Reports<StageProgress> CancelAt(CancellationTokenSource source, long done) => new(report =>
        {
            if (report.Done == done)
            {
                source.Cancel();
            }
        });
    }

    [Fact]
    public void A_pickle_is_never_opened()
    {
        _embedder.Save(Folder);
        File.Move(Path.Combine(Folder, "model.safetensors"), Path.Combine(Folder, "pytorch_model.bin"));

        CheckpointException exception = Assert.Throws<CheckpointException>(() => TextEmbedder.Load(Folder));

        Assert.Contains("pytorch_model.bin is a Python pickle", exception.Message, StringComparison.Ordinal);
        Assert.Contains("safe_serialization=True", exception.Message, StringComparison.Ordinal);
    }

    /// <summary>Other programs would put it on the weights that lie there, or on those of the model that it names.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("model.safetensors")]
    [InlineData("model.safetensors config.json")]
    public void An_adapter_is_named_whatever_of_a_model_lies_beside_it(string missing)
    {
        _embedder.Save(Folder);
        foreach (string name in missing.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            File.Delete(Path.Combine(Folder, name));
        }

        string adapter = Path.Combine(Folder, "adapter_config.json");
        File.WriteAllText(adapter, "{}");

        string message = Assert.Throws<CheckpointException>(() => TextEmbedder.Load(Folder)).Message;

        Assert.Contains($"{adapter} says that the folder holds an adapter", message, StringComparison.Ordinal);
        Assert.Contains("merge_and_unload", message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_tokenizer_of_another_size_is_refused()
    {
        using TextEncoder encoder = new(EmbeddingInputs.Tiny with { VocabularySize = EmbeddingInputs.Tokenizer.VocabularySize - 1 });

        CheckpointException exception = Assert.Throws<CheckpointException>(() => new TextEmbedder(encoder, EmbeddingInputs.Tokenizer));

        Assert.StartsWith(
            $"The tokenizer has {EmbeddingInputs.Tokenizer.VocabularySize} ids, but the embedding of the encoder has "
                + $"{EmbeddingInputs.Tokenizer.VocabularySize - 1} rows",
            exception.Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Work_can_be_canceled_and_room_is_checked()
    {
        Assert.Throws<OperationCanceledException>(() => _embedder.Embed(["a"], new float[32], new CancellationToken(true)));
        Assert.Throws<ArgumentException>(() => _embedder.Embed(["a"], new float[31]));
        Assert.Throws<CheckpointException>(() => TextEmbedder.Load(Path.Combine(Folder, "nowhere")));
    }

    [Fact]
    public void Embedding_leaves_no_tensor_behind()
    {
        Vectors(EmbeddingInputs.Texts);
        long before = LiveTensors.Settled();

        Vectors(EmbeddingInputs.Texts);
        _ = _embedder.Identity;

        Assert.Equal(before, Tensor.TotalCount);
    }

    private float[][] Vectors(params string[] texts) => Vectors(_embedder, texts);

    private static float[][] Vectors(TextEmbedder embedder, params string[] texts)
    {
        float[] rows = new float[texts.Length * embedder.Dimensions];
        embedder.Embed(texts, rows);
        return rows.Chunk(embedder.Dimensions).ToArray();
    }
}

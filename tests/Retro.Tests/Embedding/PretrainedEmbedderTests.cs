using System.Text.Json;
using Retro.Checkpoints;
using Retro.Embedding;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Embedding;

/// <summary>Folders of Hugging Face and sentence-transformers, against what the original implementations give for them.</summary>
public class PretrainedEmbedderTests(ITestOutputHelper output)
{
    private const string Texts = "expected-texts.json";
    private const string Embeddings = "expected-embeddings.safetensors";
    private const string States = "expected.safetensors";

    public static TheoryData<string> FoldersWithEmbeddings => [.. Folders(folder => File.Exists(Path.Combine(folder, Embeddings)))];

    public static TheoryData<string> FoldersWithStates => [.. Folders(folder => File.Exists(Path.Combine(folder, States)) && IsBert(folder))];

    [Theory]
    [MemberData(nameof(FoldersWithEmbeddings))]
    public void Embeddings_equal_the_originals_whatever_the_batch(string folder)
    {
        string[] texts = JsonSerializer.Deserialize<string[]>(File.ReadAllText(Path.Combine(folder, Texts)))!;
        float[][] expected = ReadRows(Path.Combine(folder, Embeddings), "embeddings");
        using TextEmbedder embedder = TextEmbedder.Load(folder);

        float[][] together = Embed(embedder, texts);
        float[][] reversed = Embed(embedder, texts.Reverse().ToArray());

        Assert.Equal(expected.Length, texts.Length);
        Assert.NotEmpty(texts);
        double largest = 0, least = 1;
        for (int i = 0; i < texts.Length; i++)
        {
            double difference = expected[i].Zip(together[i], (a, b) => Math.Abs((double)a - b)).Max();
            double cosine = Dot(expected[i], together[i]) / Math.Sqrt(Dot(expected[i], expected[i]) * Dot(together[i], together[i]));
            Assert.True(difference <= 1e-4 && cosine >= 0.99999, $"{folder}: text {i} ({JsonSerializer.Serialize(texts[i][..Math.Min(60, texts[i].Length)])}) differs by {difference}, cosine {cosine}");
            (largest, least) = (Math.Max(largest, difference), Math.Min(least, cosine));
        }

        Assert.Equal(together, reversed.Reverse());
        foreach (int i in new[] { 0, 1, texts.Length / 2, texts.Length - 1 })
        {
            Assert.Equal(together[i], Embed(embedder, texts[i])[0]);
        }

        output.WriteLine($"{folder}: embeddings of {texts.Length} texts ({embedder.Encoder.Config.Pooling}, {(embedder.Encoder.Config.Normalize ? "normalized" : "not normalized")}, at most {embedder.Encoder.Config.MaximumLength} tokens), "
            + $"largest difference {largest:E1}, smallest cosine {least:F8}; the same bits in another order and alone.");
    }

    [Theory]
    [MemberData(nameof(FoldersWithStates))]
    public void States_of_the_last_layer_equal_the_originals(string folder)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable guard = no_grad();
        using Safetensors file = Safetensors.Open(Path.Combine(folder, States));
        using TextEmbedder embedder = TextEmbedder.Load(folder);
        Tensor tokens = file.Read("input_ids", ScalarType.Int64);
        Tensor mask = file.Read("attention_mask", ScalarType.Int64).to_type(ScalarType.Bool);
        Tensor types = file.Read("token_type_ids", ScalarType.Int64);
        Tensor expected = file.Read("last_hidden_state", ScalarType.Float64);
        Tensor real = mask.unsqueeze(-1).to_type(ScalarType.Float64); // what stands behind the mask means nothing
        double Difference(Tensor states) => ((states.to_type(ScalarType.Float64) - expected) * real).abs().max().item<double>();

        double single = Difference(embedder.Encoder.forward(tokens, mask, types));
        embedder.Encoder.to(ScalarType.Float64);
        double twice = Difference(embedder.Encoder.forward(tokens, mask, types));

        output.WriteLine($"{folder}: last_hidden_state [{string.Join(", ", expected.shape)}], largest difference {single:E1} in float32, {twice:E1} in float64.");
        Assert.True(single <= 1e-4, $"{folder}: {single} in float32");
        Assert.True(twice <= 1e-6, $"{folder}: {twice} in float64");
    }

    /// <summary>The same vectors where the folder holds the vocabulary alone, as older ones do.</summary>
    [Theory]
    [InlineData("bert")]
    [InlineData("bert-cased-cls")]
    public void A_vocabulary_file_will_do_for_a_tokenizer(string name)
    {
        using TemporaryFolder target = new();
        string folder = Path.Combine(Fixtures.Own, "pretrained", name);
        foreach (string file in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Where(file => !file.EndsWith("tokenizer.json", StringComparison.Ordinal)))
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

        RetroException exception = Assert.ThrowsAny<RetroException>(() => TextEmbedder.Load(target.Path));

        Assert.Contains("The tokenizer has 881 tokens, the encoder's embedding 880 rows", exception.Message, StringComparison.Ordinal);
    }

    /// <summary>The model folders of the project, of the shared inputs, and of RETRO_PRETRAINED, whose entries are model folders or hold such.</summary>
    private static IEnumerable<string> Folders(Func<string, bool> choose)
        => Fixtures.Folders("RETRO_PRETRAINED", "pretrained")
            .Select(folder => folder == Fixtures.Own ? Path.Combine(folder, "pretrained") : folder)
            .Where(Directory.Exists)
            .SelectMany(folder => File.Exists(Path.Combine(folder, "config.json")) ? Enumerable.Repeat(folder, 1) : Directory.EnumerateDirectories(folder).Order(StringComparer.Ordinal))
            .Where(choose);

    private static bool IsBert(string folder)
    {
        using JsonDocument config = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "config.json")));
        return config.RootElement.TryGetProperty("model_type", out JsonElement kind) && kind.GetString() == "bert";
    }

    private static float[][] ReadRows(string path, string name)
    {
        using Safetensors file = Safetensors.Open(path);
        using Tensor rows = file.Read(name, ScalarType.Float32);
        using var data = rows.data<float>();
        return data.ToArray().Chunk((int)rows.shape[1]).ToArray();
    }

    private static float[][] Embed(TextEmbedder embedder, params string[] texts)
    {
        float[] rows = new float[texts.Length * embedder.Dimensions];
        embedder.Embed(texts, rows);
        return rows.Chunk(embedder.Dimensions).ToArray();
    }

    private static double Dot(float[] a, float[] b) => a.Zip(b, (x, y) => (double)x * y).Sum();
}

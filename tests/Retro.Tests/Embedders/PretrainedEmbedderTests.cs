using System.Text.Json;
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

    private static float[][] Embed(TextEmbedder embedder, params string[] texts)
    {
        float[] rows = new float[texts.Length * embedder.Dimensions];
        embedder.Embed(texts, rows);
        return rows.Chunk(embedder.Dimensions).ToArray();
    }
}

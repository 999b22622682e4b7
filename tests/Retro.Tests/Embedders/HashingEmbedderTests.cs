using Microsoft.Extensions.AI;
using Retro.Embedders;

namespace Retro.Tests.Embedders;

public class HashingEmbedderTests
{
    [Fact]
    public void Vectors_stay_what_they_are()
    {
        // Databases hold such vectors: a change of these numbers has to come with a change of the identity.
        float[] vector = Vector(new HashingEmbedder(8), "Retro reads, RETRO writes.");

        double[] expected = [0.000000, 0.454852, -0.376812, -0.610933, 0.188406, -0.188406, 0.454852, 0.000000];
        Assert.All(expected.Zip(vector), pair => Assert.Equal(pair.First, pair.Second, 1e-6));
    }

    [Fact]
    public void Texts_that_share_words_are_nearer_whatever_case_and_order()
    {
        HashingEmbedder embedder = new();
        float[] text = Vector(embedder, "The lighthouse stands on the northern cape.");

        Assert.Equal(1, Dot(text, Vector(embedder, "on the CAPE, the northern lighthouse stands")), 1e-6);
        Assert.True(Dot(text, Vector(embedder, "A lighthouse on a cape")) > Dot(text, Vector(embedder, "Green tea is brewed below boiling heat")) + 0.2);
        Assert.True(Dot(text, Vector(embedder, "lighthouses standing")) > 0.1);
    }

    [Theory]
    [InlineData("")]
    [InlineData(" \n ...!")]
    public void A_text_without_words_is_the_zero_vector(string text) => Assert.All(Vector(new HashingEmbedder(16), text), x => Assert.Equal(0, x));

    [Theory]
    [InlineData("a")]
    [InlineData("日本語")]
    [InlineData("é 𠀀 \ud800")]
    public void Any_other_text_has_length_one(string text)
        => Assert.Equal(1, Dot(Vector(new HashingEmbedder(), text), Vector(new HashingEmbedder(), text)), 1e-6);

    /// <summary>File systems and PDF files spell letters with marks as two characters.</summary>
    [Fact]
    public void Texts_are_the_same_in_any_normal_form()
    {
        HashingEmbedder embedder = new();
        Assert.Equal(Vector(embedder, "caf\u00E9 r\u00E9sum\u00E9"), Vector(embedder, "cafe\u0301 re\u0301sume\u0301"));
    }

    [Fact]
    public async Task The_asynchronous_form_gives_the_same()
    {
        using HashingEmbedder embedder = new(32);

        GeneratedEmbeddings<Embedding<float>> generated = await embedder.GenerateAsync(
            ["one text", "another"], cancellationToken: TestContext.Current.CancellationToken);

        Assert.Equal(Vector(embedder, "another"), generated[1].Vector.ToArray());
        Assert.Same(embedder, embedder.GetService(typeof(HashingEmbedder)));
        Assert.Equal(32, ((EmbeddingGeneratorMetadata)embedder.GetService(typeof(EmbeddingGeneratorMetadata))!).DefaultModelDimensions);
        Assert.Null(embedder.GetService(typeof(string)));
        ArgumentException refused = await Assert.ThrowsAsync<ArgumentException>(() =>
            embedder.GenerateAsync(["x"], new EmbeddingGenerationOptions { Dimensions = 33 }));
        Assert.StartsWith("The embedder gives 32 dimensions, 33 were asked for", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Wrong_arguments_are_refused()
    {
        HashingEmbedder embedder = new(4);

        Assert.Throws<ArgumentOutOfRangeException>(() => new HashingEmbedder(0));
        Assert.StartsWith(
            "2 vectors of 4 dimensions need 8 numbers, got room for 7.",
            Assert.Throws<ArgumentException>(() => embedder.Embed(["a", "b"], new float[7])).Message,
            StringComparison.Ordinal);
        Assert.Throws<OperationCanceledException>(() => embedder.Embed(["a"], new float[4], new CancellationToken(true)));
        Assert.NotEqual(embedder.Identity, new HashingEmbedder(5).Identity);
    }

    private static float[] Vector(HashingEmbedder embedder, string text)
    {
        float[] vector = new float[embedder.Dimensions];
        embedder.Embed([text], vector);
        return vector;
    }

    private static double Dot(float[] a, float[] b) => a.Zip(b, (x, y) => (double)x * y).Sum();
}

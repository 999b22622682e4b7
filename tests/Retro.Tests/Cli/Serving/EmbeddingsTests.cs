using System.Net;
using System.Text.Json.Nodes;
using OpenAI.Embeddings;
using static Retro.Tests.Cli.Serving.Requests;

namespace Retro.Tests.Cli.Serving;

/// <summary>What a server answers whoever asks for vectors.</summary>
public sealed class EmbeddingsTests
{
    [Fact]
    public async Task OpenAIs_client_gets_the_embedders_vectors()
    {
        await using ServedModel served = await ServedModel.StartAsync();
        EmbeddingClient embeddings = Client(served).GetEmbeddingClient($"{ServedModel.Name}-embedder");
        OpenAIEmbeddingCollection two = await embeddings.GenerateEmbeddingsAsync(["a river", "a bridge over it"], null, Cancel);
        using Retro.Embedders.TextEmbedder embedder = Retro.Embedders.TextEmbedder.Load(Fixtures.Pretrained("bert"));
        float[] expected = new float[2 * embedder.Dimensions];
        embedder.Embed(["a river", "a bridge over it"], expected, Cancel);
        Assert.Equal(expected, two.SelectMany(one => one.ToFloats().ToArray()));
        Assert.InRange(two.Usage.InputTokenCount, 4, 40);

        JsonNode numbers = await Json(await served.Http.PostAsync(
            "/v1/embeddings", Body("""{"model":"tiny-embedder","input":["a river"],"encoding_format":"float"}"""), Cancel));
        Assert.Equal(expected[..embedder.Dimensions], numbers["data"]![0]!["embedding"]!.AsArray().Select(number => (float)number!));
    }

    [Theory]
    [InlineData(2048, HttpStatusCode.OK)]
    [InlineData(2049, HttpStatusCode.BadRequest)]
    public async Task As_many_texts_are_embedded_at_once_as_clients_are_used_to(int texts, HttpStatusCode status)
    {
        await using ServedModel served = await ServedModel.StartAsync(reads: false);
        string input = string.Join(',', Enumerable.Repeat("\"a\"", texts));
        HttpResponseMessage answer = await served.Http.PostAsync(
            "/v1/embeddings", Body($$"""{"model":"tiny-embedder","input":[{{input}}],"encoding_format":"base64"}"""), Cancel);
        Assert.Equal(status, answer.StatusCode);
        Assert.Equal(status == HttpStatusCode.OK ? (int?)texts : null, (await Json(answer))["data"]?.AsArray().Count);
    }
}

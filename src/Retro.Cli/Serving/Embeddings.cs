using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;
using Retro.Embedders;

namespace Retro.Cli.Serving;

/// <summary>OpenAI's embeddings, by the embedder that makes the keys of dense neighbors.</summary>
internal static class Embeddings
{
    private const int MostTexts = 2048; // as many as OpenAI takes

    /// <summary>What the embedder is called.</summary>
    public static string NameFor(ServingOptions options) => $"{options.Name}-embedder";

    /// <summary>Answers a request.</summary>
    public static async Task AnswerAsync(HttpContext context, ReadingOptions.Opened opened, ServingOptions options, Turns turns)
    {
        RequestBody body = await RequestBody.ReadAsync(context, options.MostBytes).ConfigureAwait(false);
        string model = body.Required("model");
        if (opened.Sources is not { HasEmbedder: true } sources || model != NameFor(options))
        {
            throw new Fault(
                404,
                opened.Sources?.HasEmbedder == true
                    ? $"There is no embedder '{model}' here; ask for '{NameFor(options)}'."
                    : $"There is no embedder here; train one ({Tool.Name} embed-train), or name one ({CommonOptions.Embedder().Name}).",
                "model_not_found",
                "model");
        }

        if (body["input"] is JsonArray given && given.Any(one => one is JsonArray || (one is JsonValue value && value.TryGetValue<double>(out _))))
        {
            throw new Fault(
                400,
                "input holds ids of tokens; send texts, since the embedder has a tokenizer of its own. In LangChain: check_embedding_ctx_length=False.",
                "invalid_type",
                "input");
        }

        string[] texts = body.Texts("input", MostTexts);
        if (texts.Length == 0)
        {
            throw new Fault(400, "input is missing; it has to be a text or several.", "missing", "input");
        }

        string format = body.Text("encoding_format") ?? "float";
        if (format is not ("float" or "base64"))
        {
            throw new Fault(400, $"encoding_format has to be float or base64, not '{format}'.", "invalid_value", "encoding_format");
        }

        using IDisposable turn = await turns.TakeAsync(1, context.RequestAborted).ConfigureAwait(false);
        CancellationToken aborted = context.RequestAborted;
        TextEmbedder embedder = sources.Embedder();
        body.Whole("dimensions", embedder.Dimensions, embedder.Dimensions);
        int[] counts = [.. texts.Select(text => embedder.Tokens(text).Length)];
        float[] vectors = new float[texts.Length * embedder.Dimensions];
        await Task.Run(() => embedder.Embed(texts, vectors, aborted), aborted).ConfigureAwait(false);
        await context.Response.WriteAsJsonAsync(
            new JsonObject
            {
                ["object"] = "list",
                ["model"] = model,
                ["data"] = new JsonArray([.. texts.Select((_, i) => new JsonObject
                {
                    ["object"] = "embedding",
                    ["index"] = i,
                    ["embedding"] = Vector(vectors.AsSpan(i * embedder.Dimensions, embedder.Dimensions), format),
                })]),
                ["usage"] = new JsonObject { ["prompt_tokens"] = counts.Sum(), ["total_tokens"] = counts.Sum() },
            },
            aborted).ConfigureAwait(false);
    }

    /// <summary>A vector, as numbers or as the bytes of little-endian float32.</summary>
    private static JsonNode Vector(ReadOnlySpan<float> vector, string format)
        => format == "base64"
            ? JsonValue.Create(Convert.ToBase64String(MemoryMarshal.AsBytes(vector)))
            : new JsonArray([.. vector.ToArray().Select(number => JsonValue.Create(number))]);
}

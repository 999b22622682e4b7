using System.ClientModel;
using System.Text;
using System.Text.Json.Nodes;
using OpenAI;
using Retro.Cli.Serving;

namespace Retro.Tests.Cli.Serving;

/// <summary>What the tests of the server ask with, and read of its answers.</summary>
internal static class Requests
{
    /// <summary>Ends what a test waits for, with the test.</summary>
    public static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>OpenAI's own client.</summary>
    public static OpenAIClient Client(ServedModel served) => new(new ApiKeyCredential("none"), new() { Endpoint = new($"{served.Url}/v1") });

    /// <summary>What a model answers, with more members in the request.</summary>
    public static async Task<string> Answer(ServedModel served, string more)
    {
        string body = $$"""{"model":"tiny","messages":[{"role":"user","content":"What is a river?"}]{{more}}}""";
        return (string)(await Json(await served.Http.PostAsync("/v1/chat/completions", Body(body), Cancel)))["choices"]![0]!["message"]!["content"]!;
    }

    /// <summary>A request in JSON.</summary>
    public static StringContent Body(string json) => new(json, Encoding.UTF8, "application/json");

    /// <summary>An answer in JSON.</summary>
    public static async Task<JsonNode> Json(HttpResponseMessage response) => JsonNode.Parse(await response.Content.ReadAsStringAsync(Cancel))!;

    /// <summary>The events of a stream, without the last, which says that it is done.</summary>
    public static JsonNode[] Events(string stream)
        =>
        [
            .. stream.Split("\n\n", StringSplitOptions.RemoveEmptyEntries).Select(one => one[6..]).Where(one => one != "[DONE]")
                .Select(one => JsonNode.Parse(one)!),
        ];

    /// <summary>Keys, with the labels that each may see; null: all that the server may.</summary>
    public static Access Keys(params (string Key, string[]? Labels)[] known)
    {
        Access access = new();
        Assert.All(known, one => Assert.True(access.Add(one.Key, one.Labels)));
        return access;
    }
}

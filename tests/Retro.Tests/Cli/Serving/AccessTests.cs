using System.Net;
using System.Text.Json.Nodes;
using Retro.Cli.Serving;
using static Retro.Tests.Cli.Serving.Requests;

namespace Retro.Tests.Cli.Serving;

/// <summary>Who may ask a server, and what each may see.</summary>
public sealed class AccessTests
{
    [Fact]
    public async Task A_key_opens_the_server_and_another_sites_name_does_not()
    {
        await using (ServedModel open = await ServedModel.StartAsync())
        {
            using HttpRequestMessage strange = new(HttpMethod.Get, "/v1/models");
            strange.Headers.Host = "evil.example";
            Assert.Equal(HttpStatusCode.Forbidden, (await open.Http.SendAsync(strange, Cancel)).StatusCode);
            using HttpRequestMessage own = new(HttpMethod.Get, "/v1/models");
            own.Headers.Host = "LocalHost"; // names of hosts have no case
            Assert.Equal(HttpStatusCode.OK, (await open.Http.SendAsync(own, Cancel)).StatusCode);
        }

        await using ServedModel served = await ServedModel.StartAsync(options => options with { Access = Keys(("secret", null)) });
        Assert.Equal(HttpStatusCode.OK, (await served.Http.GetAsync("/", Cancel)).StatusCode);
        HttpResponseMessage refused = await served.Http.GetAsync("/v1/models", Cancel);
        Assert.Equal((HttpStatusCode.Unauthorized, "Bearer"), (refused.StatusCode, $"{refused.Headers.WwwAuthenticate}"));
        served.Http.DefaultRequestHeaders.Authorization = new("Bearer", "secre");
        Assert.Equal(HttpStatusCode.Unauthorized, (await served.Http.PostAsync("/api/write", Body("{}"), Cancel)).StatusCode);
        served.Http.DefaultRequestHeaders.Authorization = new("Bearer", "secret");
        Assert.Equal(HttpStatusCode.OK, (await served.Http.GetAsync("/v1/models", Cancel)).StatusCode);
        JsonNode state = await Json(await served.Http.GetAsync("/api/state", Cancel));
        Assert.Equal(["running", "waiting", "served", "failed"], state.AsObject().Select(member => member.Key)); // nothing of what others wrote
    }

    [Fact]
    public async Task Two_keys_see_what_each_may_and_an_unknown_one_nothing()
    {
        await using ServedModel served = await ServedModel.StartAsync(
            options => options with { Access = Keys(("one", ["river"]), ("other", ["bridge", "harbor"]), ("guest", [])) }, tokens: 40, labels: ["mountain"]);
        const string Asked = "How many stones has bridge 5?";
        (string Path, string Body)[] requests =
        [
            ("/v1/chat/completions", $$"""{"model":"tiny","labels":["mountain"],"messages":[{"role":"user","content":"{{Asked}}"}]}"""),
            ("/api/write", $$"""{"text":"{{Asked}}","ask":true,"labels":["mountain"]}"""),
            ("/api/inspect", """{"text":"The bridge number 5 has 5 stones & 0 steps. The bridge number 5 has 12 stones."}"""),
        ];

        // At once, so that nothing of one request is another's.
        await Task.WhenAll(requests.SelectMany(request => Enumerable.Repeat(request, 3)).Select(async request =>
        {
            Assert.Equal(["docs/river-"], Read(await Answer("one", request)));
            Assert.Equal(["docs/bridge-", "docs/harbor-"], Read(await Answer("other", request)).Union(["docs/harbor-"]).Order());
            Assert.Empty(Read(await Answer("guest", request)));
        }));
        foreach (string wrong in new[] { "On", "one x", "oneother", "mountain" })
        {
            using HttpResponseMessage refused = await Send(wrong, requests[0]);
            Assert.Equal(HttpStatusCode.Unauthorized, refused.StatusCode);
            Assert.DoesNotContain("docs/", await refused.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
        }

        static IEnumerable<string> Read(string answer)
            => new[] { "bridge", "harbor", "mountain", "river" }.Select(topic => $"docs/{topic}-")
                .Where(place => answer.Contains(place, StringComparison.Ordinal));

        async Task<string> Answer(string key, (string Path, string Body) request)
        {
            using HttpResponseMessage response = await Send(key, request);
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
            return await response.Content.ReadAsStringAsync(Cancel);
        }

        async Task<HttpResponseMessage> Send(string key, (string Path, string Body) request)
        {
            using HttpRequestMessage message = new(HttpMethod.Post, request.Path) { Content = Body(request.Body) };
            message.Headers.TryAddWithoutValidation("Authorization", $"Bearer {key}");
            return await served.Http.SendAsync(message, Cancel);
        }
    }

    [Fact]
    public void A_file_of_keys_is_read_strictly_and_no_fault_names_a_key()
    {
        using TemporaryFolder folder = new();
        string path = folder["people.jsonl"];
        File.WriteAllText(path, """
            {"key": "one", "labels": ["river", "bridge"]}

            {"labels": [], "key": "two"}
            """);
        Access access = Access.Read(path);
        Assert.Equal(["river", "bridge"], access.Find("Bearer one")!.Labels!);
        Assert.Empty(access.Find("Bearer two")!.Labels!);
        Assert.Equal(["river", "bridge"], access.Find("bearer one")!.Labels!);
        Assert.Null(access.Find("Bearer ONE"));
        Assert.Null(access.Find("Basic one"));
        Assert.Null(access.Find("one"));
        Assert.Null(access.Find("Bearer "));
        string[] wrong =
        [
            "secret", "{\"key\": \"secret\"}", "{\"key\": \"secret\", \"label\": []}", "{\"key\": \"secret\", \"labels\": \"a\"}",
            "{\"key\": \"secret\", \"labels\": [1]}", "{\"key\": \"secret\", \"labels\": [], \"more\": 1}", "{\"key\": \"\", \"labels\": []}",
            "{\"key\": \"secret to\", \"labels\": []}", "{\"key\": \"secret\\u0007\", \"labels\": []}",
            "{\"key\": \"secret\", \"key\": \"secret\"}", "[\"secret\"]",
        ];
        foreach (string line in wrong)
        {
            File.WriteAllText(path, $"{{\"key\": \"one\", \"labels\": []}}\n{line}\n");
            RetroException fault = Assert.Throws<RetroException>(() => Access.Read(path));
            Assert.StartsWith($"Line 2 of {path} has to be", fault.Message, StringComparison.Ordinal);
            Assert.DoesNotContain("secret", fault.ToString(), StringComparison.Ordinal);
        }

        File.WriteAllText(path, string.Concat(Enumerable.Repeat("{\"key\": \"one\", \"labels\": []}\n", 2)));
        Assert.Contains("that no other line has", Assert.Throws<RetroException>(() => Access.Read(path)).Message, StringComparison.Ordinal);
        File.WriteAllText(path, "\n");
        Assert.Contains("names no key", Assert.Throws<RetroException>(() => Access.Read(path)).Message, StringComparison.Ordinal);
        Assert.Contains("cannot be read", Assert.Throws<RetroException>(() => Access.Read(folder["nowhere"])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Nothing_comes_of_a_document_whose_label_may_not_be_seen_whatever_a_request_says()
    {
        await using ServedModel served = await ServedModel.StartAsync(tokens: 40, labels: ["river"]);
        const string Asked = "How many stones has bridge 5?";
        string chat = await Answer("/v1/chat/completions", $$"""{"model":"tiny","labels":["bridge"],"messages":[{"role":"user","content":"{{Asked}}"}]}""");
        string page = await Answer("/api/write", $$"""{"text":"{{Asked}}","ask":true,"labels":["bridge"]}""");
        string inspected = await Answer("/api/inspect", """{"text":"The bridge number 5 has 5 stones & 0 steps. The bridge number 5 has 12 stones."}""");
        Assert.All(new[] { chat, page, inspected }, text =>
        {
            Assert.Contains("docs/river-", text, StringComparison.Ordinal);
            Assert.DoesNotContain("docs/bridge-", text, StringComparison.Ordinal);
            Assert.DoesNotContain("docs/harbor-", text, StringComparison.Ordinal);
        });

        async Task<string> Answer(string path, string body)
            => await (await served.Http.PostAsync(path, Body(body), Cancel)).Content.ReadAsStringAsync(Cancel);
    }
}

using System.ClientModel;
using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using OpenAI;
using OpenAI.Chat;
using OpenAI.Embeddings;
using OpenAI.Models;
using Retro.Cli.Serving;
using Retro.Generation;
using Retro.Tests.Embedders;
using Retro.Tests.Generation;
using Retro.Tokenizers;
using static TorchSharp.torch;

namespace Retro.Tests.Cli;

/// <summary>What a server answers: to OpenAI's own client, to requests that are wrong, to clients that go away, and to many at once.</summary>
public sealed class ServerTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>Else whoever serves from the folder of a web project, or in a container, serves at that one's addresses as well, without a key.</summary>
    [Fact]
    public async Task It_listens_where_it_is_told_and_nowhere_else()
    {
        const string Name = "Kestrel__Endpoints__Http__Url";
        Environment.SetEnvironmentVariable(Name, "http://127.0.0.1:0");
        try
        {
            await using ServedModel served = await ServedModel.StartAsync();
            using HttpClient client = new();
            Assert.Contains(ServedModel.Name, await client.GetStringAsync($"{served.Url}/v1/models", Cancel), StringComparison.Ordinal);
        }
        finally
        {
            Environment.SetEnvironmentVariable(Name, null);
        }
    }

    [Fact]
    public async Task OpenAIs_client_chats_streams_counts_and_finds_the_models()
    {
        await using ServedModel served = await ServedModel.StartAsync(options => options with { Seed = 1 });
        OpenAIClient client = Client(served);
        ClientResult<OpenAIModelCollection> models = await client.GetOpenAIModelClient().GetModelsAsync(Cancel);
        Assert.Equal([ServedModel.Name, $"{ServedModel.Name}-embedder"], models.Value.Select(model => model.Id));
        Assert.Equal(ServedModel.Name, (await client.GetOpenAIModelClient().GetModelAsync(ServedModel.Name, Cancel)).Value.Id);
        ClientResultException none = await Assert.ThrowsAsync<ClientResultException>(() => client.GetOpenAIModelClient().GetModelAsync("a/b", Cancel));
        Assert.Contains("There is no model 'a/b' here; ask for 'tiny' or 'tiny-embedder'.", none.Message, StringComparison.Ordinal);

        ChatClient chat = client.GetChatClient(ServedModel.Name);
        ChatMessage[] messages =
        [
            new SystemChatMessage("Be brief."), new UserChatMessage("What is a river?"), new AssistantChatMessage("Water."),
            new UserChatMessage("And a bridge?"),
        ];
        ChatCompletionOptions options = new() { MaxOutputTokenCount = 12, Temperature = 0.5f, IncludeLogProbabilities = true, TopLogProbabilityCount = 2 };
        ChatCompletion whole = await chat.CompleteChatAsync(messages, options, Cancel);
        Assert.Equal(ChatFinishReason.Length, whole.FinishReason);
        Assert.Equal(12, whole.Usage.OutputTokenCount);
        Assert.InRange(whole.Usage.InputTokenCount, 20, 400);
        Assert.Equal(12, whole.ContentTokenLogProbabilities.Count);
        Assert.All(whole.ContentTokenLogProbabilities, token => Assert.True(token.LogProbability <= 0 && token.TopLogProbabilities.Count == 2));
        string text = string.Concat(whole.Content.Select(part => part.Text));

        StringBuilder streamed = new();
        ChatTokenUsage? usage = null;
        ChatFinishReason? reason = null;
        await foreach (StreamingChatCompletionUpdate update in chat.CompleteChatStreamingAsync(messages, options, Cancel))
        {
            streamed.Append(string.Concat(update.ContentUpdate.Select(part => part.Text)));
            usage = update.Usage ?? usage;
            reason = update.FinishReason ?? reason;
        }

        Assert.Equal(text, streamed.ToString());
        Assert.Equal((12, ChatFinishReason.Length), (usage!.OutputTokenCount, reason));
        ClientResultException fault = await Assert.ThrowsAsync<ClientResultException>(
            () => client.GetChatClient("gpt").CompleteChatAsync(messages, options, Cancel));
        Assert.Equal(404, fault.Status);
        Assert.Contains("There is no model 'gpt' here; ask for 'tiny'.", fault.Message, StringComparison.Ordinal);
    }

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

    [Fact]
    public async Task What_was_read_stands_beside_the_answer_and_comes_with_the_stream()
    {
        await using ServedModel served = await ServedModel.StartAsync(tokens: 40);
        const string Request = """{"model":"tiny","messages":[{"role":"user","content":[{"type":"text","text":"How many stones has bridge 5?"}]}]""";
        JsonNode whole = await Json(await served.Http.PostAsync("/v1/chat/completions", Body(Request + "}"), Cancel));
        JsonArray sources = whole["sources"]!.AsArray();
        Assert.Equal("in the prompt", (string)sources[0]!["read"]!);
        Assert.Contains("bridge", (string)sources[0]!["document"]!, StringComparison.Ordinal);
        Assert.Contains(sources, source => ((string)source!["read"]!).StartsWith("after part", StringComparison.Ordinal));
        Assert.All(sources, source => Assert.StartsWith("docs/", (string)source!["location"]!, StringComparison.Ordinal));

        HttpResponseMessage streamed = await served.Http.PostAsync("/v1/chat/completions", Body(Request + ",\"stream\":true}"), Cancel);
        string stream = await streamed.Content.ReadAsStringAsync(Cancel);
        JsonNode[] events = Events(stream);
        Assert.EndsWith("data: [DONE]\n\n", stream, StringComparison.Ordinal);
        Assert.Equal(sources.Count, events.Sum(one => one["sources"]?.AsArray().Count ?? 0));
        Assert.Equal(
            (string)whole["choices"]![0]!["message"]!["content"]!, string.Concat(events.Select(one => (string?)one["choices"]![0]!["delta"]!["content"])));

        JsonNode[] page = Events(await (await served.Http.PostAsync(
            "/api/write", Body("""{"text":"How many stones has bridge 5?","ask":true}"""), Cancel)).Content.ReadAsStringAsync(Cancel));
        Assert.Equal(sources.Count, page.Count(one => one["source"] is not null));
        Assert.Contains("Question: How many stones has bridge 5?\nAnswer:", (string)page[^1]["prompt"]!, StringComparison.Ordinal);

        string inspected = await (await served.Http.PostAsync(
            "/api/inspect", Body("""{"text":"The bridge number 5 has 5 stones & 0 steps. The bridge number 5 has 12 stones."}"""), Cancel))
            .Content.ReadAsStringAsync(Cancel);
        Assert.Contains("<mark>", inspected, StringComparison.Ordinal);
        Assert.Contains("bm25: rank 1", inspected, StringComparison.Ordinal);
        Assert.DoesNotContain("The bridge <", inspected, StringComparison.Ordinal); // titles are text
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

    /// <summary>By as many neighbors, and by none of a document that is left out or hidden: copied from it is nothing, either.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_text_is_inspected_as_it_is_written(bool copies)
    {
        const string Text =
            "The bridge number 5 has 5 stones & 0 steps. The bridge number 5 has 12 stones & 5 steps. The harbor number 6 has 6 stones & 0 steps.";
        GenerationOptions settings = new() { Neighbors = 1, ExcludedDocuments = ["bridge-5.md"], Labels = ["bridge", "river"] };
        await using ServedModel served = await ServedModel.StartAsync(
            writing: options => options with
            {
                Neighbors = settings.Neighbors, ExcludedDocuments = settings.ExcludedDocuments, Labels = settings.Labels,
            },
            copies: copies);
        using HttpResponseMessage answer = await served.Http.PostAsync("/api/inspect", Body($$"""{"text":"{{Text}}"}"""), Cancel);
        string html = await answer.Content.ReadAsStringAsync(Cancel);
        Assert.True(answer.IsSuccessStatusCode, html);

        double[] shown =
            [.. Regex.Matches(html, @", on (-?\d+\.\d\d)""").Select(match => double.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture))];
        double[] expected = await Bits(settings), free = await Bits(new());
        Assert.Equal(expected.Length, shown.Length);
        Assert.All(expected.Zip(shown), pair => Assert.Equal(pair.First, pair.Second, 0.006)); // two digits are shown
        Assert.Contains(free.Zip(shown), pair => Math.Abs(pair.First - pair.Second) > 0.01);

        string[] parts = html.Split("<section")[1..];
        Assert.All(parts, part => Assert.InRange(part.Split("<article>").Length, 1, 2));
        Assert.Contains("<article>", html, StringComparison.Ordinal);
        Assert.DoesNotContain("docs/bridge-5.md", html, StringComparison.Ordinal);
        Assert.DoesNotContain("docs/harbor-", html, StringComparison.Ordinal);

        async Task<double[]> Bits(GenerationOptions options)
            =>
            [
                .. (await served.Generator.ScoreAsync(EmbeddingInputs.Tokenizer.Encode(Text), options, Cancel))
                    .Select(token => -token.LogProbability!.Value / Math.Log(2)),
            ];
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
            "{\"key\": \"secret to\", \"labels\": []}", "{\"key\": \"secret\", \"key\": \"secret\"}", "[\"secret\"]",
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
    public async Task A_models_own_template_writes_the_conversation()
    {
        ChatTemplate template = new("{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}<assistant>");
        await using ServedModel plain = await ServedModel.StartAsync(), served = await ServedModel.StartAsync(options => options with { Template = template });
        const string Request =
            """{"model":"tiny","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"How many stones has bridge 5?"}]}""";
        JsonNode one = await Json(await plain.Http.PostAsync("/v1/chat/completions", Body(Request), Cancel));
        JsonNode other = await Json(await served.Http.PostAsync("/v1/chat/completions", Body(Request), Cancel));
        Assert.NotEqual((int)one["usage"]!["prompt_tokens"]!, (int)other["usage"]!["prompt_tokens"]!);
        Assert.Equal((string)one["sources"]![0]!["text"]!, (string)other["sources"]![0]!["text"]!);
    }

    /// <summary>It is the request that a template does not take, and not the server that fails.</summary>
    [Fact]
    public async Task A_conversation_that_the_template_refuses_is_the_requests_fault()
    {
        ChatTemplate template = new(
            "{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
                + "{{ message.content }}{% endfor %}");
        await using ServedModel served = await ServedModel.StartAsync(options => options with { Template = template });
        HttpResponseMessage refused = await served.Http.PostAsync(
            "/v1/chat/completions",
            Body("""{"model":"tiny","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"What is a river?"}]}"""),
            Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
        JsonNode fault = (await Json(refused))["error"]!;
        Assert.Contains("System role not supported", (string)fault["message"]!, StringComparison.Ordinal);
        Assert.Equal(("invalid_request_error", "messages"), ((string)fault["type"]!, (string)fault["param"]!));
    }

    [Fact]
    public async Task As_few_tokens_are_drawn_from_as_a_request_says()
    {
        await using ServedModel served = await ServedModel.StartAsync();
        Assert.Equal(await Answer(served, ""), await Answer(served, ""","temperature":5,"top_k":1"""));
        Assert.NotEqual(await Answer(served, ""), await Answer(served, ""","temperature":5,"top_k":0"""));
    }

    /// <summary>Whoever asks again wants another one, but for a seed of the request's or of the server's.</summary>
    [Fact]
    public async Task Without_a_seed_each_text_is_drawn_anew()
    {
        await using ServedModel served = await ServedModel.StartAsync(), seeded = await ServedModel.StartAsync(options => options with { Seed = 3 });
        Assert.NotEqual(await Text(served, ""), await Text(served, ""));
        Assert.Equal(await Text(served, ""","seed":3"""), await Text(served, ""","seed":3"""));
        Assert.Equal(await Text(served, ""","seed":3"""), await Text(seeded, ""));

        static Task<string> Text(ServedModel model, string more) => Answer(model, $$""","temperature":5{{more}}""");
    }

    /// <summary>A client knows nothing of beams, and most send a temperature.</summary>
    [Fact]
    public async Task Beams_are_for_requests_that_draw_nothing()
    {
        await using ServedModel single = await ServedModel.StartAsync(), beams = await ServedModel.StartAsync(beams: 3);
        foreach (string more in new[] { ""","temperature":1,"seed":3""", ""","temperature":0,"repetition_penalty":1.2""" })
        {
            Assert.Equal(await Answer(single, more), await Answer(beams, more));
        }

        Assert.NotEqual(await Answer(single, ""","temperature":0"""), await Answer(beams, ""","temperature":0"""));
    }

    /// <summary>What each request would be refused for, and none of them said, is told before there is one.</summary>
    [Fact]
    public async Task Defaults_that_are_not_for_the_model_start_no_server()
        => Assert.Contains(
            "a divisor of the chunk length, 16",
            (await Assert.ThrowsAsync<RetroOptionsException>(() => ServedModel.StartAsync(stride: 3))).Message,
            StringComparison.Ordinal);

    /// <summary>A greeting stands before anything is asked, and one answer may follow another.</summary>
    [Fact]
    public async Task What_an_assistant_says_unasked_has_no_question()
    {
        ChatTemplate template = new("{% for message in messages %}[{{ message.role }}]{{ message.content }}\n{% endfor %}");
        const string Request = """
            {"model":"tiny","messages":[{"role":"assistant","content":"hello"},{"role":"user","content":"a"},{"role":"assistant","content":"b"},
                {"role":"assistant","content":"c"},{"role":"user","content":"d"}]}
            """;
        foreach ((ChatTemplate? one, string prompt) in new (ChatTemplate?, string)[]
        {
            (template, "[assistant]hello\n[user]a\n[assistant]b\n[assistant]c\n[user]d\n"),
            (null, "Answer: hello\n\nQuestion: a\nAnswer: b\n\nAnswer: c\n\nQuestion: d\nAnswer:"),
        })
        {
            await using ServedModel served = await ServedModel.StartAsync(options => options with { Template = one }, reads: false);
            JsonNode answer = await Json(await served.Http.PostAsync("/v1/chat/completions", Body(Request), Cancel));
            Assert.Equal(1 + EmbeddingInputs.Tokenizer.Encode(prompt).Length, (int)answer["usage"]!["prompt_tokens"]!);
        }
    }

    /// <summary>The empty line that a base model likes to begin with is no answer, and each token is told by its own name.</summary>
    [Fact]
    public async Task An_answer_begins_behind_an_empty_line_and_its_tokens_are_told_one_by_one()
    {
        await using ServedModel served = await ServedModel.StartAsync(writes: "\n AB");
        const string Request = """{"model":"tiny","messages":[{"role":"user","content":"a"}],"stop":"\n","logprobs":true,"top_logprobs":1""";
        JsonNode whole = await Json(await served.Http.PostAsync("/v1/chat/completions", Body(Request + "}"), Cancel));
        JsonNode choice = whole["choices"]![0]!;
        Assert.Equal("AB", (string)choice["message"]!["content"]!);
        JsonArray tokens = choice["logprobs"]!["content"]!.AsArray();
        Assert.Equal(["\n", " ", "A", "B"], tokens.Select(token => (string)token!["token"]!));
        Assert.Equal([10, 32, 65, 66], tokens.Select(token => (int)token!["bytes"]!.AsArray().Single()!));
        Assert.All(tokens, token => Assert.Equal((string)token!["token"]!, (string)token["top_logprobs"]![0]!["token"]!));
        Assert.All(tokens, token => Assert.True(JsonNode.DeepEquals(token!["bytes"], token["top_logprobs"]![0]!["bytes"])));

        JsonNode[] events = Events(await (await served.Http.PostAsync(
            "/v1/chat/completions", Body(Request + ",\"stream\":true}"), Cancel)).Content.ReadAsStringAsync(Cancel));
        Assert.Equal("AB", string.Concat(events.Select(one => (string?)one["choices"]![0]!["delta"]!["content"])));
        JsonNode[] page = Events(await (await served.Http.PostAsync(
            "/api/write", Body("""{"text":"a","ask":true,"stop":"\n"}"""), Cancel)).Content.ReadAsStringAsync(Cancel));
        Assert.Equal("AB", string.Concat(page.Select(one => (string?)one["text"])));

        // It would end here, and what is likely then is told by its name.
        JsonNode longer = await Json(await served.Http.PostAsync("/v1/chat/completions", Body(Request + ",\"max_tokens\":9,\"min_tokens\":9}"), Cancel));
        Assert.Equal(9, (int)longer["usage"]!["completion_tokens"]!);
        JsonNode end = longer["choices"]![0]!["logprobs"]!["content"]![4]!["top_logprobs"]!.AsArray().Single()!;
        Assert.Equal((RetroTokenizer.EndOfTextToken, null), ((string)end["token"]!, end["bytes"]));
    }

    [Fact]
    public async Task A_question_has_as_many_answers_as_are_asked_for()
    {
        await using ServedModel served = await ServedModel.StartAsync(tokens: 40);
        const string Request =
            """{"model":"tiny","messages":[{"role":"user","content":"How many stones has bridge 5?"}],"temperature":2,"seed":3,"min_tokens":20""";
        JsonNode one = await Json(await served.Http.PostAsync("/v1/chat/completions", Body(Request + "}"), Cancel));
        JsonNode whole = await Json(await served.Http.PostAsync("/v1/chat/completions", Body(Request + ",\"n\":3}"), Cancel));
        JsonArray choices = whole["choices"]!.AsArray();
        Assert.Equal([0, 1, 2], choices.Select(choice => (int)choice!["index"]!));
        string[] answers = [.. choices.Select(choice => (string)choice!["message"]!["content"]!)];
        Assert.Equal(3, answers.Distinct().Count());
        Assert.Equal((string)one["choices"]![0]!["message"]!["content"]!, answers[0]);
        Assert.Equal((int)one["usage"]!["prompt_tokens"]!, (int)whole["usage"]!["prompt_tokens"]!);
        Assert.InRange((int)whole["usage"]!["completion_tokens"]!, 60, 120);
        Assert.Equal([0, 1, 2], whole["sources"]!.AsArray().Select(source => (int?)source!["index"]).OfType<int>().Distinct().Order());

        JsonNode[] events = Events(await (await served.Http.PostAsync(
            "/v1/chat/completions", Body(Request + ",\"n\":3,\"stream\":true}"), Cancel)).Content.ReadAsStringAsync(Cancel));
        Assert.Equal(answers, Enumerable.Range(0, 3).Select(i => string.Concat(Of(i).Select(choice => (string?)choice["delta"]!["content"]))));
        Assert.All(Enumerable.Range(0, 3), i => Assert.Single(Of(i), choice => choice["finish_reason"] is not null));
        Assert.Equal(whole["sources"]!.AsArray().Count, events.Sum(one => one["sources"]?.AsArray().Count ?? 0));

        IEnumerable<JsonNode> Of(int index) => events.Select(one => one["choices"]![0]!).Where(choice => (int)choice["index"]! == index);
    }

    [Fact]
    public async Task Completions_go_on_with_texts_and_with_ids()
    {
        await using ServedModel served = await ServedModel.StartAsync(tokens: 24);
        const string Text = "The bridge number 5 has";
        string page = string.Concat(Events(await (await served.Http.PostAsync(
            "/api/write", Body($$"""{"text":"{{Text}}"}"""), Cancel)).Content.ReadAsStringAsync(Cancel)).Select(one => (string?)one["text"]));
        int[] tokens = EmbeddingInputs.Tokenizer.Encode(Text);
        foreach (string prompt in new[] { $"\"{Text}\"", $"[\"{Text}\"]", $"[{string.Join(',', tokens)}]", $"[[{string.Join(',', tokens)}]]" })
        {
            JsonNode one = await Complete($$"""{"model":"tiny","prompt":{{prompt}}""");
            Assert.Equal("text_completion", (string)one["object"]!);
            Assert.Equal((page, "length", null), Choice(one["choices"]!.AsArray().Single()!));
            Assert.Equal((1 + tokens.Length, 24), ((int)one["usage"]!["prompt_tokens"]!, (int)one["usage"]!["completion_tokens"]!));
            Assert.Contains(one["sources"]!.AsArray(), source => ((string)source!["location"]!).StartsWith("docs/", StringComparison.Ordinal));
        }

        // Two prompts of two texts each, the same in a stream, and a prompt in front of each.
        string several = $$"""{"model":"tiny","prompt":["{{Text}}","A river"],"n":2,"temperature":2,"seed":3,"echo":true""";
        JsonArray choices = (await Complete(several))["choices"]!.AsArray();
        Assert.Equal([0, 1, 2, 3], choices.Select(choice => (int)choice!["index"]!));
        string[] texts = [.. choices.Select(choice => (string)choice!["text"]!)];
        Assert.Equal(4, texts.Distinct().Count());
        Assert.All(texts, (text, i) => Assert.StartsWith(i < 2 ? Text : "A river", text, StringComparison.Ordinal));
        JsonNode[] events = Events(await (await served.Http.PostAsync(
            "/v1/completions", Body(several + ""","stream":true,"stream_options":{"include_usage":true}}"""), Cancel)).Content.ReadAsStringAsync(Cancel));
        JsonNode[] parts = [.. events[..^1].Select(one => one["choices"]![0]!)];
        Assert.Equal(
            texts, Enumerable.Range(0, 4).Select(i => string.Concat(parts.Where(part => (int)part["index"]! == i).Select(part => (string)part["text"]!))));
        Assert.Equal(4, parts.Count(part => part["finish_reason"] is not null));
        Assert.InRange((int)events[^1]["usage"]!["completion_tokens"]!, 4, 4 * 24);
        Assert.Equal(
            "The", Choice((await Complete($$"""{"model":"tiny","prompt":"The","max_tokens":0,"echo":true"""))["choices"]![0]!).Text);

        async Task<JsonNode> Complete(string request) => await Json(await served.Http.PostAsync("/v1/completions", Body(request + "}"), Cancel));

        static (string Text, string Reason, JsonNode? LogProbabilities) Choice(JsonNode choice)
            => ((string)choice["text"]!, (string)choice["finish_reason"]!, choice["logprobs"]);
    }

    /// <summary>What lm-evaluation-harness asks (local-completions): how probable ids are, whether each is the likeliest, and one token after them.</summary>
    [Fact]
    public async Task Completions_say_how_probable_a_prompt_is()
    {
        await using ServedModel served = await ServedModel.StartAsync();
        int[] context = EmbeddingInputs.Tokenizer.Encode("The bridge number 5 has 5 stones & ");
        List<GeneratedPiece> pieces = await Pieces.Collect(
            served.Generator.GenerateAsync(context.AsMemory(), new() { Temperature = 0, MaximumNewTokens = 20 }, Cancel));
        GeneratedPiece[] came = [.. pieces.Where(piece => piece.Token is not null)];
        Assert.NotEmpty(came);
        int[] all = [.. context, .. came.Select(piece => piece.Token!.Value)];
        string prompts = $"[[{string.Join(',', all)}],[{string.Join(',', context)}]]";
        using HttpResponseMessage answer = await served.Http.PostAsync(
            "/v1/completions",
            Body($$"""{"model":"tiny","prompt":{{prompts}},"temperature":0,"max_tokens":1,"logprobs":1,"seed":1234,"echo":true}"""),
            Cancel);
        JsonArray choices = (await Json(answer))["choices"]!.AsArray();
        JsonNode scored = choices[0]!["logprobs"]!;
        Assert.Equal([all.Length + 1, context.Length + 1], choices.Select(choice => choice!["logprobs"]!["tokens"]!.AsArray().Count));
        double[] numbers = [.. scored["token_logprobs"]!.AsArray().Select(number => (double)number!)];
        Assert.All(numbers[context.Length..^1].Zip(came), pair => Assert.Equal(pair.Second.LogProbability!.Value, pair.First, 1e-4));
        for (int i = context.Length; i < all.Length; i++)
        {
            JsonObject top = scored["top_logprobs"]![i]!.AsObject();
            Assert.Equal(numbers[i], top.Max(one => (double)one.Value!)); // it was the likeliest
        }

        Assert.Contains(Enumerable.Range(0, context.Length), i => scored["top_logprobs"]![i]!.AsObject().Count == 2); // and the text's own often is not
        string text = (string)choices[0]!["text"]!;
        int[] offsets = [.. scored["text_offset"]!.AsArray().Select(offset => (int)offset!)];
        Assert.All(offsets[..context.Length], (offset, i)
            => Assert.StartsWith((string)scored["tokens"]![i]!, text[offset..], StringComparison.Ordinal));
    }

    /// <summary>A token stands where the text before it ends, also where some of that is held back until it is known to be no stop string.</summary>
    [Fact]
    public async Task Tokens_are_told_where_they_are_whatever_stop_string_might_have_come()
    {
        await using ServedModel served = await ServedModel.StartAsync(writes: "ABCDEF");
        const string Request = "{\"model\":\"tiny\",\"prompt\":\"x\",\"max_tokens\":8,\"logprobs\":1,\"echo\":true";
        foreach (string more in new[] { "", ",\"stop\":[\"BCDX\",\"EFG\"]" })
        {
            JsonNode choice = (await Json(await served.Http.PostAsync("/v1/completions", Body(Request + more + "}"), Cancel)))["choices"]![0]!;
            Assert.Equal("xABCDEF", (string)choice["text"]!);
            Assert.Equal(Enumerable.Range(0, 8), choice["logprobs"]!["text_offset"]!.AsArray().Select(offset => (int)offset!));
        }
    }

    /// <summary>Whoever scores a text leaves out the last token, which is the one after it: there is one even where the text ends.</summary>
    [Fact]
    public async Task The_end_of_a_text_is_told_among_its_tokens()
    {
        await using ServedModel served = await ServedModel.StartAsync(writes: "AB");
        const string Request = """{"model":"tiny","prompt":"AB","max_tokens":1,"logprobs":1,"echo":true""";
        JsonNode choice = (await Json(await served.Http.PostAsync("/v1/completions", Body(Request + "}"), Cancel)))["choices"]![0]!;
        Assert.Equal(("AB", "stop"), ((string)choice["text"]!, (string)choice["finish_reason"]!));
        Assert.Equal(["A", "B", RetroTokenizer.EndOfTextToken], choice["logprobs"]!["tokens"]!.AsArray().Select(token => (string)token!));
        Assert.Equal([0, 1, 2], choice["logprobs"]!["text_offset"]!.AsArray().Select(offset => (int)offset!));
        Assert.Equal(RetroTokenizer.EndOfTextToken, choice["logprobs"]!["top_logprobs"]![2]!.AsObject().Single().Key);

        JsonNode[] events = Events(await (await served.Http.PostAsync(
            "/v1/completions", Body(Request + ",\"stream\":true}"), Cancel)).Content.ReadAsStringAsync(Cancel));
        Assert.Equal(
            ["A", "B", RetroTokenizer.EndOfTextToken],
            events.SelectMany(one => one["choices"]![0]!["logprobs"]?["tokens"]!.AsArray() ?? []).Select(token => (string)token!));
    }

    /// <summary>A model may have several ends, and it is the one that came whose probability is told.</summary>
    [Fact]
    public async Task The_end_of_a_text_is_told_by_its_own_name()
    {
        await using ServedModel served = await ServedModel.StartAsync(writes: "AB", end: 'Z');
        using HttpResponseMessage answer = await served.Http.PostAsync(
            "/v1/completions", Body("""{"model":"tiny","prompt":"AB","max_tokens":1,"logprobs":1}"""), Cancel);
        JsonNode choice = (await Json(answer))["choices"]![0]!;
        Assert.Equal(("", "stop"), ((string)choice["text"]!, (string)choice["finish_reason"]!));
        Assert.Equal(["Z"], choice["logprobs"]!["tokens"]!.AsArray().Select(token => (string)token!));
        Assert.Equal("Z", choice["logprobs"]!["top_logprobs"]![0]!.AsObject().Single().Key);
    }

    /// <summary>A special token that was added later is the tokenizer's alone.</summary>
    [Fact]
    public async Task An_id_that_the_model_has_no_row_for_is_the_requests_fault()
    {
        await using ServedModel served = await ServedModel.StartAsync(reads: false, rowless: "<pad>");
        int pad = EmbeddingInputs.Tokenizer.VocabularySize;
        using HttpResponseMessage refused = await served.Http.PostAsync(
            "/v1/completions", Body($$"""{"model":"tiny","prompt":[1,{{pad}}]}"""), Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
        JsonNode fault = (await Json(refused))["error"]!;
        Assert.Equal($"prompt holds the id {pad}; the model reads 0 to {pad - 1}.", (string)fault["message"]!);
        Assert.Equal("prompt", (string)fault["param"]!);
    }

    [Theory]
    [InlineData(400, "The body is no JSON", "/v1/chat/completions", "{\"model\":")]
    [InlineData(400, "has to be a JSON object", "/v1/chat/completions", "[1]")]
    [InlineData(400, "model is missing", "/v1/chat/completions", "{}")]
    [InlineData(400, "model has to be a text", "/v1/chat/completions", """{"model":1}""")]
    [InlineData(400, "twice", "/v1/chat/completions", """{"model":"tiny","model":"tiny"}""")]
    [InlineData(400, "twice", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","role":"user","content":"a"}]}""")]
    [InlineData(400, "half a surrogate pair", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"\ud83d half"}]}""")]
    [InlineData(400, "half a surrogate pair", "/v1/embeddings", """{"model":"tiny-embedder","input":["\ud83d half"]}""")]
    [InlineData(400, "half a surrogate pair", "/api/write", """{"text":"\ud83d half","ask":true}""")]
    [InlineData(404, "There is no model 'x'", "/v1/chat/completions", """{"model":"x"}""")]
    [InlineData(400, "at least one message", "/v1/chat/completions", """{"model":"tiny","messages":[]}""")]
    [InlineData(400, "whose content is a text", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":3}]}""")]
    [InlineData(400, "whose content is a text", "/v1/chat/completions", """{"model":"tiny","messages":[7]}""")]
    [InlineData(400, "the role 'king'", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"king","content":"a"}]}""")]
    [InlineData(400, "has to be the user's", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"assistant","content":"a"}]}""")]
    [InlineData(400, "max_tokens has to be a whole number from 1 to 2048", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"max_tokens":0}""")]
    [InlineData(400, "max_tokens has to be a whole number from 1 to 2048", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"max_tokens":8.5}""")]
    [InlineData(400, "max_tokens has to be a whole number from 1 to 2048", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"max_tokens":1e300}""")]
    [InlineData(400, "top_p has to be a number from 0 to 1", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"top_p":1.1}""")]
    [InlineData(400, "n has to be a whole number from 1 to 128", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"n":0}""")]
    [InlineData(400, "frequency_penalty is not supported but for 0; leave it out", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"frequency_penalty":1.5}""")]
    [InlineData(400, "presence_penalty is not supported but for 0; leave it out", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"presence_penalty":2}""")]
    [InlineData(400, "min_p is not supported but for 0; leave it out", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"min_p":0.1}""")]
    [InlineData(400, "top_k has to be a whole number from 0", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"top_k":-1}""")]
    [InlineData(400, "top_logprobs needs logprobs", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"top_logprobs":2}""")]
    [InlineData(400, "tools is not supported", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"tools":[{}]}""")]
    [InlineData(400, "response_format is not supported", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_object"}}""")]
    [InlineData(400, "n has to be a whole number from 1 to 128", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"n":"2"}""")]
    [InlineData(400, "best_of is not supported but for 1", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"best_of":2}""")]
    [InlineData(400, "ignore_eos is not supported", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"ignore_eos":true}""")]
    [InlineData(400, "min_tokens has to be a whole number from 0 to 5", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"max_tokens":5,"min_tokens":6}""")]
    [InlineData(400, "tools is not supported", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"tools":"x"}""")]
    [InlineData(400, "response_format has to be an object", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"response_format":"json"}""")]
    [InlineData(400, "response_format is not supported but for text", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"response_format":{"type":5}}""")]
    [InlineData(400, "stream_options has to be an object", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"stream":true,"stream_options":true}""")]
    [InlineData(400, "include_usage has to be true or false", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"stream":true,"stream_options":{"include_usage":1}}""")]
    [InlineData(400, "parts of the type text", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":[{"type":5,"text":"x"}]}]}""")]
    [InlineData(400, "parts of the type text", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":[{"type":"text","text":5}]}]}""")]
    [InlineData(400, "the role ''", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":5,"content":"a"}]}""")]
    [InlineData(404, "There is no model 'x'", "/v1/completions", """{"model":"x","prompt":"a"}""")]
    [InlineData(400, "prompt has to be a text or ids", "/v1/completions", """{"model":"tiny"}""")]
    [InlineData(400, "prompt has to be a text or ids", "/v1/completions", """{"model":"tiny","prompt":[1,"a"]}""")]
    [InlineData(400, "prompt has to be a text or ids", "/v1/completions", """{"model":"tiny","prompt":[[1],[2.5]]}""")]
    [InlineData(400, "prompt holds the id -1; the model reads 0 to", "/v1/completions", """{"model":"tiny","prompt":[-1]}""")]
    [InlineData(400, "logprobs has to be a whole number from 0 to 20", "/v1/completions", """{"model":"tiny","prompt":"a","logprobs":21}""")]
    [InlineData(400, "suffix is not supported", "/v1/completions", """{"model":"tiny","prompt":"a","suffix":"b"}""")]
    [InlineData(400, "2 prompts of 65 texts each are more than 128 texts", "/v1/completions", """{"model":"tiny","prompt":["a","b"],"n":65}""")]
    [InlineData(404, "ask for 'tiny-embedder'", "/v1/embeddings", """{"model":"tiny","input":"a"}""")]
    [InlineData(400, "input is missing", "/v1/embeddings", """{"model":"tiny-embedder"}""")]
    [InlineData(400, "none of them empty", "/v1/embeddings", """{"model":"tiny-embedder","input":[""]}""")]
    [InlineData(400, "dimensions has to be", "/v1/embeddings", """{"model":"tiny-embedder","input":"a","dimensions":7}""")]
    [InlineData(400, "The question is empty", "/api/write", """{"text":" ","ask":true}""")]
    [InlineData(400, "inspect 2 to", "/api/inspect", """{"text":""}""")]
    [InlineData(404, "There is nothing to POST at /v1/nothing", "/v1/nothing", "{}")]
    [InlineData(405, "There is nothing to POST at /v1/models. It takes GET, HEAD.", "/v1/models", "{}")]
    public async Task A_request_that_is_wrong_is_told_what_is(int status, string message, string path, string body)
    {
        await using ServedModel served = await ServedModel.StartAsync();
        HttpResponseMessage response = await served.Http.PostAsync(path, Body(body), Cancel);
        JsonNode fault = await Json(response);
        Assert.Contains(message, (string)fault["error"]!["message"]!, StringComparison.Ordinal);
        Assert.Equal(status, (int)response.StatusCode);
    }

    /// <summary>Whoever asks for a page without its body gets its head, and whoever asks by another method which it takes.</summary>
    [Fact]
    public async Task A_path_says_which_methods_it_takes()
    {
        await using ServedModel served = await ServedModel.StartAsync(reads: false);
        foreach (string path in new[] { "/", "/app.js", "/v1/models", "/v1/models/tiny", "/api/state" })
        {
            using HttpRequestMessage head = new(HttpMethod.Head, path);
            using HttpResponseMessage answer = await served.Http.SendAsync(head, Cancel);
            Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
            Assert.Empty(await answer.Content.ReadAsByteArrayAsync(Cancel));
            using HttpResponseMessage put = await served.Http.PutAsync(path, Body("{}"), Cancel);
            Assert.Equal((HttpStatusCode.MethodNotAllowed, "GET, HEAD"), (put.StatusCode, string.Join(", ", put.Content.Headers.Allow)));
        }

        using HttpResponseMessage got = await served.Http.GetAsync("/v1/chat/completions", Cancel);
        Assert.Equal((HttpStatusCode.MethodNotAllowed, "POST"), (got.StatusCode, string.Join(", ", got.Content.Headers.Allow)));
        Assert.Equal("method_not_allowed", (string)(await Json(got))["error"]!["code"]!);
    }

    /// <summary>An assistant that has called a tool, or refused, has no content; nobody else may have none.</summary>
    [Theory]
    [InlineData("assistant", HttpStatusCode.OK)]
    [InlineData("user", HttpStatusCode.BadRequest)]
    public async Task An_assistant_may_have_said_nothing(string role, HttpStatusCode status)
    {
        await using ServedModel served = await ServedModel.StartAsync(reads: false);
        string body = $$"""{"model":"tiny","messages":[{"role":"user","content":"a"},{"role":"{{role}}","content":null},{"role":"user","content":"b"}]}""";
        Assert.Equal(status, (await served.Http.PostAsync("/v1/chat/completions", Body(body), Cancel)).StatusCode);
    }

    [Fact]
    public async Task A_number_counts_by_its_value_and_a_top_p_of_nothing_is_the_best_token()
    {
        await using ServedModel served = await ServedModel.StartAsync();
        string best = await Answer(served, ""","max_tokens":8,"min_tokens":8,"temperature":0""");
        Assert.Equal(best, await Answer(served, ""","max_tokens":8.0,"min_tokens":0.8e1,"temperature":0"""));
        Assert.Equal(best, await Answer(served, ""","max_tokens":8,"min_tokens":8,"temperature":2,"top_p":0"""));
    }

    [Fact]
    public async Task Bodies_and_prompts_that_are_too_large_and_of_another_type_are_refused()
    {
        await using ServedModel served = await ServedModel.StartAsync(options => options with { MostBytes = 2000, MostPrompt = 60 });
        string Chat(int words)
            => $$"""{"model":"tiny","messages":[{"role":"user","content":"{{string.Concat(Enumerable.Repeat("stone ", words))}}"}],"stream":true}""";
        await Refused(413, "larger than 2,000 bytes", Body(Chat(2000)));
        await Refused(400, "and 60 are allowed", Body(Chat(200)));

        // A question that is too long by itself is not searched for.
        await using ServedModel alone = await ServedModel.StartAsync(options => options with { MostBytes = 2000, MostPrompt = 60 }, reads: false);
        Assert.Equal(await Fault(alone), await Fault(served));
        await Refused(415, "Send application/json", new StringContent(Chat(1), Encoding.UTF8, "text/plain"));

        async Task<string> Fault(ServedModel asked)
            => (string)(await Json(await asked.Http.PostAsync("/v1/chat/completions", Body(Chat(200)), Cancel)))["error"]!["message"]!;

        async Task Refused(int status, string message, HttpContent content)
        {
            HttpResponseMessage response = await served.Http.PostAsync("/v1/chat/completions", content, Cancel);
            Assert.Equal(status, (int)response.StatusCode);
            Assert.Contains(message, (string)(await Json(response))["error"]!["message"]!, StringComparison.Ordinal);
        }
    }

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
    }

    [Fact]
    public async Task A_client_that_goes_away_frees_its_turn_and_one_too_many_is_told_to_come_again()
    {
        await using ServedModel served = await ServedModel.StartAsync(options => options with { Running = 1, Waiting = 0 }, tokens: 2048);
        const string Long = """{"text":"The river","max_tokens":2048}""";
        using TcpClient tcp = new();
        await tcp.ConnectAsync(IPAddress.Loopback, new Uri(served.Url).Port, Cancel);
        NetworkStream stream = tcp.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes(
            $"POST /api/write HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {Long.Length}\r\n\r\n{Long}"), Cancel);
        byte[] some = new byte[200];
        await stream.ReadExactlyAsync(some, Cancel);
        Assert.StartsWith("HTTP/1.1 200", Encoding.ASCII.GetString(some), StringComparison.Ordinal);

        HttpResponseMessage refused = await served.Http.PostAsync("/api/write", Body(Long), Cancel);
        Assert.Equal(HttpStatusCode.TooManyRequests, refused.StatusCode);
        Assert.Equal(TimeSpan.FromSeconds(1), refused.Headers.RetryAfter!.Delta);
        tcp.Client.LingerState = new(true, 0);
        tcp.Close();

        // Between two tokens it is noticed.
        long began = Environment.TickCount64;
        while ((int)(await Json(await served.Http.GetAsync("/api/state", Cancel)))["running"]! > 0)
        {
            Assert.True(Environment.TickCount64 - began < ChildProcess.Limit.TotalMilliseconds, "What nobody waits for is computed all the same.");
            await Task.Delay(20, Cancel);
        }

        HttpResponseMessage next = await served.Http.PostAsync("/api/write", Body("""{"text":"The river","max_tokens":2}"""), Cancel);
        Assert.Equal(HttpStatusCode.OK, next.StatusCode);
    }

    [Fact]
    public async Task A_request_joins_the_batch_of_those_that_run_and_is_answered_before_they_end()
    {
        await using ServedModel served = await ServedModel.StartAsync(options => options with { Seed = 1 }, tokens: 12);
        const string Chat = """{"model":"tiny","messages":[{"role":"user","content":"How many stones has bridge 5?"}],"min_tokens":12,"temperature":1""";
        string[] requests = [Chat + "}", Chat + ",\"n\":2}", Chat + ",\"seed\":5,\"top_k\":9}"];
        List<string> alone = [];
        foreach (string request in requests)
        {
            alone.Add(await Answer(request));
        }

        Assert.Equal(requests.Length, alone.Distinct().Count());
        ConcurrentBag<long> rows = [];
        nn.Module<Tensor, Tensor> observed = served.Model.Layers[0].FeedForward;
        observed.register_forward_pre_hook((_, x) =>
        {
            rows.Add(x.shape[1] == 1 ? x.shape[0] : 0);
            return x;
        });

        // Nobody reads on, so that it goes on for as long as the others ask.
        using HttpRequestMessage message = new(HttpMethod.Post, "/v1/completions")
        {
            Content = Body("""{"model":"tiny","prompt":"The river","max_tokens":2048,"min_tokens":2048,"stream":true,"logprobs":20}"""),
        };
        using (await served.Http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, Cancel))
        {
            for (int i = 0; i < requests.Length; i++)
            {
                rows.Clear();
                Assert.Equal(alone[i], await Answer(requests[i]));
                Assert.Equal(i == 1 ? 3 : 2, rows.Max());
            }

            Assert.Equal(1, (int)(await Json(await served.Http.GetAsync("/api/state", Cancel)))["running"]!);
        }

        async Task<string> Answer(string request)
            => (await Json(await served.Http.PostAsync("/v1/chat/completions", Body(request), Cancel)))["choices"]!.ToJsonString();
    }

    [Fact]
    public async Task A_request_for_more_texts_than_there_is_room_for_has_them_written_one_lot_after_the_other()
    {
        List<string> answers = [];
        foreach (int running in new[] { 8, 2 })
        {
            await using ServedModel served = await ServedModel.StartAsync(options => options with { Running = running }, tokens: 12);
            ConcurrentBag<long> rows = [];
            nn.Module<Tensor, Tensor> observed = served.Model.Layers[0].FeedForward;
            observed.register_forward_pre_hook((_, x) =>
            {
                rows.Add(x.shape[0]);
                return x;
            });
            foreach (string request in new[] { "\"prompt\":\"The river\",\"n\":5", "\"prompt\":[\"The river\",\"A bridge\",\"The\",\"A\",\"Five\"]" })
            {
                rows.Clear();
                JsonNode whole = await Json(await served.Http.PostAsync(
                    "/v1/completions", Body($"{{\"model\":\"tiny\",{request},\"min_tokens\":12,\"temperature\":1,\"seed\":3}}"), Cancel));
                Assert.Equal(Math.Min(5, running), rows.Max());
                answers.Add(whole["choices"]!.ToJsonString());
            }
        }

        Assert.Equal(answers[..2], answers[2..]);
    }

    [Fact]
    public async Task As_many_texts_have_their_turn_as_there_is_room_for_in_the_order_in_which_they_came()
    {
        Turns turns = new(4, 4);
        IDisposable three = await turns.TakeAsync(3, Cancel);
        using CancellationTokenSource gone = new();
        Task<IDisposable> two = turns.TakeAsync(2, gone.Token), one = turns.TakeAsync(1, Cancel), many = turns.TakeAsync(128, Cancel);
        Task<IDisposable> last = turns.TakeAsync(1, Cancel);
        Assert.Equal((1, 4, 0), turns.State);
        Assert.Equal(429, (await Assert.ThrowsAsync<Fault>(() => turns.TakeAsync(1, Cancel))).Status);

        // There is room for one behind it, which has waited for its turn.
        await gone.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => two);
        IDisposable second = await one;
        Assert.Equal((2, 2, 0), turns.State);

        // A request for more than there is ever room for is alone.
        three.Dispose();
        Assert.Equal((1, 2, 1), turns.State);
        second.Dispose();
        second.Dispose();
        IDisposable all = await many;
        Assert.Equal((1, 1, 2), turns.State);
        all.Dispose();
        (await last).Dispose();
        Assert.Equal((0, 0, 4), turns.State);
    }

    [Fact]
    public async Task Scripts_of_pages_that_are_named_may_ask_and_no_others()
    {
        const string Page = "https://app.example", Other = "https://app.example.evil.example";
        await using ServedModel none = await ServedModel.StartAsync(),
            named = await ServedModel.StartAsync(options => options with { Origins = new([Page]), Access = Keys(("secret", null)) }),
            any = await ServedModel.StartAsync(options => options with { Origins = new([Origins.Any]), Access = Keys(("secret", null)) }),
            open = await ServedModel.StartAsync(options => options with { Origins = new([Page]) });

        // Before it sends the request, a browser asks without its key.
        using (HttpResponseMessage asked = await Ask(named, HttpMethod.Options, Page, method: "POST"))
        {
            Assert.Equal((HttpStatusCode.NoContent, Page), (asked.StatusCode, Header(asked, "Access-Control-Allow-Origin")));
            Assert.Equal("GET, HEAD, POST", Header(asked, "Access-Control-Allow-Methods"));
            Assert.Equal("authorization,x-stainless-os", Header(asked, "Access-Control-Allow-Headers"));
            Assert.Equal(("600", "Origin"), (Header(asked, "Access-Control-Max-Age"), Header(asked, "Vary")));
            Assert.Empty(await asked.Content.ReadAsByteArrayAsync(Cancel));
        }

        // And asks with it, or is told that it is missing.
        foreach ((string? key, HttpStatusCode status) in new[] { ("secret", HttpStatusCode.OK), (null, HttpStatusCode.Unauthorized) })
        {
            using HttpResponseMessage answered = await Ask(named, HttpMethod.Get, Page, key);
            Assert.Equal((status, Page), (answered.StatusCode, Header(answered, "Access-Control-Allow-Origin")));
            Assert.Equal(("Retry-After", "Origin"), (Header(answered, "Access-Control-Expose-Headers"), Header(answered, "Vary")));
        }

        // Another page is told nothing, and keys count for it as for all.
        foreach ((ServedModel served, string origin, HttpStatusCode asked, HttpStatusCode got) in new[]
        {
            (named, Other, HttpStatusCode.Unauthorized, HttpStatusCode.OK),
            (named, "null", HttpStatusCode.Unauthorized, HttpStatusCode.OK),
            (none, Page, HttpStatusCode.MethodNotAllowed, HttpStatusCode.OK),
            (open, Other, HttpStatusCode.MethodNotAllowed, HttpStatusCode.OK),
        })
        {
            using HttpResponseMessage before = await Ask(served, HttpMethod.Options, origin, method: "POST");
            using HttpResponseMessage answered = await Ask(served, HttpMethod.Get, origin, "secret");
            Assert.Equal((asked, got), (before.StatusCode, answered.StatusCode));
            Assert.DoesNotContain(before.Headers.Concat(answered.Headers), header => header.Key.StartsWith("Access-Control", StringComparison.Ordinal));
        }

        foreach (string origin in new[] { Page, Other, "null" })
        {
            using HttpResponseMessage before = await Ask(any, HttpMethod.Options, origin, method: "POST");
            using HttpResponseMessage answered = await Ask(any, HttpMethod.Get, origin, "secret");
            Assert.Equal((HttpStatusCode.NoContent, "*"), (before.StatusCode, Header(before, "Access-Control-Allow-Origin")));
            Assert.Equal((HttpStatusCode.OK, "*"), (answered.StatusCode, Header(answered, "Access-Control-Allow-Origin")));
        }

        // A name that leads here by another site's doing opens nothing.
        using (HttpResponseMessage strange = await Ask(open, HttpMethod.Options, Page, method: "POST", host: "evil.example"))
        {
            Assert.Equal((HttpStatusCode.Forbidden, ""), (strange.StatusCode, Header(strange, "Access-Control-Allow-Origin")));
        }

        static string Header(HttpResponseMessage answer, string name)
            => answer.Headers.TryGetValues(name, out IEnumerable<string>? values) ? string.Join(',', values) : "";

        static async Task<HttpResponseMessage> Ask(
            ServedModel served, HttpMethod how, string origin, string? key = null, string? method = null, string? host = null)
        {
            using HttpRequestMessage message = new(how, how == HttpMethod.Options ? "/v1/chat/completions" : "/v1/models");
            message.Headers.Add("Origin", origin);
            message.Headers.Host = host;
            if (key is not null)
            {
                message.Headers.Authorization = new("Bearer", key);
            }

            if (method is not null)
            {
                message.Headers.Add("Access-Control-Request-Method", method);
                message.Headers.Add("Access-Control-Request-Headers", "authorization,x-stainless-os");
            }

            return await served.Http.SendAsync(message, Cancel);
        }
    }

    [Theory]
    [InlineData("*", "*")]
    [InlineData("https://App.Example", "https://app.example")]
    [InlineData("https://app.example:443", "https://app.example")]
    [InlineData("http://localhost:3000", "http://localhost:3000")]
    [InlineData("http://[::1]:3000", "http://[::1]:3000")]
    [InlineData("https://bücher.example", "https://xn--bcher-kva.example")]
    [InlineData("chrome-extension://abcdef", "chrome-extension://abcdef")]
    [InlineData("https://app.example/", null)]
    [InlineData("https://app.example/page", null)]
    [InlineData("https://app.example?a", null)]
    [InlineData("https://me@app.example", null)]
    [InlineData("app.example", null)]
    [InlineData("https://*.example", null)]
    [InlineData("null", null)]
    [InlineData("file:///home", null)]
    [InlineData("", null)]
    public void An_origin_is_read_as_browsers_write_it(string said, string? expected) => Assert.Equal(expected, Origins.Parse(said));

    [Fact]
    public async Task Whoever_closes_the_server_waits_for_what_computes()
    {
        Turns turns = new(1, 1);
        IDisposable turn = await turns.TakeAsync(1, Cancel);
        Assert.False(await turns.EndAsync(TimeSpan.FromMilliseconds(50)));
        Task<bool> end = turns.EndAsync(TimeSpan.FromMinutes(5));
        turn.Dispose();
        Assert.True(await end);
    }

    [Fact]
    public Task Streams_at_once_lose_nothing() => LoseNothing(24, 1);

    [Fact]
    [Trait("Category", "Long")]
    public async Task Two_hundred_streams_at_once_lose_nothing_and_memory_stays_flat()
    {
        long first = await LoseNothing(200, 1), later = await LoseNothing(200, 3);
        Assert.InRange(later, 0, first + (64L << 20));
    }

    /// <summary>Streams of the same question at once, some rounds of them.</summary>
    /// <returns>Bytes of managed memory and tensors' memory of the process afterwards.</returns>
    private static async Task<long> LoseNothing(int streams, int rounds)
    {
        await using ServedModel served = await ServedModel.StartAsync();
        using SocketsHttpHandler handler = new() { MaxConnectionsPerServer = streams };
        using HttpClient http = new(handler) { BaseAddress = new(served.Url), Timeout = TimeSpan.FromMinutes(20) };
        HashSet<string> answers = [];
        for (int round = 0; round < rounds; round++)
        {
            string[] all = await Task.WhenAll(Enumerable.Range(0, streams).Select(async _ =>
            {
                HttpResponseMessage response = await http.PostAsync(
                    "/v1/chat/completions",
                    Body("""{"model":"tiny","messages":[{"role":"user","content":"How many stones has bridge 5?"}],"stream":true,"max_tokens":12}"""),
                    Cancel);
                string text = await response.Content.ReadAsStringAsync(Cancel);
                Assert.Equal(HttpStatusCode.OK, response.StatusCode);
                Assert.EndsWith("data: [DONE]\n\n", text, StringComparison.Ordinal);
                return string.Concat(Events(text).Select(one => (string?)one["choices"]![0]!["delta"]!["content"]));
            }));
            answers.UnionWith(all);
        }

        Assert.Single(answers);
        JsonNode state = await Json(await http.GetAsync("/api/state", Cancel));
        Assert.Equal((0, 0, streams * rounds), ((int)state["running"]!, (int)state["waiting"]!, (int)state["served"]!));
        LiveTensors.Settled();
        return Environment.WorkingSet;
    }

    internal static Access Keys(params (string Key, string[]? Labels)[] known)
    {
        Access access = new();
        Assert.All(known, one => Assert.True(access.Add(one.Key, one.Labels)));
        return access;
    }

    private static OpenAIClient Client(ServedModel served) => new(new ApiKeyCredential("none"), new() { Endpoint = new($"{served.Url}/v1") });

    /// <summary>What a model answers, with more members in the request.</summary>
    private static async Task<string> Answer(ServedModel served, string more)
    {
        string body = $$"""{"model":"tiny","messages":[{"role":"user","content":"What is a river?"}]{{more}}}""";
        return (string)(await Json(await served.Http.PostAsync("/v1/chat/completions", Body(body), Cancel)))["choices"]![0]!["message"]!["content"]!;
    }

    private static StringContent Body(string json) => new(json, Encoding.UTF8, "application/json");

    private static async Task<JsonNode> Json(HttpResponseMessage response) => JsonNode.Parse(await response.Content.ReadAsStringAsync(Cancel))!;

    private static JsonNode[] Events(string stream)
        =>
        [
            .. stream.Split("\n\n", StringSplitOptions.RemoveEmptyEntries).Select(one => one[6..]).Where(one => one != "[DONE]")
                .Select(one => JsonNode.Parse(one)!),
        ];
}

using System.ClientModel;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using OpenAI;
using OpenAI.Chat;
using OpenAI.Models;
using Retro.Generation;
using Retro.Tests.Embedders;
using Retro.Tokenizers;
using static Retro.Tests.Cli.Serving.Requests;

namespace Retro.Tests.Cli.Serving;

/// <summary>What a server answers in a conversation, to OpenAI's own client among others.</summary>
public sealed class ChatCompletionsTests
{
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

    [Fact]
    public async Task A_request_says_what_the_template_asks_for_by_name()
    {
        ChatTemplate template = new("{{ messages[-1].content }}{% if enable_thinking is defined and not enable_thinking %}, in one word{% endif %}");
        await using ServedModel served = await ServedModel.StartAsync(options => options with { Template = template }), plain = await ServedModel.StartAsync();
        static StringContent Asked(string variables)
            => Body($$"""{"model":"tiny","messages":[{"role":"user","content":"How many stones?"}],"max_tokens":1,"chat_template_kwargs":{{variables}}}""");
        int[] tokens = await Task.WhenAll(new[] { "{}", """{"enable_thinking":true}""", """{"enable_thinking":false}""" }.Select(async variables
            => (int)(await Json(await served.Http.PostAsync("/v1/chat/completions", Asked(variables), Cancel)))["usage"]!["prompt_tokens"]!));
        Assert.Equal(tokens[0], tokens[1]);
        Assert.True(tokens[2] > tokens[0], string.Join(", ", tokens));
        foreach ((ServedModel one, string variables, string fault) in new[]
            {
                (served, "[1]", "has to be an object"), (served, """{"messages":[]}""", "what a conversation is written with"),
                (plain, """{"enable_thinking":false,"a":1}""", "chat_template_kwargs is not supported"),
            })
        {
            HttpResponseMessage refused = await one.Http.PostAsync("/v1/chat/completions", Asked(variables), Cancel);
            Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
            Assert.Contains(fault, (string)(await Json(refused))["error"]!["message"]!, StringComparison.Ordinal);
        }
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

    /// <summary>What programs that evaluate models put in front of an answer is its beginning, and no turn of its own.</summary>
    [Theory]
    [InlineData(true, "[system]Be brief.\n[user]a\n[assistant]b\n[user]c\n[assistant]So it\n is", "")]
    [InlineData(false, "Be brief.\n\nQuestion: a\nAnswer: b\n\nQuestion: c\nAnswer: So it\n is", ",\"add_generation_prompt\":false,\"continue_final_message\":true")]
    public async Task The_last_message_of_an_assistant_is_the_beginning_of_the_answer(bool templated, string prompt, string more)
    {
        ChatTemplate? template = templated
            ? new("{% for message in messages %}[{{ message.role }}]{{ message.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}")
            : null;
        await using ServedModel served = await ServedModel.StartAsync(options => options with { Template = template }, reads: false, writes: " AB");
        string request = $$"""
            {"model":"tiny","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"a"},{"role":"assistant","content":"b"},
                {"role":"user","content":"c"},{"role":"assistant","content":" So it"},{"role":"assistant","content":" is"}]{{more}}}
            """;
        JsonNode answer = await Json(await served.Http.PostAsync("/v1/chat/completions", Body(request), Cancel));
        Assert.Equal(" AB", (string)answer["choices"]![0]!["message"]!["content"]!); // what goes on is parted as the model says
        Assert.Equal(1 + EmbeddingInputs.Tokenizer.Encode(prompt).Length, (int)answer["usage"]!["prompt_tokens"]!);
    }

    /// <summary>Some clients say all of it as the system.</summary>
    [Theory]
    [InlineData("""{"role":"system","content":"Be brief."}""", "Question: Be brief.\nAnswer:")]
    [InlineData("""{"role":"user","content":"a"},{"role":"assistant","content":null}""", "Question: a\nAnswer:")]
    [InlineData(
        """{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"system","content":"c"}""",
        "Question: a\nAnswer: b\n\nQuestion: c\nAnswer:")]
    public async Task Where_the_user_asks_nothing_the_system_does(string messages, string prompt)
    {
        await using ServedModel served = await ServedModel.StartAsync(reads: false);
        JsonNode answer = await Json(await served.Http.PostAsync(
            "/v1/chat/completions", Body($$"""{"model":"tiny","messages":[{{messages}}]}"""), Cancel));
        Assert.Equal(1 + EmbeddingInputs.Tokenizer.Encode(prompt).Length, (int?)answer["usage"]?["prompt_tokens"]);
    }

    /// <summary>The base's template says how another model is asked; and what is counted is what is read, passages in front of the question among it.</summary>
    [Theory]
    [InlineData("retro")]
    [InlineData("in-context")]
    public async Task What_was_fitted_to_answer_is_asked_so_whatever_template_its_base_has(string reader)
    {
        ChatTemplate template = new("{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}<assistant>");
        await using ServedModel served = await ServedModel.StartAsync(options => options with { Template = template }, fitted: reader);
        const string Question = "bridge 5\nStones:", Message = """{"role":"user","content":"bridge 5\nStones:"}""";
        string asked = served.Answerer.Question(Question);
        IReadOnlyList<long> found = served.Answerer.Find(asked, new(), Cancel);
        Assert.NotEmpty(found);
        JsonNode answer = await Ask(served, Message);
        List<GeneratedPiece> pieces = [];
        await foreach ((_, GeneratedPiece piece) in served.Answerer.WriteAsync(asked, found, new() { Temperature = 0, MaximumNewTokens = 16 }, Cancel))
        {
            pieces.Add(piece);
        }

        Assert.Equal(string.Concat(pieces.Select(piece => piece.Text)), (string)answer["choices"]![0]!["message"]!["content"]!);
        string[] names = [.. pieces.SelectMany(piece => piece.Retrieved?.Neighbors ?? []).Select(passage => passage.DocumentId).Distinct()];
        Assert.Equal(found.Count, names.Length);
        Assert.Equal(names, Sources(answer));
        string how = reader == "in-context" ? "in the prompt" : "after part ";
        Assert.All(answer["sources"]!.AsArray(), source => Assert.StartsWith(how, (string)source!["read"]!, StringComparison.Ordinal));
        int alone = served.Answerer.Count(asked, []), all = served.Answerer.Count(asked, found);
        Assert.Equal(all, (int)answer["usage"]!["prompt_tokens"]!);
        Assert.Equal(reader == "in-context", all > alone);

        // What the answer begins with is looked for nowhere, and the model goes on with the line.
        JsonNode begun = await Ask(served, Message + """,{"role":"assistant","content":"12"}""");
        Assert.Equal(served.Answerer.Count($"{asked} 12", found), (int)begun["usage"]!["prompt_tokens"]!);
        Assert.Equal(names, Sources(begun));

        // Passages in front of the question come where there is room for them; neighbors take none.
        await using ServedModel narrow = await ServedModel.StartAsync(options => options with { MostPrompt = all - 1 }, fitted: reader);
        JsonNode less = await Ask(narrow, Message);
        if (reader == "in-context")
        {
            Assert.Equal(names.SkipLast(1), Sources(less));
            Assert.InRange((int)less["usage"]!["prompt_tokens"]!, alone + 1, all - 1);
        }
        else
        {
            Assert.Equal("context_length_exceeded", (string)less["error"]!["code"]!);
        }

        // What ends a line by being typed is nothing by itself.
        Assert.Contains("question is empty", $"{await Ask(served, """{"role":"user","content":"\\n"}""")}", StringComparison.Ordinal);
        HttpResponseMessage page = await served.Http.PostAsync("/api/write", Body("""{"text":"\\n","ask":true}"""), Cancel);
        Assert.Equal(System.Net.HttpStatusCode.BadRequest, page.StatusCode);

        // Passages by their names among those of the questions, which are made of the documents' own.
        static IEnumerable<string> Sources(JsonNode answer)
            => answer["sources"]!.AsArray().Select(source => $"{source!["document"]}#{source["passage"]}").Distinct();

        static async Task<JsonNode> Ask(ServedModel model, string messages) => await Json(await model.Http.PostAsync(
            "/v1/chat/completions", Body($$"""{"model":"tiny","messages":[{{messages}}]}"""), Cancel));
    }

    /// <summary>What the server puts in front of a question is no fault of who asks.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Passages_come_where_there_is_room_for_them(bool templated)
    {
        ChatTemplate? template = templated ? new("{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}<assistant>") : null;
        const string Request = """{"model":"tiny","messages":[{"role":"user","content":"How many stones has bridge 5?"}],"min_tokens":4}""";
        await using ServedModel wide = await ServedModel.StartAsync(options => options with { Template = template, InPrompt = 3 });
        (JsonNode[] all, int tokens) = await Read(wide);
        Assert.Equal(3, all.Length);
        await using ServedModel narrow = await ServedModel.StartAsync(
            options => options with { Template = template, InPrompt = 3, MostPrompt = tokens - 1 });
        await using ServedModel shorter = await ServedModel.StartAsync(
            options => options with { Template = template, InPrompt = 3 }, longest: tokens + 2); // and three tokens are read of those that come
        foreach (ServedModel served in new[] { narrow, shorter })
        {
            (JsonNode[] some, int less) = await Read(served);
            Assert.Equal(all[..2].Select(source => (long)source["chunk"]!), some.Select(source => (long)source["chunk"]!));
            Assert.InRange(less, 10, tokens - 1);
            JsonNode[] page = Events(await (await served.Http.PostAsync(
                "/api/write", Body("""{"text":"How many stones has bridge 5?","ask":true,"min_tokens":4}"""), Cancel)).Content.ReadAsStringAsync(Cancel));
            Assert.InRange(page.Count(one => (string?)one["source"]?["read"] == "in the prompt"), 1, templated ? 3 : 2);
        }

        static async Task<(JsonNode[] InPrompt, int Tokens)> Read(ServedModel served)
        {
            JsonNode answer = await Json(await served.Http.PostAsync("/v1/chat/completions", Body(Request), Cancel));
            JsonNode[] sources = [.. answer["sources"]!.AsArray().Where(source => (string)source!["read"]! == "in the prompt").Select(source => source!)];
            return (sources, (int)answer["usage"]!["prompt_tokens"]!);
        }
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
}

using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Retro.Cli.Serving;
using static Retro.Tests.Cli.Serving.Requests;

namespace Retro.Tests.Cli.Serving;

/// <summary>Where a server listens, which requests it takes, and what it says of those that are wrong.</summary>
public sealed class ServerTests
{
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

    /// <summary>What each request would be refused for, and none of them said, is told before there is one.</summary>
    [Fact]
    public async Task Defaults_that_are_not_for_the_model_start_no_server()
        => Assert.Contains(
            "a divisor of the chunk length, 16",
            (await Assert.ThrowsAsync<RetroOptionsException>(() => ServedModel.StartAsync(stride: 3))).Message,
            StringComparison.Ordinal);

    /// <summary>What was fitted to answer may be unable to what its model alone can.</summary>
    [Fact]
    public async Task Defaults_that_are_not_for_what_answers_start_no_server()
        => Assert.Contains(
            "goes on with one text at a time",
            (await Assert.ThrowsAsync<RetroOptionsException>(() => ServedModel.StartAsync(beams: 2, fitted: "in-context"))).Message,
            StringComparison.Ordinal);

    /// <summary>What the model cannot read is told as what is not allowed is, before anything is searched or waited for.</summary>
    [Theory]
    [InlineData("/v1/chat/completions", null)]
    [InlineData("/v1/chat/completions", "retro")]
    [InlineData("/v1/chat/completions", "in-context")]
    [InlineData("/v1/completions", null)]
    [InlineData("/api/write", null)]
    [InlineData("/api/write", "retro")]
    public async Task A_prompt_that_the_model_cannot_read_is_refused_before_its_turn(string path, string? fitted)
    {
        await using ServedModel served = await ServedModel.StartAsync(longest: 96, fitted: fitted);
        string text = string.Concat(Enumerable.Repeat("xyz ", 60));
        Assert.Equal("context_length_exceeded", await Code(text, ""));
        Assert.Equal("context_length_exceeded", await Code("bridge 5", ""","min_tokens":90,"max_tokens":120"""));
        Assert.Equal(0, (int)JsonNode.Parse(await served.Http.GetStringAsync("/api/state", Cancel))!["served"]!);
        Assert.Null(await Code("bridge 5", ""","max_tokens":2"""));

        async Task<string?> Code(string said, string more)
        {
            string body = path switch
            {
                "/api/write" => $$"""{"text":"{{said}}","ask":true{{more}}}""",
                "/v1/completions" => $$"""{"model":"tiny","prompt":"{{said}}"{{more}}}""",
                _ => $$"""{"model":"tiny","messages":[{"role":"user","content":"{{said}}"}]{{more}}}""",
            };
            string answer = await (await served.Http.PostAsync(path, Body(body), Cancel)).Content.ReadAsStringAsync(Cancel);
            return answer.StartsWith('{') ? (string?)JsonNode.Parse(answer)!["error"]?["code"] : null;
        }
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
    [InlineData(400, "messages asks nothing", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"assistant","content":"a"}]}""")]
    [InlineData(400, "messages asks nothing", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":" "}]}""")]
    [InlineData(400, "no last message of the assistant's", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"continue_final_message":true}""")]
    [InlineData(400, "no last message of the assistant's", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"add_generation_prompt":false}""")]
    [InlineData(400, "max_tokens has to be a whole number from 1 to 2048", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"max_tokens":0}""")]
    [InlineData(400, "max_tokens has to be a whole number from 1 to 2048", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"max_tokens":8.5}""")]
    [InlineData(400, "max_tokens has to be a whole number from 1 to 2048", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"max_tokens":1e300}""")]
    [InlineData(400, "top_p has to be a number from 0 to 1", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"top_p":1.1}""")]
    [InlineData(400, "n has to be a whole number from 1 to 128", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"n":0}""")]
    [InlineData(400, "frequency_penalty has to be a number from -2 to 2", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"frequency_penalty":2.5}""")]
    [InlineData(400, "presence_penalty has to be a number from -2 to 2", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"presence_penalty":"2"}""")]
    [InlineData(400, "min_p has to be a number from 0 to 1", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"min_p":1.1}""")]
    [InlineData(400, "top_k has to be a whole number from -1", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"top_k":-2}""")]
    [InlineData(400, "top_logprobs needs logprobs", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"top_logprobs":2}""")]
    [InlineData(400, "tools is not supported", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"tools":[{}]}""")]
    [InlineData(400, "response_format is not supported", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_object"}}""")]
    [InlineData(400, "n has to be a whole number from 1 to 128", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"n":"2"}""")]
    [InlineData(400, "best_of is not supported above n, 2", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"n":2,"best_of":3}""")]
    [InlineData(400, "guided_json is not supported", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"guided_json":{"type":"object"}}""")]
    [InlineData(400, "use_beam_search is not supported", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"use_beam_search":true}""")]
    [InlineData(400, "documents is not supported", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"documents":[{"text":"a"}]}""")]
    [InlineData(400, "prompt_logprobs is not supported", "/v1/completions", """{"model":"tiny","prompt":"a","prompt_logprobs":0}""")]
    [InlineData(400, "structured_outputs is not supported", "/v1/completions", """{"model":"tiny","prompt":"a","structured_outputs":{"choice":["a"]}}""")]
    [InlineData(400, "response_format is not supported", "/v1/completions", """{"model":"tiny","prompt":"a","response_format":{"type":"json_object"}}""")]
    [InlineData(400, "stop_token_ids has to be an array of ids of tokens, 0 to", "/v1/completions", """{"model":"tiny","prompt":"a","stop_token_ids":[-1]}""")]
    [InlineData(400, "allowed_token_ids has to be an array of ids of tokens, 0 to", "/v1/completions", """{"model":"tiny","prompt":"a","allowed_token_ids":["a"]}""")]
    [InlineData(400, "bad_words has to be a text or up to 128 texts", "/v1/completions", """{"model":"tiny","prompt":"a","bad_words":[1]}""")]
    [InlineData(400, "logit_bias has to hold numbers from -100 to 100 by ids of tokens, 0 to ", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"logit_bias":{"-1":1}}""")]
    [InlineData(400, "logit_bias has to hold numbers from -100 to 100 by ids of tokens, 0 to ", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"logit_bias":{"a":1}}""")]
    [InlineData(400, "logit_bias has to hold numbers from -100 to 100 by ids of tokens, 0 to ", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"logit_bias":{"5":101}}""")]
    [InlineData(400, "logit_bias has to hold numbers from -100 to 100 by ids of tokens, 0 to ", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"logit_bias":{"5":"1"}}""")]
    [InlineData(400, "logit_bias has to hold numbers from -100 to 100 by ids of tokens, 0 to ", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"logit_bias":{"99999":1}}""")]
    [InlineData(400, "logit_bias has to be an object", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"logit_bias":[]}""")]
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
    [InlineData(400, "typical_p is not supported", "/v1/completions", """{"model":"tiny","prompt":"a","typical_p":0.5}""")]
    [InlineData(400, "repeat_penalty is not supported", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"repeat_penalty":1.1}""")]
    [InlineData(400, "mirostat is not supported", "/v1/completions", """{"model":"tiny","prompt":"a","typical_p":1,"top_n_sigma":-1,"xtc_probability":0.0,"mirostat":"2"}""")]
    [InlineData(400, "xtc_probability is not supported", "/v1/completions", """{"model":"tiny","prompt":"a","top_n_sigma":0.0,"xtc_probability":0.5}""")]
    [InlineData(400, "top_n_sigma is not supported", "/v1/completions", """{"model":"tiny","prompt":"a","top_n_sigma":1.5}""")]
    [InlineData(400, "regex is not supported", "/v1/completions", """{"model":"tiny","prompt":"a","ebnf":"","regex":"[0-9]+"}""")]
    [InlineData(400, "ebnf is not supported", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"ebnf":"root ::= 'a'"}""")]
    [InlineData(400, "stop_regex is not supported", "/v1/completions", """{"model":"tiny","prompt":"a","no_stop_trim":false,"stop_regex":["a+"]}""")]
    [InlineData(400, "no_stop_trim is not supported", "/v1/completions", """{"model":"tiny","prompt":"a","no_stop_trim":true}""")]
    [InlineData(400, "leave skip_special_tokens out", "/v1/completions", """{"model":"tiny","prompt":"a","skip_special_tokens":false}""")]
    [InlineData(400, "leave add_special_tokens out", "/v1/completions", """{"model":"tiny","prompt":"a","add_special_tokens":false}""")]
    [InlineData(400, "add_special_tokens is not supported", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"add_special_tokens":true}""")]
    [InlineData(400, "return_tokens_as_token_ids is not supported", "/v1/completions", """{"model":"tiny","prompt":"a","return_tokens_as_token_ids":true}""")]
    [InlineData(400, "leave tool_choice out", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"tool_choice":"required"}""")]
    [InlineData(400, "leave modalities out", "/v1/chat/completions", """{"model":"tiny","messages":[{"role":"user","content":"a"}],"modalities":["text","audio"]}""")]
    [InlineData(400, "2 prompts of 65 texts each are more than 128 texts", "/v1/completions", """{"model":"tiny","prompt":["a","b"],"n":65}""")]
    [InlineData(400, "2 prompts of 128 texts each are more than 128 texts", "/v1/completions", """{"model":"tiny","prompt":["a",[-1]],"n":128}""")]
    [InlineData(404, "ask for 'tiny-embedder'", "/v1/embeddings", """{"model":"tiny","input":"a"}""")]
    [InlineData(400, "input is missing", "/v1/embeddings", """{"model":"tiny-embedder"}""")]
    [InlineData(400, "none of them empty", "/v1/embeddings", """{"model":"tiny-embedder","input":[""]}""")]
    [InlineData(400, "check_embedding_ctx_length=False", "/v1/embeddings", """{"model":"tiny-embedder","input":[[1,2],[3]]}""")]
    [InlineData(400, "check_embedding_ctx_length=False", "/v1/embeddings", """{"model":"tiny-embedder","input":[1,2]}""")]
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
}

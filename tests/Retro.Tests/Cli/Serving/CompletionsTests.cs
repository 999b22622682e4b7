using System.Net;
using System.Text.Json.Nodes;
using Retro.Generation;
using Retro.Tests.Embedders;
using Retro.Tests.Generation;
using Retro.Tokenizers;
using static Retro.Tests.Cli.Serving.Requests;

namespace Retro.Tests.Cli.Serving;

/// <summary>What a server answers whoever has it go on with a text, or asks how probable one is.</summary>
public sealed class CompletionsTests
{
    [Fact]
    public async Task Completions_go_on_with_texts_and_with_ids()
    {
        await using ServedModel served = await ServedModel.StartAsync(tokens: 24);
        const string Text = "The bridge number 5 has";
        string page = string.Concat(Events(await (await served.Http.PostAsync(
            "/api/write", Body($$"""{"text":"{{Text}}"}"""), Cancel)).Content.ReadAsStringAsync(Cancel)).Select(one => (string?)one["text"]));
        int[] tokens = EmbeddingInputs.Tokenizer.Encode(Text);
        string ids = string.Join(',', tokens), fractions = string.Join(',', tokens.Select(token => $"{token}.0")); // as languages with one kind of number write
        foreach (string prompt in new[] { $"\"{Text}\"", $"[\"{Text}\"]", $"[{ids}]", $"[[{ids}]]", $"[{fractions}]" })
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
        Assert.All(events[..^1], one => Assert.True(one.AsObject().TryGetPropertyValue("usage", out JsonNode? usage) && usage is null));
        Assert.Equal(
            "The", Choice((await Complete($$"""{"model":"tiny","prompt":"The","max_tokens":0,"echo":true"""))["choices"]![0]!).Text);

        async Task<JsonNode> Complete(string request) => await Json(await served.Http.PostAsync("/v1/completions", Body(request + "}"), Cancel));

        static (string Text, string Reason, JsonNode? LogProbabilities) Choice(JsonNode choice)
            => ((string)choice["text"]!, (string)choice["finish_reason"]!, choice["logprobs"]);
    }

    /// <summary>A text that begins as one before goes on from there, for whoever may see what was read; without memory for it, it is read whole.</summary>
    [Theory]
    [InlineData(1 << 24)]
    [InlineData(0)]
    public async Task A_text_goes_on_from_what_was_read_of_another(long bytes)
    {
        await using ServedModel served = await ServedModel.StartAsync(options => options with { PrefixBytes = bytes }, tokens: 24);
        await using ServedModel anew = await ServedModel.StartAsync(tokens: 24);
        const string Text = "The bridge number 5 has steps, and the river under it has stones; what else";
        string said = await Complete(served, Text);
        Assert.Equal(0, await Reused());
        Assert.Equal(await Complete(anew, Text), said);
        string more = Text + said + " and then";
        Assert.Equal(await Complete(anew, more), await Complete(served, more));
        Assert.InRange(await Reused(), bytes == 0 ? 0 : EmbeddingInputs.Tokenizer.Encode(Text).Length, bytes == 0 ? 0 : 200);

        async Task<long> Reused() => (long)(await Json(await served.Http.GetAsync("/api/state", Cancel)))["reusedTokens"]!;

        static async Task<string> Complete(ServedModel by, string text) => (string)(await Json(await by.Http.PostAsync(
            "/v1/completions", Body($$"""{"model":"tiny","prompt":{{System.Text.Json.JsonSerializer.Serialize(text)}}}"""), Cancel)))["choices"]![0]!["text"]!;
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
}

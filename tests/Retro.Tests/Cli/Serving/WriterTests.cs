using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Retro.Generation;
using Retro.Tests.Embedders;
using static Retro.Tests.Cli.Serving.Requests;

namespace Retro.Tests.Cli.Serving;

/// <summary>How a text is written and inspected by what a request and the server say.</summary>
public sealed class WriterTests
{
    [Fact]
    public async Task As_few_tokens_are_drawn_from_as_a_request_says()
    {
        await using ServedModel served = await ServedModel.StartAsync();
        Assert.Equal(await Answer(served, ""), await Answer(served, ""","temperature":5,"top_k":1"""));
        Assert.NotEqual(await Answer(served, ""), await Answer(served, ""","temperature":5,"top_k":0"""));
        Assert.Equal(await Answer(served, ""","temperature":5,"seed":1,"top_k":0"""), await Answer(served, ""","temperature":5,"seed":1,"top_k":-1"""));
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
        foreach (string more in new[]
            {
                ""","temperature":1,"seed":3""", ""","temperature":0,"repetition_penalty":1.2""", ""","temperature":0,"frequency_penalty":0.4""",
                ""","temperature":0,"presence_penalty":-0.4""", ""","temperature":0,"logit_bias":{"70":2}""",
            })
        {
            Assert.Equal(await Answer(single, more), await Answer(beams, more));
        }

        Assert.NotEqual(await Answer(single, ""","temperature":0"""), await Answer(beams, ""","temperature":0"""));
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
    public async Task Tokens_come_as_their_bias_and_their_penalties_say()
    {
        await using ServedModel served = await ServedModel.StartAsync();
        int letter = served.Generator.Tokenizer.Encode("a").Single();
        Assert.Equal("aaaaaa", await Answer(served, $$""","max_tokens":6,"temperature":0,"logit_bias":{"{{letter}}":100.0}"""));
        await using ServedModel chain = await ServedModel.StartAsync(writes: "AB"); // to which all other letters are alike
        string two = $$""","max_tokens":6,"temperature":0,"logit_bias":{"{{letter}}":100,"{{served.Generator.Tokenizer.Encode("b").Single()}}":99}""";
        Assert.Equal("aaaaaa", await Answer(chain, two));
        Assert.Equal("abaaaa", await Answer(chain, two + ""","presence_penalty":2"""));
        Assert.Equal("ababab", await Answer(chain, two + ""","frequency_penalty":2"""));
        string best = await Answer(served, ""","temperature":0""");
        Assert.Equal(best, await Answer(served, ""","temperature":2,"min_p":1.0"""));
    }

    /// <summary>What vLLM takes beside what OpenAI does.</summary>
    [Fact]
    public async Task Words_and_tokens_come_and_end_a_text_as_a_request_says()
    {
        await using ServedModel served = await ServedModel.StartAsync(writes: "ABCD");
        int b = Id("B"), c = Id("C");
        Assert.Equal(
            "ABCD", await Answer(served, ""","bad_words":[],"allowed_token_ids":[],"stop_token_ids":null,"guided_json":null,"use_beam_search":false"""));
        Assert.Equal("AB", await Answer(served, $$""","stop_token_ids":[{{c}}]"""));
        Assert.Equal("AB", await Answer(served, $$""","stop_token_ids":[{{c}}.0]"""));
        Assert.Equal("ABAB", await Answer(
            served, $$""","stop_token_ids":[{{c}}],"min_tokens":4,"allowed_token_ids":[{{Id("A")}},{{b}},{{c}}],"max_tokens":4""")); // nothing may end it yet
        Assert.DoesNotContain("BC", await Answer(served, ""","bad_words":["BC"]"""), StringComparison.Ordinal);
        Assert.Equal("BCBC", await Answer(served, $$""","allowed_token_ids":[{{b}},{{c}}],"max_tokens":4,"n":2,"best_of":2"""));
        using HttpResponseMessage none = await served.Http.PostAsync(
            "/v1/completions",
            Body($$"""{"model":"tiny","prompt":"a","min_tokens":1,"allowed_token_ids":[{{served.Generator.Tokenizer.EndOfText}}]}"""),
            Cancel);
        Assert.Equal(
            (System.Net.HttpStatusCode.BadRequest, "None of allowed_token_ids may come: they stand for no text, or are banned."),
            (none.StatusCode, (string?)(await Json(none))["error"]!["message"]));
        using HttpResponseMessage both = await served.Http.PostAsync(
            "/v1/completions", Body($$"""{"model":"tiny","prompt":"a","allowed_token_ids":[{{b}},{{c}}],"bad_words":["B","C"]}"""), Cancel);
        JsonNode refused = (await Json(both))["error"]!;
        Assert.Equal((System.Net.HttpStatusCode.BadRequest, "invalid_value"), (both.StatusCode, (string?)refused["code"]));
        Assert.Contains("what is banned leaves none of those that are allowed", (string?)refused["message"], StringComparison.Ordinal);

        int Id(string letter) => served.Generator.Tokenizer.Encode(letter).Single();
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
}

using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;
using Retro.Generation;

namespace Retro.Cli.Serving;

/// <summary>
/// OpenAI's completions: the model goes on with texts, or ids of tokens, as they are. With echo and logprobs it says how probable it finds the tokens of what
/// it is given, which is what programs that evaluate models ask.
/// </summary>
/// <param name="writer">Writes the texts.</param>
internal sealed class Completions(Writer writer) : CompletionEndpoint(writer)
{
    private const int MostAlternatives = 20;

    protected override string IdPrefix => "cmpl";

    protected override string Kind => "text_completion";

    /// <summary>Programs that score a text count on a token after it, even where the model would end there.</summary>
    protected override bool TellsEnd => true;

    protected override Order Read(HttpContext context, RequestBody body)
    {
        RefuseUnlessEmpty(body, "suffix");
        if (body["add_special_tokens"] is not null && !body.Flag("add_special_tokens"))
        {
            throw new Fault(400, "A prompt has what begins a text before it; leave add_special_tokens out.", "unsupported", "add_special_tokens");
        }

        bool echoes = body.Flag("echo");
        long? alternatives = body.Whole("logprobs", 0, MostAlternatives);
        GenerationOptions settings = Writer.Settings(context, body, leastTokens: 0) with { Alternatives = (int)(alternatives ?? 0) };
        List<(string Text, int[] Tokens)> given = Given(body);
        foreach ((_, int[] tokens) in given)
        {
            Writer.RequireFits(Writer.Count(tokens), settings);
        }

        return new(settings, alternatives is not null, given.Count, async cancellationToken =>
        {
            List<Prompt> prompts = [];
            foreach ((string text, int[] tokens) in given)
            {
                List<TokenScore> scores = [];
                int offset = 0;
                foreach (ScoredToken scored in echoes && alternatives is not null
                    ? await Writer.ScoreAsync(tokens, settings, cancellationToken).ConfigureAwait(false)
                    : [])
                {
                    scores.Add(new(scored.Token, scored.LogProbability, scored.Alternatives, offset));
                    offset += Writer.Characters(scored.Text);
                }

                prompts.Add(new(tokens, Writer.Count(tokens), echoes ? text : "", scores));
            }

            return (prompts, []);
        });
    }

    protected override JsonObject? Opening(Prompt prompt) => prompt.Echo.Length > 0 || prompt.Scores.Count > 0 ? Part(prompt.Echo) : null;

    protected override JsonObject Part(string? text) => new() { ["text"] = text ?? "" };

    protected override JsonObject Whole(string text) => Part(text);

    protected override JsonObject Probabilities(IReadOnlyList<TokenScore> scores) => new()
    {
        ["tokens"] = new JsonArray([.. scores.Select(score => JsonValue.Create(Writer.Tokenizer.NameOf(score.Token)))]),
        ["token_logprobs"] = new JsonArray([.. scores.Select(score => score.LogProbability is { } number ? JsonValue.Create(number) : null)]),
        ["top_logprobs"] = new JsonArray([.. scores.Select(Top)]),
        ["text_offset"] = new JsonArray([.. scores.Select(score => JsonValue.Create(score.Offset))]),
    };

    /// <summary>The most probable tokens by their names, the token itself among them; of several of one name the likeliest.</summary>
    private JsonObject? Top(TokenScore score)
    {
        if (score.LogProbability is not { } own)
        {
            return null;
        }

        JsonObject top = [];
        foreach (TokenAlternative other in score.Alternatives)
        {
            top.TryAdd(Writer.Tokenizer.NameOf(other.Token), JsonValue.Create(other.LogProbability));
        }

        top.TryAdd(Writer.Tokenizer.NameOf(score.Token), JsonValue.Create(own));
        return top;
    }

    /// <summary>The prompts: a text, ids, or several of one or the other.</summary>
    private List<(string Text, int[] Tokens)> Given(RequestBody body)
    {
        JsonNode? prompt = body["prompt"];
        JsonNode?[] all = prompt is JsonArray several && !several.All(one => one is JsonValue && RequestBody.TextOf(one) is null) ? [.. several] : [prompt];
        RequireFew(body, all.Length);
        return [.. all.Select(one => RequestBody.TextOf(one) is { } text ? OfText(text) : one is JsonArray ids ? OfIds(ids) : throw Wrong())];

        (string Text, int[] Tokens) OfText(string text)
        {
            string cleaned = Writer.AsCleaned(text);
            return (cleaned, Writer.Tokenizer.Encode(cleaned));
        }

        (string Text, int[] Tokens) OfIds(JsonArray ids)
        {
            int most = Writer.MostId;
            int[] tokens =
            [
                .. ids.Select(id => RequestBody.WholeOf(id) is { } token
                    ? token >= 0 && token <= most
                        ? (int)token
                        : throw new Fault(400, $"prompt holds the id {token:0}; the model reads 0 to {most}.", "out_of_range", "prompt")
                    : throw Wrong()),
            ];
            return (Writer.Tokenizer.Decode(tokens), tokens);
        }

        static Fault Wrong() => new(400, "prompt has to be a text or ids of tokens, or an array of texts or of arrays of ids.", "invalid_type", "prompt");
    }
}

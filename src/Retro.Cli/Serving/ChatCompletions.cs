using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;
using Retro.Generation;
using Retro.Search;

namespace Retro.Cli.Serving;

/// <summary>
/// OpenAI's chat completions. The last message of the user is asked as a question, below passages that were found with it; alone where the model was fitted to
/// answer questions.
/// </summary>
/// <param name="writer">Writes the answers.</param>
/// <param name="template">How the model wants a conversation written; null: as questions and answers, which any model goes on with.</param>
internal sealed class ChatCompletions(Writer writer, ChatTemplate? template) : CompletionEndpoint(writer)
{
    protected override string IdPrefix => "chatcmpl";

    protected override string Kind => "chat.completion";

    protected override string EventKind => "chat.completion.chunk";

    protected override bool TellsEnd => false;

    protected override Order Read(HttpContext context, RequestBody body)
    {
        RequireSupported(body);
        (string instructions, List<(string? Question, string Answer)> earlier, string question) = Messages(body);
        Answerer? answerer = template is null ? Writer.Answerer : null;
        GenerationOptions settings = Writer.Settings(context, body, leastTokens: 1, template is null && answerer is null ? Asking.Stops : []) with
        {
            Alternatives = (int)(body.Whole("top_logprobs", 0, 20) ?? 0),
            SkipsLeadingSpace = true,
        };
        if (answerer is not null)
        {
            // What was said before the question is no part of what it has learned to read.
            question = answerer.Question(question);
            int[] tokens = Writer.Tokenizer.Encode(question);
            Writer.RequireFits(tokens);
            return new(settings, body.Flag("logprobs"), 1, async cancellationToken =>
            {
                IReadOnlyList<long> found = await Task.Run(
                    () => answerer.Find(question, settings, cancellationToken), cancellationToken).ConfigureAwait(false);
                return ([new(tokens, "", []) { Write = (options, canceled) => answerer.WriteAsync(question, found, options, canceled) }], []);
            });
        }

        Writer.RequireFits(Tokens([])); // before anything is looked for
        return new(settings, body.Flag("logprobs"), 1, async cancellationToken =>
        {
            IReadOnlyList<RetrievedNeighbor> passages = await Task.Run(
                () => Writer.Find(question, settings, cancellationToken), cancellationToken).ConfigureAwait(false);
            return ([new(Tokens(passages), "", [])], [.. passages.Select(passage => Writer.Source(passage, "in the prompt"))]);
        });

        int[] Tokens(IReadOnlyList<RetrievedNeighbor> passages) => template is null
            ? Writer.Tokenizer.Encode(instructions + Asking.Prompt(passages, question, earlier))
            : Encode(template, [.. Conversation(passages, instructions, earlier, question)]);
    }

    protected override JsonObject? Opening(Prompt prompt) => new() { ["delta"] = new JsonObject { ["role"] = "assistant", ["content"] = "" } };

    protected override JsonObject Part(string? text) => new() { ["delta"] = text is null ? [] : new JsonObject { ["content"] = text } };

    protected override JsonObject Whole(string text)
        => new() { ["message"] = new JsonObject { ["role"] = "assistant", ["content"] = text, ["refusal"] = null } };

    protected override JsonObject Probabilities(IReadOnlyList<TokenScore> scores)
        => new() { ["content"] = new JsonArray([.. scores.Select(Probability)]), ["refusal"] = null };

    private static void RequireSupported(RequestBody body)
    {
        foreach (string name in new[] { "tools", "functions", "audio" })
        {
            RefuseUnlessEmpty(body, name);
        }

        if (body.Object("response_format") is { } format && RequestBody.TextOf(format["type"]) != "text")
        {
            throw new Fault(400, "response_format is not supported but for text; leave it out.", "unsupported", "response_format");
        }

        if (body.Whole("top_logprobs", 0, 20) > 0 && !body.Flag("logprobs"))
        {
            throw new Fault(400, "top_logprobs needs logprobs to be true.", "invalid_value", "top_logprobs");
        }
    }

    /// <summary>A conversation as a template writes it; where the template refuses it, the request cannot be answered.</summary>
    private int[] Encode(ChatTemplate template, ChatMessage[] conversation)
    {
        try
        {
            return template.Encode(conversation, Writer.Tokenizer);
        }
        catch (RetroException fault)
        {
            throw new Fault(400, fault.Message, "invalid_value", "messages");
        }
    }

    /// <summary>The conversation for a template, with the passages above the question.</summary>
    private static IEnumerable<ChatMessage> Conversation(
        IReadOnlyList<RetrievedNeighbor> passages, string instructions, List<(string? Question, string Answer)> earlier, string question)
    {
        if (instructions.Length > 0)
        {
            yield return new(ChatRole.System, instructions.Trim());
        }

        foreach ((string? asked, string answer) in earlier)
        {
            if (asked is not null)
            {
                yield return new(ChatRole.User, asked);
            }

            yield return new(ChatRole.Assistant, answer);
        }

        yield return new(ChatRole.User, string.Concat(passages.Select(passage => passage.Text.Trim() + "\n\n")) + question);
    }

    private (string Instructions, List<(string? Question, string Answer)> Earlier, string Question) Messages(RequestBody body)
    {
        if (body["messages"] is not JsonArray { Count: > 0 } messages)
        {
            throw new Fault(400, "messages has to be an array of at least one message.", "missing", "messages");
        }

        StringBuilder instructions = new();
        List<(string? Question, string Answer)> earlier = [];
        string? question = null;
        foreach (JsonNode? message in messages)
        {
            string role = RequestBody.TextOf((message as JsonObject)?["role"]) ?? "";

            // An assistant that has called a tool, or refused, has said nothing.
            string text = role == "assistant" && message!["content"] is null ? "" : Writer.AsCleaned(Content(message));
            switch (role)
            {
                case "system" or "developer":
                    instructions.Append(text.Trim()).Append("\n\n");
                    break;
                case "user":
                    question = question is null ? text : $"{question}\n{text}";
                    break;
                case "assistant":
                    earlier.Add((question, text));
                    question = null;
                    break;
                default:
                    throw new Fault(400, $"messages holds the role '{role}'; there are system, developer, user and assistant.", "invalid_value", "messages");
            }
        }

        return string.IsNullOrWhiteSpace(question)
            ? throw new Fault(400, "The last message has to be the user's, and to say something.", "invalid_value", "messages")
            : (instructions.ToString(), earlier, question);
    }

    /// <summary>A message's text: itself, or the parts of kind text.</summary>
    private static string Content(JsonNode? message)
    {
        JsonNode? content = message is JsonObject one ? one["content"] : null;
        string?[] texts = content is JsonArray parts ? [.. parts.Select(TextPart)] : [RequestBody.TextOf(content)];
        return !texts.Contains(null)
            ? string.Concat(texts)
            : throw new Fault(400, "A message has to be an object whose content is a text, or parts of the type text.", "invalid_type", "messages");

        static string? TextPart(JsonNode? part)
            => part is JsonObject some && RequestBody.TextOf(some["type"]) == "text" ? RequestBody.TextOf(some["text"]) : null;
    }

    /// <summary>A token by itself, with its bytes, since it can be a part of a character, and what else could have come.</summary>
    private JsonObject Probability(TokenScore score)
    {
        JsonObject probability = Of(score.Token, score.LogProbability);
        probability["top_logprobs"] = new JsonArray([.. score.Alternatives.Select(other => Of(other.Token, other.LogProbability))]);
        return probability;

        JsonObject Of(int token, double? logProbability) => new()
        {
            ["token"] = Writer.Tokenizer.NameOf(token),
            ["logprob"] = logProbability,
            ["bytes"] = Writer.Tokenizer.IsSpecial(token) ? null
                : new JsonArray([.. Writer.Tokenizer.TokenBytes(token).ToArray().Select(one => JsonValue.Create(one))]),
        };
    }
}

using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;
using Retro.Generation;
using Retro.Search;

namespace Retro.Cli.Serving;

/// <summary>
/// OpenAI's chat completions. The last message of the user is asked as a question, below passages that were found with it; alone where the model was fitted to
/// answer questions. An assistant's message behind it is the beginning of the answer.
/// </summary>
/// <param name="writer">Writes the answers.</param>
/// <param name="template">
/// How the model wants a conversation written; null: as questions and answers, which any model goes on with. What was fitted to answer has learned another
/// form.
/// </param>
internal sealed class ChatCompletions(Writer writer, ChatTemplate? template) : CompletionEndpoint(writer)
{
    protected override string IdPrefix => "chatcmpl";

    protected override string Kind => "chat.completion";

    protected override string EventKind => "chat.completion.chunk";

    protected override bool TellsEnd => false;

    protected override Order Read(HttpContext context, RequestBody body)
    {
        RequireSupported(body);
        Conversation said = Messages(body);
        if (said.Begun.Length == 0
            && (body.Flag("continue_final_message") || (body["add_generation_prompt"] is not null && !body.Flag("add_generation_prompt"))))
        {
            throw new Fault(
                400, "There is no last message of the assistant's to go on with: leave out continue_final_message and add_generation_prompt.", "invalid_value");
        }

        Answerer? answerer = Writer.Answerer;
        ChatTemplate? written = answerer is null ? Asked(body) : null;
        if (written is null)
        {
            RefuseUnlessEmpty(body, "chat_template_kwargs");
        }

        GenerationOptions settings = Writer.Settings(context, body, leastTokens: 1, template is null && answerer is null ? Asking.Stops : []) with
        {
            Alternatives = (int)(body.Whole("top_logprobs", 0, 20) ?? 0),
            SkipsLeadingSpace = said.Begun.Length == 0,
        };
        if (answerer is not null)
        {
            // What was said before the question is no part of what it has learned to read.
            string question = answerer.Question(said.Question), asked = answerer.Question($"{question} {said.Begun}");
            Writer.RequireFits(answerer.Count(asked, []), settings);
            return new(settings, body.Flag("logprobs"), 1, async cancellationToken =>
            {
                IReadOnlyList<long> found = await Writer.FindAsync(
                    () => answerer.Find(question, settings, cancellationToken), some => answerer.Count(asked, some), settings, cancellationToken)
                    .ConfigureAwait(false);
                return ([new([], answerer.Count(asked, found), "", [])
                {
                    Write = (options, canceled) => answerer.WriteAsync(asked, found, options, canceled),
                }], []);
            });
        }

        Writer.RequireFits(Writer.Count(Tokens([])), settings); // before anything is looked for
        return new(settings, body.Flag("logprobs"), 1, async cancellationToken =>
        {
            IReadOnlyList<RetrievedNeighbor> passages = await Writer.FindAsync(
                () => Writer.Find(said.Question, settings, cancellationToken), some => Writer.Count(Tokens(some)), settings, cancellationToken)
                .ConfigureAwait(false);
            int[] tokens = Tokens(passages);
            return ([new(tokens, Writer.Count(tokens), "", [])], [.. passages.Select(passage => Writer.Source(passage, Asking.InPrompt))]);
        });

        int[] Tokens(IReadOnlyList<RetrievedNeighbor> passages) => written is null
            ? Writer.Tokenizer.Encode(
                said.Instructions + Asking.Prompt(passages, said.Question, said.Earlier) + (said.Begun.Length == 0 ? "" : $" {said.Begun}"))
            : Encode(written, [.. Written(passages, said)], said.Begun);
    }

    protected override JsonObject? Opening(Prompt prompt) => new() { ["delta"] = new JsonObject { ["role"] = "assistant", ["content"] = "" } };

    protected override JsonObject Part(string? text) => new() { ["delta"] = text is null ? [] : new JsonObject { ["content"] = text } };

    protected override JsonObject Whole(string text)
        => new() { ["message"] = new JsonObject { ["role"] = "assistant", ["content"] = text, ["refusal"] = null } };

    protected override JsonObject Probabilities(IReadOnlyList<TokenScore> scores)
        => new() { ["content"] = new JsonArray([.. scores.Select(Probability)]), ["refusal"] = null };

    private static void RequireSupported(RequestBody body)
    {
        RefuseUnlessEmpty(body, "tools", "functions", "audio", "chat_template", "documents", "echo", "add_special_tokens");
        if (body["tool_choice"] is { } choice && RequestBody.TextOf(choice) is not ("none" or "auto" or ""))
        {
            throw new Fault(400, "There are no tools to be chosen; leave tool_choice out.", "unsupported", "tool_choice");
        }

        if (body.Texts("modalities", 8).Any(form => form != "text"))
        {
            throw new Fault(400, "An answer is text alone; leave modalities out.", "unsupported", "modalities");
        }

        if (body.Whole("top_logprobs", 0, 20) > 0 && !body.Flag("logprobs"))
        {
            throw new Fault(400, "top_logprobs needs logprobs to be true.", "invalid_value", "top_logprobs");
        }
    }

    /// <summary>The template with what it is told by the request, such as enable_thinking.</summary>
    private ChatTemplate? Asked(RequestBody body)
    {
        if (template is null || body["chat_template_kwargs"] is not { } given)
        {
            return template;
        }

        try
        {
            return given is JsonObject members ? template.With(members.ToDictionary(member => member.Key, member => (object?)Element(member.Value)))
                : throw new Fault(400, "chat_template_kwargs has to be an object.", "invalid_type", "chat_template_kwargs");
        }
        catch (ArgumentException fault)
        {
            throw new Fault(400, fault.Message, "invalid_value", "chat_template_kwargs");
        }

        static JsonElement? Element(JsonNode? value) => value is null ? null : JsonSerializer.SerializeToElement(value);
    }

    /// <summary>A conversation as a template writes it; where the template refuses it, the request cannot be answered.</summary>
    private int[] Encode(ChatTemplate template, ChatMessage[] conversation, string begun)
    {
        try
        {
            return template.Encode(conversation, Writer.Tokenizer, begun);
        }
        catch (RetroException fault)
        {
            throw new Fault(400, fault.Message, "invalid_value", "messages");
        }
    }

    /// <summary>The conversation for a template, with the passages above the question.</summary>
    private static IEnumerable<ChatMessage> Written(IReadOnlyList<RetrievedNeighbor> passages, Conversation said)
    {
        if (said.Instructions.Length > 0)
        {
            yield return new(ChatRole.System, said.Instructions.Trim());
        }

        foreach ((string? asked, string answer) in said.Earlier)
        {
            if (asked is not null)
            {
                yield return new(ChatRole.User, asked);
            }

            yield return new(ChatRole.Assistant, answer);
        }

        yield return new(ChatRole.User, string.Concat(passages.Select(passage => passage.Text.Trim() + "\n\n")) + said.Question);
    }

    private Conversation Messages(RequestBody body)
    {
        if (body["messages"] is not JsonArray { Count: > 0 } messages)
        {
            throw new Fault(400, "messages has to be an array of at least one message.", "missing", "messages");
        }

        // What the assistant says last is what it is to go on with.
        int last = messages.Count;
        while (last > 0 && Role(messages[last - 1]) == "assistant")
        {
            last--;
        }

        StringBuilder instructions = new();
        List<(string? Question, string Answer)> earlier = [];
        List<string> begun = [];
        string? question = null;
        foreach ((int place, JsonNode? message) in messages.Index())
        {
            string role = Role(message);

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
                case "assistant" when place >= last:
                    begun.AddRange(string.IsNullOrWhiteSpace(text) ? [] : [text]);
                    break;
                case "assistant":
                    earlier.Add((question, text));
                    question = null;
                    break;
                default:
                    throw new Fault(400, $"messages holds the role '{role}'; there are system, developer, user and assistant.", "invalid_value", "messages");
            }
        }

        string told = instructions.ToString();
        if (string.IsNullOrWhiteSpace(question))
        {
            (question, told) = (told.Trim(), ""); // of whom nothing else asks
        }

        return question.Length > 0
            ? new(told, earlier, question, string.Join('\n', begun).TrimStart())
            : throw new Fault(400, "messages asks nothing: one of the user's, or of the system's, has to say something.", "invalid_value", "messages");

        static string Role(JsonNode? message) => RequestBody.TextOf((message as JsonObject)?["role"]) ?? "";
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

    /// <summary>What is said in a conversation.</summary>
    /// <param name="Instructions">What the system says, with an empty line behind each message; empty: nothing.</param>
    /// <param name="Earlier">What was asked and answered before; null for the question: it was said unasked.</param>
    /// <param name="Question">What is asked.</param>
    /// <param name="Begun">How the answer begins; empty: it does not yet.</param>
    private sealed record Conversation(string Instructions, List<(string? Question, string Answer)> Earlier, string Question, string Begun);

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

using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;
using Retro.Generation;
using Retro.Search;

namespace Retro.Cli.Serving;

/// <summary>
/// OpenAI's chat completions. The last message of the user is asked as a question, below passages that were found with it; "sources" beside the choices says
/// what was read.
/// </summary>
/// <param name="writer">Writes the answers.</param>
/// <param name="template">How the model wants a conversation written; null: as questions and answers, which any model goes on with.</param>
internal sealed class ChatCompletions(Writer writer, ChatTemplate? template)
{
    /// <summary>Answers a request.</summary>
    public async Task AnswerAsync(HttpContext context)
    {
        RequestBody body = await RequestBody.ReadAsync(context, writer.Options.MostBytes).ConfigureAwait(false);
        string model = body.Required("model");
        if (model != writer.Options.Name)
        {
            throw new Fault(404, $"There is no model '{model}' here; ask for '{writer.Options.Name}'.", "model_not_found", "model");
        }

        RequireSupported(body);
        (string instructions, List<(string? Question, string Answer)> earlier, string question) = Messages(body);
        bool streams = body.Flag("stream"), logprobs = body.Flag("logprobs");
        bool counts = body.Object("stream_options")?.Flag("include_usage") ?? false;
        GenerationOptions settings = writer.Settings(context, body, template is null ? Asking.Stops : []) with
        {
            Alternatives = (int)(body.Whole("top_logprobs", 0, 20) ?? 0),
            SkipsLeadingSpace = true,
        };
        CancellationToken aborted = context.RequestAborted;
        writer.RequireFits(Prompt([])); // before anything is looked for
        using IDisposable turn = await writer.TakeTurnAsync(aborted).ConfigureAwait(false);
        IReadOnlyList<RetrievedNeighbor> passages = await Task.Run(() => writer.Find(question, settings, aborted), aborted).ConfigureAwait(false);
        int[] prompt = Prompt(passages);
        IAsyncEnumerable<GeneratedPiece> pieces = writer.Write(prompt, settings, aborted);
        string id = $"chatcmpl-{Guid.NewGuid():N}";
        long created = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        EventStream events = new(context);
        List<JsonObject> sources = [.. passages.Select(passage => Writer.Source(passage, "in the prompt"))];
        if (streams)
        {
            JsonObject first = Chunk(new() { ["role"] = "assistant", ["content"] = "" }, null, null);
            first["sources"] = new JsonArray([.. sources]);
            await events.SendAsync(first, aborted).ConfigureAwait(false);
        }

        StringBuilder answer = new();
        JsonArray probabilities = [];
        int tokens = 0;
        GenerationEnd end = GenerationEnd.EndOfText;
        await foreach (GeneratedPiece piece in pieces.ConfigureAwait(false))
        {
            JsonNode? likely = logprobs && piece.Token is not null ? Probability(piece) : null;
            string how = $"after part {piece.Retrieved?.Chunk + 1}";
            List<JsonObject> read = [.. (piece.Retrieved?.Neighbors ?? []).Select(neighbor => Writer.Source(neighbor, how))];
            tokens += piece.Token is null ? 0 : 1;
            end = piece.End ?? end;
            answer.Append(piece.Text);
            if (streams && (piece.Text.Length > 0 || likely is not null || read.Count > 0))
            {
                JsonObject chunk = Chunk(new() { ["content"] = piece.Text }, null, likely is null ? null : new JsonArray(likely));
                if (read.Count > 0)
                {
                    chunk["sources"] = new JsonArray([.. read]);
                }

                await events.SendAsync(chunk, aborted).ConfigureAwait(false);
            }
            else if (!streams)
            {
                if (likely is not null)
                {
                    probabilities.Add(likely);
                }

                sources.AddRange(read);
            }
        }

        int prompted = writer.Count(prompt);
        JsonObject usage = new() { ["prompt_tokens"] = prompted, ["completion_tokens"] = tokens, ["total_tokens"] = prompted + tokens };
        string reason = end is GenerationEnd.EndOfText or GenerationEnd.StopString ? "stop" : "length";
        if (streams)
        {
            await events.SendAsync(Chunk([], reason, null), aborted).ConfigureAwait(false);
            if (counts)
            {
                JsonObject last = Head("chat.completion.chunk");
                last["choices"] = new JsonArray();
                last["usage"] = usage;
                await events.SendAsync(last, aborted).ConfigureAwait(false);
            }

            await events.EndAsync(aborted).ConfigureAwait(false);
            return;
        }

        JsonObject whole = Head("chat.completion");
        whole["choices"] = new JsonArray(new JsonObject
        {
            ["index"] = 0,
            ["message"] = new JsonObject { ["role"] = "assistant", ["content"] = answer.ToString(), ["refusal"] = null },
            ["logprobs"] = logprobs ? new JsonObject { ["content"] = probabilities, ["refusal"] = null } : null,
            ["finish_reason"] = reason,
        });
        whole["usage"] = usage;
        whole["sources"] = new JsonArray([.. sources]);
        await context.Response.WriteAsJsonAsync(whole, aborted).ConfigureAwait(false);

        int[] Prompt(IReadOnlyList<RetrievedNeighbor> passages) => template is null
            ? writer.Tokenizer.Encode(instructions + Asking.Prompt(passages, question, earlier))
            : Encode(template, [.. Conversation(passages, instructions, earlier, question)]);

        JsonObject Head(string kind) => new() { ["id"] = id, ["object"] = kind, ["created"] = created, ["model"] = model };

        JsonObject Chunk(JsonObject delta, string? reason, JsonArray? likely)
        {
            JsonObject chunk = Head("chat.completion.chunk");
            chunk["choices"] = new JsonArray(new JsonObject
            {
                ["index"] = 0,
                ["delta"] = delta,
                ["logprobs"] = likely is null ? null : new JsonObject { ["content"] = likely, ["refusal"] = null },
                ["finish_reason"] = reason,
            });
            return chunk;
        }
    }

    /// <summary>Refuses what would be ignored otherwise, and change what comes.</summary>
    private static void RequireSupported(RequestBody body)
    {
        foreach (string name in new[] { "tools", "functions", "audio", "logit_bias" })
        {
            if (body[name] is not (null or JsonArray { Count: 0 } or JsonObject { Count: 0 }))
            {
                throw new Fault(400, $"{name} is not supported: the model writes text, from the passages that it reads; leave it out.", "unsupported", name);
            }
        }

        if (body.Object("response_format") is { } format && RequestBody.TextOf(format["type"]) != "text")
        {
            throw new Fault(400, "response_format is not supported but for text; leave it out.", "unsupported", "response_format");
        }

        foreach ((string name, double only) in new[] { ("n", 1.0), ("best_of", 1), ("frequency_penalty", 0), ("presence_penalty", 0), ("min_p", 0) })
        {
            if (body[name] is { } said && !(said is JsonValue number && number.TryGetValue(out double value) && value == only))
            {
                throw new Fault(400, $"{name} is not supported but for {only:0}; leave it out.", "unsupported", name);
            }
        }

        if (body.Flag("ignore_eos"))
        {
            throw new Fault(400, "ignore_eos is not supported; ask for min_tokens.", "unsupported", "ignore_eos");
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
            return template.Encode(conversation, writer.Tokenizer);
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
            string text = role == "assistant" && message!["content"] is null ? "" : writer.AsCleaned(Content(message));
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
    private JsonObject Probability(GeneratedPiece piece)
    {
        JsonObject probability = Of(piece.Token!.Value, piece.LogProbability);
        probability["top_logprobs"] = new JsonArray([.. piece.Alternatives.Select(other => Of(other.Token, other.LogProbability))]);
        return probability;

        JsonObject Of(int token, double? logProbability) => new()
        {
            ["token"] = writer.Tokenizer.NameOf(token),
            ["logprob"] = logProbability,
            ["bytes"] = writer.Tokenizer.IsSpecial(token) ? null
                : new JsonArray([.. writer.Tokenizer.TokenBytes(token).ToArray().Select(one => JsonValue.Create(one))]),
        };
    }
}

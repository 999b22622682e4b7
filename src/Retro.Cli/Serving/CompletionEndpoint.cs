using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;
using Retro.Generation;

namespace Retro.Cli.Serving;

/// <summary>
/// What OpenAI's completions and chat completions have in common: texts that go on from prompts, each a choice of the answer, whole or as a stream; "sources"
/// beside the choices says what was read.
/// </summary>
/// <param name="writer">Writes the texts.</param>
internal abstract class CompletionEndpoint(Writer writer)
{
    private const int MostTexts = 128; // as many as OpenAI gives of a conversation

    // Other ways to choose tokens that servers take (Hugging Face's, llama.cpp's and what is built on them), and the numbers with which they choose nothing.
    private static readonly (string Name, double[] Neutral)[] s_otherChoices =
    [
        ("typical_p", [1]), ("tfs_z", [1]), ("repeat_penalty", [1]), ("top_a", [0]), ("top_n_sigma", [-1, 0]), ("epsilon_cutoff", [0]), ("eta_cutoff", [0]),
        ("mirostat", [0]), ("mirostat_mode", [0]), ("xtc_probability", [0]), ("dry_multiplier", [0]), ("no_repeat_ngram_size", [0]), ("dynatemp_range", [0]),
        ("smoothing_factor", [0]),
    ];

    /// <summary>Writes the texts.</summary>
    protected Writer Writer => writer;

    /// <summary>What an answer's id begins with.</summary>
    protected abstract string IdPrefix { get; }

    /// <summary>What kind of object an answer is, whole.</summary>
    protected abstract string Kind { get; }

    /// <summary>What kind of object an event of a stream is.</summary>
    protected virtual string EventKind => Kind;

    /// <summary>Whether the end of a text is told among its tokens.</summary>
    protected abstract bool TellsEnd { get; }

    /// <summary>Answers a request.</summary>
    public async Task AnswerAsync(HttpContext context)
    {
        RequestBody body = await RequestBody.ReadAsync(context, writer.Options.MostBytes).ConfigureAwait(false);
        string model = body.Required("model");
        if (model != writer.Options.Name)
        {
            throw new Fault(404, $"There is no model '{model}' here; ask for '{writer.Options.Name}'.", "model_not_found", "model");
        }

        int samples = Samples(body);
        RequireWritable(body, samples);
        Order order = Read(context, body);
        GenerationOptions settings = order.Settings with { Samples = samples, Beams = samples > 1 ? 1 : order.Settings.Beams };
        bool streams = body.Flag("stream"), counts = body.Object("stream_options")?.Flag("include_usage") ?? false;
        CancellationToken aborted = context.RequestAborted;
        using IDisposable turn = await writer.TakeTurnAsync(order.Prompts * samples, aborted).ConfigureAwait(false);
        (IReadOnlyList<Prompt> prompts, List<JsonObject> sources) = await order.PrepareAsync(aborted).ConfigureAwait(false);
        Answerer? asked = prompts is [{ Write: not null }] ? writer.Answerer : null;

        // What is wrong with a prompt is told before anything is sent.
        IAsyncEnumerable<(int Text, GeneratedPiece Piece)> pieces = prompts is [{ Write: { } write }]
            ? write(settings, aborted)
            : writer.Write([.. prompts.Select(prompt => prompt.Tokens)], settings, aborted);
        string id = $"{IdPrefix}-{Guid.NewGuid():N}";
        long created = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        EventStream events = new(context);
        Choice[] choices = [.. Enumerable.Range(0, prompts.Count * samples).Select(i => new Choice(i))];
        foreach (Choice choice in choices)
        {
            Prompt prompt = prompts[choice.Index / samples];
            choice.Add(prompt.Echo, prompt.Scores);
            choice.Length = Writer.Characters(prompt.Echo);
            if (streams && Opening(prompt) is { } opening)
            {
                JsonObject first = Event(Json(choice, opening, prompt.Scores, null));
                first["sources"] = new JsonArray([.. choice.Index == 0 ? sources : []]);
                await events.SendAsync(first, aborted).ConfigureAwait(false);
            }
        }

        int tokens = 0;
        await foreach ((int text, GeneratedPiece piece) in pieces.ConfigureAwait(false))
        {
            Choice choice = choices[text];
            TokenScore[] scores = order.Scores && (piece.Token ?? (TellsEnd ? piece.EndToken : null)) is { } token
                ? [new(token, piece.LogProbability, piece.Alternatives, choice.Length)]
                : [];
            choice.Add(piece.Text, scores);
            choice.Length += Writer.Characters(piece.TokenText);
            choice.End = piece.End ?? choice.End;
            tokens += piece.Token is null ? 0 : 1;

            // What was read for a prompt is said once for all its texts.
            JsonObject[] read = piece.Token is null && text % samples > 0 ? [] : Writer.Read(piece, choice.Told, asked);
            Array.ForEach(read, source => source["index"] = text);
            if (!streams)
            {
                sources.AddRange(read);
                continue;
            }

            if (piece.Text.Length > 0 || scores.Length > 0 || read.Length > 0)
            {
                JsonObject part = Event(Json(choice, Part(piece.Text), scores, null));
                if (read.Length > 0)
                {
                    part["sources"] = new JsonArray([.. read]);
                }

                await events.SendAsync(part, aborted).ConfigureAwait(false);
            }

            if (piece.End is not null)
            {
                await events.SendAsync(Event(Json(choice, Part(null), [], Reason(choice))), aborted).ConfigureAwait(false);
            }
        }

        int prompted = prompts.Sum(prompt => prompt.Count);
        JsonObject usage = new() { ["prompt_tokens"] = prompted, ["completion_tokens"] = tokens, ["total_tokens"] = prompted + tokens };
        if (!streams)
        {
            JsonObject whole = Head(Kind);
            whole["choices"] = new JsonArray([.. choices.Select(choice => Json(choice, Whole(choice.Text), choice.Scores, Reason(choice)))]);
            whole["usage"] = usage;
            whole["sources"] = new JsonArray([.. sources]);
            await context.Response.WriteAsJsonAsync(whole, aborted).ConfigureAwait(false);
            return;
        }

        if (counts)
        {
            JsonObject last = Head(EventKind);
            last["choices"] = new JsonArray();
            last["usage"] = usage;
            await events.SendAsync(last, aborted).ConfigureAwait(false);
        }

        await events.EndAsync(aborted).ConfigureAwait(false);

        JsonObject Head(string kind) => new() { ["id"] = id, ["object"] = kind, ["created"] = created, ["model"] = model };

        JsonObject Event(JsonObject choice)
        {
            JsonObject one = Head(EventKind);
            one["choices"] = new JsonArray(choice);
            if (counts)
            {
                one["usage"] = null; // as OpenAI has it, until all is counted
            }

            return one;
        }

        JsonObject Json(Choice choice, JsonObject content, IReadOnlyList<TokenScore> scores, string? reason)
        {
            content["index"] = choice.Index;
            content["logprobs"] = order.Scores && (scores.Count > 0 || !streams) ? Probabilities(scores) : null;
            content["finish_reason"] = reason;
            return content;
        }
    }

    /// <summary>Reads what is asked for; what is wrong with it is told before its turn.</summary>
    protected abstract Order Read(HttpContext context, RequestBody body);

    /// <summary>What a choice of a stream begins with; null: nothing.</summary>
    protected abstract JsonObject? Opening(Prompt prompt);

    /// <summary>The members of a choice of a stream.</summary>
    /// <param name="text">What comes; null: nothing comes any more.</param>
    protected abstract JsonObject Part(string? text);

    /// <summary>The members of a whole choice.</summary>
    protected abstract JsonObject Whole(string text);

    /// <summary>How probable tokens were.</summary>
    protected abstract JsonObject Probabilities(IReadOnlyList<TokenScore> scores);

    /// <summary>Refuses what would be ignored otherwise, and change what comes.</summary>
    /// <param name="body">The request.</param>
    /// <param name="names">Members that ask for something else than text.</param>
    protected static void RefuseUnlessEmpty(RequestBody body, params ReadOnlySpan<string> names)
    {
        foreach (string name in names)
        {
            bool isEmpty = body[name] switch
            {
                null or JsonArray { Count: 0 } or JsonObject { Count: 0 } => true,
                JsonValue value => (value.TryGetValue(out string? text) && text.Length == 0) || (value.TryGetValue(out bool flag) && !flag),
                _ => false,
            };
            if (!isEmpty)
            {
                throw new Fault(400, $"{name} is not supported, and would change what comes; leave it out.", "unsupported", name);
            }
        }
    }

    /// <summary>Refuses more texts than are written at once, before any work is done for their prompts.</summary>
    protected static void RequireFew(RequestBody body, int prompts)
    {
        int samples = Samples(body);
        if (prompts > MostTexts / samples)
        {
            throw new Fault(400, $"{prompts} prompts of {samples} texts each are more than {MostTexts} texts; ask for fewer at once.", "out_of_range", "n");
        }
    }

    private static int Samples(RequestBody body) => (int)(body.Whole("n", 1, MostTexts) ?? 1);

    private static void RequireWritable(RequestBody body, int samples)
    {
        // What vLLM and SGLang take besides: an answer of another form, or found otherwise.
        RefuseUnlessEmpty(
            body, "guided_choice", "guided_json", "guided_regex", "guided_grammar", "structured_outputs", "logits_processors", "use_beam_search",
            "include_stop_str_in_output", "prompt_logprobs", "truncate_prompt_tokens", "return_token_ids", "return_tokens_as_token_ids", "grammar",
            "json_schema", "regex", "ebnf", "stop_regex", "no_stop_trim", "custom_logit_processor");
        foreach ((string name, double[] neutral) in s_otherChoices)
        {
            if (body[name] is { } said && !(said is JsonValue value && value.TryGetValue(out double number) && neutral.Contains(number)))
            {
                throw new Fault(400, $"{name} is not supported, and would change what comes; leave it out.", "unsupported", name);
            }
        }

        if (body["skip_special_tokens"] is not null && !body.Flag("skip_special_tokens"))
        {
            throw new Fault(400, "Special tokens are never shown; leave skip_special_tokens out.", "unsupported", "skip_special_tokens");
        }

        if (body.Object("response_format") is { } format && RequestBody.TextOf(format["type"]) != "text")
        {
            throw new Fault(400, "response_format is not supported but for text; leave it out.", "unsupported", "response_format");
        }

        if (body.Whole("best_of", 1, long.MaxValue) > samples)
        {
            throw new Fault(400, $"best_of is not supported above n, {samples}; leave it out, and ask for n texts.", "unsupported", "best_of");
        }

        if (body.Flag("ignore_eos"))
        {
            throw new Fault(400, "ignore_eos is not supported; ask for min_tokens.", "unsupported", "ignore_eos");
        }
    }

    private static string Reason(Choice choice) => choice.End is GenerationEnd.EndOfText or GenerationEnd.StopString ? "stop" : "length";

    /// <summary>What a request asks for.</summary>
    /// <param name="Settings">How the texts are written.</param>
    /// <param name="Scores">Whether tokens come with their probabilities.</param>
    /// <param name="Prompts">How many prompts there will be; several are refused where they are too many (<see cref="RequireFew"/>).</param>
    /// <param name="PrepareAsync">Makes the prompts in the request's turn, and says what was read for them.</param>
    protected sealed record Order(
        GenerationOptions Settings,
        bool Scores,
        int Prompts,
        Func<CancellationToken, Task<(IReadOnlyList<Prompt> Prompts, List<JsonObject> Sources)>> PrepareAsync);

    /// <summary>What texts go on from.</summary>
    /// <param name="Tokens">Its ids; none where it writes its texts itself.</param>
    /// <param name="Count">Tokens that are read of it.</param>
    /// <param name="Echo">What a choice says of it before its own text.</param>
    /// <param name="Scores">The tokens of that, with their probabilities.</param>
    protected sealed record Prompt(int[] Tokens, int Count, string Echo, IReadOnlyList<TokenScore> Scores)
    {
        /// <summary>Writes the texts of a prompt that is alone; null: they go on from it as it is.</summary>
        public Func<GenerationOptions, CancellationToken, IAsyncEnumerable<(int Text, GeneratedPiece Piece)>>? Write { get; init; }
    }

    /// <summary>A token, and how probable it was.</summary>
    /// <param name="Token">Its id.</param>
    /// <param name="LogProbability">Its log-probability; null: nothing predicts it.</param>
    /// <param name="Alternatives">The most probable tokens in its place.</param>
    /// <param name="Offset">Characters of the choice before it.</param>
    protected sealed record TokenScore(int Token, double? LogProbability, IReadOnlyList<TokenAlternative> Alternatives, int Offset);

    /// <summary>A choice while it is written.</summary>
    private sealed class Choice(int index)
    {
        private readonly StringBuilder _text = new();
        private readonly List<TokenScore> _scores = [];

        public int Index => index;

        public string Text => _text.ToString();

        /// <summary>Characters of its tokens so far, of which what may be the beginning of a stop string is not yet text.</summary>
        public int Length { get; set; }

        public IReadOnlyList<TokenScore> Scores => _scores;

        public GenerationEnd End { get; set; }

        /// <summary>The chunks that were told as sources.</summary>
        public HashSet<long> Told { get; } = [];

        public void Add(string text, IReadOnlyList<TokenScore> scores)
        {
            _text.Append(text);
            _scores.AddRange(scores);
        }
    }
}

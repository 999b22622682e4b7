using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;
using Retro.Generation;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Cli.Serving;

/// <summary>Writes text for requests, each in its turn.</summary>
/// <param name="opened">The model, and what it reads from.</param>
/// <param name="generator">Writes with it.</param>
/// <param name="answerer">Asks it questions where it was fitted to answer them; null: it was not.</param>
/// <param name="defaults">How text is written where a request says nothing.</param>
/// <param name="options">How it is served.</param>
/// <param name="turns">How many texts are written at once.</param>
internal sealed class Writer(
    ReadingOptions.Opened opened, RetroGenerator generator, Answerer? answerer, GenerationOptions defaults, ServingOptions options, Turns turns)
{
    /// <summary>How it is served.</summary>
    public ServingOptions Options => options;

    /// <summary>Asks the model questions where it was fitted to answer them; null: it was not.</summary>
    public Answerer? Answerer => answerer;

    /// <summary>The model's tokenizer.</summary>
    public RetroTokenizer Tokenizer => opened.Tokenizer;

    /// <summary>The largest id that a prompt may hold: one of the tokenizer's for which the model, which may lack special ones, has a row.</summary>
    public int MostId => Math.Min(Tokenizer.VocabularySize, opened.Trained.Model.Config.VocabularySize) - 1;

    /// <summary>A text that is asked with, in the form of the database's own.</summary>
    public string AsCleaned(string text) => opened.AsCleaned(text);

    /// <summary>The settings of a request, by the names that OpenAI gave them; what may be seen is by who sent it, and nothing in its body.</summary>
    /// <param name="context">The request.</param>
    /// <param name="body">Its body.</param>
    /// <param name="leastTokens">Tokens that may be asked for at least.</param>
    /// <param name="stops">What ends a text beside what the request says.</param>
    public GenerationOptions Settings(HttpContext context, RequestBody body, int leastTokens, params string[] stops)
    {
        long most = body.Whole("max_completion_tokens", leastTokens, options.MostTokens) ?? body.Whole("max_tokens", leastTokens, options.MostTokens)
            ?? Math.Min(defaults.MaximumNewTokens, options.MostTokens);
        GenerationOptions settings = defaults with
        {
            Labels = Caller.Of(context).Labels,
            MaximumNewTokens = (int)most,
            MinimumNewTokens = (int)(body.Whole("min_tokens", 0, most) ?? 0),
            Temperature = body.Number("temperature", 0, 100) ?? defaults.Temperature,
            TopK = (int)Math.Max(0, body.Whole("top_k", -1, int.MaxValue) ?? defaults.TopK), // -1 is vLLM's word for all
            TopP = body.Number("top_p", 0, 1) ?? defaults.TopP,
            MinP = body.Number("min_p", 0, 1) ?? defaults.MinP,
            RepetitionPenalty = body.Number("repetition_penalty", 0.1, 10) ?? defaults.RepetitionPenalty,
            FrequencyPenalty = body.Number("frequency_penalty", -2, 2) ?? defaults.FrequencyPenalty,
            PresencePenalty = body.Number("presence_penalty", -2, 2) ?? defaults.PresencePenalty,
            LogitBias = body.NumbersById("logit_bias", Tokenizer.VocabularySize, -100, 100) ?? defaults.LogitBias,
            Seed = body.Whole("seed", long.MinValue, long.MaxValue) ?? options.Seed ?? Random.Shared.NextInt64(),
            Stop = [.. defaults.Stop, .. stops, .. body.Texts("stop", 16)],
            StopTokens = [.. defaults.StopTokens, .. body.Ids("stop_token_ids", Tokenizer.VocabularySize)],
            BannedStrings = [.. defaults.BannedStrings, .. body.Texts("bad_words", 128)],
            LogitsProcessor = body.Ids("allowed_token_ids", Tokenizer.VocabularySize) is { Length: > 0 } allowed ? Only(allowed) : defaults.LogitsProcessor,
        };
        return settings.TakesBeams ? settings : settings with { Beams = 1 }; // which a client knows nothing of
    }

    /// <summary>Passages for a question, in the turn of whoever asks.</summary>
    public IReadOnlyList<RetrievedNeighbor> Find(string question, GenerationOptions settings, CancellationToken cancellationToken)
        => Asking.Find(opened, question, options.InPrompt, settings, cancellationToken);

    /// <summary>Passages, in the turn of whoever asks: of those that are found as many, the best first, as a prompt has room for.</summary>
    /// <param name="find">Finds them.</param>
    /// <param name="count">How many tokens are read of a prompt with some of them; with none it fits.</param>
    /// <param name="settings">How it is gone on with.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    public Task<IReadOnlyList<T>> FindAsync<T>(
        Func<IReadOnlyList<T>> find, Func<IReadOnlyList<T>, int> count, GenerationOptions settings, CancellationToken cancellationToken)
        => Task.Run(() => Asking.Fitting(find(), count, MostPrompt(settings)), cancellationToken);

    /// <summary>Waits for the turn of a request for so many texts.</summary>
    public Task<IDisposable> TakeTurnAsync(int texts, CancellationToken cancellationToken) => turns.TakeAsync(texts, cancellationToken);

    /// <summary>Goes on with prompts, each by as many texts as the settings say.</summary>
    public IAsyncEnumerable<(int Text, GeneratedPiece Piece)> Write(
        IReadOnlyList<int[]> prompts, GenerationOptions settings, CancellationToken cancellationToken)
        => generator.GenerateAsync([.. prompts.Select(prompt => (ReadOnlyMemory<int>)prompt)], settings, cancellationToken);

    /// <summary>Tells how probable the tokens of a prompt are.</summary>
    public Task<IReadOnlyList<ScoredToken>> ScoreAsync(int[] prompt, GenerationOptions settings, CancellationToken cancellationToken)
        => generator.ScoreAsync(prompt, settings, cancellationToken);

    /// <summary>Characters of a text, as clients in other languages count them: those beyond 16 bits are one, too.</summary>
    public static int Characters(string text) => text.Length - text.Count(char.IsLowSurrogate);

    /// <summary>Refuses a prompt that is too long, before its turn; passages that were found for it come where there is room.</summary>
    /// <param name="tokens">Tokens that are read of it.</param>
    /// <param name="settings">How it is gone on with.</param>
    /// <exception cref="Fault">It is.</exception>
    public void RequireFits(int tokens, GenerationOptions settings)
    {
        if (tokens > MostPrompt(settings))
        {
            throw new Fault(400, $"The prompt has {tokens} tokens, and {MostPrompt(settings)} are allowed; shorten it.", "context_length_exceeded");
        }
    }

    /// <summary>Tokens that a prompt may have: as many as are allowed, and as the model reads before those that are to be written at least.</summary>
    private int MostPrompt(GenerationOptions settings) => Math.Min(options.MostPrompt, generator.LongestPrompt(settings) ?? int.MaxValue);

    /// <summary>Rules out all tokens but some.</summary>
    private static LogitsProcessor Only(int[] tokens)
    {
        HashSet<int> allowed = [.. tokens];
        return (_, logits) =>
        {
            bool mayOne = false;
            for (int id = 0; id < logits.Length; id++)
            {
                logits[id] = allowed.Contains(id) ? logits[id] : float.NegativeInfinity;
                mayOne |= !float.IsNegativeInfinity(logits[id]);
            }

            if (!mayOne)
            {
                throw new Fault(400, "None of allowed_token_ids may come: they stand for no text, or are banned.", "invalid_value", "allowed_token_ids");
            }
        };
    }

    /// <summary>How many tokens the model reads of a prompt.</summary>
    public int Count(int[] prompt) => generator.CountTokens(prompt);

    /// <summary>What was read, for programs.</summary>
    /// <param name="neighbor">What was read.</param>
    /// <param name="how">Where.</param>
    public static JsonObject Source(RetrievedNeighbor neighbor, string how)
    {
        JsonObject json = ReadingOptions.Json(neighbor);
        json["read"] = how;
        return json;
    }

    /// <summary>
    /// The sources of a piece of a text, for programs: what was retrieved after a part of the text, what a token was copied from, or, of what was fitted to
    /// answer from its prompt, the passages there.
    /// </summary>
    /// <param name="piece">The piece.</param>
    /// <param name="told">Chunks that were told, to which those of this piece are added.</param>
    /// <param name="asked">What answers; null: a text is gone on with.</param>
    public static JsonObject[] Read(GeneratedPiece piece, ISet<long> told, Answerer? asked)
        => [.. piece.Sources(told).Select(source =>
        {
            JsonObject json = asked is null ? ReadingOptions.Json(source) : Answerer.Json(source);
            json["read"] = asked is { ReadsNeighbors: false } ? Asking.InPrompt
                : piece.Retrieved is { } retrieved && retrieved.Neighbors.Contains(source) ? $"after part {retrieved.Chunk + 1}"
                : "copied from";
            return json;
        })];

    /// <summary>The page's own way to write: events with text, with what was read, and at last with the whole text.</summary>
    public async Task WriteAsync(HttpContext context)
    {
        RequestBody body = await RequestBody.ReadAsync(context, options.MostBytes).ConfigureAwait(false);
        string text = AsCleaned(body.Required("text"));
        bool asks = body.Flag("ask");
        if (asks && string.IsNullOrWhiteSpace(text))
        {
            throw new Fault(400, "The question is empty; ask something.", "empty", "text");
        }

        Answerer? asked = asks ? answerer : null;
        bool inPrompt = asks && asked is null;
        text = asked?.Question(text) ?? text;
        Func<IReadOnlyList<RetrievedNeighbor>, string> prompted = passages => inPrompt ? Asking.Prompt(passages, text) : text;
        GenerationOptions settings = Settings(context, body, leastTokens: 1, inPrompt ? Asking.Stops : []) with { SkipsLeadingSpace = asks };
        CancellationToken aborted = context.RequestAborted;
        EventStream events = new(context);
        RequireFits(asked?.Count(text, []) ?? Count(Tokenizer.Encode(prompted([]))), settings); // before anything is looked for
        using IDisposable turn = await TakeTurnAsync(1, aborted).ConfigureAwait(false);
        IReadOnlyList<RetrievedNeighbor> passages = !inPrompt ? []
            : await FindAsync(() => Find(text, settings, aborted), some => Count(Tokenizer.Encode(prompted(some))), settings, aborted).ConfigureAwait(false);
        IReadOnlyList<long> read = asked is null ? []
            : await FindAsync(() => asked.Find(text, settings, aborted), some => asked.Count(text, some), settings, aborted).ConfigureAwait(false);
        string prompt = prompted(passages);

        // Faults are told before it begins.
        IAsyncEnumerable<(int Text, GeneratedPiece Piece)> pieces = asked is null
            ? Write([Tokenizer.Encode(prompt)], settings, aborted)
            : asked.WriteAsync(text, read, settings, aborted);
        foreach (RetrievedNeighbor passage in passages)
        {
            await events.SendAsync(new() { ["source"] = Source(passage, Asking.InPrompt) }, aborted).ConfigureAwait(false);
        }

        int tokens = 0;
        HashSet<long> seen = [];
        await foreach ((_, GeneratedPiece piece) in pieces.ConfigureAwait(false))
        {
            tokens += piece.Token is null ? 0 : 1;
            foreach (JsonObject source in Read(piece, seen, asked))
            {
                await events.SendAsync(new() { ["source"] = source }, aborted).ConfigureAwait(false);
            }

            if (piece.Text.Length > 0)
            {
                await events.SendAsync(new() { ["text"] = Workflow.Printable.Of(piece.Text) }, aborted).ConfigureAwait(false);
            }

            if (piece.End is { } end)
            {
                // What was read with its passages is not the text that can be looked at token by token.
                await events.SendAsync(new() { ["end"] = end.ToString(), ["tokens"] = tokens, ["prompt"] = asked is null ? prompt : null }, aborted)
                    .ConfigureAwait(false);
            }
        }
    }
}

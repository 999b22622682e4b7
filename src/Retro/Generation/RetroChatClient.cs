using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.AI;
using Retro.Search;

namespace Retro.Generation;

/// <summary>
/// A generator as a chat client, with streaming, usage, and what was read: <see cref="SourcesKey"/> among the additional properties of a response is an
/// <see cref="IReadOnlyList{T}"/> of <see cref="RetrievedNeighbor"/>, each once, and so it is of its message and of the last update; an update before, in which
/// something was read, has that alone.
/// </summary>
/// <remarks>
/// Of the options, those count that a generator has: MaxOutputTokens, Temperature, TopP, TopK, FrequencyPenalty, PresencePenalty, Seed, StopSequences,
/// Instructions, which stand as a system message before the others, and the numbers "repetition_penalty" and "min_p" among the additional properties. Without a
/// Seed it is that of the defaults, so that the same messages have the same answer again. Beams of the defaults are for requests that draw nothing and change
/// no logits. Safe for concurrent use where the generator is.
/// </remarks>
public sealed class RetroChatClient : IChatClient
{
    /// <summary>The additional property that holds what was read.</summary>
    public const string SourcesKey = "sources";

    private static readonly string[] s_plainStops = ["\nUser:", "\nSystem:"];

    private readonly RetroGenerator _generator;
    private readonly Func<IReadOnlyList<ChatMessage>, string>? _template;
    private readonly GenerationOptions _defaults;
    private readonly string? _modelId;

    /// <summary>Creates a client.</summary>
    /// <param name="generator">Writes the answers; it stays the caller's.</param>
    /// <param name="template">
    /// Makes a prompt of the messages, such as <see cref="ChatTemplate.Render"/> of the model's own; the special tokens that it writes count as such, those in
    /// a message do not. Null: a plain transcript, "User: ...", which ends with "Assistant:".
    /// </param>
    /// <param name="defaults">What holds where the options of a request say nothing; null: the defaults of <see cref="GenerationOptions"/>.</param>
    /// <param name="modelId">What the model is called in responses, whatever is asked for: it is the one that answers. Null: as it is asked for.</param>
    /// <exception cref="RetroOptionsException">The defaults contradict themselves, or ask for several texts.</exception>
    public RetroChatClient(
        RetroGenerator generator, Func<IReadOnlyList<ChatMessage>, string>? template = null, GenerationOptions? defaults = null, string? modelId = null)
    {
        ArgumentNullException.ThrowIfNull(generator);
        _generator = generator;
        _template = template;
        _defaults = (defaults ?? new()).Validate();
        OptionFaults faults = new(nameof(GenerationOptions));
        faults.Require(_defaults.Samples == 1, _defaults.Samples, "1: a response is one text");
        faults.Throw();
        _modelId = modelId;
    }

    /// <summary>A plain transcript of messages, which a model without a template goes on with.</summary>
    /// <param name="messages">The messages.</param>
    /// <returns>A line for each, and "Assistant:".</returns>
    /// <exception cref="NotSupportedException">A message holds something else than text, such as a picture; reasoning is passed over.</exception>
    public static string Transcript(IReadOnlyList<ChatMessage> messages)
    {
        ChatPrompt.RequireMessages(messages);
        StringBuilder text = new();
        foreach (ChatMessage message in messages)
        {
            string role = message.Role.Value;
            text.Append(char.ToUpperInvariant(role[0])).Append(role.AsSpan(1)).Append(": ").Append(ChatPrompt.TextOf(message).Trim()).Append('\n');
        }

        return text.Append("Assistant:").ToString();
    }

    /// <inheritdoc/>
    /// <exception cref="NotSupportedException">
    /// Tools or an answer in JSON are asked for, or a message holds something else than text, such as a picture or what a tool gave. Reasoning is passed over.
    /// </exception>
    /// <exception cref="ArgumentException">An additional property that is to be a number is none.</exception>
    public async Task<ChatResponse> GetResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        List<ChatResponseUpdate> updates = [];
        await foreach (ChatResponseUpdate update in GetStreamingResponseAsync(messages, options, cancellationToken).ConfigureAwait(false))
        {
            updates.Add(update);
        }

        ChatResponse response = updates.ToChatResponse();
        response.AdditionalProperties = new() { [SourcesKey] = updates[^1].AdditionalProperties![SourcesKey] };
        return response;
    }

    /// <inheritdoc/>
    /// <exception cref="NotSupportedException">
    /// Tools or an answer in JSON are asked for, or a message holds something else than text, such as a picture or what a tool gave. Reasoning is passed over.
    /// </exception>
    /// <exception cref="ArgumentException">An additional property that is to be a number is none.</exception>
    public IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(messages);
        if (options?.Tools is { Count: > 0 } || options?.ResponseFormat is ChatResponseFormatJson)
        {
            throw new NotSupportedException("The model writes text: leave out Tools, and ResponseFormat or set it to text.");
        }

        List<ChatMessage> all = [.. messages];
        ChatPrompt.RequireMessages(all);
        if (options?.Instructions is { Length: > 0 } instructions)
        {
            all.Insert(0, new ChatMessage(ChatRole.System, instructions));
        }

        return all.Count > 0
            ? Stream(Prompt(all), Generation(options), _modelId ?? options?.ModelId, cancellationToken)
            : throw new ArgumentException("There is no message to answer.", nameof(messages));
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType == typeof(ChatClientMetadata) ? new ChatClientMetadata("retro", defaultModelId: _modelId)
            : serviceType.IsInstanceOfType(this) ? this
            : serviceType.IsInstanceOfType(_generator) ? _generator
            : null;
    }

    /// <summary>Nothing: the generator is the caller's.</summary>
    public void Dispose()
    {
    }

    // What is said is cleaned, and not what a template makes of it: cleaning takes characters out, and what is left could be a special token then.
    private int[] Prompt(List<ChatMessage> messages) => _template is null
        ? _generator.Encode(Transcript(messages))
        : ChatPrompt.Encode(_generator.Tokenizer, [.. messages.Select(message => ChatPrompt.With(message, _generator.AsCleaned))], _template);

    private GenerationOptions Generation(ChatOptions? options)
    {
        int longest = options?.MaxOutputTokens ?? _defaults.MaximumNewTokens;
        GenerationOptions settings = _defaults with
        {
            MaximumNewTokens = longest,
            MinimumNewTokens = Math.Min(_defaults.MinimumNewTokens, longest),
            Temperature = options?.Temperature ?? _defaults.Temperature,
            TopP = options?.TopP ?? _defaults.TopP,
            TopK = options?.TopK ?? _defaults.TopK,
            Seed = options?.Seed ?? _defaults.Seed,
            MinP = Number(options?.AdditionalProperties, "min_p") ?? _defaults.MinP,
            RepetitionPenalty = Number(options?.AdditionalProperties, "repetition_penalty") ?? _defaults.RepetitionPenalty,
            FrequencyPenalty = options?.FrequencyPenalty ?? _defaults.FrequencyPenalty,
            PresencePenalty = options?.PresencePenalty ?? _defaults.PresencePenalty,
            SkipsLeadingSpace = true, // what a template ends with wants a space
            Stop = [.. _defaults.Stop, .. _template is null ? s_plainStops : [], .. options?.StopSequences ?? []],
        };
        return settings.TakesBeams ? settings : settings with { Beams = 1 };
    }

    private async IAsyncEnumerable<ChatResponseUpdate> Stream(
        int[] prompt, GenerationOptions options, string? modelId, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        string id = Guid.NewGuid().ToString("N");
        int tokens = 0;
        HashSet<long> seen = [];
        List<RetrievedNeighbor> sources = [];
        await foreach (GeneratedPiece piece in _generator.GenerateAsync(prompt.AsMemory(), options, cancellationToken).ConfigureAwait(false))
        {
            tokens += piece.Token is null ? 0 : 1;
            IReadOnlyList<RetrievedNeighbor> read = piece.Sources(seen);
            sources.AddRange(read);
            if (piece.Text.Length > 0 || read.Count > 0 || piece.End is not null)
            {
                ChatResponseUpdate update = new(ChatRole.Assistant, piece.Text) { ResponseId = id, MessageId = id, ModelId = modelId };
                if (read.Count > 0 || piece.End is not null)
                {
                    // Whoever puts updates together keeps, of each property, the last one's: that has all.
                    update.AdditionalProperties = new() { [SourcesKey] = piece.End is null ? read : [.. GeneratedText.Distinct(sources)] };
                }

                if (piece.End is { } end)
                {
                    update.FinishReason = end is GenerationEnd.EndOfText or GenerationEnd.StopString ? ChatFinishReason.Stop : ChatFinishReason.Length;
                    int asked = _generator.CountTokens(prompt);
                    UsageDetails usage = new() { InputTokenCount = asked, OutputTokenCount = tokens, TotalTokenCount = asked + tokens };
                    update.Contents.Add(new UsageContent(usage));
                }

                yield return update;
            }
        }
    }

    /// <summary>A number among additional properties, also as it comes from options that were read of JSON.</summary>
    private static double? Number(AdditionalPropertiesDictionary? properties, string key)
        => properties?.TryGetValue(key, out object? value) != true ? null
            : value is null or JsonElement { ValueKind: JsonValueKind.Null } ? null
            : value is JsonElement { ValueKind: JsonValueKind.Number } json ? json.GetDouble()
            : value is JsonValue own && double.TryParse(own.ToJsonString(), NumberStyles.Float, CultureInfo.InvariantCulture, out double said) ? said
            : value is not (bool or JsonElement or JsonNode) && properties.TryGetValue(key, out double number) ? number
            : throw new ArgumentException($"The additional property \"{key}\" has to be a number, and {value} came; give one, or leave it out.");
}

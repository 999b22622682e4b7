using System.Text.Json;
using Microsoft.Extensions.AI;
using Retro.Generation.Templates;
using Retro.Tokenizers;

namespace Retro.Generation;

/// <summary>
/// How a pretrained decoder wants a conversation written: the <c>chat_template</c> of its <c>tokenizer_config.json</c>, or its <c>chat_template.jinja</c>, a
/// template in the part of Jinja that such templates use, rendered as transformers does (trim_blocks and lstrip_blocks).
/// </summary>
/// <remarks>Safe for concurrent use.</remarks>
public sealed class ChatTemplate
{
    private const string TokenizerConfig = WordPiece.ConfigurationFile,
        SpecialTokens = GenerationFiles.SpecialTokensFile,
        TemplateFile = GenerationFiles.TemplateFile;

    private readonly JinjaTemplate _template;
    private readonly Dictionary<string, string> _tokens;
    private readonly Dictionary<string, object?> _variables = [];

    /// <summary>Reads a template.</summary>
    /// <param name="template">The template.</param>
    /// <param name="tokens">Special tokens by the names that it has for them, such as bos_token; null: none.</param>
    /// <exception cref="RetroException">It is no template, or has what is not supported.</exception>
    public ChatTemplate(string template, IReadOnlyDictionary<string, string>? tokens = null)
    {
        ArgumentNullException.ThrowIfNull(template);
        _template = JinjaTemplate.Parse(template);
        _tokens = new(tokens ?? new Dictionary<string, string>(), StringComparer.Ordinal);
    }

    private ChatTemplate(ChatTemplate other, IReadOnlyDictionary<string, object?> variables)
    {
        (_template, _tokens, _variables) = (other._template, other._tokens, new(other._variables, StringComparer.Ordinal));
        foreach ((string name, object? value) in variables)
        {
            _variables[name] = name is not ("messages" or "add_generation_prompt") ? JinjaValues.Of(value)
                : throw new ArgumentException($"\"{name}\" is what a conversation is written with; leave it out.", nameof(variables));
        }
    }

    /// <summary>The same template with what it asks for by name, such as <c>enable_thinking</c>, elsewhere called chat_template_kwargs.</summary>
    /// <param name="variables">
    /// Texts, numbers, truth values, null, or lists and dictionaries by names of these; or all of that as JSON. They come before what the model's files say,
    /// and what the template does not ask for has no effect.
    /// </param>
    /// <exception cref="ArgumentException">A value is something else, or a name is that of the conversation.</exception>
    public ChatTemplate With(IReadOnlyDictionary<string, object?> variables)
    {
        ArgumentNullException.ThrowIfNull(variables);
        return new(this, variables);
    }

    /// <summary>Reads the template of a model.</summary>
    /// <param name="folder">The model's folder.</param>
    /// <returns>The template; null where it has none.</returns>
    /// <exception cref="RetroException">A file is damaged, or the template has what is not supported.</exception>
    public static ChatTemplate? Load(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        string special = Path.Combine(folder, SpecialTokens), config = Path.Combine(folder, TokenizerConfig), file = Path.Combine(folder, TemplateFile);
        Dictionary<string, string> tokens = [];
        string? template = null;
        string read = SpecialTokens;
        bool hasFile = File.Exists(file); // before which the configuration's do not count
        try
        {
            if (File.Exists(special))
            {
                using JsonDocument json = Utf8Json.Parse(SmallFile.Read(special, SmallFile.Configuration));
                AddTokens(json.RootElement);
            }

            read = TokenizerConfig;
            if (File.Exists(config))
            {
                using JsonDocument json = Utf8Json.Parse(SmallFile.Read(config, SmallFile.Configuration));
                AddTokens(json.RootElement); // which win over the older file's
                template = !hasFile && json.RootElement.TryGetProperty("chat_template", out JsonElement said) ? TemplateText(said) : null;
            }

            read = TemplateFile;
            template = hasFile ? SmallFile.ReadText(file, SmallFile.Configuration) : template;
        }
        catch (Exception fault) when (fault is JsonException or IOException or UnauthorizedAccessException or InvalidOperationException or KeyNotFoundException)
        {
            throw new RetroException($"The chat template of {folder} cannot be read ({fault.Message}); fix {read}.", fault);
        }

        return template is null ? null : new(template, tokens);

        void AddTokens(JsonElement root)
        {
            foreach (JsonProperty property in root.EnumerateObject())
            {
                if (property.Name.EndsWith("_token", StringComparison.Ordinal) && TokenText(property.Value) is { } text)
                {
                    tokens[property.Name] = text;
                }
            }
        }
    }

    /// <summary>Writes a conversation, up to where the assistant begins to speak.</summary>
    /// <param name="messages">The messages.</param>
    /// <returns>The prompt, as transformers writes it: with the special tokens that the template has, one that begins a text among them.</returns>
    /// <exception cref="RetroException">The template refuses the conversation, or does what is not supported.</exception>
    /// <exception cref="NotSupportedException">A message holds something else than text, such as a picture; reasoning is passed over.</exception>
    public string Render(IReadOnlyList<ChatMessage> messages)
    {
        ChatPrompt.RequireMessages(messages);
        Dictionary<string, object?> values = new(StringComparer.Ordinal)
        {
            ["messages"] = messages.Select(message => (object?)new Dictionary<string, object?>(StringComparer.Ordinal)
            {
                ["role"] = message.Role.Value, ["content"] = ChatPrompt.TextOf(message),
            }).ToList(),
            ["add_generation_prompt"] = true,
            // As transformers names them where there are none: defined, and none.
            ["tools"] = null,
            ["documents"] = null,
        };
        foreach ((string name, string token) in _tokens)
        {
            values[name] = token;
        }

        foreach ((string name, object? value) in _variables)
        {
            values[name] = JinjaValues.Of(value); // a template may change a list
        }

        return _template.Render(values);
    }

    /// <summary>Writes a conversation, up to where the assistant begins to speak, as the model was trained to read it.</summary>
    /// <param name="messages">The messages.</param>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="begun">What the assistant has begun to say, which the model goes on with; empty: nothing.</param>
    /// <returns>
    /// The prompt's ids, for <see cref="RetroGenerator.GenerateAsync(ReadOnlyMemory{int}, GenerationOptions?, CancellationToken)"/>: of what
    /// <see cref="Render"/> gives, with the special tokens that the template writes, one that begins a text among them. Those that a message holds are encoded
    /// as the characters they are.
    /// </returns>
    /// <exception cref="RetroException">
    /// The template refuses the conversation, does what is not supported, or writes a special token of the model's files that the tokenizer does not have; or
    /// what it was given (<see cref="With"/>) spells a special token.
    /// </exception>
    /// <exception cref="NotSupportedException">A message holds something else than text, such as a picture; reasoning is passed over.</exception>
    public int[] Encode(IReadOnlyList<ChatMessage> messages, RetroTokenizer tokenizer, string begun = "")
    {
        ChatPrompt.RequireMessages(messages);
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(begun);
        string[] given = [.. _variables.Values.SelectMany(Texts)];
        if (tokenizer.SpecialTexts.FirstOrDefault(token => token.Length > 0 && Array.Exists(given, text => text.Contains(token, StringComparison.Ordinal)))
            is { } spelled)
        {
            throw new RetroException($"What the chat template was given spells the special token \"{spelled}\", which it alone writes; leave it out.");
        }

        return begun.Length == 0
            ? ChatPrompt.Encode(tokenizer, messages, Render)
            : ChatPrompt.Encode(tokenizer, [.. messages, new(ChatRole.Assistant, begun)], all => Render([.. all.SkipLast(1)]) + all[^1].Text);
    }

    private static IEnumerable<string> Texts(object? value) => value switch
    {
        string text => [text],
        Dictionary<string, object?> members => members.Keys.Concat(members.Values.SelectMany(Texts)),
        List<object?> items => items.SelectMany(Texts),
        _ => [],
    };

    private static string? TokenText(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => value.GetString(),
        JsonValueKind.Object when value.TryGetProperty("content", out JsonElement content) => content.GetString(),
        _ => null,
    };

    /// <summary>One template, or that of several which is called "default": the others are for tools or documents, and which is meant nothing says.</summary>
    private static string? TemplateText(JsonElement value)
    {
        if (value.ValueKind is JsonValueKind.String or JsonValueKind.Null)
        {
            return value.GetString();
        }

        (string? Name, string? Template)[] all =
        [
            .. value.EnumerateArray().Select(one => (one.GetProperty("name").GetString(), one.GetProperty("template").GetString())),
        ];
        return all.Length == 0 || all.Any(one => one.Name == "default")
            ? all.FirstOrDefault(one => one.Name == "default").Template
            : throw new JsonException(
                $"it has the chat templates {string.Join(", ", all.Select(one => $"\"{one.Name}\""))} and none of the name \"default\"; write the one that is "
                    + $"meant into {TemplateFile}");
    }
}

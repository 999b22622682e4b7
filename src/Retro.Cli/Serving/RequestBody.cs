using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;

namespace Retro.Cli.Serving;

/// <summary>The JSON object of a request, whose members are asked for by kind and range.</summary>
internal sealed class RequestBody
{
    private readonly JsonObject _json;

    private RequestBody(JsonObject json) => _json = json;

    /// <summary>Reads a request's body.</summary>
    /// <exception cref="Fault">It is no JSON object, of another type, or too large.</exception>
    public static async Task<RequestBody> ReadAsync(HttpContext context, long mostBytes)
    {
        // Asked for even where it could be guessed: a page of another site cannot send JSON without being asked first.
        if (!context.Request.HasJsonContentType())
        {
            throw new Fault(415, $"Send application/json, not {context.Request.ContentType ?? "a body of no type"}.");
        }

        try
        {
            JsonNode? json = await JsonNode.ParseAsync(
                context.Request.Body, documentOptions: new() { MaxDepth = 32 }, cancellationToken: context.RequestAborted).ConfigureAwait(false);
            RequireRead(json);
            return new(json as JsonObject ?? throw new Fault(400, "The body has to be a JSON object.", "invalid_json"));
        }
        catch (InvalidOperationException)
        {
            throw new Fault(400, "The body holds text that is none: bytes that are no UTF-8, or half a surrogate pair.", "invalid_json");
        }
        catch (JsonException fault)
        {
            throw new Fault(400, $"The body is no JSON: {fault.Message}", "invalid_json");
        }
        catch (ArgumentException fault)
        {
            throw new Fault(400, $"The body names a member twice: {fault.Message}", "invalid_json");
        }
        catch (BadHttpRequestException fault) when (fault.StatusCode == StatusCodes.Status413PayloadTooLarge)
        {
            throw new Fault(413, $"The body is larger than {mostBytes:#,0} bytes; send less.", "too_large");
        }
        catch (BadHttpRequestException fault)
        {
            throw new Fault(fault.StatusCode, fault.Message);
        }
    }

    /// <summary>A member as it is; null where it is missing or null.</summary>
    public JsonNode? this[string name] => _json[name];

    /// <summary>A text.</summary>
    /// <returns>The text; null where it is missing.</returns>
    public string? Text(string name)
        => this[name] is not { } member ? null : TextOf(member) ?? throw new Fault(400, $"{name} has to be a text.", "invalid_type", name);

    /// <summary>The text that a node is; null where it is missing or something else.</summary>
    public static string? TextOf(JsonNode? node) => node is JsonValue value && value.TryGetValue(out string? text) ? text : null;

    /// <summary>An object; null where it is missing.</summary>
    public RequestBody? Object(string name) => this[name] switch
    {
        null => null,
        JsonObject members => new(members),
        _ => throw new Fault(400, $"{name} has to be an object.", "invalid_type", name),
    };

    /// <summary>A text that has to be there.</summary>
    public string Required(string name) => Text(name) ?? throw new Fault(400, $"{name} is missing; it has to be a text.", "missing", name);

    /// <summary>Yes or no; no where it is missing.</summary>
    public bool Flag(string name) => this[name] switch
    {
        null => false,
        JsonValue value when value.TryGetValue(out bool flag) => flag,
        _ => throw new Fault(400, $"{name} has to be true or false.", "invalid_type", name),
    };

    /// <summary>A number within bounds; null where it is missing.</summary>
    public double? Number(string name, double least, double most) => this[name] switch
    {
        null => null,
        JsonValue value when value.TryGetValue(out double number) && number >= least && number <= most => number,
        _ => throw new Fault(400, FormattableString.Invariant($"{name} has to be a number from {least} to {most}."), "out_of_range", name),
    };

    /// <summary>A whole number within bounds; null where it is missing.</summary>
    public long? Whole(string name, long least, long most) => this[name] switch
    {
        null => null,
        JsonNode member when WholeOf(member) is { } number && number >= least && number <= most => (long)number,
        _ => throw new Fault(400, FormattableString.Invariant($"{name} has to be a whole number from {least} to {most}."), "out_of_range", name),
    };

    /// <summary>
    /// The whole number that a node is; null where it is missing or something else. 8.0 is one, too, which clients in languages with one kind of number send.
    /// </summary>
    public static decimal? WholeOf(JsonNode? node)
        => node is JsonValue value && value.TryGetValue(out decimal number) && decimal.IsInteger(number) ? number : null;

    /// <summary>Numbers within bounds, each for an id; null where it is missing.</summary>
    /// <param name="name">The member: an object, whose own members are called by ids.</param>
    /// <param name="ids">How many ids there are.</param>
    /// <param name="least">The least number.</param>
    /// <param name="most">The greatest number.</param>
    public Dictionary<int, double>? NumbersById(string name, int ids, double least, double most)
    {
        if (Object(name) is not { } numbers)
        {
            return null;
        }

        Dictionary<int, double> byId = [];
        foreach ((string key, JsonNode? value) in numbers._json)
        {
            byId[int.TryParse(key, NumberStyles.None, CultureInfo.InvariantCulture, out int id) && id < ids
                && value is JsonValue said && said.TryGetValue(out double number) && number >= least && number <= most
                    ? id
                    : throw new Fault(
                        400,
                        FormattableString.Invariant($"{name} has to hold numbers from {least} to {most} by ids of tokens, 0 to {ids - 1}."),
                        "out_of_range",
                        name)] = number;
        }

        return byId;
    }

    /// <summary>Ids of tokens; none where it is missing.</summary>
    /// <param name="name">The member: an array.</param>
    /// <param name="ids">How many ids there are.</param>
    public int[] Ids(string name, int ids) => this[name] switch
    {
        null => [],
        JsonArray many when many.All(one => WholeOf(one) is { } id && id >= 0 && id < ids) => [.. many.Select(one => (int)WholeOf(one)!.Value)],
        _ => throw new Fault(400, $"{name} has to be an array of ids of tokens, 0 to {ids - 1}.", "out_of_range", name),
    };

    /// <summary>One text or several; none where it is missing.</summary>
    public string[] Texts(string name, int most)
    {
        string[]? texts = this[name] switch
        {
            null => [],
            JsonArray many when many.All(one => TextOf(one) is not null) => [.. many.Select(one => TextOf(one)!)],
            JsonNode member => TextOf(member) is { } one ? [one] : null,
        };
        return texts is not null && texts.Length <= most && texts.All(text => text.Length > 0)
            ? texts
            : throw new Fault(400, $"{name} has to be a text or up to {most} texts, none of them empty.", "invalid_type", name);
    }

    /// <summary>
    /// Reads all of a body, no deeper than it was parsed: members that are named twice, and text that is none, are found when they are first asked for.
    /// </summary>
    private static void RequireRead(JsonNode? node)
    {
        switch (node)
        {
            case JsonObject members:
                foreach ((_, JsonNode? member) in members)
                {
                    RequireRead(member);
                }

                break;
            case JsonArray items:
                foreach (JsonNode? item in items)
                {
                    RequireRead(item);
                }

                break;
            case JsonValue value:
                _ = value.TryGetValue<string>(out _);
                break;
        }
    }
}

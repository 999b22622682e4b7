using System.Text;
using System.Text.Json;

namespace Retro.Corpora;

/// <summary>
/// What a line of JSON says of a document. What else it holds may nest as deep as it likes: it is passed over, in time that grows with its length alone (that
/// of a parsed tree grows with length times depth), and nothing goes down.
/// </summary>
/// <param name="Text">The text.</param>
/// <param name="Id">The id, a string or a number's digits; null: it has none.</param>
/// <param name="Title">The title; null: it has none.</param>
/// <param name="Labels">The labels.</param>
internal sealed record JsonRow(string Text, string? Id, string? Title, IReadOnlyList<string> Labels)
{
    private static readonly JsonReaderOptions s_json = new() { MaxDepth = int.MaxValue };

    private static readonly string[] s_members = ["text", "id", "title", "labels"];

    /// <summary>Reads a row.</summary>
    /// <param name="json">UTF-8.</param>
    /// <exception cref="JsonException">It is no JSON, no object with a text, or can be read in two ways.</exception>
    /// <exception cref="InvalidOperationException">A string holds half a character.</exception>
    public static JsonRow Read(ReadOnlySpan<byte> json)
    {
        Utf8JsonReader reader = new(json, s_json);
        reader.Read();
        bool isObject = reader.TokenType == JsonTokenType.StartObject;
        HashSet<string> seen = [];
        string? text = null, id = null, title = null, fault = null;
        IReadOnlyList<string> labels = [];
        while (reader.Read())
        {
            if (!isObject || reader.TokenType != JsonTokenType.PropertyName)
            {
                continue;
            }

            string? member = Member(reader);
            reader.Read();
            if (member is not null && !seen.Add(member))
            {
                fault ??= $"it has \"{member}\" more than once";
            }

            switch (member)
            {
                case "text":
                    text = reader.TokenType == JsonTokenType.String ? reader.GetString() : null;
                    break;
                case "id":
                    id = Scalar(reader);
                    fault ??= id is null && reader.TokenType is not (JsonTokenType.Null or JsonTokenType.String)
                        ? "its \"id\" is neither a string nor a number"
                        : null;
                    break;
                case "title":
                    title = Scalar(reader);
                    break;
                case "labels" when ReadLabels(reader) is { } given:
                    labels = given;
                    break;
                case "labels":
                    // Labels say who may not see a document: what is no list of them must not be read as none.
                    fault ??= "its \"labels\" are no string and no array of strings";
                    break;
            }

            reader.Skip();
        }

        return text is null
            ? throw new JsonException("it is no object with a \"text\" of type string")
            : fault is not null
            ? throw new JsonException(fault)
            : new(text, id, title, labels);
    }

    /// <summary>Which of the members that say something a name is; null: none.</summary>
    private static string? Member(in Utf8JsonReader reader)
    {
        foreach (string name in s_members)
        {
            if (reader.ValueTextEquals(name))
            {
                return name;
            }
        }

        return null;
    }

    private static string? Scalar(in Utf8JsonReader reader) => reader.TokenType switch
    {
        JsonTokenType.String => reader.GetString() is { Length: > 0 } text ? text : null,
        JsonTokenType.Number => Encoding.UTF8.GetString(reader.ValueSpan),
        _ => null,
    };

    /// <summary>The labels that a value is, by a reader of its own; null: it is none. Empty ones, as tables have them, are no labels.</summary>
    private static IReadOnlyList<string>? ReadLabels(Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            return reader.TokenType switch { JsonTokenType.Null => [], JsonTokenType.String => NotEmpty([reader.GetString()!]), _ => null };
        }

        List<string> labels = [];
        while (reader.Read() && reader.TokenType == JsonTokenType.String)
        {
            labels.Add(reader.GetString()!);
        }

        return reader.TokenType == JsonTokenType.EndArray ? NotEmpty(labels) : null;

        static IReadOnlyList<string> NotEmpty(IEnumerable<string> labels) => [.. labels.Where(label => label.Length > 0)];
    }
}

using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Retro.Corpora;

/// <summary>What a line of JSON, or a row of a table, says of a document.</summary>
/// <param name="Text">The text.</param>
/// <param name="Id">The id, a string or a number's digits; null: it has none.</param>
/// <param name="Title">The title; null: it has none.</param>
/// <param name="Labels">The labels.</param>
/// <param name="IsAsItIs">Whether the text is taken as it is.</param>
internal sealed record DocumentRow(string Text, string? Id, string? Title, IReadOnlyList<string> Labels, bool IsAsItIs = false)
{
    /// <summary>The member, true, by which an export says that a text is to stay as it is: one that a program gave, and that cleaning would change.</summary>
    public const string AsItIs = "textAsItIs";

    private static readonly JsonReaderOptions s_json = new() { MaxDepth = int.MaxValue };

    /// <summary>
    /// Reads a line of JSON. What else it holds may nest as deep as it likes: it is passed over, in time that grows with its length alone (that of a parsed
    /// tree grows with length times depth), and nothing goes down.
    /// </summary>
    /// <param name="json">UTF-8.</param>
    /// <param name="fields">What its members are called.</param>
    /// <exception cref="JsonException">It is no JSON, no object with a text, or can be read in two ways.</exception>
    /// <exception cref="InvalidOperationException">A string holds half a character.</exception>
    public static DocumentRow Read(ReadOnlySpan<byte> json, DocumentFields fields)
    {
        Utf8JsonReader reader = new(json, s_json);
        reader.Read();
        bool isObject = reader.TokenType == JsonTokenType.StartObject;
        HashSet<string> seen = [];
        string? text = null, id = null, title = null, fault = null;
        IReadOnlyList<string> labels = [];
        bool isAsItIs = false;
        while (reader.Read())
        {
            if (!isObject || reader.TokenType != JsonTokenType.PropertyName)
            {
                continue;
            }

            string? member = Member(reader, fields);
            bool saysAsItIs = member is null && reader.ValueTextEquals(AsItIs);
            fault ??= member is null && NearlyLabels(reader, fields) is { } near ? $"it has \"{near}\", where labels are called \"{fields.Labels}\"" : null;
            reader.Read();
            isAsItIs |= saysAsItIs && reader.TokenType == JsonTokenType.True;
            if (member is not null && !seen.Add(member))
            {
                fault ??= $"it has \"{member}\" more than once";
            }

            if (member == fields.Text)
            {
                text = reader.TokenType == JsonTokenType.String ? reader.GetString() : null;
            }

            if (member == fields.Id)
            {
                id = Scalar(reader);
                fault ??= id is null && reader.TokenType is not (JsonTokenType.Null or JsonTokenType.String)
                    ? $"its \"{member}\" is neither a string nor a number"
                    : null;
            }

            if (member == fields.Title)
            {
                title = Scalar(reader);
            }

            if (member == fields.Labels)
            {
                // Labels say who may not see a document: what is no list of them must not be read as none.
                IReadOnlyList<string>? given = ReadLabels(reader);
                labels = given ?? labels;
                fault ??= given is null ? $"its \"{member}\" are no string and no array of strings"
                    : reader.TokenType == JsonTokenType.String ? ListedFault(reader.GetString()!)
                    : null;
            }

            reader.Skip();
        }

        return text is null
            ? throw new JsonException($"it is no object with a \"{fields.Text}\" of type string")
            : fault is not null
            ? throw new JsonException(fault)
            : new(text, id, title, labels, isAsItIs);
    }

    /// <summary>The document of the row.</summary>
    /// <param name="file">The file's name.</param>
    /// <param name="number">The row's, or its line's, in the file.</param>
    /// <param name="ids">Names those of the file that have none.</param>
    /// <param name="options">How the corpus is read.</param>
    public Document In(string file, long number, TextIds ids, CorpusOptions options)
    {
        string text = IsAsItIs ? Text : Cleaning.Clean(Text), location = string.Create(CultureInfo.InvariantCulture, $"{file}:{number}");
        string id = Id is null ? ids.Next(text) : options.IdsByFile ? $"{file}:{Id}" : Id;
        return new Document(id, Cleaning.Title(Title, otherwise: Id is null ? location : id), text, location) { Labels = Labels };
    }

    /// <summary>The labels that one text is, which a table of text has: itself, or none where it is empty.</summary>
    /// <param name="label">The text.</param>
    /// <param name="where">Names the row in the fault.</param>
    /// <exception cref="CorpusException">It is a list that was written as text: as one label, which nobody has, it would hide the document.</exception>
    public static IReadOnlyList<string> OneLabel(string label, string where) => ListedFault(label) is { } fault
        ? throw RowFaults.Row(where, $"is broken: {fault}")
        : NotEmpty([label]);

    /// <summary>Those of some labels that are any, without white space around them: empty ones, as tables have them, are none.</summary>
    public static IReadOnlyList<string> NotEmpty(IEnumerable<string> labels) => [.. labels.Select(label => label.Trim()).Where(label => label.Length > 0)];

    private static string? ListedFault(string label) => label.AsSpan().Trim() is ['[', .., ']']
        ? $"its label {label} is a list that was written as text; several labels are an array in JSON lines, and a list in Parquet"
        : null;

    /// <summary>Which of the members that say something a name is; null: none.</summary>
    private static string? Member(in Utf8JsonReader reader, DocumentFields fields)
    {
        foreach (string name in fields.Names)
        {
            if (reader.ValueTextEquals(name))
            {
                return name;
            }
        }

        return null;
    }

    // A name that differs in case has as many characters; each is written with six bytes at most.
    private static string? NearlyLabels(in Utf8JsonReader reader, DocumentFields fields)
        => reader.ValueSpan.Length <= 6 * fields.Labels.Length && reader.GetString() is { } name && fields.IsNearlyLabels(name) ? name : null;

    private static string? Scalar(in Utf8JsonReader reader) => reader.TokenType switch
    {
        JsonTokenType.String => reader.GetString() is { Length: > 0 } text ? text : null,
        JsonTokenType.Number => Encoding.UTF8.GetString(reader.ValueSpan),
        _ => null,
    };

    /// <summary>The labels that a value is, by a reader of its own; null: it is none.</summary>
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
    }
}

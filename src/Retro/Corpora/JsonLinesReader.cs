using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Retro.Corpora;

/// <summary>
/// One document per line: an object with a text, and an id, a title and labels where there are any (<see cref="DocumentFields"/>). The files may be packed.
/// </summary>
internal sealed partial class JsonLinesReader(string root, CorpusOptions options, ReadingCounts counts) : LineReader(root, options, counts)
{
    /// <summary>
    /// Whether the first line that is not empty is an object with a text, or null for one; it need not be, where a file may hold any JSON. What else is wrong
    /// with that line is told when it is read.
    /// </summary>
    /// <exception cref="CorpusException">The file cannot be read.</exception>
    public static bool HasTexts(string file, CorpusOptions options)
    {
        JsonLinesReader reader = new(Path.GetDirectoryName(file)!, options with { SkipBroken = false }, new());
        Lazy<bool> utf8 = reader.IsUtf8(file);
        string? first = reader.Lines(file).Select(line => reader.Text(line, utf8, file)).FirstOrDefault(text => !string.IsNullOrWhiteSpace(text));
        try
        {
            return first is not null && HasText(Encoding.UTF8.GetBytes(WithoutNonNumbers(first)), options.Fields.Text);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            return false; // no JSON, or half a character in the name of a member
        }
    }

    private static bool HasText(byte[] json, string name)
    {
        Utf8JsonReader reader = new(json);
        bool has = false;
        while (reader.Read())
        {
            if (reader.TokenType == JsonTokenType.PropertyName && reader.CurrentDepth == 1 && reader.ValueTextEquals(name))
            {
                reader.Read();
                has |= reader.TokenType is JsonTokenType.String or JsonTokenType.Null;
            }
        }

        return has;
    }

    public override IEnumerable<Document> Documents(string file)
    {
        string name = NameOf(file);
        Lazy<bool> utf8 = IsUtf8(file);
        TextIds ids = new(name);
        foreach (Line line in Lines(file))
        {
            if (Guarded(() => Parse(line, utf8, file, name, ids)) is { } document && Checked(document) is { } kept)
            {
                yield return kept;
            }
        }
    }

    private Document? Parse(Line line, Lazy<bool> utf8, string file, string name, TextIds ids)
    {
        string json = Text(line, utf8, file);
        if (string.IsNullOrWhiteSpace(json))
        {
            return null;
        }

        if (line.Number == 1 && json.AsSpan().TrimStart().StartsWith('['))
        {
            throw CorpusException.Broken(
                $"The file {file} begins an array of JSON, where each line has to be a document.",
                "Write each of its elements in a line of its own (jq -c \".[]\" does), or skip what is broken (CorpusOptions.SkipBroken).");
        }

        try
        {
            return Row(json).In(name, line.Number, ids, Options);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw CorpusException.Broken(
                $"{Where(file, line.Number)} is broken: {exception.Message.TrimEnd('.')}.",
                "Correct the line, say what its members are called, or skip what is broken (CorpusOptions.Fields, SkipBroken).",
                exception);
        }
    }

    private DocumentRow Row(string json)
    {
        try
        {
            return DocumentRow.Read(Encoding.UTF8.GetBytes(json), Options.Fields);
        }
        catch (JsonException) when (WithoutNonNumbers(json) is var plain && plain != json)
        {
            return DocumentRow.Read(Encoding.UTF8.GetBytes(plain), Options.Fields);
        }
    }

    /// <summary>A line with null for what is no number, as Python writes a missing one by default though JSON has no word for it.</summary>
    private static string WithoutNonNumbers(string json) => StringOrNonNumber().Replace(json, found => found.Value[0] == '"' ? found.Value : "null");

    [GeneratedRegex(""""("(?>(?:[^"\\]+|\\.)*)"?)|-?Infinity|NaN"""", RegexOptions.Singleline)]
    private static partial Regex StringOrNonNumber();
}

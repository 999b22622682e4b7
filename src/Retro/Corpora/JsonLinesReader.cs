using System.Text;
using System.Text.Json;

namespace Retro.Corpora;

/// <summary>
/// One document per line: an object with <c>text</c>, and <c>id</c>, <c>title</c> and <c>labels</c> where there are any. The files may be packed.
/// </summary>
internal sealed class JsonLinesReader(string root, CorpusOptions options, ReadingCounts counts) : LineReader(root, options, counts)
{
    public override IEnumerable<Document> Documents(string file)
    {
        string name = NameOf(file);
        bool utf8 = IsUtf8(file);
        TextIds ids = new(name);
        foreach (Line line in Lines(file))
        {
            if (Guarded(() => Parse(line, utf8, file, name, ids)) is { } document && Checked(document) is { } kept)
            {
                yield return kept;
            }
        }
    }

    private Document? Parse(Line line, bool utf8, string file, string name, TextIds ids)
    {
        string json = Text(line, utf8, file);
        if (string.IsNullOrWhiteSpace(json))
        {
            return null;
        }

        try
        {
            JsonRow row = JsonRow.Read(Encoding.UTF8.GetBytes(json));
            string text = Cleaning.Clean(row.Text), location = $"{name}:{line.Number}";
            string id = row.Id is null ? ids.Next(text) : Options.IdsByFile ? $"{name}:{row.Id}" : row.Id;
            return new Document(id, row.Title ?? (row.Id is null ? location : id), text, location) { Labels = row.Labels };
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw CorpusException.Broken(
                $"{Where(file, line.Number)} is broken: {exception.Message.TrimEnd('.')}.",
                "Correct the line, or skip what is broken (CorpusOptions.SkipBroken).",
                exception);
        }
    }
}

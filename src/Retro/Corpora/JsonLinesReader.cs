using System.Text;
using System.Text.Json;

namespace Retro.Corpora;

/// <summary>
/// One document per line: an object with a text, and an id, a title and labels where there are any (<see cref="DocumentFields"/>). The files may be packed.
/// </summary>
internal sealed class JsonLinesReader(string root, CorpusOptions options, ReadingCounts counts) : LineReader(root, options, counts)
{
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

        try
        {
            return DocumentRow.Read(Encoding.UTF8.GetBytes(json), Options.Fields).In(name, line.Number, ids, Options);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw CorpusException.Broken(
                $"{Where(file, line.Number)} is broken: {exception.Message.TrimEnd('.')}.",
                "Correct the line, say what its members are called, or skip what is broken (CorpusOptions.Fields, SkipBroken).",
                exception);
        }
    }
}

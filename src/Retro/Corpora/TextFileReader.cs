namespace Retro.Corpora;

/// <summary>One document per .txt or .md file.</summary>
internal sealed class TextFileReader(IReadOnlyList<string> files, string root, CorpusOptions options) : DocumentReader(files, root, options)
{
    public override string Kind => "text files";

    public override IEnumerable<Document> Documents()
    {
        foreach (string file in Files)
        {
            if (Guarded(() => Read(file)) is { } document && Checked(document) is { } kept)
            {
                yield return kept;
            }
        }
    }

    private Document Read(string file)
    {
        string text = Cleaning.Clean(Cleaning.DecodeUtf8(ReadBytes(file), $"The file {file}"));
        string name = NameOf(file);
        string title = Path.GetFileNameWithoutExtension(file);
        if (!Path.GetExtension(file).Equals(".md", StringComparison.OrdinalIgnoreCase))
        {
            return new Document(name, title, text, name);
        }

        (string frontMatter, string body) = Cleaning.SplitFrontMatter(text);
        title = TitleOf(frontMatter, body) ?? title;
        return new Document(name, title, Options.KeepFrontMatter ? text : body, name);
    }

    private static string? TitleOf(string frontMatter, string body)
    {
        foreach (string line in frontMatter.Split('\n'))
        {
            if (line.StartsWith("title:", StringComparison.OrdinalIgnoreCase) && line["title:".Length..].Trim().Trim('"', '\'') is { Length: > 0 } title)
            {
                return title;
            }
        }

        foreach (ReadOnlySpan<char> line in body.AsSpan().EnumerateLines())
        {
            if (line.StartsWith("# ") && line[2..].Trim() is { Length: > 0 } heading)
            {
                return heading.ToString();
            }
        }

        return null;
    }
}

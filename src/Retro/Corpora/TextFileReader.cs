namespace Retro.Corpora;

/// <summary>One document for each file of text, Markdown, HTML or reStructuredText.</summary>
internal sealed class TextFileReader(DocumentKinds kind, string root, CorpusOptions options, ReadingCounts counts) : DocumentReader(root, options, counts)
{
    public override IEnumerable<Document> Documents(string file)
    {
        if (Guarded(() => Read(file)) is { } document && Checked(document) is { } kept)
        {
            yield return kept;
        }
    }

    private Document Read(string file)
    {
        byte[] bytes = ReadBytes(file);
        string text = Cleaning.Lines(Decode(bytes, file, kind == DocumentKinds.Html ? HtmlText.EncodingOf(bytes) : null));
        string? title = null;
        switch (kind)
        {
            case DocumentKinds.Markdown:
                (title, string body) = FrontMatter.Split(text);
                title ??= MarkdownText.TitleOf(body);
                text = Options.KeepFrontMatter ? text : body;
                break;
            case DocumentKinds.Html:
                (title, text) = HtmlText.Read(text);
                break;
            case DocumentKinds.RestructuredText:
                title = RestructuredText.TitleOf(text);
                break;
        }

        string name = NameOf(file), called = Path.GetFileNameWithoutExtension(PackedFile.WithoutEnding(file));
        return new Document(name, Cleaning.Title(title, otherwise: called), Cleaning.Clean(text), name);
    }
}

using System.Text;

namespace Retro.Corpora;

/// <summary>Several documents in a file of plain text, parted by lines that hold nothing but a separator (<see cref="CorpusOptions.Separator"/>).</summary>
internal sealed class SeparatedTextReader(string root, CorpusOptions options, ReadingCounts counts) : LineReader(root, options, counts)
{
    protected override bool EndsAtReturn => true;

    public override IEnumerable<Document> Documents(string file)
    {
        string separator = Options.Separator!.Trim(), name = NameOf(file);
        Lazy<bool> utf8 = IsUtf8(file);
        TextIds ids = new(name);
        StringBuilder text = new();
        int first = 1; // where the document begins
        long bytes = 0;
        CorpusException? fault = null;
        foreach (Line line in Lines(file))
        {
            string? read = null;
            try
            {
                read = Text(line, utf8, file);
            }
            catch (CorpusException exception)
            {
                // A document of which a line is broken is left out as a whole; those around it are read.
                fault ??= exception;
            }

            if (read is not null && Cleaning.Lines(read).AsSpan().Trim().SequenceEqual(separator))
            {
                if (Next() is { } document)
                {
                    yield return document;
                }

                first = line.Number + 1;
                continue;
            }

            bytes += (line.Bytes?.Length ?? 0) + 1;
            fault ??= bytes > Options.MaximumDocumentBytes ? TooLong(file, first) : null;
            if (fault is null)
            {
                text.Append(read).Append('\n');
            }
            else if (!Options.SkipBroken)
            {
                throw fault;
            }
        }

        // Where the file is broken, nothing says that a document ends.
        if (!IsCut && Next() is { } last)
        {
            yield return last;
        }

        // The document that ends here; where nothing stands between two separators, there is none.
        Document? Next()
        {
            string location = $"{name}:{first}", whole = Cleaning.Clean(text.ToString());
            CorpusException? broken = fault;
            text.Clear();
            (bytes, fault) = (0, null);
            return broken is null && whole.Length == 0 ? null : Guarded(()
                => broken is null ? new Document(ids.Next(whole), location, whole, location) : throw broken);
        }
    }

    private CorpusException TooLong(string file, int first) => CorpusException.Broken(
        $"From line {first} of {file} on, no line is \"{Options.Separator}\" for more than the {Options.MaximumDocumentBytes} bytes that a document may have.",
        "Name the line that parts its documents, skip what is broken, or allow more (CorpusOptions.Separator, SkipBroken, MaximumDocumentBytes).");
}

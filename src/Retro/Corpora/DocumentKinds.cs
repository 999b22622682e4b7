namespace Retro.Corpora;

/// <summary>
/// The kinds of files that documents are read from; they can be joined. All but HTML, documentation and Parquet are also read packed, with gzip (.txt.gz) or
/// Zstandard (.jsonl.zst).
/// </summary>
[Flags]
public enum DocumentKinds
{
    /// <summary>No kind.</summary>
    None = 0,

    /// <summary>Plain text, one document a file, or several that a line parts (<see cref="CorpusOptions.Separator"/>): .txt, .text.</summary>
    Text = 1,

    /// <summary>Markdown, one document a file: .md, .markdown.</summary>
    Markdown = 2,

    /// <summary>HTML, one document a file, of which the text is read: .html, .htm, .xhtml.</summary>
    Html = 4,

    /// <summary>reStructuredText, one document a file: .rst.</summary>
    RestructuredText = 8,

    /// <summary>
    /// JSON lines, one document a line, an object with a text and, where there are, an id, a title and labels (<see cref="CorpusOptions.Fields"/>): .jsonl,
    /// .ndjson. In a folder, .json are read so whose first line that is not empty is such an object. NaN and Infinity, which Python writes by default, are
    /// taken for null.
    /// </summary>
    JsonLines = 16,

    /// <summary>
    /// .NET XML documentation, one document a type: .xml. Nothing is said twice: the text that an entry inherits (<c>inheritdoc</c>) stands with the entry
    /// that has it.
    /// </summary>
    XmlDocumentation = 32,

    /// <summary>
    /// Tables of text, one document a row, whose first row names the columns as <see cref="CorpusOptions.Fields"/> does: .csv, .tsv. A row has as many fields
    /// as there are columns, and at most one label. Fields that tabs part may be quoted as those of CSV, or not at all. In a folder, those without a column of
    /// texts are left out, unless this kind alone is asked for.
    /// </summary>
    Csv = 64,

    /// <summary>
    /// Tables of Apache Parquet, one document a row, of the columns that <see cref="CorpusOptions.Fields"/> names: texts, ids and titles that are texts, whole
    /// numbers or UUIDs, and labels that are texts or lists of them: .parquet. In a folder, those without a column of texts are left out,
    /// unless this kind alone is asked for.
    /// </summary>
    Parquet = 128,

    /// <summary>Every kind.</summary>
    All = Text | Markdown | Html | RestructuredText | JsonLines | XmlDocumentation | Csv | Parquet,
}

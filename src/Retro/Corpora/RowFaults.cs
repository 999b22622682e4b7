namespace Retro.Corpora;

/// <summary>What can be wrong with a file whose rows are documents, and with one of them.</summary>
internal static class RowFaults
{
    /// <summary>The column of the texts is not there.</summary>
    /// <param name="file">The table.</param>
    /// <param name="columns">The names of its columns of text.</param>
    /// <param name="fields">What the columns should be called.</param>
    public static CorpusException Columns(string file, IReadOnlyList<string> columns, DocumentFields fields)
    {
        const int Most = 10;
        string names = string.Join(", ", columns.Take(Most).Select(column => $"\"{column}\""));
        string told = columns.Count == 0 ? "none" : columns.Count > Most ? $"{names} and {columns.Count - Most} more" : names;
        return CorpusException.Broken(
            $"The table {file} has no column of text called \"{fields.Text}\"; its columns of text are {told}.",
            "Name the one that holds the documents' text (CorpusOptions.Fields), or leave the file out (CorpusOptions.Exclude).");
    }

    /// <summary>Columns that say something of documents are there twice, so that one would be passed over.</summary>
    public static CorpusException Repeated(string file, IEnumerable<string> columns) => CorpusException.Broken(
        $"The table {file} has more than one column called {string.Join(" and more than one called ", columns.Select(column => $"\"{column}\""))}.",
        "Rename one, or name another (CorpusOptions.Fields).");

    /// <summary>A row is broken.</summary>
    /// <param name="where">Which one.</param>
    /// <param name="why">The rest of a sentence that begins with it.</param>
    public static CorpusException Row(string where, string why)
        => CorpusException.Broken($"{where} {why}.", "Correct the row, or skip what is broken (CorpusOptions.SkipBroken).");

    /// <summary>A document is too long.</summary>
    public static CorpusException TooLong(string where, int most) => CorpusException.Broken(
        $"{where} is longer than the {most} bytes that one document may have.",
        "Split it into documents, skip what is broken, or allow more (CorpusOptions.SkipBroken, MaximumDocumentBytes).");
}

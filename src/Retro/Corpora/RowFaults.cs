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

    /// <summary>
    /// What is wrong with the columns' names, null where nothing is: of two columns of one name one would be passed over, and one of labels must not be.
    /// </summary>
    public static CorpusException? OfNames(string file, IReadOnlyList<string> columns, DocumentFields fields)
    {
        string[] repeated = [.. fields.Names.Distinct().Where(name => columns.Count(column => column == name) > 1)];
        return repeated.Length > 0 ? CorpusException.Broken(
                $"The table {file} has more than one column called {string.Join(" and more than one called ", repeated.Select(column => $"\"{column}\""))}.",
                "Rename one, or name another (CorpusOptions.Fields).")
            : columns.FirstOrDefault(fields.IsNearlyLabels) is { } column ? CorpusException.Broken(
                $"The table {file} has a column \"{column}\", where labels are called \"{fields.Labels}\".",
                "Name it as it is written, or name one that holds no labels otherwise (CorpusOptions.Fields).")
            : null;
    }

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

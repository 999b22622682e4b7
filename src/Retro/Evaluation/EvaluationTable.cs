using System.Globalization;

namespace Retro.Evaluation;

/// <summary>Readers side by side on the same held-out documents, with the differences to some of them.</summary>
/// <param name="Against">Names of the readers that every one is compared with.</param>
/// <param name="Rows">The readers, in the order given.</param>
public sealed record EvaluationTable(IReadOnlyList<string> Against, IReadOnlyList<EvaluationRow> Rows)
{
    /// <summary>The mark of what is not known, or makes no sense.</summary>
    private const string Nothing = "-";

    /// <summary>What the tokenizer loses of the held-out documents, to be reported in the <see cref="Notes"/>; null: nobody looked.</summary>
    public TextLoss? TextLoss { get; init; }

    /// <summary>Makes the table.</summary>
    /// <param name="entries">What was measured.</param>
    /// <param name="against">Names of the entries that every one is compared with; null: the first alone.</param>
    /// <param name="seed">Decides what the intervals draw. Default 0.</param>
    /// <returns>The table.</returns>
    /// <exception cref="ArgumentException">
    /// There is no entry, two have one name, one was measured on other documents, with another tokenizer, other windows or other seeds than the others, or
    /// one to compare with is missing.
    /// </exception>
    public static EvaluationTable Of(IReadOnlyList<EvaluationEntry> entries, IReadOnlyList<string>? against = null, long seed = 0)
    {
        ArgumentNullException.ThrowIfNull(entries);
        Check(entries, against);
        EvaluationEntry[] baselines = [.. (against ?? [entries[0].Reader]).Select(name => entries.First(entry => entry.Reader == name))];
        return new EvaluationTable(
            [.. baselines.Select(entry => entry.Reader)],
            [.. entries.Select(entry => new EvaluationRow(
                entry, [.. baselines.Select(baseline => ReferenceEquals(baseline, entry) ? null : PairedDifference.Of(Sums(entry), Sums(baseline), seed))]))]);
    }

    /// <summary>
    /// What has to be known to read the table: what was measured, over how many seeds, and what can be said of differences. Whether the documents were kept
    /// out of training and retrieval, whoever measured knows. Empty: there are no rows.
    /// </summary>
    public string Notes
    {
        get
        {
            if (Rows.Count == 0)
            {
                return "";
            }

            BitsPerByteResult any = Rows[0].Entry.Results[0];
            int seeds = Rows[0].Entry.Results.Count, documents = any.DocumentSums.Bytes.Count(bytes => bytes > 0);
            string trained = seeds > 1 ? $"Means over {seeds} seeds." : "One seed: how trainings differ by chance is in no interval.";
            string intervals = documents < PairedDifference.LeastDocuments
                ? $"The documents are too few for an interval, which needs {PairedDifference.LeastDocuments}: no difference here is more than a hint."
                : $"In brackets the 95 % interval of a paired bootstrap over documents{(seeds > 1 ? ", with Student's t for how the seeds differ" : "")}; "
                    + "where it holds 0 no difference was found (\"none\"). Of twenty differences that are none, about one is found all the same.";
            string lost = TextLoss is { Note.Length: > 0 } ? $" {TextLoss.Note}" : "";
            return string.Create(
                CultureInfo.InvariantCulture,
                $"Over {any.Tokens:#,0} tokens, {any.Bytes:#,0} bytes, of {Amount.Of(documents, "held-out document")}; "
                    + $"{(double)any.FirstChunkTokens / Math.Max(1, any.Tokens):0.0 %} of the tokens stand in a window's first chunk, "
                    + $"where nothing is retrieved yet but by what retrieves more often than once a chunk. {trained} {intervals}{lost}");
        }
    }

    /// <summary>The table as Markdown, with the <see cref="Notes"/> below it.</summary>
    public string ToMarkdown()
    {
        string[] header =
        [
            "reader", "neighbors from", "trained with", "steps", "minutes", "bits per byte", .. Against.Select(name => $"against {name}"),
            "bits per token of the first chunk", "and of the rest",
        ];
        return MarkdownTable.Of(header, Rows.Select(Cells)) + Environment.NewLine + Notes + Environment.NewLine;
    }

    private static string[] Cells(EvaluationRow row)
    {
        EvaluationEntry entry = row.Entry;
        BitsPerByteResult first = entry.Results[0];
        return
        [
            entry.Reader,
            first.Neighbors == 0 ? Nothing : string.Create(CultureInfo.InvariantCulture, $"{first.SourceName}, k = {first.Neighbors}"),
            entry.TrainedWith ?? Nothing,
            entry.Steps?.ToString("#,0", CultureInfo.InvariantCulture) ?? Nothing,
            entry.Time?.TotalMinutes.ToString("0.0", CultureInfo.InvariantCulture) ?? Nothing,
            entry.Value.ToString("0.0000", CultureInfo.InvariantCulture),
            .. row.Differences.Select(difference => difference?.ToString() ?? Nothing),
            Mean(entry, result => result.FirstChunkBits / result.FirstChunkTokens),
            Mean(entry, result => (result.Bits - result.FirstChunkBits) / (result.Tokens - result.FirstChunkTokens)),
        ];
    }

    private static string Mean(EvaluationEntry entry, Func<BitsPerByteResult, double> value)
        => entry.Results.Average(value) is var mean && double.IsFinite(mean) ? mean.ToString("0.000", CultureInfo.InvariantCulture) : Nothing;

    private static DocumentSums[] Sums(EvaluationEntry entry) => [.. entry.Results.Select(result => result.DocumentSums)];

    internal static void Check(IReadOnlyList<EvaluationEntry> entries, IReadOnlyList<string>? against)
    {
        if (entries.Count == 0 || entries.Any(entry => entry.Results.Count == 0))
        {
            throw new ArgumentException("Expected at least one reader, each with at least one measurement.", nameof(entries));
        }

        BitsPerByteResult any = entries[0].Results[0];
        foreach (EvaluationEntry entry in entries)
        {
            if (entry.Results.Count != entries[0].Results.Count
                || entry.Results.Any(result => result.HeldOutHash != any.HeldOutHash || result.Tokens != any.Tokens))
            {
                throw new ArgumentException(
                    $"\"{entry.Reader}\" was measured on other documents than \"{entries[0].Reader}\", on tokens of another tokenizer, " +
                    "or with another number of seeds; readers are compared on the same alone.",
                    nameof(entries));
            }

            if (entry.Results.FirstOrDefault(result => (result.WindowLength, result.Stride) != (any.WindowLength, any.Stride)) is { } other)
            {
                throw new ArgumentException(
                    $"\"{entry.Reader}\" was measured with windows of {other.WindowLength} tokens, one every {other.Stride}, and another reader with " +
                    $"windows of {any.WindowLength}, one every {any.Stride}: how much text stands before a token would be compared, too. " +
                    "Measure all with the same windows.",
                    nameof(entries));
            }
        }

        if (entries.GroupBy(entry => entry.Reader).FirstOrDefault(group => group.Count() > 1) is { } twice)
        {
            throw new ArgumentException($"Two readers are called \"{twice.Key}\"; give each a name of its own.", nameof(entries));
        }

        if (against?.FirstOrDefault(name => entries.All(entry => entry.Reader != name)) is { } missing)
        {
            throw new ArgumentException(
                $"There is no \"{missing}\" to compare with; there are {string.Join(", ", entries.Select(entry => $"\"{entry.Reader}\""))}.", nameof(against));
        }
    }
}

/// <summary>A row of an <see cref="EvaluationTable"/>.</summary>
/// <param name="Entry">What was measured.</param>
/// <param name="Differences">The difference to each reader that is compared with; null to itself.</param>
public sealed record EvaluationRow(EvaluationEntry Entry, IReadOnlyList<PairedDifference?> Differences);

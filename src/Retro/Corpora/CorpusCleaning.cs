namespace Retro.Corpora;

/// <summary>
/// Cleans documents by steps, one after the other; each <see cref="CleaningStep"/> is off unless it is named, but for Unicode's form and exact duplicates,
/// which are what a cleaning does by default.
/// </summary>
public sealed class CorpusCleaning
{
    private readonly CleaningStep[] _steps;

    /// <summary>Creates the default cleaning: Unicode's form C without control characters, and no text twice.</summary>
    public CorpusCleaning()
        : this(CleaningStep.Unicode(), CleaningStep.ExactDuplicates())
    {
    }

    /// <summary>Creates a cleaning.</summary>
    /// <param name="steps">What it does, in order; none, and it does nothing.</param>
    public CorpusCleaning(params CleaningStep[] steps)
    {
        ArgumentNullException.ThrowIfNull(steps);
        if (Array.Exists(steps, step => step is null))
        {
            throw new ArgumentException("A step of a cleaning must not be null; leave it out.", nameof(steps));
        }

        _steps = [.. steps];
    }

    /// <summary>The names of its steps, for <see cref="Database.ChunkDatabaseOptions.Cleaning"/>; "none" where there is none.</summary>
    public string Name => _steps.Length == 0 ? "none" : string.Join(", ", _steps.Select(step => step.Name));

    /// <summary>What was done when documents were last cleaned to their end; null: they were not yet.</summary>
    public CleaningReport? Report { get; private set; }

    /// <summary>Its steps that take lines out of many documents.</summary>
    internal IEnumerable<RepeatedLineStep> LineSteps => _steps.OfType<RepeatedLineStep>();

    /// <summary>Cleans documents, while they are enumerated.</summary>
    /// <param name="documents">The documents; enumerated anew each time that the result is, more than once where a step has to see all of them first.</param>
    /// <param name="keepRemoved">
    /// Whether documents that are taken out come as well, behind the others and without text, as do those that came without: what is there of them,
    /// <see cref="Database.ChunkDatabaseUpdate"/> takes out of a database. Takes memory for all ids.
    /// </param>
    /// <returns>What is left, in the same order.</returns>
    public IEnumerable<Document> Clean(IEnumerable<Document> documents, bool keepRemoved = false)
    {
        ArgumentNullException.ThrowIfNull(documents);
        CleaningReport report = new([.. _steps.Select(step => new CleaningStepReport(step.Name))]);
        HashSet<string> came = new(StringComparer.Ordinal), kept = new(StringComparer.Ordinal);
        IEnumerable<Document> left = keepRemoved ? documents.Where(WithText) : documents;
        for (int i = 0; i < _steps.Length; i++)
        {
            left = NotEmpty(_steps[i], left, report.Steps[i]);
        }

        foreach (Document document in left)
        {
            report.Kept++;
            if (keepRemoved)
            {
                kept.Add(document.Id);
            }

            yield return document;
        }

        report.Documents = report.Kept + report.Steps.Sum(step => step.Removed);
        Report = report;
        foreach (string id in came.Except(kept, StringComparer.Ordinal))
        {
            yield return new(id, "", "", "");
        }

        bool WithText(Document document)
        {
            came.Add(document.Id);
            return document.Text.Length > 0;
        }
    }

    /// <summary>What a step leaves, without documents of which no text is left.</summary>
    private static IEnumerable<Document> NotEmpty(CleaningStep step, IEnumerable<Document> documents, CleaningStepReport report)
    {
        // A later step that looks at all documents first goes through this one more than once: what was done the last time counts.
        report.Clear();
        foreach (Document document in step.Apply(documents, report))
        {
            if (document.Text.Length > 0)
            {
                yield return document;
            }
            else
            {
                report.Empty(document);
            }
        }
    }
}

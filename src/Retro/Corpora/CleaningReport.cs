using System.Globalization;
using System.Text;

namespace Retro.Corpora;

/// <summary>What a cleaning did.</summary>
public sealed class CleaningReport
{
    internal CleaningReport(IReadOnlyList<CleaningStepReport> steps) => Steps = steps;

    /// <summary>How many documents came.</summary>
    public long Documents { get; internal set; }

    /// <summary>How many are left.</summary>
    public long Kept { get; internal set; }

    /// <summary>What each step did, in their order.</summary>
    public IReadOnlyList<CleaningStepReport> Steps { get; }

    /// <summary>A line for each step, with examples.</summary>
    public override string ToString()
    {
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"{Kept} of {Documents} documents kept\n");
        foreach (CleaningStepReport step in Steps)
        {
            text.Append(CultureInfo.InvariantCulture, $"  {step.Name}: {step.Removed} removed, {step.Changed} changed\n");
            foreach (string example in step.Examples)
            {
                text.Append(CultureInfo.InvariantCulture, $"    {example}\n");
            }
        }

        return text.ToString();
    }
}

/// <summary>What a step of a cleaning did.</summary>
/// <param name="name">The step's name.</param>
public sealed class CleaningStepReport(string name)
{
    /// <summary>Examples that are kept.</summary>
    public const int MostExamples = 5;

    private readonly List<string> _examples = [];
    private string? _changed;

    /// <summary>The step's name.</summary>
    public string Name { get; } = name;

    /// <summary>How many documents it took out.</summary>
    public long Removed { get; private set; }

    /// <summary>How many documents it changed and left in.</summary>
    public long Changed { get; private set; }

    /// <summary>What it did to the first documents that it did something to.</summary>
    public IReadOnlyList<string> Examples => _examples;

    /// <summary>Counts a document that is taken out.</summary>
    /// <param name="document">The document.</param>
    /// <param name="why">Why, in a few words.</param>
    public void Remove(Document document, string why)
    {
        ArgumentNullException.ThrowIfNull(document);
        Removed++;
        Add(document, why);
    }

    /// <summary>Counts a document that is changed.</summary>
    /// <param name="document">The document.</param>
    /// <param name="how">How, in a few words.</param>
    public void Change(Document document, string how)
    {
        ArgumentNullException.ThrowIfNull(document);
        Changed++;
        _changed = document.Id;
        Add(document, how);
    }

    /// <summary>Counts a document of which the step left nothing; that it was changed does not count.</summary>
    internal void Empty(Document document)
    {
        Changed -= document.Id == _changed ? 1 : 0;
        Remove(document, "nothing is left of it");
    }

    /// <summary>Forgets what was counted.</summary>
    internal void Clear()
    {
        (Removed, Changed, _changed) = (0, 0, null);
        _examples.Clear();
    }

    private void Add(Document document, string what)
    {
        if (_examples.Count < MostExamples)
        {
            _examples.Add($"{document.Id}: {what}");
        }
    }
}

namespace Retro.Corpora;

/// <summary>What readers have left out.</summary>
internal sealed class ReadingCounts
{
    private readonly List<string> _examples = [];

    public int Skipped { get; private set; }

    /// <summary>The first of what was skipped, a sentence each.</summary>
    public IReadOnlyList<string> Examples => _examples;

    public void Skip(string what)
    {
        Skipped++;
        if (_examples.Count < CleaningStepReport.MostExamples)
        {
            _examples.Add(what);
        }
    }

    public int Empty { get; set; }
}

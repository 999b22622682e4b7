namespace Retro.Corpora;

/// <summary>What readers have left out.</summary>
internal sealed class ReadingCounts
{
    private readonly List<string> _examples = [];

    public int Skipped { get; private set; }

    /// <summary>The first of what was skipped, a sentence each.</summary>
    public IReadOnlyList<string> Examples => _examples;

    /// <param name="what">What is broken, and why.</param>
    /// <param name="lines">How many lines go with it, of a file that lines make up.</param>
    public void Skip(string what, int lines = 1)
    {
        Skip(lines);
        if (_examples.Count < CleaningStepReport.MostExamples)
        {
            _examples.Add(what);
        }
    }

    public void Skip(int lines) => Skipped += lines;

    public int Empty { get; set; }
}

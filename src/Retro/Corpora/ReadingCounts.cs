namespace Retro.Corpora;

/// <summary>What readers have left out.</summary>
internal sealed class ReadingCounts
{
    public int Skipped { get; set; }

    public int Empty { get; set; }
}

namespace Retro.Corpora;

/// <summary>How a corpus is read.</summary>
public sealed record CorpusOptions
{
    /// <summary>
    /// Leaves out what cannot be read (invalid UTF-8, broken JSON lines, malformed XML) and counts it in <see cref="Corpus.Skipped"/>,
    /// instead of stopping with a <see cref="CorpusException"/> that names file and place.
    /// </summary>
    public bool SkipBroken { get; init; }

    /// <summary>Keeps the YAML block between two lines of "---" at the head of a Markdown file. It holds settings of a web site more often than text.</summary>
    public bool KeepFrontMatter { get; init; }
}

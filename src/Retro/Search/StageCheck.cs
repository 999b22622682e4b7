namespace Retro.Search;

/// <summary>What recomputing a share of a stage has shown.</summary>
/// <param name="Stage">The stage: a file's name, or what is searched.</param>
/// <param name="Checked">How much was recomputed.</param>
/// <param name="Wrong">How much of it was not as it is stored; of an index that is not exact, how many of the true neighbors it did not find.</param>
/// <param name="Example">Where the first fault is; null where there is none.</param>
/// <param name="IsRecall">Whether it says how good an index is, which is no fault.</param>
public sealed record StageCheck(string Stage, long Checked, long Wrong, string? Example, bool IsRecall = false);

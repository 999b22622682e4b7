namespace Retro.Readers;

/// <summary>What is left out of a prompt's passages where their budget is too small for all of them.</summary>
public enum PassageCut
{
    /// <summary>The end of every passage that is longer than its equal share of the budget; the worst passages where a share is less than a token.</summary>
    Ends = 0,

    /// <summary>The beginning of every passage that is longer than its equal share, so that what follows the chunk that was found stays.</summary>
    Beginnings = 1,

    /// <summary>The worst passages: the better ones stay whole as long as the budget lasts, and the first that does not fit loses its end.</summary>
    Worst = 2,
}

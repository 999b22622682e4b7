namespace Retro.Readers;

/// <summary>In which order the passages of a prompt stand.</summary>
public enum PassageOrder
{
    /// <summary>The best one stands next to the text.</summary>
    BestLast = 0,

    /// <summary>The best one stands at the beginning.</summary>
    BestFirst = 1,
}

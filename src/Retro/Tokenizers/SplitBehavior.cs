namespace Retro.Tokenizers;

/// <summary>What becomes of the parts of a text that a pattern matches, as <c>tokenizer.json</c> names it.</summary>
internal enum SplitBehavior
{
    /// <summary>Each match is a piece, and so is what lies between two.</summary>
    Isolated,

    /// <summary>Matches are taken away.</summary>
    Removed,

    /// <summary>A match belongs to what stands before it.</summary>
    MergedWithPrevious,

    /// <summary>A match belongs to what stands behind it.</summary>
    MergedWithNext,

    /// <summary>Matches that touch are one piece.</summary>
    Contiguous,
}

namespace Retro.Retrievers;

/// <summary>What an objective reads besides the scores and the reader's log-likelihoods with each passage; each costs work.</summary>
[Flags]
public enum RetrieverInputs
{
    /// <summary>Nothing more.</summary>
    None = 0,

    /// <summary>The reader without a passage, and the score of an empty text: one more pass of the reader an example.</summary>
    Null = 1,

    /// <summary>The reader with all passages but one: as many passes as passages, of a reader that reads all but one at once.</summary>
    LeaveOneOut = 2,

    /// <summary>A second tower, which reads context and target, and what it finds: up to twice as many passages.</summary>
    Posterior = 4,
}

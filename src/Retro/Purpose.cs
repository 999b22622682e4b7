namespace Retro;

/// <summary>
/// What seeded numbers are drawn for: under one seed, the numbers of every purpose are others. The value of one never changes, since everything that was drawn
/// by it would be drawn otherwise.
/// </summary>
internal enum Purpose : long
{
    /// <summary>The order of a training's windows.</summary>
    WindowOrder = 1,

    /// <summary>Where an epoch's windows begin.</summary>
    WindowStart = 2,

    /// <summary>Which batches are given no neighbors.</summary>
    RetrievalDropout = 3,

    /// <summary>Planted neighbors.</summary>
    Planting = 4,

    /// <summary>What a training's dropout drops.</summary>
    Dropout = 5,

    /// <summary>Chunks that the pointer rule is counted on.</summary>
    PointerRuleChunks = 11,

    /// <summary>Documents of an interval about a difference.</summary>
    DifferenceBootstrap = 12,

    /// <summary>Windows that a reader is fitted on; of the number above, which is drawn from elsewhere.</summary>
    ReadingWindows = DifferenceBootstrap,

    /// <summary>Stretches that are given random chunks while a reader is fitted.</summary>
    RandomStretches = 13,

    /// <summary>Chunks that runs are counted on.</summary>
    RunChunks = 14,

    /// <summary>Windows that nearest states are fitted on.</summary>
    NearestStateWindows = 15,

    /// <summary>Proposals of a retriever's sampler.</summary>
    Metropolis = 21,

    /// <summary>Examples of a retriever's training.</summary>
    RetrieverExamples = 22,

    /// <summary>Which of several data gives a batch; of the number above, which is drawn from elsewhere.</summary>
    DataMixture = Metropolis,

    /// <summary>Passages that distract from a question's.</summary>
    Distractors = 31,

    /// <summary>The order of the questions that are trained on.</summary>
    QuestionOrder = 32,

    /// <summary>Passages of a question that is trained on.</summary>
    QuestionExamples = 33,

    /// <summary>Documents of an interval about a mean.</summary>
    MeanBootstrap = 34,

    /// <summary>Wrong answers, and the place of the right passage.</summary>
    Abilities = 35,

    /// <summary>Documents that an embedder is trained on.</summary>
    EmbedderDocuments = 36,

    /// <summary>The order of feedback.</summary>
    FeedbackOrder = 41,

    /// <summary>Rejected chunks beside accepted ones.</summary>
    FeedbackRejected = 42,

    /// <summary>Texts that are generated beside the first of a call.</summary>
    GeneratedTexts = 51,

    /// <summary>Parts of a database that are verified.</summary>
    Verification = 0x76657266,
}

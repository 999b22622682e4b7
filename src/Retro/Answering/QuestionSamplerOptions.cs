using Retro.Readers;

namespace Retro.Answering;

/// <summary>Settings of <see cref="QuestionSampler"/>.</summary>
public sealed record QuestionSamplerOptions
{
    /// <summary>K: passages of an example, the one with the answer among them. Default 5, RAFT's one and four that distract. 0: none, closed book.</summary>
    public int Neighbors { get; init; } = 5;

    /// <summary>
    /// Share of the examples in which another distractor takes the place of the passage with the answer, so that the model also learns what to say without it.
    /// Default 0.2, RAFT's.
    /// </summary>
    public double WithoutOracle { get; init; } = 0.2;

    /// <summary>Share of the examples without any passage. Default 0.</summary>
    public double WithoutPassages { get; init; }

    /// <summary>Share of the distractors that the passages' source finds, where it has one; the others are random. Default 0.5.</summary>
    public double HardShare { get; init; } = 0.5;

    /// <summary>
    /// How the passages are written in front of the question, which is RAFT; of its neighbors as many as there are here. Null: they are neighbors for the
    /// model's cross-attention. Default null.
    /// </summary>
    public InContextOptions? InContext { get; init; }

    /// <summary>
    /// R: tokens of a passage, which a model that reads them as neighbors has in its <see cref="Retro.Modeling.RetrievalConfig.RetrievedLength"/>; null: what
    /// <see cref="InContext"/> says, else twice the database's chunk length. Default null.
    /// </summary>
    public int? RetrievedLength { get; init; }

    /// <summary>T: most tokens of an example, what stands in front of the question included. Default 512.</summary>
    public int WindowLength { get; init; } = 512;

    /// <summary>B: examples of a batch. Default 4.</summary>
    public int BatchSize { get; init; } = 4;

    /// <summary>Decides order, passages and what is left out. Default 0.</summary>
    public long Seed { get; init; }

    /// <summary>Checks every setting.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public QuestionSamplerOptions Validate()
    {
        OptionFaults faults = new(nameof(QuestionSamplerOptions));
        faults.Between(Neighbors, 0);
        faults.Share(WithoutOracle);
        faults.Share(WithoutPassages);
        faults.Share(HardShare);
        faults.Require(RetrievedLength is null or > 0, RetrievedLength, "at least 1");
        faults.Between(WindowLength, 2);
        faults.Between(BatchSize, 1);
        faults.Throw();
        InContext?.Validate();
        return this;
    }
}

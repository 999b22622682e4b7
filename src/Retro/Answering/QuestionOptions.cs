namespace Retro.Answering;

/// <summary>How <see cref="QuestionBuilder"/> cuts passages and makes questions.</summary>
public sealed record QuestionOptions
{
    /// <summary>What questions are made of. Default: everything.</summary>
    public QuestionTemplates Templates { get; init; } = QuestionTemplates.All;

    /// <summary>Tokens of a passage at most, its title among them; the marks of its ends are two more. Default 60, which fits a chunk of 64.</summary>
    public int PassageTokens { get; init; } = 60;

    /// <summary>Characters of an answer at most. Default 60.</summary>
    public int LongestAnswer { get; init; } = 60;

    /// <summary>
    /// Questions of one kind at least, of different documents: a label that few documents have is a note of theirs and no field. Default 8.
    /// </summary>
    public int LeastOfAKind { get; init; } = 8;

    /// <summary>Checks every setting.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public QuestionOptions Validate()
    {
        OptionFaults faults = new(nameof(QuestionOptions));
        faults.Require(
            Templates != QuestionTemplates.None && (Templates & ~QuestionTemplates.All) == 0, Templates, $"some of {QuestionTemplates.All}, at least one");
        faults.Between(PassageTokens, 8);
        faults.Between(LongestAnswer, 1);
        faults.Between(LeastOfAKind, 1);
        faults.Throw();
        return this;
    }
}

namespace Retro.Answering;

/// <summary>How <see cref="FourAbilities"/> are measured.</summary>
public sealed record AbilityOptions
{
    /// <summary>Passages of a question; of a reader that reads fewer, as many as it reads. Default 5, RGB's.</summary>
    public int Passages { get; init; } = 5;

    /// <summary>Wrong answers that the right one has to be more likely than. Default 4, so that chance is a fifth where there are as many.</summary>
    public int WrongAnswers { get; init; } = 4;

    /// <summary>Share of the noise that the passages' source finds for the question, where they have one; the rest is random. Default 0.5.</summary>
    public double HardShare { get; init; } = 0.5;

    /// <summary>Decides noise, wrong answers and the place of the passage with the answer. Default 0.</summary>
    public long Seed { get; init; }

    /// <summary>Checks every setting.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public AbilityOptions Validate()
    {
        OptionFaults faults = new(nameof(AbilityOptions));
        faults.Between(Passages, 1, 1024);
        faults.Between(WrongAnswers, 1);
        faults.Share(HardShare);
        faults.Throw();
        return this;
    }
}

namespace Retro;

/// <summary>Settings, or the configuration of a model, are outside their ranges or contradict each other; the message names every fault.</summary>
public sealed class RetroOptionsException : RetroException
{
    /// <summary>Creates the exception.</summary>
    /// <param name="options">Name of the options' type.</param>
    /// <param name="faults">Every fault found, a sentence each: the value that came and what was expected.</param>
    public RetroOptionsException(string options, IReadOnlyList<string> faults)
        : base($"{options} cannot be used: {string.Join(Environment.NewLine, faults)}")
    {
        Options = options;
        Faults = faults;
    }

    /// <summary>Name of the options' type.</summary>
    public string Options { get; }

    /// <summary>Every fault found, a sentence each: the value that came and what was expected.</summary>
    public IReadOnlyList<string> Faults { get; }
}

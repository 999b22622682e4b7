namespace Retro;

/// <summary>Training cannot go on: there is nothing to train, the data do not suffice, or the loss has diverged.</summary>
public sealed class TrainingException : RetroException
{
    /// <inheritdoc cref="RetroException(string, Exception)"/>
    public TrainingException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}

namespace Retro.Distributed;

/// <summary>Processes cannot exchange gradients: a library is missing or refuses, or a tensor is of a kind that it does not take.</summary>
public sealed class ExchangeException : RetroException
{
    /// <inheritdoc cref="RetroException(string, Exception)"/>
    public ExchangeException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}

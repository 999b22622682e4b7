namespace Retro.Distributed;

/// <summary>Processes cannot exchange gradients: a library is missing or refuses, or a tensor is of a kind that it does not take.</summary>
public sealed class ExchangeException(string message, Exception? innerException = null) : RetroException(message, innerException);

namespace Retro.Vectors;

/// <summary>FAISS refused or failed an operation; the message holds FAISS's own text.</summary>
public sealed class FaissException(string message, Exception? innerException = null) : RetroException(message, innerException);

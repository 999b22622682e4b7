namespace Retro.Search;

/// <summary>FAISS refused or failed an operation; the message holds FAISS's own text.</summary>
public sealed class FaissException : RetroException
{
    /// <inheritdoc cref="RetroException(string, Exception)"/>
    public FaissException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}

namespace Retro.Embedders;

/// <summary>An embedder that computes synchronously and says which function it is.</summary>
/// <remarks>
/// Implementations are safe for concurrent use, and give a text the same vector whatever it is batched with, but for rounding: within 1e-5 of its length.
/// </remarks>
internal interface ITextEmbedder
{
    /// <summary>Length of every vector.</summary>
    int Dimensions { get; }

    /// <summary>Names the function: two embedders with the same identity give the same vectors, but for rounding. SHA-256 in lower-case hex.</summary>
    string Identity { get; }

    /// <summary>Embeds texts.</summary>
    /// <param name="texts">The texts.</param>
    /// <param name="vectors">Receives one row of <see cref="Dimensions"/> per text, in order.</param>
    /// <param name="cancellationToken">Stops between batches.</param>
    /// <exception cref="ArgumentException"><paramref name="vectors"/> has another size than the texts need.</exception>
    /// <exception cref="OperationCanceledException">The work was canceled.</exception>
    void Embed(IReadOnlyList<string> texts, Span<float> vectors, CancellationToken cancellationToken = default);
}

namespace Retro.Generation;

public sealed partial class RetroGenerator
{
    /// <summary>Continues a prompt, and gives the whole text at once, with what was read for it.</summary>
    /// <param name="prompt">The beginning of the text; may be empty. It is not part of what is generated.</param>
    /// <param name="options">How to continue it.</param>
    /// <param name="cancellationToken">Ends the work before the next token.</param>
    /// <returns>The text, its sources, and why it ended.</returns>
    /// <inheritdoc cref="GenerateAsync(string, GenerationOptions?, CancellationToken)"/>
    public Task<GeneratedText> GenerateTextAsync(string prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default)
        => GeneratedText.OfAsync(GenerateAsync(prompt, options, cancellationToken));
}

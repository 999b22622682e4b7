using Retro.Modeling;
using Retro.Tokenizers;

namespace Retro.Readers;

/// <summary>
/// Reads neighbors as a language model reads any text: in front of it. The passages that were retrieved for a chunk stand, in a template, before the text
/// that ends with it, and the tokens up to the end of the next chunk are predicted from both. Any decoder will do, without a step of training.
/// </summary>
/// <remarks>
/// Retrieval-augmented generation by concatenation (arXiv 2005.11401 and 2302.00083, with a fixed model). Every chunk takes a pass over passages and text: with
/// P tokens in front of N, the attention of N/M passes over P + N tokens where a RETRO takes one over N.
/// </remarks>
public sealed class InContextReader : PromptReader
{
    /// <summary>Creates the reader.</summary>
    /// <param name="model">The decoder, which stays the caller's; of a model that retrieves, retrieval is off. Reading puts it into evaluation mode.</param>
    /// <param name="tokenizer">The tokenizer that it was trained with, for the template.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <param name="name">The name in reports; null: made of the settings.</param>
    /// <exception cref="RetroOptionsException">A setting is outside its range, or does not fit template and model.</exception>
    public InContextReader(RetroModel model, RetroTokenizer tokenizer, InContextOptions? options = null, string? name = null)
        : this(model, PromptOf(model, tokenizer, options), options ?? new(), name)
    {
    }

    internal InContextReader(RetroModel model, PassagePrompt prompt, InContextOptions options, string? name = null)
        : base(model, prompt, options, name ?? $"in context, k = {options.Neighbors}")
    {
    }
}

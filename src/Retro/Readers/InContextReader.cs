using Retro.Modeling;
using Retro.Search;
using Retro.Tokenizers;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>
/// Reads neighbors as a language model reads any text: in front of it. The passages that were retrieved for a chunk stand, in a template, before the text
/// that ends with it, and the tokens up to the end of the next chunk are predicted from both. Any decoder will do, without a step of training.
/// </summary>
/// <remarks>
/// Retrieval-augmented generation by concatenation (arXiv 2005.11401 and 2302.00083, with a fixed model). Every chunk takes a pass over passages and text: with
/// P tokens in front of N, the attention of N/M passes over P + N tokens where a RETRO takes one over N.
/// </remarks>
public sealed class InContextReader : IPromptReader
{
    private readonly RetroModel _model;
    private readonly PassagePrompt _prompt;

    /// <summary>Creates the reader.</summary>
    /// <param name="model">The decoder, which stays the caller's; of a model that retrieves, retrieval is off. Reading puts it into evaluation mode.</param>
    /// <param name="tokenizer">The tokenizer that it was trained with, for the template.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <param name="name">The name in reports; null: made of the settings.</param>
    /// <exception cref="RetroOptionsException">A setting is outside its range, or does not fit template and model.</exception>
    public InContextReader(RetroModel model, RetroTokenizer tokenizer, InContextOptions? options = null, string? name = null)
        : this(model, (options ?? new()).PromptFor(RequireTokenizer(tokenizer), RequireModel(model).Config.MaximumLength), options ?? new(), name)
    {
    }

    internal InContextReader(RetroModel model, PassagePrompt prompt, InContextOptions options, string? name = null)
    {
        (_model, _prompt, Options) = (model, prompt, options);
        Name = name ?? $"in context, k = {options.Neighbors}";
    }

    /// <summary>The settings.</summary>
    public InContextOptions Options { get; }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public int Neighbors => Options.Neighbors;

    /// <inheritdoc/>
    public int? ChunkLength => null;

    /// <inheritdoc/>
    public int? RetrievedLength => Options.RetrievedLength;

    /// <inheritdoc/>
    public Device Device => _model.Device;

    RetroModel IPromptReader.Model => _model;

    PassagePrompt IPromptReader.Prompt => _prompt;

    /// <inheritdoc/>
    public long RowBytes(int length) => PromptReading.RowBytes(this, length);

    /// <inheritdoc/>
    public double[] LogLikelihoods(ReadingBatch batch) => PromptReading.LogLikelihoods(this, batch);

    IReadOnlyList<(long[] Prefix, double LogWeight)> IPromptReader.Prefixes(RetrievedTokens retrieved, int row, int chunk)
        => _prompt.Prefix(Enumerable.Range(0, Math.Min(Neighbors, retrieved.Neighbors)).Select(k => PassagePrompt.Passage(retrieved, row, chunk, k)))
            is { Length: > 0 } prefix ? [(prefix, 0)] : [];

    internal static RetroModel RequireModel(RetroModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        return model;
    }

    internal static RetroTokenizer RequireTokenizer(RetroTokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        return tokenizer;
    }
}

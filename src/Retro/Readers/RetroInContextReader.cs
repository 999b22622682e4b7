using Retro.Modeling;
using Retro.Search;
using Retro.Tokenizers;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>
/// A RETRO that reads the best neighbor in front of the text, word for word, and the others by chunked cross-attention, each chunk its own: RETRO++ (Wang and
/// others, arXiv 2304.06762, section 5). The model is one that was trained as a RETRO; nothing is trained here.
/// </summary>
/// <remarks>
/// The model counts its chunks from the first token it reads. So that they are the text's, what stands in front of the text is filled up to whole chunks, at
/// its beginning, with begin-of-text tokens; the chunks in front have no neighbors.
/// </remarks>
public sealed class RetroInContextReader : IPromptReader
{
    private readonly RetroModel _model;
    private readonly PassagePrompt _prompt;

    /// <summary>Creates the reader.</summary>
    /// <param name="model">The RETRO, which stays the caller's; reading puts it into evaluation mode.</param>
    /// <param name="tokenizer">The tokenizer that it was trained with, for the template.</param>
    /// <param name="options">
    /// How the passage is written in front of the text; of the neighbors, at least 2, the first stands there and the rest is for cross-attention. Null takes
    /// the defaults.
    /// </param>
    /// <param name="name">The name in reports; null: made of the settings.</param>
    /// <exception cref="RetroOptionsException">A setting is outside its range, or does not fit template and model.</exception>
    /// <exception cref="ArgumentException">The model does not retrieve.</exception>
    public RetroInContextReader(RetroModel model, RetroTokenizer tokenizer, InContextOptions? options = null, string? name = null)
        : this(
            model,
            (options ?? new()).PromptFor(InContextReader.RequireTokenizer(tokenizer), InContextReader.RequireModel(model).Config.MaximumLength),
            options ?? new(),
            name)
    {
    }

    internal RetroInContextReader(RetroModel model, PassagePrompt prompt, InContextOptions options, string? name = null)
    {
        RetrievalConfig retrieval = model.Config.Retrieval
            ?? throw new ArgumentException(
                $"The model does not retrieve, so that the other neighbors could be read by nothing; read it with an {nameof(InContextReader)}.",
                nameof(model));
        OptionFaults faults = new(nameof(InContextOptions));
        faults.Require(
            options.Neighbors >= 2, options.Neighbors, "at least 2, one in context and one for cross-attention", nameof(InContextOptions.Neighbors));
        faults.Require(
            (options.RetrievedLength ?? retrieval.RetrievedLength) == retrieval.RetrievedLength,
            options.RetrievedLength,
            $"{retrieval.RetrievedLength}, which the model was made for, or null",
            nameof(InContextOptions.RetrievedLength));
        faults.Throw();
        (_model, _prompt, Options, ChunkLength, RetrievedLength) = (model, prompt, options, retrieval.ChunkLength, retrieval.RetrievedLength);
        Name = name ?? $"RETRO, best in context, k = {options.Neighbors}";
    }

    /// <summary>The settings.</summary>
    public InContextOptions Options { get; }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public int Neighbors => Options.Neighbors;

    /// <inheritdoc/>
    public int? ChunkLength { get; }

    /// <inheritdoc/>
    public int? RetrievedLength { get; }

    /// <inheritdoc/>
    public Device Device => _model.Device;

    RetroModel IPromptReader.Model => _model;

    PassagePrompt IPromptReader.Prompt => _prompt;

    int IPromptReader.InContext => 1;

    int IPromptReader.CrossAttended => Neighbors - 1;

    /// <inheritdoc/>
    public long RowBytes(int length) => PromptReading.RowBytes(this, length);

    /// <inheritdoc/>
    public double[] LogLikelihoods(ReadingBatch batch) => PromptReading.LogLikelihoods(this, batch);

    IReadOnlyList<(long[] Prefix, double LogWeight)> IPromptReader.Prefixes(RetrievedTokens retrieved, int row, int chunk)
        => _prompt.Prefix([PassagePrompt.Passage(retrieved, row, chunk, 0)]) is { Length: > 0 } prefix ? [(prefix, 0)] : [];
}

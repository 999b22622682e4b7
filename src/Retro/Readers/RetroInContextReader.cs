using Retro.Modeling;
using Retro.Tokenizers;

namespace Retro.Readers;

/// <summary>
/// A RETRO that reads the best neighbor in front of the text, word for word, and the others by chunked cross-attention, each chunk its own: RETRO++ (Wang and
/// others, arXiv 2304.06762, section 5). The model is one that was trained as a RETRO; nothing is trained here.
/// </summary>
/// <remarks>
/// The model counts its chunks from the first token it reads. So that they are the text's, the passage is cut where what stands in front of the text is whole
/// chunks; less than a chunk is filled up, at its beginning, with begin-of-text tokens, which it has not learned to read a run of. The chunks in front have no
/// neighbors. Where the text's beginning is left out, the last of them has those of the
/// chunk that the rest goes on behind, as its first tokens are read with in the text.
/// </remarks>
public sealed class RetroInContextReader : PromptReader
{
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
        : this(model, PromptOf(model, tokenizer, options), options ?? new(), name)
    {
    }

    internal RetroInContextReader(RetroModel model, PassagePrompt prompt, InContextOptions options, string? name = null)
        : base(model, prompt.OfWholeChunks(model.Config.Retrieval?.ChunkLength ?? 1), options, name ?? $"RETRO, best in context, k = {options.Neighbors}")
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
        (ChunkLength, RetrievedLength) = (retrieval.ChunkLength, retrieval.RetrievedLength);
    }

    /// <inheritdoc/>
    public override int? ChunkLength { get; }

    /// <inheritdoc/>
    public override int? RetrievedLength { get; }

    internal override int InContext => 1;

    internal override int CrossAttended => Neighbors - 1;
}

using Retro.Modeling;
using Retro.Search;
using Retro.Tokenizers;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>A reader that writes passages in front of the text, in one prompt or several whose distributions it mixes.</summary>
public abstract class PromptReader : IReader
{
    private protected PromptReader(RetroModel model, PassagePrompt prompt, InContextOptions options, string name)
        => (Model, Prompt, Options, Name) = (model, prompt, options, name);

    /// <summary>How passages are written in front of the text.</summary>
    public InContextOptions Options { get; }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public int Neighbors => Options.Neighbors;

    /// <inheritdoc/>
    public virtual int? ChunkLength => null;

    /// <inheritdoc/>
    public virtual int? RetrievedLength => Options.RetrievedLength;

    /// <inheritdoc/>
    public bool ReadsEarlierNeighbors => CrossAttended > 0;

    /// <inheritdoc/>
    public Device Device => Model.Device;

    /// <summary>The decoder.</summary>
    internal RetroModel Model { get; }

    /// <inheritdoc cref="IReader.IdentityOf"/>
    private protected virtual string IdentityOf(int version)
        => IdentityHash.Of(IdentityHash.KeyEnd, [WeightsHash.Rounded(Model, version), Options, .. version == 1 ? Array.Empty<object>() : [CrossAttended]]);

    /// <summary>How prompts are put together.</summary>
    internal PassagePrompt Prompt { get; }

    /// <summary>Neighbors of a chunk that are read in front of the text, the first ones.</summary>
    internal virtual int InContext => Neighbors;

    /// <summary>Neighbors of a chunk that the model's cross-attention reads, those behind <see cref="InContext"/>; 0: its retrieval is off.</summary>
    internal virtual int CrossAttended => 0;

    /// <inheritdoc/>
    RetroModel? IReader.Model => Model;

    /// <inheritdoc cref="IReader.WeighsByScores"/>
    private protected virtual bool WeighsByScores => false;

    /// <inheritdoc/>
    bool IReader.WeighsByScores => WeighsByScores;

    /// <inheritdoc/>
    string IReader.IdentityOf(int version) => IdentityOf(version);

    /// <inheritdoc/>
    public long RowBytes(int length) => PromptReading.RowBytes(this, length);

    /// <inheritdoc/>
    public double[] LogLikelihoods(ReadingBatch batch) => PromptReading.LogLikelihoods(this, batch);

    /// <summary>What stands in front of the text that follows a chunk: by default one prompt of all passages that are read there.</summary>
    /// <param name="retrieved">What was retrieved.</param>
    /// <param name="row">Row.</param>
    /// <param name="chunk">The chunk that the text follows.</param>
    /// <returns>The prompts, each with the logarithm of its weight; none where there is no passage: the text stands alone.</returns>
    internal virtual IReadOnlyList<(long[] Prefix, double LogWeight)> Prefixes(RetrievedTokens retrieved, int row, int chunk)
        => Prompt.Prefix(Enumerable.Range(0, Math.Min(InContext, retrieved.Neighbors)).Select(k => retrieved.Passage(row, chunk, k)))
            is { Length: > 0 } prefix ? [(prefix, 0)] : [];

    /// <summary>What is read of the passages that were retrieved for a chunk.</summary>
    /// <param name="retrieved">What was retrieved.</param>
    /// <param name="row">Row.</param>
    /// <param name="chunk">The chunk.</param>
    /// <returns>A range of the tokens of each, none where a prompt has no room for it; those behind the last are not read.</returns>
    internal virtual Range[] ReadOf(RetrievedTokens retrieved, int row, int chunk)
    {
        long[][] passages = [.. Enumerable.Range(0, retrieved.Neighbors).Select(k => retrieved.Passage(row, chunk, k))];
        int front = Math.Min(InContext, passages.Length);
        return [.. Prompt.Fit(passages[..front]), .. passages[front..].Take(CrossAttended).Select(passage => new Range(0, passage.Length))];
    }

    /// <summary>The prompts that options make with a model's tokenizer.</summary>
    private protected static PassagePrompt PromptOf(RetroModel model, RetroTokenizer tokenizer, InContextOptions? options)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(tokenizer);
        model.RequireTokenizer(tokenizer.Hashes);
        return (options ?? new()).PromptFor(tokenizer, model.Config.MaximumLength);
    }
}

using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

public sealed partial class RetroModel
{
    /// <summary>Says whose ids the model is trained on. A <c>Trainer</c> does, and so should a custom training loop.</summary>
    /// <param name="hash">Hash of the tokenizer, <see cref="TokenizerHash"/> from then on.</param>
    /// <exception cref="RetroException">The model was trained with another.</exception>
    public void TieTokenizer(string hash)
    {
        ArgumentException.ThrowIfNullOrEmpty(hash);
        RequireTokenizer(hash);
        TokenizerHash = hash;
    }

    /// <summary>Refuses what was made with another tokenizer than the model was trained with.</summary>
    /// <param name="hash">Hash of the tokenizer.</param>
    /// <exception cref="RetroException">It is another.</exception>
    internal void RequireTokenizer(string hash)
    {
        if (TokenizerHash is { } own && own != hash && !(TokenizerHashes.Contains(own) && TokenizerHashes.Contains(hash)))
        {
            throw new RetroException(
                $"The model was trained with the tokenizer of hash {own}; in the one of hash {hash} the same ids mean other texts. Take the tokenizer that the "
                    + "model was trained with, and databases made with it.");
        }
    }

    /// <summary>Refuses another tokenizer than the model was trained with. Of the right one every hash counts from then on.</summary>
    /// <param name="hashes">The hashes by which databases and models may know the tokenizer, at least one.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is none.</exception>
    /// <exception cref="RetroException">It is another.</exception>
    public void RequireTokenizer(IReadOnlyList<string> hashes)
    {
        ArgumentNullException.ThrowIfNull(hashes);
        ArgumentOutOfRangeException.ThrowIfZero(hashes.Count, nameof(hashes));
        RequireTokenizer(TokenizerHash is { } own && hashes.Contains(own) ? own : hashes[0]);
        TokenizerHashes = [.. hashes];
    }

    /// <summary>Refuses what a pass cannot read.</summary>
    internal void Check(Tensor tokens, Tensor? neighbors, Tensor? valid)
    {
        CheckTokens(tokens);
        CheckNeighbors(tokens, neighbors, valid);
    }

    private void CheckTokens(Tensor tokens)
    {
        _ = Weighted;
        Guard.Shape(tokens, "[B, T]", [null, null]);
        CheckLength(tokens.shape[1], nameof(tokens));
        CheckIds(tokens, nameof(tokens));
        if (tokens.numel() == 0)
        {
            throw new ShapeException(nameof(tokens), "[B, T] with at least one row and one token", tokens.shape);
        }
    }

    private void CheckLength(long length, string name)
    {
        if (length > Config.MaximumLength)
        {
            throw new ArgumentException(
                $"A sequence of {length} tokens is longer than the {Config.MaximumLength} that the model takes; shorten it, or the windows of it that are read "
                    + "(the option WindowLength of whoever makes them).",
                name);
        }
    }

    private void CheckNeighbors(Tensor tokens, Tensor? neighbors, Tensor? valid)
    {
        CheckShapes(tokens, neighbors, valid, tokens.shape[1] / (Config.Retrieval?.ChunkLength ?? 1));
        if (neighbors is not null)
        {
            CheckIds(neighbors, nameof(neighbors));
        }
    }

    /// <summary>Checks what was retrieved for chunks that rows complete, and leaves out what stands for others.</summary>
    /// <param name="tokens">[B, T].</param>
    /// <param name="neighbors">[B, C, K, R].</param>
    /// <param name="valid">The same.</param>
    /// <param name="completed">Chunks that each row completes.</param>
    private (Tensor? Neighbors, Tensor? Valid) OfCompleted(Tensor tokens, Tensor? neighbors, Tensor? valid, long[] completed)
    {
        CheckShapes(tokens, neighbors, valid, completed.Max());
        if (neighbors is not null)
        {
            long chunks = neighbors.shape[1];
            Guard.Type(neighbors, nameof(neighbors), ScalarType.Int64, Device);
            if (completed.Any(count => count < chunks))
            {
                bool[] own = [.. completed.SelectMany(count => Enumerable.Range(0, (int)chunks).Select(i => i < count))];
                Tensor isOwn = tensor(own, [completed.Length, chunks, 1, 1], device: Device);
                neighbors = neighbors.where(isOwn, zeros_like(neighbors));
                valid = isOwn.logical_and(valid ?? ones_like(neighbors, ScalarType.Bool));
            }

            CheckIds(neighbors, nameof(neighbors));
        }

        return (neighbors, valid);
    }

    /// <param name="tokens">[B, T].</param>
    /// <param name="neighbors">[B, C, K, R].</param>
    /// <param name="valid">The same.</param>
    /// <param name="complete">Chunks that they complete, of the row that completes the most.</param>
    private void CheckShapes(Tensor tokens, Tensor? neighbors, Tensor? valid, long complete)
    {
        if (neighbors is null)
        {
            if (valid is not null)
            {
                throw new ArgumentException("A mask of valid neighbors came without neighbors; pass both, or neither to switch retrieval off.", nameof(valid));
            }

            return;
        }

        CheckRetrieves();
        Guard.Shape(neighbors, "[B, C, K, R]", [tokens.shape[0], null, null, Config.Retrieval!.RetrievedLength]);
        if (neighbors.shape[1] > complete || neighbors.shape[2] == 0)
        {
            throw new ShapeException(
                nameof(neighbors),
                $"[B, C, K, R] with C at most {complete}, the chunks that these tokens complete, and K at least 1 (null switches retrieval off)",
                neighbors.shape);
        }

        if (valid is not null)
        {
            CheckValid(valid, neighbors.shape);
        }
    }

    private void CheckRetrieves()
    {
        if (Encoder is null)
        {
            throw new InvalidOperationException($"The model does not retrieve: its configuration has no {nameof(RetroConfig.Retrieval)}. Pass no neighbors.");
        }
    }

    private void CheckValid(Tensor valid, long[] shape)
    {
        Guard.Shape(valid, "the shape of neighbors", Array.ConvertAll(shape, size => (long?)size));
        Guard.Type(valid, nameof(valid), ScalarType.Bool, Device);
    }

    private void CheckIds(Tensor ids, string name)
    {
        Guard.Type(ids, name, ScalarType.Int64, Device);
        Guard.Ids(ids, name, Config.VocabularySize);
    }
}

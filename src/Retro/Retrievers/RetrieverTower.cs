using Retro.Database;
using Retro.Embedders;
using Retro.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Retrievers;

/// <summary>One side of a learned retriever: a copy of an embedder's encoder, which takes gradients, and the way from chunks to what it reads.</summary>
internal sealed class RetrieverTower : IDisposable
{
    private readonly TextEmbedder _embedder;
    private readonly RetroTokenizer _tokenizer;

    /// <param name="embedder">What it is a copy of; it stays the caller's.</param>
    /// <param name="tokenizer">The tokenizer whose ids the chunks hold.</param>
    /// <param name="normalizes">Whether its vectors, and those of what it exports, are of length 1 even if the embedder's are not.</param>
    public RetrieverTower(TextEmbedder embedder, RetroTokenizer tokenizer, bool normalizes = false)
    {
        (_embedder, _tokenizer) = (embedder, tokenizer);
        Encoder = embedder.Encoder.Clone(normalizes);
        Encoder.train();
    }

    /// <summary>The encoder.</summary>
    public TextEncoder Encoder { get; }

    /// <summary>The encoder as it is now, frozen, as an embedder of its own.</summary>
    public TextEmbedder Export() => As(Encoder.Clone());

    /// <summary>An encoder of the same sizes as an embedder, which takes it over.</summary>
    public TextEmbedder As(TextEncoder encoder) => new(encoder, _embedder.Tokenizer, _embedder.LowerCase, _embedder.Prompt) { Prompts = _embedder.Prompts };

    /// <summary>The vectors of texts, [n, D], with gradients.</summary>
    public Tensor Vectors(IReadOnlyList<int[]> framed)
    {
        using DisposeScope scope = NewDisposeScope();
        (Tensor tokens, Tensor? mask) = TextBatch.Of(framed, _embedder.Padding).ToTensors(Encoder.parameters().First().device);
        return Encoder.Pool(Encoder.forward(tokens, mask), mask).MoveToOuterDisposeScope();
    }

    /// <summary>What the tower reads of a chunk: that of which the embedder makes the chunk's key.</summary>
    public int[] Read(ChunkDatabase database, long chunk) => Read(Text(database, chunk));

    /// <summary>What the tower reads of a text.</summary>
    public int[] Read(string text) => _embedder.Tokens(text);

    /// <summary>
    /// What a posterior tower reads: a chunk and the one that follows it, x [SEP] y. Each is first cut at its end, if it does not fit alone; where both do not
    /// fit, what is left of x is cut at its front.
    /// </summary>
    public int[] ReadWithTarget(ChunkDatabase database, long chunk)
    {
        int[] context = _embedder.Tokens(Text(database, chunk)), target = _embedder.Bare(Text(database, chunk + 1));
        int room = Encoder.Config.MaximumLength;
        int kept = Math.Clamp(room - target.Length - 1, 0, context.Length - 2); // of the context's tokens, without its frame
        return kept == 0 ? target : [context[0], .. context[^(kept + 1)..], .. target[1..]];
    }

    /// <inheritdoc/>
    public void Dispose() => Encoder.Dispose();

    /// <summary>The text of a chunk, as a tower reads it.</summary>
    public string Text(ChunkDatabase database, long chunk) => _tokenizer.Decode(database.OwnTokens(chunk));
}

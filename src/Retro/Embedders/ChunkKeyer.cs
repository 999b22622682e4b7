using System.Globalization;
using System.Text;
using Microsoft.Extensions.AI;
using Retro.Tokenizers;

namespace Retro.Embedders;

/// <summary>The one function from a chunk's tokens, or a text, to its key in the retrieval database (RETRO, section 2.3).</summary>
/// <remarks>
/// Building a database, precomputing neighbors and generating all come through here, so that the same tokens have the same key, within the rounding of the
/// embedder (see <see cref="TextEmbedder"/>): tokens are decoded to text (special tokens, such as the padding of a document's last chunk, left out), and the
/// text is embedded. A text of punctuation alone, or of nothing, has no key: zeros. Keys are as long as the embedder makes them unless they are normalized.
/// Safe for concurrent use where the embedder is.
/// </remarks>
public sealed class ChunkKeyer : IChunkKeyer
{
    /// <summary>Chunks that are embedded in one go; enough for the embedder to find texts of equal length among them.</summary>
    private const int Block = 4096;

    private readonly RetroTokenizer _tokenizer;
    private readonly IEmbeddingGenerator<string, Embedding<float>> _embedder;

    // Retro's own embedders compute without a task, where nothing is wrapped around them.
    private readonly ITextEmbedder? _direct;
    private readonly bool _normalize;

    /// <summary>Creates the function.</summary>
    /// <param name="tokenizer">The tokenizer whose ids the chunks hold.</param>
    /// <param name="embedder">
    /// Makes the vectors. Wrapped in middleware (logging, caching), one of Retro's is still known by what it is, unless the metadata name another model: then,
    /// as a foreign one, it is known by them, and embeds one word here where they do not tell the number of dimensions.
    /// </param>
    /// <param name="batchSize">
    /// Texts that a foreign embedder gets at once, at most; the keys are the same. Services refuse more than they take: 2,048 texts with OpenAI, 96 with
    /// Cohere, 32 with text-embeddings-inference where nothing is set.
    /// </param>
    /// <param name="normalize">
    /// Whether keys are divided by their lengths, so that squared distance and inner product both rank by the cosine: for a model that was trained to be
    /// compared by cosines and gives vectors of any length, as a sentence-transformers folder without a Normalize module does. Their lengths count otherwise:
    /// by the inner product the longest come first. A vector of zeros stays one. It belongs to the identity.
    /// </param>
    /// <exception cref="ArgumentException">The embedder does not name its model, so that its keys could not be told from another's.</exception>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="batchSize"/> is not positive.</exception>
    public ChunkKeyer(RetroTokenizer tokenizer, IEmbeddingGenerator<string, Embedding<float>> embedder, int batchSize = 96, bool normalize = false)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(embedder);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batchSize);
        _tokenizer = tokenizer;
        _embedder = embedder;
        _normalize = normalize;
        string identity;
        _direct = embedder as ITextEmbedder;
        EmbeddingGeneratorMetadata? metadata = embedder.GetService(typeof(EmbeddingGeneratorMetadata)) as EmbeddingGeneratorMetadata;
        if (embedder.GetService(typeof(ITextEmbedder)) is ITextEmbedder own && metadata?.DefaultModelId == own.Identity)
        {
            (Dimensions, identity, BatchSize) = (own.Dimensions, own.Identity, Block);
        }
        else
        {
            BatchSize = batchSize;
            if (string.IsNullOrEmpty(metadata?.DefaultModelId))
            {
                throw new ArgumentException(
                    $"The embedder {embedder.GetType().Name} does not name its model; its EmbeddingGeneratorMetadata has to give DefaultModelId, so that a "
                        + "database can tell whose keys it holds.",
                    nameof(embedder));
            }

            Dimensions = metadata.DefaultModelDimensions ?? Generate(["text"], CancellationToken.None)[0].Vector.Length;
            identity = IdentityHash.Of(
                IdentityHash.KeyEnd,
                metadata.ProviderName ?? "",
                metadata.ProviderUri?.ToString() ?? "",
                metadata.DefaultModelId,
                Dimensions.ToString(CultureInfo.InvariantCulture));
        }

        // The second kind had no spaces where the tokens bring them.
        string[] length = normalize ? ["length 1"] : []; // what was made before it could be asked for has nothing in its place
        Identity = IdentityHash.Of(
            IdentityHash.KeyEnd, [tokenizer.BringsSpaces ? "chunk key 3" : "chunk key 2", tokenizer.FilesHash, identity, .. length]);
    }

    /// <summary>Length of a key.</summary>
    public int Dimensions { get; }

    /// <summary>Names the function: tokenizer, embedder, and the way from tokens to key. SHA-256 in lower-case hex.</summary>
    public string Identity { get; }

    /// <summary>Texts that the embedder gets at once, at most, and so chunks whose keys a build makes, and keeps, at once.</summary>
    public int BatchSize { get; }

    /// <summary>Makes the keys of chunks.</summary>
    /// <param name="chunks">The token ids of each chunk; padding with special tokens does not count.</param>
    /// <param name="keys">Receives one row of <see cref="Dimensions"/> numbers per chunk.</param>
    /// <param name="cancellationToken">Stops between batches.</param>
    /// <exception cref="ArgumentException"><paramref name="keys"/> has another size than the chunks need.</exception>
    /// <exception cref="RetroException">The embedder gave a vector that is no key: another length, or numbers that are not finite.</exception>
    public void Keys(IReadOnlyList<ReadOnlyMemory<int>> chunks, Span<float> keys, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(chunks);
        EmbeddingResults.RequireRoom(chunks.Count, Dimensions, keys.Length, nameof(keys));
        for (int start = 0; start < chunks.Count; start += Block)
        {
            string[] texts = new string[Math.Min(Block, chunks.Count - start)];
            int from = start;
            ParallelLoop.For(texts.Length, i => texts[i] = _tokenizer.Decode(chunks[from + i].Span), 0, cancellationToken);

            EmbedWords(texts, keys.Slice(start * Dimensions, texts.Length * Dimensions), cancellationToken);
        }
    }

    /// <summary>Makes the key of a text; that of a chunk's decoded tokens is the chunk's key.</summary>
    /// <param name="text">The text.</param>
    /// <param name="cancellationToken">Stops the work.</param>
    /// <returns>The key, <see cref="Dimensions"/> numbers.</returns>
    /// <exception cref="RetroException">The embedder gave a vector that is no key.</exception>
    public float[] KeyOfText(string text, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        float[] key = new float[Dimensions];
        EmbedWords([text], key, cancellationToken);
        return key;
    }

    /// <summary>Whether a text holds anything but punctuation, signs of mathematics, white space and the like.</summary>
    private static bool SaysSomething(string text)
    {
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (Rune.IsLetterOrDigit(rune) || Rune.GetUnicodeCategory(rune) is UnicodeCategory.OtherSymbol or UnicodeCategory.OtherNumber)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Embeds the texts that say something; the others get zeros.</summary>
    private void EmbedWords(string[] texts, Span<float> keys, CancellationToken cancellationToken)
    {
        int[] places = [.. Enumerable.Range(0, texts.Length).Where(place => SaysSomething(texts[place]))];
        if (places.Length == texts.Length)
        {
            Embed(texts, keys, cancellationToken);
            return;
        }

        keys.Clear();
        if (places.Length > 0)
        {
            float[] made = new float[places.Length * Dimensions];
            Embed([.. places.Select(place => texts[place])], made, cancellationToken);
            for (int i = 0; i < places.Length; i++)
            {
                made.AsSpan(i * Dimensions, Dimensions).CopyTo(keys[(places[i] * Dimensions)..]);
            }
        }
    }

    private void Embed(string[] texts, Span<float> keys, CancellationToken cancellationToken)
    {
        if (_direct is not null)
        {
            _direct.Embed(texts, keys, cancellationToken);
        }
        else
        {
            int place = 0;
            foreach (Embedding<float> embedding in texts.Chunk(BatchSize).SelectMany(batch => Generate(batch, cancellationToken)))
            {
                if (embedding.Vector.Length != Dimensions)
                {
                    throw new RetroException(
                        $"The embedder gave {embedding.Vector.Length} numbers where its metadata say {Dimensions}; a database takes one length only.");
                }

                embedding.Vector.Span.CopyTo(keys.Slice(place++ * Dimensions, Dimensions));
            }
        }

        foreach (float value in keys)
        {
            if (!float.IsFinite(value))
            {
                throw new RetroException(
                    "The embedder gave a key with a number that is not finite; its weights are damaged, or it was trained at too high a rate.");
            }
        }

        for (int start = 0; _normalize && start < keys.Length; start += Dimensions)
        {
            Normalize(keys.Slice(start, Dimensions));
        }
    }

    /// <summary>Divides a key by its length; zeros stay zeros.</summary>
    internal static void Normalize(Span<float> key)
    {
        double squares = 0;
        foreach (float value in key)
        {
            squares += (double)value * value;
        }

        double length = Math.Sqrt(squares);
        for (int i = 0; length > 0 && i < key.Length; i++)
        {
            key[i] = (float)(key[i] / length);
        }
    }

    private GeneratedEmbeddings<Embedding<float>> Generate(string[] texts, CancellationToken cancellationToken)
    {
        // On a thread of the pool: a generator that comes back to its caller's context would wait for this one.
        GeneratedEmbeddings<Embedding<float>> embeddings = Task.Run(() => _embedder.GenerateAsync(texts, null, cancellationToken), cancellationToken)
            .GetAwaiter()
            .GetResult();
        int given = embeddings?.Count(one => one is not null) ?? 0;
        return embeddings?.Count == texts.Length && given == texts.Length ? embeddings
            : throw new RetroException(
                $"The embedder {_embedder.GetType().Name} gave {Amount.Of(given, "vector")} for {Amount.Of(texts.Length, "text")}; it has to give one for "
                    + "each.");
    }
}

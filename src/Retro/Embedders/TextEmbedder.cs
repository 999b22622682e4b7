using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.AI;
using Microsoft.ML.Tokenizers;
using Retro.Modeling;
using Retro.Tokenizers;
using TorchSharp;
using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace Retro.Embedders;

/// <summary>Texts to vectors: a tokenizer, a frozen <see cref="TextEncoder"/> and pooling.</summary>
/// <remarks>
/// A text is framed as [CLS] text [SEP] (a byte-level vocabulary has &lt;|endoftext|&gt; for both) and cut to the encoder's maximum length. Texts of equal
/// length are computed together, without any padding, each batch on one core. Matrix products choose their algorithm by shape and threads, so the last bits of
/// a vector depend on the texts that it came with: alone and among thousands it is the same within 1e-5 of its length. Safe for concurrent use.
/// <para>Some models were trained on texts behind a <see cref="Prompt"/>, which is put before each. It is one for all: in RETRO a chunk is looked up as it is
/// found, by one key, so that there is no text of another kind.</para>
/// </remarks>
public sealed partial class TextEmbedder : ITextEmbedder, IEmbeddingGenerator<string, Embedding<float>>
{
    // Tokens that a core computes at once, about: enough for its matrix products to run near their best rate, few enough that a single text is not made to
    // wait.
    private const int BatchTokens = 256;
    private const int CudaBatchTokens = 8192;

    private readonly RetroTokenizer _tokenizer;
    private readonly TextFrame _frame;
    private readonly Device _device;
    private readonly Lazy<string> _identity;
    private readonly Lock _lock = new();
    private int _users;
    private bool _isDisposed;

    /// <summary>Creates the embedder and freezes the encoder: evaluation mode, no gradients.</summary>
    /// <param name="encoder">The encoder; the embedder owns it from here on.</param>
    /// <param name="tokenizer">The tokenizer whose ids the encoder was trained on.</param>
    /// <param name="lowerCase">Whether texts are lower-cased before the tokenizer sees them.</param>
    /// <param name="prompt">What is put before every text, such as "query: "; empty: nothing.</param>
    /// <exception cref="CheckpointException">The tokenizer has another vocabulary size than the encoder; or it is WordPiece, and its template puts neither
    /// one token on each side of a text nor none; or the prompt leaves no room for a text.</exception>
    public TextEmbedder(TextEncoder encoder, RetroTokenizer tokenizer, bool lowerCase = false, string prompt = "")
    {
        ArgumentNullException.ThrowIfNull(encoder);
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(prompt);
        PaddedVocabulary.Require(tokenizer, encoder.Config.VocabularySize, "the encoder");
        Encoder = encoder;
        LowerCase = lowerCase;
        Prompt = prompt;
        _tokenizer = tokenizer;
        _frame = new TextFrame(tokenizer);
        if (prompt.Length > 0 && Bare(prompt).Length >= encoder.Config.MaximumLength)
        {
            throw new CheckpointException(
                $"The prompt \"{prompt}\" alone has as many tokens as a text may have, {encoder.Config.MaximumLength}, so that all texts would be one; take a "
                    + "shorter one.");
        }

        encoder.eval();
        Parameter[] parameters = encoder.parameters().ToArray();
        foreach (Parameter parameter in parameters)
        {
            parameter.requires_grad = false;
        }

        _device = parameters[0].device;
        _identity = new Lazy<string>(ComputeIdentity);
    }

    /// <summary>The encoder. Changing its weights makes <see cref="Identity"/> wrong.</summary>
    public TextEncoder Encoder { get; }

    /// <summary>The tokenizer.</summary>
    public RetroTokenizer Tokenizer => _tokenizer;

    /// <summary>Whether texts are lower-cased before the tokenizer sees them.</summary>
    public bool LowerCase { get; }

    /// <summary>What is put before every text; empty: nothing. How <see cref="Load"/> chooses it is said there.</summary>
    public string Prompt { get; }

    /// <summary>
    /// What the folder that it was loaded from means to stand before texts of a kind, by the kind, such as "query: " by "query"; empty prompts left out. Of
    /// these <see cref="Prompt"/> is put before texts, and no other.
    /// </summary>
    public IReadOnlyDictionary<string, string> Prompts { get; internal init; } = new Dictionary<string, string>();

    /// <inheritdoc/>
    public int Dimensions => Encoder.Config.VectorWidth;

    /// <summary>
    /// Hash of everything a vector depends on: sizes, weights, tokenizer, frame, prompt, maximum length, pooling and normalization. SHA-256 in lower-case hex.
    /// </summary>
    public string Identity => _identity.Value;

    /// <inheritdoc/>
    public void Embed(IReadOnlyList<string> texts, Span<float> vectors, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        EmbeddingResults.RequireTexts(texts, nameof(texts));
        EmbeddingResults.RequireRoom(texts.Count, Dimensions, vectors.Length, nameof(vectors));
        using Use use = Hold();
        int[][] tokens = new int[texts.Count][];
        ParallelLoop.For(tokens.Length, i => tokens[i] = Tokens(texts[i]), 0, cancellationToken);

        List<int[]> batches = [];
        foreach (IGrouping<int, int> equal in Enumerable.Range(0, tokens.Length).GroupBy(i => tokens[i].Length).OrderByDescending(group => group.Key))
        {
            batches.AddRange(equal.Chunk(Math.Max(1, (_device.type == DeviceType.CUDA ? CudaBatchTokens : BatchTokens) / equal.Key)));
        }

        float[][] results = new float[batches.Count][];
        TorchThreads.Run(batches.Count, _device, i => results[i] = EmbedBatch(tokens, batches[i]), oneThreadEach: true, cancellationToken: cancellationToken);
        for (int i = 0; i < results.Length; i++)
        {
            for (int row = 0; row < batches[i].Length; row++)
            {
                results[i].AsSpan(row * Dimensions, Dimensions).CopyTo(vectors.Slice(batches[i][row] * Dimensions, Dimensions));
            }
        }
    }

    /// <summary>The ids that the encoder gets for a text: behind the prompt, framed, and cut to the maximum length.</summary>
    /// <param name="text">The text.</param>
    /// <returns>At least one id, at most <see cref="TextEncoderConfig.MaximumLength"/>.</returns>
    /// <exception cref="RetroException">The text has a special token that the encoder has no row for.</exception>
    public int[] Tokens(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return Bare(Prompt + text);
    }

    /// <summary>The same without the prompt, for what follows a text that has it.</summary>
    internal int[] Bare(string text)
    {
        int[] ids = _frame.Encode(LowerCase ? LowerCasing.Of(text) : text);
        ReadOnlySpan<int> kept = ids.AsSpan(0, Math.Min(ids.Length, Encoder.Config.MaximumLength - 2));
        PaddedVocabulary.RequireRows(_tokenizer, kept, Encoder.Config.VocabularySize);
        return [_frame.Begin, .. kept, _frame.End];
    }

    /// <summary>The id that fills up a row of texts of different lengths; a mask tells it from the text.</summary>
    internal int Padding => _frame.End;

    /// <inheritdoc/>
    public Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
        IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
        => EmbeddingResults.Generate(this, values, options, cancellationToken);

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null) => EmbeddingResults.Service(this, serviceType, serviceKey);

    /// <summary>Frees the encoder's weights; where others embed meanwhile, when the last of them has ended.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _isDisposed = true;
            if (_users > 0)
            {
                return;
            }
        }

        Encoder.Dispose();
    }

    /// <summary>Computes with the weights until what is returned is disposed.</summary>
    private Use Hold()
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            _users++;
        }

        return new(this);
    }

    private void Release()
    {
        lock (_lock)
        {
            if (--_users > 0 || !_isDisposed)
            {
                return;
            }
        }

        Encoder.Dispose();
    }

    private float[] EmbedBatch(int[][] tokens, int[] batch)
    {
        long[] ids = [.. batch.SelectMany(text => tokens[text], (_, id) => (long)id)];
        using IDisposable guard = no_grad();
        using DisposeScope scope = NewDisposeScope();
        Tensor input = torch.tensor(ids, [batch.Length, tokens[batch[0]].Length], ScalarType.Int64, _device); // [B, T]
        return Encoder.Pool(Encoder.forward(input)).Floats(); // a vector for each text
    }

    private string ComputeIdentity()
    {
        using Use use = Hold();
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        string head = JsonSerializer.Serialize(
            new { Kind = "text embedder 1", Encoder.Config, Tokenizer = _tokenizer.FilesHash, _frame.Begin, _frame.End, LowerCase });
        hash.AppendData(Encoding.UTF8.GetBytes(Prompt.Length == 0 ? head : $"{head}\nprompt {JsonSerializer.Serialize(Prompt)}"));
        if (_frame.IsOriginals && _tokenizer.Kind != WordPiece.KindName)
        {
            hash.AppendData("\nstripped"u8); // which changes no id of a vocabulary that drops white space anyhow
        }

        foreach ((string name, Parameter parameter) in Encoder.named_parameters().OrderBy(pair => pair.name, StringComparer.Ordinal))
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"\n{name} {parameter.dtype} [{string.Join(',', parameter.shape)}]\n"));
            hash.AppendTensor(parameter);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>Somebody computes; see <see cref="Hold"/>.</summary>
    private readonly struct Use(TextEmbedder embedder) : IDisposable
    {
        public void Dispose() => embedder.Release();
    }
}

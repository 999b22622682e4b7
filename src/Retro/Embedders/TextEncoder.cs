using System.Diagnostics;
using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Retro.Embedders;

/// <summary>
/// The bidirectional transformer of BERT (Devlin et al., arXiv 1810.04805, section 3): post-norm layers, with exact (erf) GELU if its configuration says no
/// other; that of RoBERTa, XLM-R, DistilBERT and MPNet too, which differ in what stands for a position and in token types; and that of ModernBERT, whose
/// layers are others (<see cref="ModernLayers"/>).
/// </summary>
/// <remarks>
/// Parameters are named as in Hugging Face's BERT (<c>encoder.layer.0.attention.self.query.weight</c>), so that weights load by name; within a layer of
/// ModernBERT's as there (<c>encoder.layer.0.attn.Wqkv.weight</c>).
/// There is no pooler: embeddings are pooled from the states of the last layer. Letters: B texts, T tokens, D width, H heads, S = D / H.
/// </remarks>
public sealed partial class TextEncoder : nn.Module<Tensor, Tensor?, Tensor?, Tensor>
{
    /// <summary>The numbers that a head adds to attention scores, by distance.</summary>
    internal const int Distances = 32;

    /// <summary>How the names of the weights of <see cref="TextEncoderConfig.Dense"/> begin.</summary>
    internal const string DenseName = "dense";

    [ComponentName(Name = "embeddings")]
    private readonly Embeddings _embeddings;

    [ComponentName(Name = "encoder")]
    private readonly nn.Module<Tensor, Tensor?, Tensor> _encoder;

    [ComponentName(Name = DenseName)]
    private readonly Linear? _dense;

    /// <summary>Creates an encoder with small random weights.</summary>
    /// <param name="config">The sizes.</param>
    /// <param name="seed">Seeds the weights; the global random state is left alone.</param>
    /// <param name="dtype">Type of the weights; float32 by default.</param>
    /// <param name="device">Where the weights lie; the CPU by default.</param>
    /// <exception cref="RetroOptionsException">The configuration contradicts itself.</exception>
    public TextEncoder(TextEncoderConfig config, long seed = 0, ScalarType dtype = ScalarType.Float32, Device? device = null)
        : this(config, (long?)seed)
    {
        this.to(dtype);
        if (device is not null)
        {
            this.to(device);
        }
    }

    /// <summary>Creates an encoder; without a seed its weights are to be loaded.</summary>
    internal TextEncoder(TextEncoderConfig config, long? seed)
        : base(TorchLibrary.Require(nameof(TextEncoder)))
    {
        ArgumentNullException.ThrowIfNull(config);
        Config = config.Validate();
        _embeddings = new Embeddings(config);
        _encoder = config.Modern is { } modern ? new PreNormStack(config, modern) : new LayerStack(config);
        _dense = config.Dense is { } dense ? nn.Linear(config.Width, dense.Width, dense.HasBias, device: CPU) : null;
        RegisterComponents();
        if (seed is long number)
        {
            Initialize(number);
        }
    }

    /// <summary>The sizes.</summary>
    public TextEncoderConfig Config { get; }

    /// <summary>An encoder with the same weights, on the same device, which takes gradients.</summary>
    /// <param name="normalizes">Whether its vectors are scaled to length 1 even if this one's are not.</param>
    internal TextEncoder Clone(bool normalizes = false)
    {
        Tensor first = parameters().First();
        TextEncoder clone = new(normalizes ? Config with { Normalize = true } : Config, null);
        clone.to(first.dtype);
        clone.to(first.device);
        clone.CopyFrom(this);
        return clone;
    }

    /// <summary>Takes the weights of an encoder of the same sizes.</summary>
    internal void CopyFrom(TextEncoder other)
    {
        using IDisposable guard = no_grad();
        foreach ((Parameter own, Parameter theirs) in parameters().Zip(other.parameters()))
        {
            own.copy_(theirs);
        }
    }

    /// <summary>Encodes texts.</summary>
    /// <param name="tokens">Token ids, int64 [B, T], T at most <see cref="TextEncoderConfig.MaximumPositions"/> less
    /// <see cref="TextEncoderConfig.FirstPosition"/>.</param>
    /// <param name="mask">True where a token is real, bool [B, T], at least one in each row; null when all are.</param>
    /// <param name="tokenTypes">Token types, int64 [B, T]; null when all are 0. An encoder without token types takes none into account.</param>
    /// <returns>The states of the last layer, [B, T, D]; what stands where the mask is false means nothing.</returns>
    /// <exception cref="ShapeException">An argument has another shape.</exception>
    public override Tensor forward(Tensor tokens, Tensor? mask = null, Tensor? tokenTypes = null)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        if (tokens.dim() != 2 || tokens.shape[1] < 1 || tokens.shape[1] > Config.LongestSequence)
        {
            throw new ShapeException(nameof(tokens), $"[B, T] with T from 1 to {Config.LongestSequence}", tokens.shape);
        }

        RequireLike(mask, nameof(mask), tokens);
        RequireLike(tokenTypes, nameof(tokenTypes), tokens);
        using DisposeScope scope = NewDisposeScope();
        return _encoder.forward(_embeddings.forward(tokens, tokenTypes), mask).MoveToOuterDisposeScope(); // [B, T, D]
    }

    /// <summary>Makes one vector of each text's states.</summary>
    /// <param name="states">States, [B, T, D].</param>
    /// <param name="mask">True where a token is real, bool [B, T], at least one in each row; null when all are.</param>
    /// <returns>The vectors, [B, D], or as wide as <see cref="TextEncoderConfig.Dense"/> makes them, pooled and, where the configuration says so, scaled to
    /// length 1.</returns>
    /// <exception cref="ShapeException">An argument has another shape.</exception>
    public Tensor Pool(Tensor states, Tensor? mask = null)
    {
        ArgumentNullException.ThrowIfNull(states);
        if (states.dim() != 3)
        {
            throw new ShapeException(nameof(states), "[B, T, D]", states.shape);
        }

        if (mask is not null && !mask.shape.AsSpan().SequenceEqual(states.shape.AsSpan(0, 2)))
        {
            throw new ShapeException(nameof(mask), $"[{states.shape[0]}, {states.shape[1]}]", mask.shape);
        }

        using DisposeScope scope = NewDisposeScope();
        Tensor? real = mask?.unsqueeze(-1); // [B, T, 1]
        Tensor pooled = Config.Pooling switch
        {
            TextPooling.FirstToken => states.select(1, 0),
            TextPooling.Max => (real is null ? states : states.FilledWhere(real.logical_not(), double.NegativeInfinity)).amax([1L]),
            TextPooling.Mean => Mean(states, mask),
            TextPooling.MeanSquareRoot => Sum(states, real) / Count(states, real).sqrt(),
            _ => throw new UnreachableException(), // the configuration was validated
        }; // [B, D]
        pooled = _dense is null ? pooled : _dense.forward(pooled);
        pooled = Config.Dense is { HasTanh: true } ? pooled.tanh() : pooled;
        return (Config.Normalize ? F.normalize(pooled, p: 2, dim: -1, eps: 1e-12) : pooled.clone()).MoveToOuterDisposeScope();
    }

    /// <summary>The mean over the real tokens, [B, D].</summary>
    internal static Tensor Mean(Tensor states, Tensor? mask)
    {
        Tensor? real = mask?.unsqueeze(-1); // [B, T, 1]
        return Sum(states, real) / Count(states, real);
    }

    private static Tensor Sum(Tensor states, Tensor? real)
        => (real is null ? states : states.FilledWhere(real.logical_not(), 0)).sum(dim: 1);

    private static Tensor Count(Tensor states, Tensor? real)
        => real is null
            ? KeptScalars.Filled([states.shape[0], 1], states.shape[1], states.dtype, states.device)
            : real.to_type(states.dtype).sum(dim: 1); // [B, 1]

    private static void RequireLike(Tensor? argument, string name, Tensor tokens)
    {
        if (argument is not null && !argument.shape.AsSpan().SequenceEqual(tokens.shape))
        {
            throw new ShapeException(name, $"[{tokens.shape[0]}, {tokens.shape[1]}]", argument.shape);
        }
    }

    // At the start the branches add next to nothing to the residual stream and positions hardly count: the vectors are those of a bag of words whose every
    // token has a random direction, which already finds texts that share words; training goes on from there.
    private void Initialize(long seed)
    {
        using IDisposable guard = no_grad();
        Random random = new(SeededRandom.Fold(seed));
        foreach ((string name, Parameter parameter) in named_parameters())
        {
            if (name.EndsWith("bias", StringComparison.Ordinal))
            {
                nn.init.zeros_(parameter);
            }
            else if (parameter.dim() == 1)
            {
                nn.init.ones_(parameter);
            }
            else
            {
                double scale = 1 / Math.Sqrt(parameter.shape[1]);
                bool minor = name.Contains("output.dense", StringComparison.Ordinal)
                    || name.Contains(".Wo.", StringComparison.Ordinal)
                    || name.Contains("position", StringComparison.Ordinal)
                    || name.Contains("token_type", StringComparison.Ordinal);
                using Tensor drawn = torch.tensor(
                    Gaussian(random, parameter.numel(), minor ? scale / 10 : scale), parameter.shape, device: CPU);
                parameter.copy_(drawn);
            }
        }
    }

    // Drawn here and not by libtorch: the same seed gives the same weights with every version and on every device.
    private static float[] Gaussian(Random random, long count, double deviation)
    {
        float[] numbers = new float[count];
        for (long i = 0; i < count; i++)
        {
            numbers[i] = (float)(deviation * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
        }

        return numbers;
    }
}

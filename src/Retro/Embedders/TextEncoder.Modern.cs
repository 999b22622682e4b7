using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Retro.Embedders;

/// <content>ModernBERT's layers (Warner et al., arXiv 2412.13663, section 2.1), whose parts are named as Hugging Face names them.</content>
public sealed partial class TextEncoder
{
    /// <summary>The layers, which norm what they read, and the norm behind the last.</summary>
    private sealed class PreNormStack : nn.Module<Tensor, Tensor?, Tensor>
    {
        [ComponentName(Name = "layer")]
        private readonly ModuleList<PreNormLayer> _layers;

        [ComponentName(Name = "final_norm")]
        private readonly LayerNorm _norm;

        private readonly ModernLayers _modern;
        private readonly int _headSize;

        public PreNormStack(TextEncoderConfig config, ModernLayers modern)
            : base(nameof(PreNormStack))
        {
            (_modern, _headSize) = (modern, config.Width / config.Heads);
            _layers = new ModuleList<PreNormLayer>(Enumerable.Range(0, config.Layers).Select(layer => new PreNormLayer(config, modern, layer)).ToArray());
            _norm = Norm(config);
            RegisterComponents();
        }

        public override Tensor forward(Tensor x, Tensor? mask)
        {
            Tensor? visible = mask?.unsqueeze(1).unsqueeze(2); // [B, 1, 1, T]
            Tensor positions = KeptScalars.Range(x.shape[1], ScalarType.Float64, x.device); // [T]
            RotaryTable all = Rotation(_modern.RotaryBase), near = Rotation(_modern.WindowRotaryBase);
            foreach (PreNormLayer layer in _layers)
            {
                x = layer.forward(x, visible, layer.HasWindow ? near : all);
            }

            return _norm.forward(x); // [B, T, D]

            RotaryTable Rotation(double rotaryBase) => RotaryTable.Create(positions, RotaryTable.Frequencies(_headSize, rotaryBase), x.dtype);
        }
    }

    /// <summary>Self-attention and feed-forward, each of which reads its input normed and is added to it.</summary>
    private sealed class PreNormLayer : nn.Module<Tensor, Tensor?, RotaryTable, Tensor>
    {
        // The first layer reads the embeddings, which are normed.
        [ComponentName(Name = "attn_norm")]
        private readonly LayerNorm? _attentionNorm;

        [ComponentName(Name = "attn")]
        private readonly RotaryAttention _attention;

        [ComponentName(Name = "mlp_norm")]
        private readonly LayerNorm _feedForwardNorm;

        [ComponentName(Name = "mlp")]
        private readonly GatedFeedForward _feedForward;

        public PreNormLayer(TextEncoderConfig config, ModernLayers modern, int layer)
            : base(nameof(PreNormLayer))
        {
            HasWindow = layer % modern.FullEvery != 0;
            _attentionNorm = layer == 0 ? null : Norm(config);
            _attention = new RotaryAttention(config, modern, HasWindow ? modern.Window : null);
            _feedForwardNorm = Norm(config);
            _feedForward = new GatedFeedForward(config, modern);
            RegisterComponents();
        }

        public bool HasWindow { get; }

        public override Tensor forward(Tensor x, Tensor? visible, RotaryTable rotation)
        {
            using DisposeScope scope = NewDisposeScope(); // texts are long, and what a layer computes on the way is many times its output
            Tensor attended = x.Plus(_attention.forward(_attentionNorm?.forward(x) ?? x, visible, rotation)); // [B, T, D]
            return attended.Plus(_feedForward.forward(_feedForwardNorm.forward(attended))).MoveToOuterDisposeScope(); // [B, T, D]
        }
    }

    /// <summary>Attention of every token to every visible token, or to those within a window, by rotary positions.</summary>
    private sealed class RotaryAttention : nn.Module<Tensor, Tensor?, RotaryTable, Tensor>
    {
        [ComponentName(Name = "Wqkv")]
        private readonly LinearLayer _input;

        [ComponentName(Name = "Wo")]
        private readonly LinearLayer _output;

        private readonly int _heads;
        private readonly int? _window;

        public RotaryAttention(TextEncoderConfig config, ModernLayers modern, int? window)
            : base(nameof(RotaryAttention))
        {
            (_heads, _window) = (config.Heads, window);
            _input = Map(config.Width, 3 * config.Width, modern.AttentionBias);
            _output = Map(config.Width, config.Width, modern.AttentionBias);
            RegisterComponents();
        }

        public override Tensor forward(Tensor x, Tensor? visible, RotaryTable rotation)
        {
            Tensor[] parts = _input.forward(x)
                .view(x.shape[0], x.shape[1], 3, _heads, x.shape[2] / _heads)
                .permute(2, 0, 3, 1, 4)
                .unbind(0); // [B, H, T, S] each
            (Tensor queries, Tensor keys, Tensor values) = (rotation.Rotate(parts[0]), rotation.Rotate(parts[1]), parts[2]);
            Tensor attended = _window is { } window && x.shape[1] > window + 1L
                ? WithinWindow(queries, keys, values, visible, window)
                : F.scaled_dot_product_attention(queries, keys, values, visible); // [B, H, T, S]
            return _output.forward(attended.transpose(1, 2).reshape(x.shape)); // [B, T, D]
        }

        // Block by block, so that time and memory grow with the length and not with its square.
        private static Tensor WithinWindow(Tensor queries, Tensor keys, Tensor values, Tensor? visible, int window)
        {
            long length = queries.shape[2], block = Math.Max(64, 4L * window);
            List<Tensor> attended = [];
            for (long first = 0; first < length; first += block)
            {
                long end = Math.Min(first + block, length), from = Math.Max(first - window, 0), to = Math.Min(end + window, length);
                attended.Add(F.scaled_dot_product_attention(
                    queries.narrow(2, first, end - first),
                    keys.narrow(2, from, to - from),
                    values.narrow(2, from, to - from),
                    Near((first, end), (from, to), visible, window, queries.device)));
            }

            return cat(attended, 2); // [B, H, T, S]
        }

        // The keys that queries see, bool [queries, keys] or [B, 1, queries, keys].
        private static Tensor Near((long First, long End) queries, (long First, long End) keys, Tensor? visible, int window, Device device)
        {
            Tensor distances = (KeptScalars.Range(queries.First, queries.End, 1, ScalarType.Int64, device).unsqueeze(1)
                - KeptScalars.Range(keys.First, keys.End, 1, ScalarType.Int64, device)).abs(); // [queries, keys]
            Tensor near = distances.Below(window + 1L);

            // Padding that is far from every real token sees itself: over nothing, softmax is not a number.
            return visible is null ? near
                : near.logical_and(visible.narrow(-1, keys.First, keys.End - keys.First).logical_or(distances.eq(KeptScalars.Zero)));
        }
    }

    /// <summary>The feed-forward: one half of a linear map, behind the function, times the other half, and a linear map.</summary>
    private sealed class GatedFeedForward : nn.Module<Tensor, Tensor>
    {
        [ComponentName(Name = "Wi")]
        private readonly LinearLayer _input;

        [ComponentName(Name = "Wo")]
        private readonly LinearLayer _output;

        private readonly ActivationKind _activation;

        public GatedFeedForward(TextEncoderConfig config, ModernLayers modern)
            : base(nameof(GatedFeedForward))
        {
            _activation = config.Activation;
            _input = Map(config.Width, 2 * config.FeedForwardSize, modern.FeedForwardBias);
            _output = Map(config.FeedForwardSize, config.Width, modern.FeedForwardBias);
            RegisterComponents();
        }

        public override Tensor forward(Tensor x)
        {
            Tensor[] halves = _input.forward(x).chunk(2, -1); // [B, T, F] each
            return _output.forward(FeedForward.Activate(_activation, halves[0]) * halves[1]); // [B, T, D]
        }
    }
}

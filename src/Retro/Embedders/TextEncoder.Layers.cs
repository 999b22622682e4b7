using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Retro.Embedders;

/// <content>The layers, named as Hugging Face names them.</content>
public sealed partial class TextEncoder
{
    /// <summary>Sum of token, position and token-type embedding, normed.</summary>
    private sealed class Embeddings : nn.Module<Tensor, Tensor?, Tensor>
    {
        [ComponentName(Name = "word_embeddings")]
        private readonly TorchSharp.Modules.Embedding _words;

        [ComponentName(Name = "position_embeddings")]
        private readonly TorchSharp.Modules.Embedding _positions;

        [ComponentName(Name = "token_type_embeddings")]
        private readonly TorchSharp.Modules.Embedding _types;

        [ComponentName(Name = "LayerNorm")]
        private readonly LayerNorm _norm;

        public Embeddings(TextEncoderConfig config)
            : base(nameof(Embeddings))
        {
            _words = Table(config.VocabularySize, config.Width);
            _positions = Table(config.MaximumPositions, config.Width);
            _types = Table(config.TokenTypes, config.Width);
            _norm = nn.LayerNorm(config.Width, config.LayerNormEpsilon, device: CPU);
            RegisterComponents();
        }

        public override Tensor forward(Tensor tokens, Tensor? tokenTypes)
        {
            Tensor positions = _positions.weight!.slice(0, 0, tokens.shape[1], 1); // [T, D]
            Tensor types = tokenTypes is null ? _types.weight!.select(0, 0) : _types.forward(tokenTypes); // [D] or [B, T, D]
            return _norm.forward(_words.forward(tokens).Plus(types).Plus(positions)); // [B, T, D]
        }
    }

    /// <summary>The layers, under the name <c>layer</c>.</summary>
    private sealed class LayerStack : nn.Module
    {
        [ComponentName(Name = "layer")]
        private readonly ModuleList<Layer> _layers;

        public LayerStack(TextEncoderConfig config)
            : base(nameof(LayerStack))
        {
            _layers = new ModuleList<Layer>(Enumerable.Range(0, config.Layers).Select(_ => new Layer(config)).ToArray());
            RegisterComponents();
        }

        public IEnumerable<Layer> Layers => _layers;
    }

    /// <summary>Self-attention and feed-forward, each followed by the sum with its input and a layer norm.</summary>
    private sealed class Layer : nn.Module<Tensor, Tensor?, Tensor>
    {
        [ComponentName(Name = "attention")]
        private readonly Attention _attention;

        [ComponentName(Name = "intermediate")]
        private readonly Intermediate _intermediate;

        [ComponentName(Name = "output")]
        private readonly Output _output;

        public Layer(TextEncoderConfig config)
            : base(nameof(Layer))
        {
            _attention = new Attention(config);
            _intermediate = new Intermediate(config);
            _output = new Output(config.FeedForwardSize, config);
            RegisterComponents();
        }

        public override Tensor forward(Tensor x, Tensor? visible)
        {
            Tensor attended = _attention.forward(x, visible); // [B, T, D]
            return _output.forward(_intermediate.forward(attended), attended); // [B, T, D]
        }
    }

    /// <summary>The attention sub-layer with its residual.</summary>
    private sealed class Attention : nn.Module<Tensor, Tensor?, Tensor>
    {
        [ComponentName(Name = "self")]
        private readonly SelfAttention _self;

        [ComponentName(Name = "output")]
        private readonly Output _output;

        public Attention(TextEncoderConfig config)
            : base(nameof(Attention))
        {
            _self = new SelfAttention(config);
            _output = new Output(config.Width, config);
            RegisterComponents();
        }

        public override Tensor forward(Tensor x, Tensor? visible) => _output.forward(_self.forward(x, visible), x);
    }

    /// <summary>Attention of every token to every visible token.</summary>
    private sealed class SelfAttention : nn.Module<Tensor, Tensor?, Tensor>
    {
        [ComponentName(Name = "query")]
        private readonly LinearLayer _query;

        [ComponentName(Name = "key")]
        private readonly LinearLayer _key;

        [ComponentName(Name = "value")]
        private readonly LinearLayer _value;

        private readonly int _heads;

        public SelfAttention(TextEncoderConfig config)
            : base(nameof(SelfAttention))
        {
            _heads = config.Heads;
            _query = Map(config.Width, config.Width);
            _key = Map(config.Width, config.Width);
            _value = Map(config.Width, config.Width);
            RegisterComponents();
        }

        public override Tensor forward(Tensor x, Tensor? visible)
        {
            Tensor attended = F.scaled_dot_product_attention(
                Split(_query.forward(x)), Split(_key.forward(x)), Split(_value.forward(x)), visible); // [B, H, T, S]
            return attended.transpose(1, 2).reshape(x.shape); // [B, T, D]
        }

        private Tensor Split(Tensor x) => x.view(x.shape[0], x.shape[1], _heads, x.shape[2] / _heads).transpose(1, 2); // [B, H, T, S]
    }

    /// <summary>The first matrix of the feed-forward, with the function after it.</summary>
    private sealed class Intermediate : nn.Module<Tensor, Tensor>
    {
        [ComponentName(Name = "dense")]
        private readonly LinearLayer _dense;

        private readonly ActivationKind _activation;

        public Intermediate(TextEncoderConfig config)
            : base(nameof(Intermediate))
        {
            _activation = config.Activation;
            _dense = Map(config.Width, config.FeedForwardSize);
            RegisterComponents();
        }

        public override Tensor forward(Tensor x) => FeedForward.Activate(_activation, _dense.forward(x));
    }

    /// <summary>A linear map, the sum with the residual, and a layer norm.</summary>
    private sealed class Output : nn.Module<Tensor, Tensor, Tensor>
    {
        [ComponentName(Name = "dense")]
        private readonly LinearLayer _dense;

        [ComponentName(Name = "LayerNorm")]
        private readonly LayerNorm _norm;

        public Output(int inputSize, TextEncoderConfig config)
            : base(nameof(Output))
        {
            _dense = Map(inputSize, config.Width);
            _norm = nn.LayerNorm(config.Width, config.LayerNormEpsilon, device: CPU);
            RegisterComponents();
        }

        public override Tensor forward(Tensor x, Tensor residual) => _norm.forward(_dense.forward(x).Plus(residual));
    }

    // Made of weights that are there: those of TorchSharp's own constructors are drawn, from the generator that everybody shares.
    private static LinearLayer Map(int input, int output) => new(input, output, scale: 0);

    private static TorchSharp.Modules.Embedding Table(int count, int width)
    {
        TorchSharp.Modules.Embedding table = nn.Embedding(0, width, device: CPU); // for no rows nothing is drawn
        table.weight = Initialization.Constant(0, [count, width], ScalarType.Float32, null);
        return table;
    }
}

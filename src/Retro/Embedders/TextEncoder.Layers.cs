using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Retro.Embedders;

/// <content>BERT's layers, named as Hugging Face names them.</content>
public sealed partial class TextEncoder
{
    /// <summary>Sum of token, position and token-type embedding as far as there are tables of them, normed.</summary>
    private sealed class Embeddings : nn.Module<Tensor, Tensor?, Tensor>
    {
        [ComponentName(Name = "word_embeddings")]
        private readonly TorchSharp.Modules.Embedding _words;

        [ComponentName(Name = "position_embeddings")]
        private readonly TorchSharp.Modules.Embedding? _positions;

        [ComponentName(Name = "token_type_embeddings")]
        private readonly TorchSharp.Modules.Embedding? _types;

        [ComponentName(Name = "LayerNorm")]
        private readonly LayerNorm _norm;

        private readonly int _first;

        public Embeddings(TextEncoderConfig config)
            : base(nameof(Embeddings))
        {
            _words = Table(config.VocabularySize, config.Width);
            _positions = config.Modern is null ? Table(config.MaximumPositions, config.Width) : null;
            _types = config.TokenTypes > 0 ? Table(config.TokenTypes, config.Width) : null;
            _first = config.FirstPosition;
            _norm = Norm(config);
            RegisterComponents();
        }

        public override Tensor forward(Tensor tokens, Tensor? tokenTypes)
        {
            Tensor words = _words.forward(tokens); // [B, T, D]
            if (_types is not null)
            {
                words = words.Plus(tokenTypes is null ? _types.weight!.select(0, 0) : _types.forward(tokenTypes)); // [D] or [B, T, D]
            }

            if (_positions is not null)
            {
                words = words.Plus(_positions.weight!.slice(0, _first, _first + tokens.shape[1], 1)); // with [T, D]
            }

            return _norm.forward(words); // [B, T, D]
        }
    }

    /// <summary>The layers, under the name <c>layer</c>.</summary>
    private sealed class LayerStack : nn.Module<Tensor, Tensor?, Tensor>
    {
        [ComponentName(Name = "layer")]
        private readonly ModuleList<Layer> _layers;

        [ComponentName(Name = "relative_attention_bias")]
        private readonly TorchSharp.Modules.Embedding? _distances;

        public LayerStack(TextEncoderConfig config)
            : base(nameof(LayerStack))
        {
            _layers = new ModuleList<Layer>(Enumerable.Range(0, config.Layers).Select(_ => new Layer(config)).ToArray());
            _distances = config.RelativePositions ? Table(Distances, config.Heads) : null;
            RegisterComponents();
        }

        public override Tensor forward(Tensor x, Tensor? mask)
        {
            Tensor? visible = Scores(x.shape[1], mask?.unsqueeze(1).unsqueeze(2)); // [B, 1, 1, T], or with heads and distances
            foreach (Layer layer in _layers)
            {
                x = layer.forward(x, visible);
            }

            return x; // [B, T, D]
        }

        /// <summary>What is added to attention scores, [1, H, T, T], and [B, H, T, T] with minus infinity where a mask hides a token; null: nothing.</summary>
        /// <param name="length">Tokens (T).</param>
        /// <param name="visible">True where a token is real, bool [B, 1, 1, T]; null when all are. It is the result where distances add nothing.</param>
        private Tensor? Scores(long length, Tensor? visible)
        {
            if (_distances is null)
            {
                return visible;
            }

            // A line of the square is a window of the rows of all distances, one further back for each token that looks.
            long[] all = [.. Enumerable.Range(1 - (int)length, (2 * (int)length) - 1).Select(distance => (long)DistanceRow(distance))];
            long[] rows = new long[length * length];
            for (int from = 0; from < length; from++)
            {
                all.AsSpan((int)length - 1 - from, (int)length).CopyTo(rows.AsSpan(from * (int)length));
            }

            Tensor distances = torch.tensor(rows, [length, length], ScalarType.Int64, _distances.weight!.device); // [T, T]
            Tensor added = _distances.forward(distances).permute(2, 0, 1).unsqueeze(0); // [1, H, T, T]
            return visible is null ? added : added.expand(visible.shape[0], -1, -1, -1).FilledWhere(visible.logical_not(), double.NegativeInfinity);
        }
    }

    /// <summary>The row of a distance, from the token that looks to the one that is looked at, which stands behind it where the distance is positive.</summary>
    internal static int DistanceRow(int distance)
    {
        // Half of the rows for each side, and of these half for single distances. The quotient is rounded in float32, as the original's.
        const int Side = Distances / 2, Single = Side / 2, Farthest = 128;
        int far = Math.Abs(distance);
        int row = far < Single ? far
            : Math.Min(Side - 1, Single + (int)(MathF.Log((float)far / Single) / (float)Math.Log((double)Farthest / Single) * (Side - Single)));
        return distance > 0 ? Side + row : row;
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
            _norm = Norm(config);
            RegisterComponents();
        }

        public override Tensor forward(Tensor x, Tensor residual) => _norm.forward(_dense.forward(x).Plus(residual));
    }

    // Made of weights that are there: those of TorchSharp's own constructors are drawn, from the generator that everybody shares.
    private static LinearLayer Map(int input, int output, bool bias = true) => new(input, output, bias, scale: 0);

    private static LayerNorm Norm(TextEncoderConfig config)
        => nn.LayerNorm(config.Width, config.LayerNormEpsilon, bias: config.Modern?.NormBias ?? true, device: CPU);

    private static TorchSharp.Modules.Embedding Table(int count, int width)
    {
        TorchSharp.Modules.Embedding table = nn.Embedding(0, width, device: CPU); // for no rows nothing is drawn
        table.weight = Initialization.Constant(0, [count, width], ScalarType.Float32, null);
        return table;
    }
}

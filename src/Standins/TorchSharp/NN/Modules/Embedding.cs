using TorchSharp.Interop;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace TorchSharp
{
    public static partial class torch
    {
        public static partial class nn
        {
            public static Modules.Embedding Embedding(long num_embeddings, long embedding_dims, long? padding_idx = null, double? max_norm = null, double norm_type = 2, bool scale_grad_by_freq = false, bool sparse = false, Device? device = null, ScalarType? dtype = null)
            {
                using IDisposable untracked = no_grad();
                Tensor weight = normal(0, 1, [num_embeddings, embedding_dims], dtype, device);
                if (padding_idx is long padding)
                {
                    using Tensor row = weight[padding];
                    row.zero_();
                }

                return new(new Modules.Parameter(weight), padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse);
            }

            public static Modules.Embedding Embedding_from_pretrained(Tensor embeddings, bool freeze = true, long? padding_idx = null, double? max_norm = null, double norm_type = 2, bool scale_grad_by_freq = false, bool sparse = false, Device? device = null, ScalarType? dtype = null) =>
                new(new Modules.Parameter(embeddings.detach().to(dtype ?? embeddings.dtype, device ?? embeddings.device, copy: true), !freeze), padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse);
        }
    }
}

namespace TorchSharp.Modules
{
    /// <summary>The rows of a table that the input's numbers name.</summary>
    public sealed class Embedding : Module<Tensor, Tensor>
    {
        private readonly long padding;
        private readonly double? maxNorm;
        private readonly double normType;
        private readonly bool scaleByFrequency;
        private readonly bool sparse;

        internal Embedding(Parameter weight, long? padding, double? maxNorm, double normType, bool scaleByFrequency, bool sparse)
            : base(nameof(Embedding))
        {
            long rows = weight.size(0);
            this.padding = padding is long row ? (row < 0 ? row + rows : row) : -1;
            if (padding is long given && (given >= rows || given < -rows))
            {
                throw new ArgumentException($"padding_idx must be within num_embeddings ({rows}), got {given}", nameof(padding));
            }

            this.maxNorm = maxNorm;
            this.normType = normType;
            this.scaleByFrequency = scaleByFrequency;
            this.sparse = sparse;
            this.weight = weight;
        }

        public Parameter weight
        {
            get => Own(nameof(weight))!;
            set => Take(nameof(weight), value);
        }

        public override Tensor forward(Tensor input)
        {
            if (maxNorm is double limit)
            {
                using IDisposable untracked = no_grad();
                using Tensor whole = input.contiguous();
                Aten.embedding_renorm_.Apply(weight, whole, limit, normType);
            }

            return Aten.embedding.Call(weight, input, padding, scaleByFrequency, sparse);
        }
    }
}

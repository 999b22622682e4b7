using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    // Values written in place.
    public partial class Tensor
    {
        public Tensor zero_()
        {
            Aten.zero_.Apply(this);
            return this;
        }

        public Tensor fill_(Scalar value)
        {
            Aten.fill__Scalar.Apply(this, value);
            return this;
        }

        public Tensor copy_(Tensor source, bool nonBlocking = false)
        {
            Aten.copy_.Apply(this, source, nonBlocking);
            return this;
        }

        public Tensor normal_(double mean = 0, double std = 1, Generator? generator = null)
        {
            Aten.normal_.Apply(this, mean, std, generator);
            return this;
        }

        public Tensor uniform_(double from, double to, Generator? generator = null)
        {
            Aten.uniform_.Apply(this, from, to, generator);
            return this;
        }

        public Tensor exponential_(double lambda = 1, Generator? generator = null)
        {
            Aten.exponential_.Apply(this, lambda, generator);
            return this;
        }

        public Tensor bernoulli_(Tensor p, Generator? generator = null)
        {
            Aten.bernoulli__Tensor.Apply(this, p, generator);
            return this;
        }

        public Tensor bernoulli_(double p = 0.5, Generator? generator = null)
        {
            Aten.bernoulli__float.Apply(this, p, generator);
            return this;
        }

        public Tensor bernoulli(Generator? generator = null) => Aten.bernoulli.Call(this, generator);

        public Tensor multinomial(long num_samples, bool replacement = false, Generator? generator = null) => Aten.multinomial.Call(this, num_samples, replacement, generator);
    }
}

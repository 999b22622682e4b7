using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    // Functions of one element, and the activations of neural networks.
    public partial class Tensor
    {
        public Tensor abs() => Aten.abs.Call(this);

        public Tensor abs_()
        {
            Aten.abs_.Apply(this);
            return this;
        }

        public Tensor acos() => Aten.acos.Call(this);

        public Tensor acos_()
        {
            Aten.acos_.Apply(this);
            return this;
        }

        public Tensor asin() => Aten.asin.Call(this);

        public Tensor asin_()
        {
            Aten.asin_.Apply(this);
            return this;
        }

        public Tensor atan() => Aten.atan.Call(this);

        public Tensor atan_()
        {
            Aten.atan_.Apply(this);
            return this;
        }

        public Tensor atan2(Tensor other) => Aten.atan2.Call(this, other);

        public Tensor atan2_(Tensor other)
        {
            Aten.atan2_.Apply(this, other);
            return this;
        }

        public Tensor ceil() => Aten.ceil.Call(this);

        public Tensor ceil_()
        {
            Aten.ceil_.Apply(this);
            return this;
        }

        public Tensor cos() => Aten.cos.Call(this);

        public Tensor cos_()
        {
            Aten.cos_.Apply(this);
            return this;
        }

        public Tensor cosh() => Aten.cosh.Call(this);

        public Tensor cosh_()
        {
            Aten.cosh_.Apply(this);
            return this;
        }

        public Tensor erf() => Aten.erf.Call(this);

        public Tensor erf_()
        {
            Aten.erf_.Apply(this);
            return this;
        }

        public Tensor erfc() => Aten.erfc.Call(this);

        public Tensor erfc_()
        {
            Aten.erfc_.Apply(this);
            return this;
        }

        public Tensor exp() => Aten.exp.Call(this);

        public Tensor exp_()
        {
            Aten.exp_.Apply(this);
            return this;
        }

        public Tensor expm1() => Aten.expm1.Call(this);

        public Tensor floor() => Aten.floor.Call(this);

        public Tensor floor_()
        {
            Aten.floor_.Apply(this);
            return this;
        }

        public Tensor log() => Aten.log.Call(this);

        public Tensor log_()
        {
            Aten.log_.Apply(this);
            return this;
        }

        public Tensor log10() => Aten.log10.Call(this);

        public Tensor log10_()
        {
            Aten.log10_.Apply(this);
            return this;
        }

        public Tensor log1p() => Aten.log1p.Call(this);

        public Tensor log1p_()
        {
            Aten.log1p_.Apply(this);
            return this;
        }

        public Tensor log2() => Aten.log2.Call(this);

        public Tensor log2_()
        {
            Aten.log2_.Apply(this);
            return this;
        }

        public Tensor round(long decimals = 0) => Aten.round_decimals.Call(this, decimals);

        public Tensor round_(long decimals = 0)
        {
            Aten.round__decimals.Apply(this, decimals);
            return this;
        }

        public Tensor rsqrt() => Aten.rsqrt.Call(this);

        public Tensor rsqrt_()
        {
            Aten.rsqrt_.Apply(this);
            return this;
        }

        public Tensor sign() => Aten.sign.Call(this);

        public Tensor sign_()
        {
            Aten.sign_.Apply(this);
            return this;
        }

        public Tensor sin() => Aten.sin.Call(this);

        public Tensor sin_()
        {
            Aten.sin_.Apply(this);
            return this;
        }

        public Tensor sinh() => Aten.sinh.Call(this);

        public Tensor sinh_()
        {
            Aten.sinh_.Apply(this);
            return this;
        }

        public Tensor sqrt() => Aten.sqrt.Call(this);

        public Tensor sqrt_()
        {
            Aten.sqrt_.Apply(this);
            return this;
        }

        public Tensor square() => Aten.square.Call(this);

        public Tensor tan() => Aten.tan.Call(this);

        public Tensor tan_()
        {
            Aten.tan_.Apply(this);
            return this;
        }

        public Tensor tanh() => Aten.tanh.Call(this);

        public Tensor tanh_()
        {
            Aten.tanh_.Apply(this);
            return this;
        }

        public Tensor trunc() => Aten.trunc.Call(this);

        public Tensor trunc_()
        {
            Aten.trunc_.Apply(this);
            return this;
        }

        public Tensor sigmoid() => Aten.sigmoid.Call(this);

        public Tensor sigmoid_()
        {
            Aten.sigmoid_.Apply(this);
            return this;
        }

        public Tensor relu() => Aten.relu.Call(this);

        public Tensor relu_()
        {
            Aten.relu_.Apply(this);
            return this;
        }

        public Tensor gelu() => Aten.gelu.Call(this);

        public Tensor gelu_()
        {
            Aten.gelu_.Apply(this);
            return this;
        }

        public Tensor silu() => Aten.silu.Call(this);

        public Tensor silu_()
        {
            Aten.silu_.Apply(this);
            return this;
        }

        public Tensor elu(Scalar alpha, Scalar scale, Scalar input_scale) => Aten.elu.Call(this, alpha, scale, input_scale);

        public Tensor elu(double alpha = 1) => Aten.elu.Call(this, alpha);

        public Tensor elu_(Scalar alpha, Scalar scale, Scalar input_scale)
        {
            Aten.elu_.Apply(this, alpha, scale, input_scale);
            return this;
        }

        public Tensor elu_(double alpha = 1)
        {
            Aten.elu_.Apply(this, alpha);
            return this;
        }

        public Tensor leaky_relu(Scalar negative_slope) => Aten.leaky_relu.Call(this, negative_slope);

        public Tensor leaky_relu_(Scalar negative_slope)
        {
            Aten.leaky_relu_.Apply(this, negative_slope);
            return this;
        }

        public Tensor prelu(Tensor target) => Aten.prelu.Call(this, target);

        public Tensor log_sigmoid() => Aten.log_sigmoid.Call(this);

        public Tensor softplus(double beta = 1, double threshold = 20) => Aten.softplus.Call(this, beta, threshold);

        public Tensor softmax(long dim, ScalarType? dtype = null) => Aten.softmax_int.Call(this, dim, dtype);

        public Tensor log_softmax(long dim, ScalarType? dtype = null) => Aten.log_softmax_int.Call(this, dim, dtype);

        public Tensor logaddexp(Tensor other) => Aten.logaddexp.Call(this, other);
    }
}

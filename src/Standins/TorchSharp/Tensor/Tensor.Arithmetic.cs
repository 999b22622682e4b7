using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    // Sums, products, quotients, comparisons and logic, element by element.
    public partial class Tensor
    {
        public Tensor add(Scalar scalar) => Aten.add_Scalar.Call(this, scalar);

        public Tensor add(Scalar scalar, Scalar alpha) => Aten.add_Scalar.Call(this, scalar, alpha);

        public Tensor add(Tensor target) => Aten.add_Tensor.Call(this, target);

        public Tensor add(Tensor target, Scalar alpha) => Aten.add_Tensor.Call(this, target, alpha);

        public Tensor add_(Scalar scalar)
        {
            Aten.add__Scalar.Apply(this, scalar);
            return this;
        }

        public Tensor add_(Scalar scalar, Scalar alpha)
        {
            Aten.add__Scalar.Apply(this, scalar, alpha);
            return this;
        }

        public Tensor add_(Tensor target)
        {
            Aten.add__Tensor.Apply(this, target);
            return this;
        }

        public Tensor add_(Tensor target, Scalar alpha)
        {
            Aten.add__Tensor.Apply(this, target, alpha);
            return this;
        }

        public Tensor sub(Scalar target) => Aten.sub_Scalar.Call(this, target);

        public Tensor sub(Tensor target) => Aten.sub_Tensor.Call(this, target);

        public Tensor sub_(Scalar target)
        {
            Aten.sub__Scalar.Apply(this, target);
            return this;
        }

        public Tensor sub_(Tensor target)
        {
            Aten.sub__Tensor.Apply(this, target);
            return this;
        }

        public Tensor subtract(Scalar target) => Aten.subtract_Scalar.Call(this, target);

        public Tensor subtract(Tensor target) => Aten.subtract_Tensor.Call(this, target);

        public Tensor subtract_(Scalar target)
        {
            Aten.subtract__Scalar.Apply(this, target);
            return this;
        }

        public Tensor subtract_(Tensor target)
        {
            Aten.subtract__Tensor.Apply(this, target);
            return this;
        }

        public Tensor mul(Scalar target) => Aten.mul_Scalar.Call(this, target);

        public Tensor mul(Tensor target) => Aten.mul_Tensor.Call(this, target);

        public Tensor mul_(Scalar target)
        {
            Aten.mul__Scalar.Apply(this, target);
            return this;
        }

        public Tensor mul_(Tensor target)
        {
            Aten.mul__Tensor.Apply(this, target);
            return this;
        }

        public Tensor multiply(Scalar target) => Aten.multiply_Scalar.Call(this, target);

        public Tensor multiply(Tensor target) => Aten.multiply_Tensor.Call(this, target);

        public Tensor true_divide(Scalar other) => Aten.true_divide_Scalar.Call(this, other);

        public Tensor true_divide(Tensor other) => Aten.true_divide_Tensor.Call(this, other);

        public Tensor true_divide_(Scalar other)
        {
            Aten.true_divide__Scalar.Apply(this, other);
            return this;
        }

        public Tensor true_divide_(Tensor other)
        {
            Aten.true_divide__Tensor.Apply(this, other);
            return this;
        }

        public Tensor floor_divide(Scalar other) => Aten.floor_divide_Scalar.Call(this, other);

        public Tensor floor_divide(Tensor other) => Aten.floor_divide.Call(this, other);

        public Tensor floor_divide_(Scalar other)
        {
            Aten.floor_divide__Scalar.Apply(this, other);
            return this;
        }

        public Tensor floor_divide_(Tensor other)
        {
            Aten.floor_divide__Tensor.Apply(this, other);
            return this;
        }

        public Tensor remainder(Scalar scalar) => Aten.remainder_Scalar.Call(this, scalar);

        public Tensor remainder(Tensor target) => Aten.remainder_Tensor.Call(this, target);

        public Tensor remainder_(Scalar scalar)
        {
            Aten.remainder__Scalar.Apply(this, scalar);
            return this;
        }

        public Tensor remainder_(Tensor target)
        {
            Aten.remainder__Tensor.Apply(this, target);
            return this;
        }

        public Tensor fmod(Scalar scalar) => Aten.fmod_Scalar.Call(this, scalar);

        public Tensor fmod(Tensor target) => Aten.fmod_Tensor.Call(this, target);

        public Tensor fmod_(Scalar scalar)
        {
            Aten.fmod__Scalar.Apply(this, scalar);
            return this;
        }

        public Tensor fmod_(Tensor target)
        {
            Aten.fmod__Tensor.Apply(this, target);
            return this;
        }

        public Tensor pow(Scalar exponent) => Aten.pow_Tensor_Scalar.Call(this, exponent);

        public Tensor pow(Tensor exponent) => Aten.pow_Tensor_Tensor.Call(this, exponent);

        public Tensor pow_(Scalar exponent)
        {
            Aten.pow__Scalar.Apply(this, exponent);
            return this;
        }

        public Tensor pow_(Tensor exponent)
        {
            Aten.pow__Tensor.Apply(this, exponent);
            return this;
        }

        public Tensor neg() => Aten.neg.Call(this);

        public Tensor neg_()
        {
            Aten.neg_.Apply(this);
            return this;
        }

        public Tensor negative() => Aten.negative.Call(this);

        public Tensor reciprocal() => Aten.reciprocal.Call(this);

        public Tensor reciprocal_()
        {
            Aten.reciprocal_.Apply(this);
            return this;
        }

        public Tensor addcmul(Tensor tensor1, Tensor tensor2, Scalar value) => Aten.addcmul.Call(this, tensor1, tensor2, value);

        public Tensor addcmul_(Tensor tensor1, Tensor tensor2, Scalar value)
        {
            Aten.addcmul_.Apply(this, tensor1, tensor2, value);
            return this;
        }

        public Tensor addcdiv(Tensor tensor1, Tensor tensor2) => Aten.addcdiv.Call(this, tensor1, tensor2);

        public Tensor addcdiv(Tensor tensor1, Tensor tensor2, Scalar value) => Aten.addcdiv.Call(this, tensor1, tensor2, value);

        public Tensor addcdiv_(Tensor tensor1, Tensor tensor2)
        {
            Aten.addcdiv_.Apply(this, tensor1, tensor2);
            return this;
        }

        public Tensor addcdiv_(Tensor tensor1, Tensor tensor2, Scalar value)
        {
            Aten.addcdiv_.Apply(this, tensor1, tensor2, value);
            return this;
        }

        public Tensor lerp(Tensor end, Tensor weight) => Aten.lerp_Tensor.Call(this, end, weight);

        public Tensor lerp_(Tensor end, Tensor weight)
        {
            Aten.lerp__Tensor.Apply(this, end, weight);
            return this;
        }

        public Tensor eq(Scalar target) => Aten.eq_Scalar.Call(this, target);

        public Tensor eq(Tensor target) => Aten.eq_Tensor.Call(this, target);

        public Tensor eq_(Scalar target)
        {
            Aten.eq__Scalar.Apply(this, target);
            return this;
        }

        public Tensor eq_(Tensor target)
        {
            Aten.eq__Tensor.Apply(this, target);
            return this;
        }

        public Tensor ne(Scalar target) => Aten.ne_Scalar.Call(this, target);

        public Tensor ne(Tensor target) => Aten.ne_Tensor.Call(this, target);

        public Tensor ne_(Scalar target)
        {
            Aten.ne__Scalar.Apply(this, target);
            return this;
        }

        public Tensor ne_(Tensor target)
        {
            Aten.ne__Tensor.Apply(this, target);
            return this;
        }

        public Tensor lt(Scalar target) => Aten.lt_Scalar.Call(this, target);

        public Tensor lt(Tensor target) => Aten.lt_Tensor.Call(this, target);

        public Tensor lt_(Scalar target)
        {
            Aten.lt__Scalar.Apply(this, target);
            return this;
        }

        public Tensor lt_(Tensor target)
        {
            Aten.lt__Tensor.Apply(this, target);
            return this;
        }

        public Tensor le(Scalar target) => Aten.le_Scalar.Call(this, target);

        public Tensor le(Tensor target) => Aten.le_Tensor.Call(this, target);

        public Tensor le_(Scalar target)
        {
            Aten.le__Scalar.Apply(this, target);
            return this;
        }

        public Tensor le_(Tensor target)
        {
            Aten.le__Tensor.Apply(this, target);
            return this;
        }

        public Tensor gt(Scalar target) => Aten.gt_Scalar.Call(this, target);

        public Tensor gt(Tensor target) => Aten.gt_Tensor.Call(this, target);

        public Tensor gt_(Scalar target)
        {
            Aten.gt__Scalar.Apply(this, target);
            return this;
        }

        public Tensor gt_(Tensor target)
        {
            Aten.gt__Tensor.Apply(this, target);
            return this;
        }

        public Tensor ge(Scalar target) => Aten.ge_Scalar.Call(this, target);

        public Tensor ge(Tensor target) => Aten.ge_Tensor.Call(this, target);

        public Tensor ge_(Scalar target)
        {
            Aten.ge__Scalar.Apply(this, target);
            return this;
        }

        public Tensor ge_(Tensor target)
        {
            Aten.ge__Tensor.Apply(this, target);
            return this;
        }

        public Tensor greater(Tensor target) => Aten.greater_Tensor.Call(this, target);

        public Tensor greater_equal(Tensor target) => Aten.greater_equal_Tensor.Call(this, target);

        public Tensor less(Tensor target) => Aten.less_Tensor.Call(this, target);

        public Tensor less_equal(Tensor target) => Aten.less_equal_Tensor.Call(this, target);

        public Tensor less_equal_(Tensor target)
        {
            Aten.less_equal__Tensor.Apply(this, target);
            return this;
        }

        public Tensor not_equal(Tensor target) => Aten.not_equal_Tensor.Call(this, target);

        public Tensor not_equal_(Tensor target)
        {
            Aten.not_equal__Tensor.Apply(this, target);
            return this;
        }

        public Tensor logical_and(Tensor other) => Aten.logical_and.Call(this, other);

        public Tensor logical_and_(Tensor other)
        {
            Aten.logical_and_.Apply(this, other);
            return this;
        }

        public Tensor logical_or(Tensor other) => Aten.logical_or.Call(this, other);

        public Tensor logical_or_(Tensor other)
        {
            Aten.logical_or_.Apply(this, other);
            return this;
        }

        public Tensor logical_not() => Aten.logical_not.Call(this);

        public Tensor logical_not_()
        {
            Aten.logical_not_.Apply(this);
            return this;
        }

        public Tensor bitwise_and(Tensor other) => Aten.bitwise_and_Tensor.Call(this, other);

        public Tensor bitwise_and_(Tensor other)
        {
            Aten.bitwise_and__Tensor.Apply(this, other);
            return this;
        }

        public Tensor bitwise_or(Tensor other) => Aten.bitwise_or_Tensor.Call(this, other);

        public Tensor bitwise_or_(Tensor other)
        {
            Aten.bitwise_or__Tensor.Apply(this, other);
            return this;
        }

        public Tensor bitwise_xor(Tensor other) => Aten.bitwise_xor_Tensor.Call(this, other);

        public Tensor bitwise_xor_(Tensor other)
        {
            Aten.bitwise_xor__Tensor.Apply(this, other);
            return this;
        }

        public Tensor bitwise_not() => Aten.bitwise_not.Call(this);

        public Tensor bitwise_not_()
        {
            Aten.bitwise_not_.Apply(this);
            return this;
        }

        public Tensor isnan() => Aten.isnan.Call(this);

        public Tensor isinf() => Aten.isinf.Call(this);

        public Tensor isfinite() => Aten.isfinite.Call(this);

        public Tensor isclose(Tensor other, double rtol = 1e-05, double atol = 1e-08, bool nanEqual = false) => Aten.isclose.Call(this, other, rtol, atol, nanEqual);

        public bool allclose(Tensor target, double rtol = 1e-05, double atol = 1e-08, bool equal_nan = false) => Aten.allclose.CallValue(this, target, rtol, atol, equal_nan).Bits != 0;

        public Tensor maximum(Tensor other) => Aten.maximum.Call(this, other);

        public Tensor minimum(Tensor other) => Aten.minimum.Call(this, other);

        public Tensor clamp(Scalar? min = null, Scalar? max = null) => Aten.clamp.Call(this, min, max);

        public Tensor clamp(Tensor? min = null, Tensor? max = null) => Aten.clamp_Tensor.Call(this, min, max);

        public Tensor clamp_(Scalar? min = null, Scalar? max = null)
        {
            Aten.clamp_.Apply(this, min, max);
            return this;
        }

        public Tensor clamp_(Tensor? min = null, Tensor? max = null)
        {
            Aten.clamp__Tensor.Apply(this, min, max);
            return this;
        }

        public Tensor clamp_max(Scalar max) => Aten.clamp_max.Call(this, max);

        public Tensor clamp_max_(Scalar max)
        {
            Aten.clamp_max_.Apply(this, max);
            return this;
        }

        public Tensor clamp_min(Scalar min) => Aten.clamp_min.Call(this, min);

        public Tensor clamp_min_(Scalar min)
        {
            Aten.clamp_min_.Apply(this, min);
            return this;
        }

        public Tensor clip(Scalar? min = null, Scalar? max = null) => Aten.clip.Call(this, min, max);
    }
}

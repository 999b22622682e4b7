using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    public unsafe partial class Tensor
    {
        public long[] shape
        {
            get
            {
                TensorInfo info = Info();
                long[] sizes = new ReadOnlySpan<long>(info.Sizes, (int)info.Dimensions).ToArray();
                GC.KeepAlive(this);
                return sizes;
            }
        }

        public ScalarType dtype => (ScalarType)Info().DType;

        public Device device
        {
            get
            {
                TensorInfo info = Info();
                return new Device((DeviceType)info.DeviceType, info.DeviceIndex);
            }
        }

        public DeviceType device_type => (DeviceType)Info().DeviceType;

        public int device_index => Info().DeviceIndex;

        public long Dimensions => Info().Dimensions;

        public long ndim => Info().Dimensions;

        public long NumberOfElements => Info().Count;

        public long ElementSize => Info().ItemSize;

        public bool is_cuda => device_type == DeviceType.CUDA;

        public bool is_meta => device_type == DeviceType.META;

        public bool is_leaf
        {
            get
            {
                bool leaf = Native.rt_is_leaf(Handle) != 0;
                GC.KeepAlive(this);
                return leaf;
            }
        }

        public bool requires_grad
        {
            get
            {
                bool requires = Native.rt_requires_grad(Handle) != 0;
                GC.KeepAlive(this);
                return requires;
            }

            set
            {
                Native.Check(Native.rt_set_requires_grad(Handle, value ? 1 : 0));
                GC.KeepAlive(this);
            }
        }

        public Tensor? grad
        {
            get
            {
                nint found;
                Native.Check(Native.rt_grad(Handle, &found));
                GC.KeepAlive(this);
                return found == 0 ? null : new Tensor(found);
            }

            set
            {
                Native.Check(Native.rt_set_grad(Handle, value?.Handle ?? 0));
                GC.KeepAlive(this);
                GC.KeepAlive(value);
            }
        }

        public long dim() => Dimensions;

        public long numel() => NumberOfElements;

        public long element_size() => ElementSize;

        public long storage_offset() => Info().StorageOffset;

        public long[] size() => shape;

        public long size(int dim)
        {
            TensorInfo info = Info();
            long size = info.Sizes[Axis(dim, info.Dimensions)];
            GC.KeepAlive(this);
            return size;
        }

        public long[] stride()
        {
            TensorInfo info = Info();
            long[] strides = new ReadOnlySpan<long>(info.Strides, (int)info.Dimensions).ToArray();
            GC.KeepAlive(this);
            return strides;
        }

        public long stride(int dim)
        {
            TensorInfo info = Info();
            long stride = info.Strides[Axis(dim, info.Dimensions)];
            GC.KeepAlive(this);
            return stride;
        }

        public bool is_contiguous() => Info().Contiguous != 0;

        public bool is_floating_point() => torch.is_floating_point(dtype);

        public bool is_integral() => torch.is_integral(dtype);

        public bool is_complex() => dtype is ScalarType.ComplexFloat32 or ScalarType.ComplexFloat64;

        public bool is_cpu() => device_type == DeviceType.CPU;

        public bool is_pinned()
        {
            int pinned;
            Native.Check(Native.rt_is_pinned(Handle, &pinned));
            GC.KeepAlive(this);
            return pinned != 0;
        }

        public Tensor requires_grad_(bool requires_grad = true)
        {
            this.requires_grad = requires_grad;
            return this;
        }

        public Tensor with_requires_grad(bool requires_grad = true)
        {
            this.requires_grad = requires_grad;
            return this;
        }

        public void retain_grad()
        {
            Native.Check(Native.rt_retain_grad(Handle));
            GC.KeepAlive(this);
        }

        public void backward() => backward(null);

        public void backward(IList<Tensor>? grad_tensors = null, bool retain_graph = false, bool create_graph = false, IList<Tensor>? inputs = null) =>
            autograd.backward([this], grad_tensors, retain_graph, create_graph, inputs);

        public override string ToString() => IsInvalid ? "[disposed]" : $"[{string.Join('x', shape)}], type = {dtype}, device = {device}";

        public override bool Equals(object? obj) => obj is Tensor tensor && ReferenceEquals(this, tensor);

        public override int GetHashCode() => System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(this);

        /// <summary>The tensor's elements where they lie; only while the tensor is kept alive.</summary>
        internal nint Data
        {
            get
            {
                nint data = Native.rt_data(Handle);
                return data != 0 || NumberOfElements == 0 ? data : throw new System.Runtime.InteropServices.ExternalException(Native.LastError());
            }
        }

        /// <summary>Gives this tensor other contents, as a module's parameter gets when it moves to another type or device.</summary>
        internal void SetData(Tensor data)
        {
            Native.Check(Native.rt_set_data(Handle, data.Handle));
            GC.KeepAlive(this);
            GC.KeepAlive(data);
        }

        internal TensorInfo Info()
        {
            TensorInfo info;
            Native.Check(Native.rt_info(Handle, &info));
            GC.KeepAlive(this);
            return info;
        }

        private static long Axis(int dim, long dimensions)
        {
            long axis = dim < 0 ? dim + dimensions : dim;
            return axis >= 0 && axis < dimensions
                ? axis
                : throw new System.Runtime.InteropServices.ExternalException($"Dimension out of range (expected to be in range of [{-dimensions}, {dimensions - 1}], but got {dim})");
        }
    }
}

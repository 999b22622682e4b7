using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    // Indexing as in Python: numbers, slices, new axes and ellipses make views, tensors gather.
    public partial class Tensor
    {
        public Tensor this[params TensorIndex[] indices]
        {
            get => index(indices);
            set => index_put_(value, indices);
        }

        public Tensor this[params Tensor[] indices]
        {
            get => index(indices);
            set => index_put_(value, indices);
        }

        public Tensor this[params long[] indices]
        {
            get => At(indices);
            set => Put(value, indices);
        }

        public Tensor this[long i1]
        {
            get => Aten.select_int.Call(this, 0, i1);
            set => Put(value, i1);
        }

        public Tensor this[long i1, long i2]
        {
            get => At(i1, i2);
            set => Put(value, i1, i2);
        }

        public Tensor this[long i1, long i2, long i3]
        {
            get => At(i1, i2, i3);
            set => Put(value, i1, i2, i3);
        }

        public Tensor this[long i1, long i2, long i3, long i4]
        {
            get => At(i1, i2, i3, i4);
            set => Put(value, i1, i2, i3, i4);
        }

        public Tensor this[long i1, long i2, long i3, long i4, long i5]
        {
            get => At(i1, i2, i3, i4, i5);
            set => Put(value, i1, i2, i3, i4, i5);
        }

        public Tensor this[long i1, long i2, long i3, long i4, long i5, long i6]
        {
            get => At(i1, i2, i3, i4, i5, i6);
            set => Put(value, i1, i2, i3, i4, i5, i6);
        }

        public Tensor index(params TensorIndex[] indices)
        {
            Tensor view = View(indices, out Tensor?[]? gathered);
            if (gathered is null)
            {
                return view;
            }

            using (view)
            {
                return Aten.index_Tensor.Call(view, Arg.MaybeTensors(gathered));
            }
        }

        public Tensor index(params Tensor[] indices) => Aten.index_Tensor.Call(this, Arg.MaybeTensors(indices));

        public Tensor index_put_(Tensor value, params TensorIndex[] indices) => index_put_(value, indices, false);

        public Tensor index_put_(Tensor value, TensorIndex[] indices, bool accumulate = false)
        {
            using Tensor view = View(indices, out Tensor?[]? gathered);
            if (gathered is not null)
            {
                Aten.index_put_.Apply(view, Arg.MaybeTensors(gathered), value, accumulate);
            }
            else if (accumulate)
            {
                view.add_(value);
            }
            else
            {
                view.copy_(value);
            }

            return this;
        }

        public Tensor index_put_(Tensor value, params Tensor[] indices) => index_put_(value, indices, false);

        public Tensor index_put_(Tensor value, Tensor[] indices, bool accumulate = false)
        {
            Aten.index_put_.Apply(this, Arg.MaybeTensors(indices), value, accumulate);
            return this;
        }

        public Tensor index_put_(Scalar value, params TensorIndex[] indices)
        {
            using Tensor single = Single(value);
            return index_put_(single, indices, false);
        }

        public Tensor index_put_(Scalar value, params Tensor[] indices)
        {
            using Tensor single = Single(value);
            return index_put_(single, indices, false);
        }

        private Tensor Single(Scalar value) => Aten.full.Call(Array.Empty<long>(), value, dtype, Arg.None, device);

        private Tensor At(params ReadOnlySpan<long> indices)
        {
            Tensor view = Aten.select_int.Call(this, 0, indices[0]);
            for (int i = 1; i < indices.Length; i++)
            {
                Tensor outer = view;
                view = Aten.select_int.Call(outer, 0, indices[i]);
                outer.Dispose();
            }

            return view;
        }

        private void Put(Tensor value, params ReadOnlySpan<long> indices)
        {
            using Tensor view = At(indices);
            view.copy_(value);
        }

        // The view that numbers, slices and new axes make, and where tensors stand in it.
        private Tensor View(TensorIndex[] indices, out Tensor?[]? gathered)
        {
            long named = indices.Count(index => index.Kind is TensorIndex.Part.Slice or TensorIndex.Part.Single)
                + indices.Where(index => index.Kind == TensorIndex.Part.Tensor).Sum(index => Places(index.Index!));
            Tensor view = alias();
            List<Tensor?> tensors = [];
            bool any = false;
            int axis = 0;
            foreach (TensorIndex index in indices)
            {
                switch (index.Kind)
                {
                    case TensorIndex.Part.Ellipsis:
                        axis += (int)Math.Max(0, Dimensions - named);
                        break;
                    case TensorIndex.Part.NewAxis:
                        Replace(ref view, Aten.unsqueeze.Call(view, axis++));
                        break;
                    case TensorIndex.Part.Single:
                        Replace(ref view, Aten.select_int.Call(view, axis, index.First ?? 0));
                        break;
                    case TensorIndex.Part.Slice:
                        if (index.First is not null || index.Last is not null || index.Step is not null)
                        {
                            Replace(ref view, Aten.slice_Tensor.Call(view, axis, index.First, index.Last, index.Step ?? 1));
                        }

                        axis++;
                        break;
                    default:
                        Tensor at = index.Kind == TensorIndex.Part.Tensor ? index.Index! : torch.tensor(index.First != 0);
                        if (index.Kind == TensorIndex.Part.Bool)
                        {
                            Replace(ref view, Aten.unsqueeze.Call(view, axis));
                            at = at.unsqueeze(0);
                        }

                        while (tensors.Count < axis)
                        {
                            tensors.Add(null);
                        }

                        tensors.Add(at);
                        any = true;
                        axis += (int)(index.Kind == TensorIndex.Part.Bool ? 1 : Places(at));
                        break;
                }
            }

            gathered = any ? [.. tensors] : null;
            return view;
        }

        // A mask takes as many dimensions as it has; a tensor of numbers takes one.
        private static long Places(Tensor index) => index.dtype is ScalarType.Bool or ScalarType.Byte ? index.Dimensions : 1;

        private static void Replace(ref Tensor view, Tensor next)
        {
            view.Dispose();
            view = next;
        }
    }
}

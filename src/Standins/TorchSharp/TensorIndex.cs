namespace TorchSharp;

public static partial class torch
{
    /// <summary>One place of an index expression: a number, a slice, a tensor, a new axis, an ellipsis.</summary>
    public struct TensorIndex
    {
        public static readonly TensorIndex Ellipsis = new(Part.Ellipsis);
        public static readonly TensorIndex None = new(Part.NewAxis);
        public static readonly TensorIndex Null = new(Part.NewAxis);
        public static readonly TensorIndex Colon = Slice();

        internal readonly Part Kind;
        internal readonly long? First;
        internal readonly long? Last;
        internal readonly long? Step;
        internal readonly Tensor? Index;

        private TensorIndex(Part kind, long? first = null, long? last = null, long? step = null, Tensor? index = null)
        {
            Kind = kind;
            First = first;
            Last = last;
            Step = step;
            Index = index;
        }

        internal enum Part
        {
            Slice,
            Single,
            Bool,
            Tensor,
            NewAxis,
            Ellipsis,
        }

        public static implicit operator TensorIndex(long value) => new(Part.Single, value);

        public static implicit operator TensorIndex(Index index) => Single(index.IsFromEnd ? -index.Value : index.Value);

        public static implicit operator TensorIndex(Range range) => Slice(range);

        public static implicit operator TensorIndex((int?, int?) range) => Slice(range);

        public static TensorIndex Slice(long? start = null, long? stop = null, long? step = null) => new(Part.Slice, start, stop, step);

        public static TensorIndex Slice((int?, int?) range) => Slice(range.Item1, range.Item2);

        public static TensorIndex Slice(Range range)
        {
            long? start = range.Start.IsFromEnd ? (range.Start.Value == 0 ? long.MaxValue : -range.Start.Value) : range.Start.Value;
            long? stop = range.End.IsFromEnd ? (range.End.Value == 0 ? null : -range.End.Value) : range.End.Value;
            return Slice(start, stop);
        }

        public static TensorIndex Bool(bool value) => new(Part.Bool, value ? 1 : 0);

        public static TensorIndex Single(long? index) => new(Part.Single, index);

        public static TensorIndex Tensor(Tensor tensor) => new(Part.Tensor, index: tensor);
    }
}

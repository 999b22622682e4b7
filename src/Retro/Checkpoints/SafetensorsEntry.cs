namespace Retro.Checkpoints;

/// <summary>A tensor as the header of a safetensors file describes it.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Dtype">Type of its values as the format writes it, such as "F32".</param>
/// <param name="Dimensions">Its dimensions as written; a file may name any 64-bit size where another dimension is 0.</param>
/// <param name="Begin">First byte of its values, counted from the end of the header.</param>
/// <param name="End">The byte after its last.</param>
public sealed record SafetensorsEntry(string Name, string Dtype, IReadOnlyList<ulong> Dimensions, long Begin, long End)
{
    /// <summary>Bytes of its values.</summary>
    public long ByteLength => End - Begin;

    /// <summary>Its dimensions.</summary>
    /// <exception cref="CheckpointException">Strides that go with them exceed 2^63 − 1, also those of a tensor without values.</exception>
    public long[] Shape
    {
        get
        {
            try
            {
                _ = Dimensions.Aggregate(1L, (stride, size) => checked(stride * (long)Math.Max(1, size)));
                return [.. Dimensions.Select(size => (long)size)];
            }
            catch (OverflowException exception)
            {
                throw new CheckpointException($"Tensor \"{Name}\" has the shape [{string.Join(", ", Dimensions)}], which no tensor can have.", exception);
            }
        }
    }
}

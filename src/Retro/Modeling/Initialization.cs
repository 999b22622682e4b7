using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using EmbeddingTable = TorchSharp.Modules.Embedding;

namespace Retro.Modeling;

/// <summary>
/// Fresh parameters: matrices normal with 1/sqrt(fan-in), embeddings normal with 1/sqrt(width), biases zero. Drawn from the processor's generator, so that
/// manual_seed, which seeds no other in TorchSharp, decides them, and they are the same on every device.
/// </summary>
internal static class Initialization
{
    [ThreadStatic]
    private static int s_skips;

    [ThreadStatic]
    private static bool s_drawsRetrieval;

    /// <summary>
    /// Until it is disposed of, what this thread makes holds whatever its memory held: for models whose every weight is about to be read from elsewhere.
    /// Drawing takes longer than reading.
    /// </summary>
    public static IDisposable Skip() => new Skipping(s_skips + 1, drawsRetrieval: false);

    /// <summary>The same, but that <see cref="Retrieval"/> is drawn: for what is added to a decoder that is about to be read.</summary>
    public static IDisposable SkipDecoder() => new Skipping(s_skips + 1, drawsRetrieval: true);

    /// <summary>Around the making of what a model retrieves with; null: nothing is to be disposed of.</summary>
    public static IDisposable? Retrieval() => s_drawsRetrieval ? Draw() : null;

    /// <summary>Until it is disposed of, what this thread makes is drawn, within <see cref="Skip"/> too: for what may not be read from anywhere.</summary>
    public static IDisposable Draw() => new Skipping(0, drawsRetrieval: false);

    /// <summary>A parameter of one value.</summary>
    public static Parameter Constant(double value, long[] shape, ScalarType dtype, Device? device)
        => Own(KeptScalars.Filled(shape, value, dtype, device ?? CPU));

    /// <summary>A parameter whose rows are all the same.</summary>
    public static Parameter Rows(long count, float[] row, ScalarType dtype, Device? device)
    {
        using Tensor values = tensor(row, dtype: dtype, device: device ?? CPU);
        return Own(values.repeat(count, 1));
    }

    /// <summary>A table of embeddings.</summary>
    public static EmbeddingTable Embedding(int count, int width, ScalarType dtype, Device? device)
    {
        // Its constructor draws, too.
        EmbeddingTable embedding = s_skips > 0 ? nn.Embedding(1, 1, device: CPU, dtype: dtype) : nn.Embedding(count, width, device: CPU, dtype: dtype);
        using (no_grad())
        {
            using Parameter weight = embedding.weight!;
            if (s_skips > 0)
            {
                using Tensor whole = empty([count, width], dtype, CPU);
                weight.set_(whole);
            }
            else
            {
                weight.normal_(0, 1 / Math.Sqrt(width));
            }
        }

        // Moved as a whole: nn.Embedding_from_pretrained draws a table of its own and leaves it on the processor.
        return device is null ? embedding : embedding.to(device);
    }

    /// <summary>A parameter of normal numbers; zeros where the deviation is 0.</summary>
    public static Parameter Normal(long[] shape, double deviation, ScalarType dtype, Device? device)
    {
        if (s_skips > 0)
        {
            return Own(empty(shape, dtype, device ?? CPU));
        }

        if (deviation == 0)
        {
            return Own(zeros(shape, dtype, device ?? CPU));
        }

        Tensor drawn = zeros(shape, dtype, CPU).normal_(0, deviation), moved = drawn.to(device ?? CPU);
        if (!ReferenceEquals(moved, drawn))
        {
            drawn.Dispose();
        }

        return Own(moved);
    }

    private static Parameter Own(Tensor tensor)
    {
        Parameter parameter = new(tensor);
        parameter.DetachFromDisposeScope();
        return parameter;
    }

    private sealed class Skipping : IDisposable
    {
        private readonly (int Skips, bool DrawsRetrieval) _before = (s_skips, s_drawsRetrieval);

        public Skipping(int skips, bool drawsRetrieval) => (s_skips, s_drawsRetrieval) = (skips, drawsRetrieval);

        public void Dispose() => (s_skips, s_drawsRetrieval) = _before;
    }
}

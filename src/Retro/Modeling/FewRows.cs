using System.Buffers;
using System.Runtime.CompilerServices;
using TorchSharp;
using TensorPrimitives = System.Numerics.Tensors.TensorPrimitives;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// What a branch of a layer computes with where its input has few rows, as decoding has, on the processor: plain numbers of float32 between one tensor that
/// comes in and one that goes out. An operator of libtorch takes longer to be called than its few numbers take to be computed, and its products of so few rows
/// up to three times as long as reading their weights. Weights and caches are read where they lie, whatever they are stored as.
/// </summary>
/// <remarks>Buffers belong to it until it is disposed of. Rows lie one behind the other; each gives the same bits whatever others there are.</remarks>
internal abstract class FewRows : IDisposable
{
    /// <summary>Rows up to which the own products are the faster ones: libtorch's of bfloat16 have instructions of their own.</summary>
    private const int Most = 8, MostOfBFloat16 = 4;

    private readonly List<float[]> _buffers = [];

    /// <summary>How many rows.</summary>
    public int Count { get; private init; }

    /// <summary>What the rows, the parameters and the caches are stored as.</summary>
    public ScalarType Dtype { get; private init; }

    /// <summary>Begins, where these rows and these parameters can be computed with here.</summary>
    /// <param name="x">[..., width], the rows.</param>
    /// <param name="norm">Normalizes them; null: nothing does.</param>
    /// <param name="layers">What multiplies them or what becomes of them; null: none.</param>
    /// <returns>Null: not here.</returns>
    public static FewRows? Of(Tensor x, Normalization? norm, params ReadOnlySpan<nn.Module<Tensor, Tensor>?> layers)
    {
        if (is_grad_enabled() || x.device_type != DeviceType.CPU || x.dim() == 0 || !x.is_contiguous())
        {
            return null;
        }

        ScalarType dtype = x.dtype;
        long width = x.size(-1), rows = width == 0 ? 0 : x.numel() / width;
        int most = dtype == ScalarType.Float32 ? Most : dtype == ScalarType.BFloat16 ? MostOfBFloat16 : 0;
        if (rows == 0 || rows > most || norm?.IsPlain(dtype, width) == false)
        {
            return null;
        }

        foreach (nn.Module<Tensor, Tensor>? layer in layers)
        {
            if (layer is not null && (layer is not LinearLayer linear || !linear.IsPlain(dtype)))
            {
                return null;
            }
        }

        return dtype == ScalarType.Float32
            ? new FewRows<float, Float32Format> { Count = (int)rows, Dtype = dtype }
            : new FewRows<ushort, BFloat16Format> { Count = (int)rows, Dtype = dtype };
    }

    /// <summary>Whether a tensor's numbers can be read where they lie.</summary>
    public static bool IsPlain(Tensor tensor, ScalarType dtype) => tensor.device_type == DeviceType.CPU && tensor.dtype == dtype && tensor.is_contiguous();

    /// <summary>Room for numbers, which holds whatever was there before.</summary>
    public Memory<float> Take(int count)
    {
        float[] buffer = ArrayPool<float>.Shared.Rent(count);
        _buffers.Add(buffer);
        return buffer.AsMemory(0, count);
    }

    /// <summary>A tensor's numbers. It is contiguous and stored as the rows are.</summary>
    public abstract Memory<float> Read(Tensor tensor);

    /// <summary>A tensor of these numbers, stored as the rows are.</summary>
    public abstract Tensor ToTensor(ReadOnlySpan<float> numbers, params ReadOnlySpan<long> shape);

    /// <summary>The rows, normalized where there is a norm.</summary>
    public Memory<float> Normalized(Tensor x, Normalization? norm)
    {
        Memory<float> rows = Read(x);
        Normalize(rows, norm);
        return rows;
    }

    /// <summary>Normalizes numbers in their place, in pieces as long as the norm's weight: rows, or the heads of rows. Null: not at all.</summary>
    public void Normalize(Memory<float> numbers, Normalization? norm)
    {
        if (norm is null)
        {
            return;
        }

        ReadOnlySpan<float> weight = Read(norm.Weight).Span, bias = norm.Bias is { } added ? Read(added).Span : [];
        for (int start = 0; start < numbers.Length; start += weight.Length)
        {
            norm.Apply(numbers.Span.Slice(start, weight.Length), weight, bias);
        }
    }

    /// <summary>x Wᵀ + b.</summary>
    /// <param name="x">The rows, one behind the other.</param>
    /// <param name="layer">W and b.</param>
    /// <returns>Its rows.</returns>
    public Memory<float> Product(Memory<float> x, LinearLayer layer) => Products(x, layer.Weights)[0];

    /// <summary>The same with several matrices as wide as the rows, in one loop of the threads.</summary>
    /// <param name="x">The rows, one behind the other.</param>
    /// <param name="matrices">Each a W, [output, input], and its b, [output], or null.</param>
    /// <returns>The rows of each.</returns>
    public abstract Memory<float>[] Products(Memory<float> x, params ReadOnlySpan<(Tensor Weight, Tensor? Bias)> matrices);

    /// <summary>Stores rows [N, G·S] in a cache.</summary>
    /// <param name="numbers">The rows.</param>
    /// <param name="cache">[G, P, S], contiguous.</param>
    /// <param name="places">Of each row, below P.</param>
    public abstract void Store(ReadOnlySpan<float> numbers, Tensor cache, IReadOnlyList<long> places);

    /// <summary>The position term of one query a row: its product with what each key's distance is projected to.</summary>
    /// <param name="asking">[N, H, S].</param>
    /// <param name="distances">[H, S, W], contiguous: a column for each distance.</param>
    /// <param name="columns">[N, L] of int64: which column a key's is.</param>
    /// <returns>[H, N, L].</returns>
    public abstract Memory<float> PositionTerm(Memory<float> asking, Tensor distances, Tensor columns);

    /// <summary>Attends with one query a row; see <see cref="TokenAttention"/>.</summary>
    /// <param name="queries">[N, H, S].</param>
    /// <param name="keys">[G, N, L, S], or of all places [G, P, S]; G a divisor of H, the last dimension contiguous.</param>
    /// <param name="values">[G, N, L, S'], or [G, P, S'], the same.</param>
    /// <param name="pass">Which of the places each row sees; null: all of its L.</param>
    /// <param name="added">What is added to the logits.</param>
    /// <returns>[N, H·S'].</returns>
    public abstract Memory<float> Attend(Memory<float> queries, Tensor keys, Tensor values, DecodingPass? pass, TokenLogits added);

    /// <summary>Gives the buffers back.</summary>
    public void Dispose()
    {
        foreach (float[] buffer in _buffers)
        {
            ArrayPool<float>.Shared.Return(buffer);
        }

        _buffers.Clear();
    }
}

/// <summary>The same of one type.</summary>
/// <typeparam name="T">What a number is stored as.</typeparam>
/// <typeparam name="TFormat">How.</typeparam>
internal sealed class FewRows<T, TFormat> : FewRows
    where T : unmanaged
    where TFormat : IRowFormat<T>
{
    /// <summary>Bytes of weights that a thread takes at once: in less time another one has not begun.</summary>
    private const int BytesOfPart = 1 << 17;

    private const int PartsOfThread = 4;

    // So few that their weights are still near when the next row reads them; of one row, as many as a span can hold.
    private const int OutputsOfBlock = 32, NumbersOfSpan = 1 << 30;

    /// <inheritdoc/>
    public override Memory<float> Read(Tensor tensor)
    {
        int count = checked((int)tensor.numel());
        Memory<float> numbers = Take(count);
        TFormat.Read(new TensorNumbers<T>(Stored(tensor)).Slice(0, count), numbers.Span);
        GC.KeepAlive(tensor);
        return numbers;
    }

    /// <inheritdoc/>
    public override Tensor ToTensor(ReadOnlySpan<float> numbers, params ReadOnlySpan<long> shape)
    {
        Tensor tensor = empty(shape, Dtype, CPU);
        TFormat.Write(numbers, new TensorNumbers<T>(tensor).Slice(0, numbers.Length));
        return tensor;
    }

    /// <inheritdoc/>
    public override Memory<float>[] Products(Memory<float> x, params ReadOnlySpan<(Tensor Weight, Tensor? Bias)> matrices)
    {
        int rows = Count, input = x.Length / rows, outputs = 0;
        Memory<float> arranged = Take(x.Length);
        for (int row = 0; row < rows; row++)
        {
            StoredRows<T, TFormat>.Arrange(x.Span.Slice(row * input, input), 1, arranged.Span.Slice(row * input, input));
        }

        Memory<float>[] products = new Memory<float>[matrices.Length];
        Matrix[] all = new Matrix[matrices.Length];
        for (int i = 0; i < all.Length; i++)
        {
            (Tensor weight, Tensor? bias) = matrices[i];
            int output = (int)weight.size(0);
            products[i] = Take(rows * output);
            all[i] = new(weight, bias, outputs, output, products[i]);
            outputs += output;
        }

        // More parts than threads, so that one that comes late leaves its share to the others.
        int threads = get_num_threads(), total = outputs;
        int parts = threads == 1 ? 1 : (int)Math.Clamp((long)total * input * Unsafe.SizeOf<T>() / BytesOfPart, 1, PartsOfThread * threads);
        WorkerTeam.Shared.Run(parts, threads, Part);
        foreach ((Tensor weight, Tensor? bias) in matrices)
        {
            GC.KeepAlive(weight);
            GC.KeepAlive(bias);
        }

        return products;

        // Each number is one dot product, so that neither the other rows nor the threads change its bits.
        void Part(int part)
        {
            int from = (int)((long)total * part / parts), to = (int)((long)total * (part + 1) / parts);
            foreach (Matrix matrix in all)
            {
                int start = Math.Max(from - matrix.First, 0), end = Math.Min(to - matrix.First, matrix.Output);
                int block = rows == 1 ? Math.Max(1, NumbersOfSpan / input) : OutputsOfBlock;
                for (int o = start; o < end; o += block)
                {
                    int count = Math.Min(block, end - o);
                    ReadOnlySpan<T> weights = matrix.Weights.Slice((long)o * input, (long)count * input);
                    for (int row = 0; row < rows; row++)
                    {
                        Span<float> some = matrix.Products.Span.Slice((row * matrix.Output) + o, count);
                        StoredRows<T, TFormat>.Dot(weights, input, arranged.Span.Slice(row * input, input), some);
                        if (matrix.HasBias)
                        {
                            ReadOnlySpan<T> bias = matrix.Biases.Slice(o, count);
                            for (int i = 0; i < count; i++)
                            {
                                some[i] += TFormat.Read(bias[i]);
                            }
                        }
                    }
                }
            }
        }
    }

    /// <inheritdoc/>
    public override void Store(ReadOnlySpan<float> numbers, Tensor cache, IReadOnlyList<long> places)
    {
        int size = (int)cache.size(2), groups = (int)cache.size(0);
        long all = cache.size(1);
        TensorNumbers<T> stored = new(Stored(cache));
        for (int row = 0; row < Count; row++)
        {
            for (int group = 0; group < groups; group++)
            {
                TFormat.Write(numbers.Slice(((row * groups) + group) * size, size), stored.Slice(((group * all) + places[row]) * size, size));
            }
        }

        GC.KeepAlive(cache);
    }

    /// <inheritdoc/>
    public override Memory<float> PositionTerm(Memory<float> asking, Tensor distances, Tensor columns)
    {
        int heads = (int)distances.size(0), size = (int)distances.size(1), width = (int)distances.size(2);
        long[] all = columns.data<long>().ToArray();
        int keys = all.Length / Count;
        TensorNumbers<T> projected = new(Stored(distances));
        Memory<float> term = Take(heads * all.Length);
        WorkerTeam.Shared.Run(heads * Count, get_num_threads(), OfQuery);
        GC.KeepAlive(distances);
        return term;

        void OfQuery(int query)
        {
            (int head, int row) = Math.DivRem(query, Count);
            ReadOnlySpan<long> own = all.AsSpan(row * keys, keys);
            int used = (int)TensorPrimitives.Max(own) + 1; // a row that sees few keys needs few distances
            float[] buffer = ArrayPool<float>.Shared.Rent(used);
            Span<float> products = buffer.AsSpan(0, used), wanted = term.Span.Slice(query * keys, keys);
            products.Clear();
            ReadOnlySpan<float> factors = asking.Span.Slice(((row * heads) + head) * size, size);
            StoredRows<T, TFormat>.Add(projected.Slice((long)head * size * width, ((long)(size - 1) * width) + used), width, factors, products);
            StoredRows<T, TFormat>.Restore(products);
            for (int key = 0; key < keys; key++)
            {
                wanted[key] = products[(int)own[key]];
            }

            ArrayPool<float>.Shared.Return(buffer);
        }
    }

    /// <inheritdoc/>
    public override Memory<float> Attend(Memory<float> queries, Tensor keys, Tensor values, DecodingPass? pass, TokenLogits added)
    {
        TokenStates<T> k = new(Stored(keys), pass), v = new(Stored(values), pass);
        int heads = queries.Length / (k.Rows * k.Size);
        Memory<float> attended = Take(k.Rows * heads * v.Size);
        TokenAttention.Attend<T, TFormat>(queries, k, v, added, attended);
        GC.KeepAlive(keys);
        GC.KeepAlive(values);
        return attended;
    }

    // Its memory is read as it lies.
    private Tensor Stored(Tensor tensor) => tensor.dtype == Dtype && tensor.device_type == DeviceType.CPU
        ? tensor
        : throw new InvalidOperationException($"Expected numbers of {Dtype} on the processor, got {tensor.dtype} on {tensor.device}.");

    /// <summary>A matrix of a loop: its numbers, which of the loop's outputs is its first one, and where its products go.</summary>
    private sealed class Matrix(Tensor weight, Tensor? bias, int first, int output, Memory<float> products)
    {
        public readonly TensorNumbers<T> Weights = new(weight), Biases = bias is null ? default : new(bias);
        public readonly bool HasBias = bias is not null;
        public readonly int First = first, Output = output;
        public readonly Memory<float> Products = products;
    }
}

using System.Buffers.Binary;

namespace Retro.Vectors;

/// <summary>
/// The exact index in managed code, for every platform: vectors one after the other, and a search that compares each query with all of them
/// (<see cref="ExactSearch"/>). Its file is its memory (little-endian), so that it can be mapped:
/// <code>
/// header (64 bytes): magic, version int32, metric int32, dimensions D int32, 0 int32, count N int64, zeros
/// vectors float32 [N, D]
/// </code>
/// </summary>
internal sealed unsafe class ExactIndex : VectorIndex
{
    private const int Version = 1;
    private const int HeaderSize = 64;
    private static ReadOnlySpan<byte> Magic => "RETROVX1"u8;

    /// <summary>The header's room and the vectors: allocated, or a mapped file, which is copied before a vector is added.</summary>
    private MappedFile _memory;
    private long _count;
    private bool _mapped;
    private bool _disposed;

    /// <summary>Makes an empty index.</summary>
    public ExactIndex(int dimensions, VectorMetric metric, int threads)
        : this(dimensions, metric, MappedFile.Allocate(HeaderSize), 0, mapped: false, threads)
    {
    }

    private ExactIndex(int dimensions, VectorMetric metric, MappedFile memory, long count, bool mapped, int threads)
        : base(dimensions, metric, threads)
    {
        _memory = memory;
        _count = count;
        _mapped = mapped;
    }

    public override VectorEngine Engine => VectorEngine.Exact;

    public override long Count
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return _count;
        }
    }

    public override bool IsTrained => Count >= 0;

    public override long ListCount => 0;

    public override long ProbedLists => 0;

    public override bool SearchesAmong => true;

    public override bool ComparesAll => true;

    public override bool AnswersEachByItself => true;

    private protected override bool IsDisposed => _disposed;

    private float* Vectors => (float*)(_memory.Pointer + HeaderSize);

    private long RowBytes => (long)Dimensions * sizeof(float);

    /// <summary>Whether a file begins as the file of such an index.</summary>
    public static bool IsOne(string path)
    {
        Span<byte> start = stackalloc byte[Magic.Length];
        try
        {
            FileIdentity.RequireFile(path);
            using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0);
            return file.ReadAtLeast(start, start.Length, throwOnEndOfStream: false) == start.Length && start.SequenceEqual(Magic);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new DatabaseException($"The vector index {path} cannot be read: {fault.Message}", fault);
        }
    }

    /// <summary>Opens a file that <see cref="IsOne"/> has recognized.</summary>
    public static ExactIndex Read(string path, bool memoryMapped, int threads)
    {
        MappedFile image = MappedFile.Open(path);
        try
        {
            ReadOnlySpan<byte> header = new(image.Pointer, (int)Math.Min(HeaderSize, image.Length));
            if (header.Length < HeaderSize)
            {
                throw new DatabaseException(
                    $"The vector index {path} has {header.Length} bytes and its header alone takes {HeaderSize}: it was cut short; build it again.");
            }

            int version = BinaryPrimitives.ReadInt32LittleEndian(header[8..]);
            if (version != Version)
            {
                throw new DatabaseException(
                    $"The vector index {path} has format version {version} and this library reads version {Version}: build it again, or use the library "
                        + "that made it.");
            }

            VectorMetric metric = (VectorMetric)BinaryPrimitives.ReadInt32LittleEndian(header[12..]);
            int dimensions = BinaryPrimitives.ReadInt32LittleEndian(header[16..]);
            long count = BinaryPrimitives.ReadInt64LittleEndian(header[24..]);
            if (!Enum.IsDefined(metric) || dimensions < 1 || count < 0 || header[20..24].ContainsAnyExcept((byte)0) || header[32..].ContainsAnyExcept((byte)0))
            {
                throw new DatabaseException(
                    $"The header of the vector index {path} says metric {(int)metric}, {dimensions} dimensions and {count} vectors, which cannot be: it is "
                        + "damaged; build it again.");
            }

            long room = image.Length - HeaderSize;
            if (room % (dimensions * (long)sizeof(float)) != 0 || room / (dimensions * (long)sizeof(float)) != count)
            {
                throw new DatabaseException(
                    $"The vector index {path} should hold {count} vectors of {dimensions} numbers and has {room} bytes for them: it was cut short or "
                        + "changed; build it again.");
            }

            ExactIndex index = new(dimensions, metric, image, count, mapped: true, threads);
            if (!memoryMapped)
            {
                index.Reserve(count);
            }

            return index;
        }
        catch
        {
            image.Dispose();
            throw;
        }
    }

    public override void Dispose()
    {
        _disposed = true;
        _memory.Dispose();
    }

    private protected override void Set(string parameters)
        => throw new FaissException($"The parameters {parameters} are FAISS's, and the exact managed index has none: leave them out.");

    private protected override void TrainOn(long n, ReadOnlySpan<float> vectors) => ObjectDisposedException.ThrowIf(_disposed, this);

    private protected override void Take(long n, ReadOnlySpan<float> vectors)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_mapped || _memory.Length < HeaderSize + (_count + n) * RowBytes)
        {
            Reserve(Math.Max(_count + n, 2 * _count));
        }

        vectors.CopyTo(new Span<float>(Vectors + _count * Dimensions, vectors.Length));
        _count += n;
    }

    private protected override void Find(
        long n,
        ReadOnlySpan<float> queries,
        int count,
        Span<long> ids,
        Span<float> distances,
        long? probedLists,
        ChunkSet? among,
        ExcludedChunks[]? excluded)
    {
        fixed (float* x = queries)
        fixed (long* found = ids)
        fixed (float* values = distances)
        {
            using SharedHandle.Held held = _memory.Hold();
            new ExactSearch(Vectors, _count, Dimensions, Metric, Threads, among, excluded).Find(x, (int)n, count, found, values);
        }
    }

    private protected override void Write(string path)
    {
        Span<byte> header = stackalloc byte[HeaderSize];
        header.Clear();
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt32LittleEndian(header[8..], Version);
        BinaryPrimitives.WriteInt32LittleEndian(header[12..], (int)Metric);
        BinaryPrimitives.WriteInt32LittleEndian(header[16..], Dimensions);
        BinaryPrimitives.WriteInt64LittleEndian(header[24..], _count);
        using SharedHandle.Held held = _memory.Hold();
        using FileStream file = new(path, FileMode.Create, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete); // whoever has it written holds it open
        file.Write(header);
        long end = HeaderSize + _count * RowBytes;
        const int Block = 1 << 24;
        for (long start = HeaderSize; start < end; start += Block)
        {
            file.Write(new ReadOnlySpan<byte>(_memory.Pointer + start, (int)Math.Min(Block, end - start)));
        }
    }

    /// <summary>Moves the vectors into memory of their own with room for some.</summary>
    private void Reserve(long vectors)
    {
        MappedFile larger = MappedFile.Allocate(checked(HeaderSize + vectors * RowBytes));
        Buffer.MemoryCopy(_memory.Pointer, larger.Pointer, larger.Length, HeaderSize + _count * RowBytes);
        _memory.Dispose();
        _memory = larger;
        _mapped = false;
    }
}

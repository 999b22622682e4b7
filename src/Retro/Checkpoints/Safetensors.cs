using System.IO.MemoryMappedFiles;
using Retro.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Checkpoints;

/// <summary>
/// A safetensors file, memory-mapped: opened at once whatever its size, every tensor read when asked for. The file is treated as hostile; see <see cref="Open"/>.
/// Format: https://github.com/huggingface/safetensors.
/// </summary>
public sealed unsafe partial class Safetensors : IDisposable
{
    // Tensors are copied in pieces of this size, because a span counts in 32 bits.
    private const int Piece = 1 << 30;

    private readonly MemoryMappedFile? _file;
    private readonly MemoryMappedViewAccessor? _view;
    private readonly SafetensorsHeader _header;
    private readonly byte* _data;
    private bool _disposed;

    private Safetensors(string path)
    {
        FilePath = path;
        using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read);
        long length = stream.Length;
        Span<byte> start = stackalloc byte[SafetensorsHeader.LengthBytes];
        start = start[..stream.ReadAtLeast(start, start.Length, throwOnEndOfStream: false)];
        byte[] json = new byte[SafetensorsHeader.JsonLength(start, start.Length < SafetensorsHeader.LengthBytes ? start.Length : length)];
        stream.ReadExactly(json);
        _header = SafetensorsHeader.Parse(json, length);
        Entries = [.. _header.Entries.Values.OrderBy(entry => entry.Begin).ThenBy(entry => entry.End).ThenBy(entry => entry.Name, StringComparer.Ordinal)];
        if (length > _header.DataStart)
        {
            _file = MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 0, MemoryMappedFileAccess.Read);
            _view = _file.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
            byte* pointer = null;
            _view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
            _data = pointer + _view.PointerOffset + _header.DataStart;
        }
    }

    /// <summary>The file.</summary>
    public string FilePath { get; }

    /// <summary>The file's own key-value pairs; null where it has none.</summary>
    public IReadOnlyDictionary<string, string>? Metadata => _header.Metadata;

    /// <summary>Every tensor, in the order of the file.</summary>
    public IReadOnlyList<SafetensorsEntry> Entries { get; }

    /// <summary>Opens a file and checks its header: its size, the JSON, names, types, shapes, overflow, and that the tensors cover the file without holes or overlaps.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="CheckpointException">The file cannot be read or is not valid; the message names file and fault.</exception>
    public static Safetensors Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        try
        {
            return new Safetensors(path);
        }
        catch (FormatException exception)
        {
            throw new CheckpointException($"{path} is not a valid safetensors file: {exception.Message}.", exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException($"{path} cannot be read: {exception.Message}", exception);
        }
    }

    /// <summary>Whether the file has a tensor of this name.</summary>
    /// <param name="name">Its name.</param>
    public bool Contains(string name) => _header.Entries.ContainsKey(name);

    /// <summary>What the header says of a tensor.</summary>
    /// <param name="name">Its name.</param>
    /// <exception cref="CheckpointException">The file has no such tensor.</exception>
    public SafetensorsEntry Entry(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return _header.Entries.TryGetValue(name, out SafetensorsEntry? entry)
            ? entry
            : throw new CheckpointException($"{FilePath} holds no tensor \"{name}\"; it holds {Entries.Count}: {string.Join(", ", Entries.Take(5).Select(known => known.Name))}{(Entries.Count > 5 ? ", ..." : "")}.");
    }

    /// <summary>Bytes of a tensor as they lie in the file, up to 2 GB of them; valid until the file is disposed.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="offset">First byte, counted from the tensor's first.</param>
    /// <param name="length">How many; null: all that follow.</param>
    /// <exception cref="CheckpointException">The file has no such tensor.</exception>
    public ReadOnlySpan<byte> Bytes(string name, long offset = 0, int? length = null)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        SafetensorsEntry entry = Entry(name);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, entry.ByteLength);
        long count = length ?? entry.ByteLength - offset;
        ArgumentOutOfRangeException.ThrowIfNegative(count, nameof(length));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, entry.ByteLength - offset, nameof(length));
        return count == 0 ? [] : new ReadOnlySpan<byte>(_data + entry.Begin + offset, checked((int)count));
    }

    /// <summary>Copies a tensor out of the file.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="dtype">Type to convert to; null: as stored.</param>
    /// <param name="device">Where it is to lie; null: the CPU.</param>
    /// <returns>A new tensor, the caller's to dispose.</returns>
    /// <exception cref="CheckpointException">The file has no such tensor, or its type is none that a tensor can have.</exception>
    public Tensor Read(string name, ScalarType? dtype = null, Device? device = null)
    {
        SafetensorsEntry entry = Entry(name);
        ScalarType stored = SafetensorsTypes.ToScalarType(entry.Dtype)
            ?? throw new CheckpointException($"Tensor \"{name}\" of {FilePath} is of type {entry.Dtype}, which cannot be read; readable are {SafetensorsTypes.Readable}.");
        TorchLibrary.Require();
        using DisposeScope scope = NewDisposeScope();
        Tensor tensor = empty(entry.Shape, stored, CPU);
        if (entry.ByteLength > 0)
        {
            CopyTo(entry, tensor.view(-1));
        }

        Tensor result = tensor;
        if (dtype is ScalarType wanted && wanted != stored)
        {
            result = result.to_type(wanted);
        }

        if (device is not null && device.type != DeviceType.CPU)
        {
            result = result.to(device);
        }

        return result.MoveToOuterDisposeScope();
    }

    /// <summary>Unmaps the file.</summary>
    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        if (_view is not null)
        {
            _view.SafeMemoryMappedViewHandle.ReleasePointer();
            _view.Dispose();
            _file!.Dispose();
        }
    }

    private void CopyTo(SafetensorsEntry entry, Tensor flat)
    {
        int size = checked((int)(entry.ByteLength / flat.numel()));
        for (long done = 0; done < entry.ByteLength; done += Piece)
        {
            int count = (int)Math.Min(Piece, entry.ByteLength - done);
            ReadOnlySpan<byte> bytes = Bytes(entry.Name, done, count);
            if (entry.Dtype == "BOOL" && bytes.IndexOfAnyExceptInRange((byte)0, (byte)1) >= 0)
            {
                throw new CheckpointException($"Tensor \"{entry.Name}\" of {FilePath} is of type BOOL, but holds bytes other than 0 and 1.");
            }

            using Tensor piece = flat.narrow(0, done / size, count / size);
            bytes.CopyTo(piece.bytes);
        }
    }
}

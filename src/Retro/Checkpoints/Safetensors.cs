using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Checkpoints;

/// <summary>
/// A safetensors file, memory-mapped: opened at once whatever its size, every tensor read when asked for. The file is treated as hostile; see
/// <see cref="Open"/>. Format: https://github.com/huggingface/safetensors.
/// </summary>
public sealed partial class Safetensors : IDisposable
{
    // Tensors are copied in pieces of this size, because a span counts in 32 bits.
    private const int Piece = 1 << 30;

    private readonly MappedFile _file;
    private readonly SafetensorsHeader _header;

    private Safetensors(MappedFile file)
    {
        _file = file;
        int start = (int)Math.Min(SafetensorsHeader.LengthBytes, file.Length);
        int json = SafetensorsHeader.JsonLength(file.Values<byte>(0, start), file.Length);

        // Copied, so that what is checked and what is used cannot differ where another process writes to the file meanwhile.
        _header = SafetensorsHeader.Parse(file.Values<byte>(start, json).ToArray(), file.Length);
        Entries = [.. _header.Entries.Values.OrderBy(entry => entry.Begin).ThenBy(entry => entry.End).ThenBy(entry => entry.Name, StringComparer.Ordinal)];
    }

    /// <summary>The file.</summary>
    public string FilePath => _file.Path;

    /// <summary>The file's own key-value pairs; null where it has none.</summary>
    public IReadOnlyDictionary<string, string>? Metadata => _header.Metadata;

    /// <summary>Every tensor, in the order of the file.</summary>
    public IReadOnlyList<SafetensorsEntry> Entries { get; }

    /// <summary>
    /// Opens a file and checks its header: its size, the JSON, names, types, shapes, overflow, and that the tensors cover the file without holes or overlaps.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <exception cref="CheckpointException">The file cannot be read or is not valid; the message names file and fault.</exception>
    public static Safetensors Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        MappedFile file = MappedFile.Open(
            path, 1, (message, inner) => new CheckpointException(inner is null ? $"{path} is not a valid safetensors file: {message}" : message, inner));
        try
        {
            return new Safetensors(file);
        }
        catch (Exception exception)
        {
            file.Dispose();
            throw exception is FormatException
                ? new CheckpointException($"{path} is not a valid safetensors file: {exception.Message}.", exception)
                : exception;
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
            : throw new CheckpointException(
                $"{FilePath} holds no tensor \"{name}\"; it holds {Entries.Count}: "
                    + $"{string.Join(", ", Entries.Take(5).Select(known => known.Name))}{(Entries.Count > 5 ? ", ..." : "")}.");
    }

    /// <summary>Bytes of a tensor as they lie in the file, up to 2 GB of them; valid until the file is disposed.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="offset">First byte, counted from the tensor's first.</param>
    /// <param name="length">How many; null: all that follow.</param>
    /// <exception cref="CheckpointException">The file has no such tensor, or more than 2 GB follow and <paramref name="length"/> is null.</exception>
    public ReadOnlySpan<byte> Bytes(string name, long offset = 0, int? length = null)
    {
        SafetensorsEntry entry = Entry(name);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, entry.ByteLength);
        long count = length ?? entry.ByteLength - offset;
        ArgumentOutOfRangeException.ThrowIfNegative(count, nameof(length));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, entry.ByteLength - offset, nameof(length));
        return count <= Array.MaxLength
            ? _file.Values<byte>(_header.DataStart + entry.Begin + offset, (int)count)
            : throw new CheckpointException(
                $"Tensor \"{name}\" of {FilePath} has {count} bytes from byte {offset} on, and a span has at most {Array.MaxLength}. Take it in parts, by "
                    + "offset and length.");
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
            ?? throw new CheckpointException(
                $"Tensor \"{name}\" of {FilePath} is of type {entry.Dtype}, which cannot be read; readable are {SafetensorsTypes.Readable}.");
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

    /// <summary>Copies a tensor into one of the same shape that there is already, at once where that holds it as the file does.</summary>
    internal void CopyTo(string name, Tensor target)
    {
        SafetensorsEntry entry = Entry(name);
        if (target.device_type == DeviceType.CPU && target.is_contiguous() && target.dtype == SafetensorsTypes.ToScalarType(entry.Dtype)
            && target.shape.AsSpan().SequenceEqual(entry.Shape) && entry.ByteLength > 0)
        {
            using Tensor flat = target.view(-1);
            CopyTo(entry, flat);
            return;
        }

        using Tensor value = Read(name);
        target.copy_(value);
    }

    /// <summary>Unmaps the file.</summary>
    public void Dispose() => _file.Dispose();

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
